"""The judge: a yardstick laid once over the data, every backend held against every other, and the verdict in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gdbackends.backends import get_backend
from gdbackends.comparison.backend_run import Observation
from gdbackends.comparison.probes import Yardstick, exact_values, probe_points, yardstick
from gdbackends.comparison.result import Row, Settings, Status, Verdict
from gdbackends.comparison.trajectory_bounds import end_bound
from gdbackends.comparison.trajectory_check import Proof, proof_run
from gdbackends.datasets import Dataset
from gdbackends.descent import Problem, Stop, descend, learning_rates, prepare
from gdbackends.descent.spectrum import Spectrum
from gdbackends.descent.stopping import checked_tolerance
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import evaluate
from gdbackends.rounding.limit import VISIBLE
from gdbackends.scaling import standardization

EXACT_LIMIT = 1 << 22
"""Elements of X up to which a lone backend is held against exact arithmetic, which takes some seconds."""
_DESCENT = 1 << 30
"""Elements of X read to come near a minimum that has no closed form."""


@dataclass(frozen=True, eq=False)
class Case:
    """What the backends are judged by, computed once with NumPy.

    Attributes:
        problem: as it is descended.
        ends: the spectrum of its Hessian, or of a bound on that; None where there is none.
        exact: (d + 1,), the parameters of least cost, not descended to, in the data's own units: of squared errors.
        exact_loss: the cost there.
        points: (m, d + 1), where the gradients are compared.
        yardstick: for the dtype asked for.
        wide: for float64.
        proof: the proof run.
        unique: there is one answer.
        minimum: (d + 1,), as `exact`, of the rounded data and in the coordinates that are descended; of other losses
            near it.
        rates: of the fit.
    """

    problem: Problem
    ends: Spectrum | None
    exact: Array | None
    exact_loss: float | None
    points: Array
    yardstick: Yardstick
    wide: Yardstick
    proof: Proof
    unique: bool
    minimum: Array
    rates: Array

    def visible(self, voters: int) -> str:
        """Say how small an error would have been seen, between that many backends."""
        seen, wide = (ruler.sensitivity(min(voters, 2)) for ruler in (self.yardstick, self.wide))
        more = f", of {wide:.0e} in float64 at the same points" if self.problem.backend.dtype != "float64" else ""
        return f"A relative error of {seen:.0e} in any component of a gradient would have been seen{more}."


def lay_out(data: Dataset, settings: Settings) -> Case:
    """Return the case; what a backend would refuse is refused here, before one is started."""
    arguments = settings.objective, settings.problem_options
    problem = prepare(data.X, data.y, get_backend("numpy", dtype=settings.dtype), *arguments)
    checked_tolerance(problem, settings.tolerance)
    rates = learning_rates(problem, settings.learning_rate, settings.steps)
    rounded = settings.dtype != "float64"
    unrounded = prepare(data.X, data.y, get_backend("numpy"), *arguments) if rounded else problem
    squared = settings.objective.row_loss.least_squares
    exact, minimum = (_minimum(unrounded), _minimum(problem)) if squared else (None, _end(problem))
    ends = problem.spectrum
    points = probe_points(problem, minimum)
    return Case(
        problem=problem,
        ends=ends,
        exact=None if exact is None else problem.scaling.to_data_units(exact),
        exact_loss=None if exact is None else float(unrounded.objective.loss(exact, unrounded.X, unrounded.y)),
        points=points,
        yardstick=yardstick(problem, points, settings.dtype),
        wide=yardstick(problem, points, "float64"),
        proof=proof_run(problem, ends, minimum),
        unique=bool(settings.objective.l2) or _full_rank(data.X),
        minimum=minimum,
        rates=rates,
    )


def _full_rank(X: Array) -> bool:
    """Judge by standardised columns, as no column's unit or offset makes an answer less unique."""
    scaled = standardization(X).apply(X)
    return bool(np.linalg.matrix_rank(scaled) == X.shape[1])


def _minimum(problem: Problem) -> Array:
    assert isinstance(problem.objective, LinearModel)
    return problem.objective.minimum(problem.X, problem.y.astype(np.float64), problem.theta0.astype(np.float64))


