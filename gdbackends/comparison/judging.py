"""The judge: a yardstick laid once over the data, every backend held against every other, and the verdict in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gdbackends.agreement.gradients import VISIBLE, Values, Yardstick, exact_values, probe_points, yardstick
from gdbackends.agreement.trajectory import Proof, proof_run
from gdbackends.backends import get_backend
from gdbackends.comparison.observation import Observation
from gdbackends.comparison.result import Row, Settings, Status, Verdict
from gdbackends.datasets import Dataset
from gdbackends.descent import Problem, Stop, check_settings, prepare
from gdbackends.objectives import Array, LinearRegression
from gdbackends.spectrum import Spectrum, spectrum

EXACT_LIMIT = 1 << 22
"""Elements of X up to which a lone backend is held against exact arithmetic, which takes some seconds."""


@dataclass(frozen=True, eq=False)
class Case:
    """What the backends are judged by, computed once with NumPy.

    Attributes:
        problem: as it is descended.
        ends: the spectrum of its Hessian.
        exact: (d + 1,), the parameters of least cost, not descended to, in the data's own units.
        exact_loss: the cost there.
        points: (m, d + 1), where the gradients are compared.
        yardstick: for the dtype asked for.
        wide: for float64.
        proof: the proof run.
    """

    problem: Problem
    ends: Spectrum
    exact: Array
    exact_loss: float
    points: Array
    yardstick: Yardstick
    wide: Yardstick
    proof: Proof


def lay_out(data: Dataset, settings: Settings) -> Case:
    """Return the case; what a backend would refuse is refused here, before one is started."""
    arguments = (settings.objective, settings.batch_size, settings.standardize, settings.seed)
    problem = prepare(data.X, data.y, get_backend("numpy", dtype=settings.dtype), *arguments)
    check_settings(problem, settings.learning_rate, settings.steps, settings.tolerance)
    unrounded = prepare(data.X, data.y, get_backend("numpy"), *arguments)
    exact, minimum = _minimum(unrounded), _minimum(problem)
    assert isinstance(problem.objective, LinearRegression)
    ends, points = spectrum(problem.objective, problem.X, minimum.size), probe_points(problem, minimum)
    return Case(
        problem=problem,
        ends=ends,
        exact=problem.scaling.to_data_units(exact),
        exact_loss=float(unrounded.objective.loss(exact, unrounded.X, unrounded.y)),
        points=points,
        yardstick=yardstick(problem, points, settings.dtype),
        wide=yardstick(problem, points, "float64"),
        proof=proof_run(problem, ends, minimum),
    )


def _minimum(problem: Problem) -> Array:
    assert isinstance(problem.objective, LinearRegression)
    return problem.objective.minimum(problem.X, problem.y.astype(np.float64), problem.theta0.astype(np.float64))


def judge(case: Case, observed: Mapping[str, Observation | None]) -> tuple[Row, ...]:
    """Hold each backend against every other, or against the exact reference where there is none.

    A backend disagrees when most of the others do not agree with it: one that errs does not condemn the rest. A
    backend that has not passed gets no time. None is a backend that gave no answer.
    """
    return tuple(_row(case, name, {n: o for n, o in observed.items() if o is not None}) for name in observed)


def _row(case: Case, name: str, observed: Mapping[str, Observation]) -> Row:
    if name not in observed:
        return Row(name, "", "crashed")
    own, others = observed[name], [o for other, o in observed.items() if other != name]
    gradients = [_gradient_ratio(case, own, other) for other in others] or [_exact_ratio(case, own)]
    trajectories = [case.proof.ratio(own.path, other.path) for other in others]
    against = sum(not max(pair) <= 1 for pair in zip(gradients, trajectories or gradients, strict=True))
    status: Status = "diverged" if own.fit.stop is Stop.DIVERGED else "ok"
    status = "disagrees" if against > len(gradients) / 2 else status
    return Row(
        backend=name,
        device=own.device,
        status=status,
        fit=own.fit,
        gradient_ratio=max(gradients),
        trajectory_ratio=max(trajectories, default=None),
        first_call_s=own.first_call_s if status == "ok" else None,
        step_s=own.step_s if status == "ok" else None,
    )


def _gradient_ratio(case: Case, a: Observation, b: Observation) -> float:
    wide = case.wide.ratio(a.values_in_float64, b.values_in_float64)
    return max(case.yardstick.ratio(a.values, b.values), wide)


def _exact_ratio(case: Case, own: Observation) -> float:
    if case.problem.X.size > EXACT_LIMIT:
        return float("nan")
    exact: Values = exact_values(case.problem, case.points)
    return max(case.yardstick.ratio(own.values, exact, 1), case.wide.ratio(own.values_in_float64, exact, 1))


def verdict(case: Case, rows: tuple[Row, ...]) -> tuple[Verdict, str]:
    """Return the verdict and its sentence."""
    names, seen = _list([row.backend for row in rows]), case.wide.sensitivity(min(len(rows), 2))
    ratios = {row.backend: max(row.gradient_ratio or 0.0, row.trajectory_ratio or 0.0) for row in rows}
    crashed = [row.backend for row in rows if row.status == "crashed"]
    wrong = [row.backend for row in rows if row.status == "disagrees"] or [n for n in ratios if ratios[n] > 1]
    visible = f"a relative error of {seen:.0e} in any component of a gradient would have been seen"
    worst = max((row.gradient_ratio for row in rows if row.gradient_ratio is not None), default=float("nan"))
    differ = f"gradients differ by at most {worst:.1g} of what rounding allows"
    if any(ratio > 1 for ratio in ratios.values()):
        apart = f"{_list(wrong)} {'disagrees' if len(wrong) == 1 else 'disagree'}"
        return "disagree", f"{apart}: {max(ratios[n] for n in wrong):.3g} times what rounding allows; {visible}."
    if crashed:
        return "inconclusive", f"{_list(crashed)} gave no answer, the process ended; run that backend alone to see why."
    if not worst <= 1:
        limit = f"exact arithmetic, which takes up to {EXACT_LIMIT:,} numbers, cannot judge it"
        return "inconclusive", f"{names} has no other backend to be held against and {limit}; install a second one."
    diverged = [row for row in rows if row.status == "diverged" and row.fit]
    if diverged:
        message = diverged[0].fit.message if diverged[0].fit else ""
        return "diverged", f"{_list([row.backend for row in diverged])} diverged. {message}"
    if case.yardstick.blind or not seen <= VISIBLE:
        rows_ = f"{case.problem.y.size:,} rows in {case.problem.backend.dtype}"
        return "inconclusive", f"{names} do not disagree, but with {rows_} only {visible}; take fewer rows or float64."
    if len(rows) == 1:
        return "agree", f"{names} agrees with exact arithmetic, the only other witness here: {differ}; {visible}."
    paths = max(row.trajectory_ratio or 0.0 for row in rows)
    steps = f"parameters over {len(case.proof.rates):,} steps by at most {paths:.1g} of it"
    return "agree", f"{names} agree: {differ}, {steps}; {visible}."


def _list(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