def _end(problem: Problem) -> Array:
    """Return where a descent over all rows at the automatic rate ends, on NumPy and in the coordinates descended in."""
    plain = replace(problem, batch_size=None)
    steps = max(10, min(1000, _DESCENT // problem.X.size))
    return descend(plain, learning_rates(plain, "auto", steps), tolerance=None).theta.astype(np.float64)


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
    gradients = [_gradient_ratio(case, own, other) for other in others]
    losses = case.proof.losses_ratio(case.problem, own.run)
    trajectories = [max(losses, case.proof.ratio(own.run, o.run), _fits_ratio(case, own, o)) for o in others]
    worst = max(gradients) if others else _exact_ratio(case, own)
    against = [not max(pair) <= 1 for pair in zip(gradients, trajectories, strict=True)]
    against = against or [worst is not None and not worst <= 1]
    status: Status = "diverged" if own.fit.stop is Stop.DIVERGED else "ok"
    status = "disagrees" if sum(against) > len(against) / 2 else status
    return Row(
        backend=name,
        device=own.device,
        status=status,
        fit=own.fit,
        gradient_ratio=worst,
        trajectory_ratio=max(trajectories, default=None),
        first_call_s=own.first_call_s if status == "ok" else None,
        step_s=own.step_s if status == "ok" else None,
    )


def _gradient_ratio(case: Case, a: Observation, b: Observation) -> float:
    wide = case.wide.ratio(a.values_in_float64, b.values_in_float64)
    return max(case.yardstick.ratio(a.values, b.values), wide)


def _fits_ratio(case: Case, a: Observation, b: Observation) -> float:
    """Hold the fits themselves against each other: at most 1 where they agree, 0 where nothing can be said.

    Fits that stopped after as many steps by the bound of their rounding. Rounding may end one a check earlier: then,
    over all rows and at a stable rate, the longer one has not the higher cost.
    """
    a, b = sorted((a, b), key=lambda o: o.fit.steps)
    bound = end_bound(case.problem, case.ends, case.minimum, case.rates, a.fit.steps)
    if not np.isfinite(bound):
        return 0.0
    if Stop.DIVERGED in (a.fit.stop, b.fit.stop):
        return 0.0 if a.fit.stop is b.fit.stop else float("inf")
    if a.fit.steps == b.fit.steps:
        apart = float(np.linalg.norm(a.end.astype(np.float64) - b.end.astype(np.float64)))
        return apart / bound if apart else 0.0
    if len(case.problem.batches) > 1:
        return 0.0
    dtype = case.problem.backend.dtype
    allowed = sum(
        evaluate(case.problem.objective, o.end, case.problem.X, case.problem.y, dtype).loss_bound for o in (a, b)
    )
    return max(0.0, b.fit.loss - a.fit.loss) / allowed


def _exact_ratio(case: Case, own: Observation) -> float | None:
    if case.problem.X.size > EXACT_LIMIT or case.exact is None:
        return None
    exact = exact_values(case.problem, case.points)
    return max(case.yardstick.ratio(own.values, exact, 1), case.wide.ratio(own.values_in_float64, exact, 1))


def verdict(case: Case, rows: tuple[Row, ...]) -> tuple[Verdict, str]:
    """Return the verdict and its sentence: the worst that can be said comes first."""
    names, dtype = _list([row.backend for row in rows]), case.problem.backend.dtype
    visible = case.visible(len(rows))
    ratios = {r.backend: max(r.gradient_ratio, r.trajectory_ratio or 0.0) for r in rows if r.gradient_ratio is not None}
    if any(not ratio <= 1 for ratio in ratios.values()):
        wrong = [row.backend for row in rows if row.status == "disagrees"] or [n for n in ratios if not ratios[n] <= 1]
        verb = "disagrees" if len(wrong) == 1 else "disagree"
        return "disagree", f"{_list(wrong)} {verb}: {max(ratios[n] for n in wrong):.3g} times what rounding allows."
    crashed = [row.backend for row in rows if row.status == "crashed"]
    if crashed:
        return "inconclusive", f"{_list(crashed)} gave no answer: the process ended. Run `gdbackends fit` to see why."
    if not ratios:
        limit = f"exact arithmetic takes squared errors and up to {EXACT_LIMIT:,} numbers"
        return "inconclusive", f"{names} was held against nothing: no other backend, and {limit}. Install another."
    diverged = [row for row in rows if row.status == "diverged"]
    if diverged:
        message = diverged[0].fit.message if diverged[0].fit else ""
        return "diverged", f"{_list([row.backend for row in diverged])} diverged. {message}"
    if case.yardstick.blind or not case.wide.sensitivity(2) <= VISIBLE:
        return (
            "inconclusive",
            f"{names} do not disagree, but {case.problem.y.size:,} rows in {dtype} show little: {visible}",
        )
    differ = f"gradients differ by at most {max(r.gradient_ratio or 0.0 for r in rows):.1g} of what rounding allows"
    if len(rows) == 1:
        return (
            "agree",
            f"{names} agrees with exact arithmetic, the one other witness, at five points: {differ}. {visible}",
        )
    paths, steps = max(row.trajectory_ratio or 0.0 for row in rows), f"over {len(case.proof.rates):,} steps"
    along = f"parameters {steps} by at most {paths:.1g} of it"
    if not case.proof.sensitivity <= 1:
        along = f"parameters {steps} show nothing, as rounding allows {case.proof.sensitivity:.2g} times the smallest"
    return "agree", f"{names} agree: {differ}, {along}. {visible}"


def _list(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
