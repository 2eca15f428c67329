"""Compute the reference of a comparison, compare every backend with every other, and draw the conclusion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gdbackends.backends import get_backend
from gdbackends.comparison.backend_run import BackendRun
from gdbackends.comparison.comparison_result import BackendResult, Settings, Status, Verdict
from gdbackends.comparison.referee import ErrorBound, error_bound, exact_values, probe_points
from gdbackends.comparison.trajectory import TrajectoryCheck, end_bound, trajectory_check
from gdbackends.datasets import Dataset
from gdbackends.descent import Problem, Stop, check_settings, descend, learning_rates, prepare
from gdbackends.descent.spectrum import Spectrum, is_curved, spectrum
from gdbackends.objectives import Array, LinearModel, SquaredError
from gdbackends.rounding import Limit, evaluate
from gdbackends.rounding.limit import VISIBLE
from gdbackends.scaling import identity, standardization

EXACT_LIMIT = 1 << 22
"""Elements of X up to which a single backend is compared with exact arithmetic, which takes some seconds."""
_DESCENT = 1 << 30
"""Elements of X read to approach a minimum that has no closed form."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What the backends are judged by, computed once with NumPy.

    Attributes:
        problem: the prepared problem.
        spectrum: the spectrum of its Hessian or of a bound on the Hessian, or None if there is none.
        exact: (d + 1,), the least-squares solution in the data's units, computed directly; None for other losses.
        exact_loss: the loss at the exact solution.
        points: (m, d + 1), where the gradients are compared.
        bound: the error bound in the requested dtype.
        bound_in_float64: the error bound in float64.
        check: the trajectory check.
        unique: True if there is only one solution.
        minimum: (d + 1,), the minimizer for the rounded data in the descended coordinates; for losses other than the
            squared one a point near it.
        rates: the learning rates of the fit.
    """

    problem: Problem
    spectrum: Spectrum | None
    exact: Array | None
    exact_loss: float | None
    points: Array
    bound: ErrorBound
    bound_in_float64: ErrorBound
    check: TrajectoryCheck
    unique: bool
    minimum: Array
    rates: Array

    def sensitivity_text(self, backends: int) -> str:
        """Return a sentence with the smallest error that would have shown between so many backends."""
        bounds = self.bound, self.bound_in_float64
        sensitivity, wide = (bound.sensitivity(min(backends, 2)) for bound in bounds)
        more = f", of {wide:.0e} in float64 at the same points" if self.problem.backend.dtype != "float64" else ""
        return f"A relative error of {sensitivity:.0e} in any component of a gradient would have been seen{more}."


def build_reference(data: Dataset, settings: Settings) -> Reference:
    """Return the reference; arguments that a backend would refuse are refused here, before any backend starts."""
    arguments = (settings.objective, settings.batch_size, settings.standardize, settings.seed)
    problem = prepare(data.X, data.y, get_backend("numpy", dtype=settings.dtype), *arguments)
    check_settings(problem, settings.learning_rate, settings.steps, settings.tolerance)
    float64 = settings.dtype == "float64"
    unrounded = problem if float64 else prepare(data.X, data.y, get_backend("numpy"), *arguments)
    rates = learning_rates(problem, settings.learning_rate, settings.steps)
    squared = isinstance(settings.objective.row_loss, SquaredError)
    exact, minimum = (_minimum(unrounded), _minimum(problem)) if squared else (None, _descended_minimum(problem))
    objective = problem.objective
    hessian = spectrum(objective, problem.X, minimum.size) if is_curved(objective) else None
    points = probe_points(problem, minimum)
    return Reference(
        problem=problem,
        spectrum=hessian,
        exact=None if exact is None else problem.scaling.to_data_units(exact),
        exact_loss=None if exact is None else float(unrounded.objective.loss(exact, unrounded.X, unrounded.y)),
        points=points,
        bound=error_bound(problem, points, settings.dtype),
        bound_in_float64=error_bound(problem, points, "float64"),
        check=trajectory_check(problem, hessian, minimum),
        unique=bool(settings.objective.l2) or _full_rank(data.X),
        minimum=minimum,
        rates=rates,
    )


def _full_rank(X: Array) -> bool:
    """Return whether X has full rank after standardising, since units and offsets do not affect uniqueness."""
    scaled = standardization(X).apply(X)
    return bool(np.linalg.matrix_rank(scaled) == X.shape[1])


def _minimum(problem: Problem) -> Array:
    assert isinstance(problem.objective, LinearModel)
    return problem.objective.minimum(problem.X, problem.y.astype(np.float64), problem.theta0.astype(np.float64))


def _descended_minimum(problem: Problem) -> Array:
    """Return where NumPy's descent over all rows at the automatic rate ends, in the descended coordinates."""
    plain = replace(problem, scaling=identity(problem.theta0.size - 1), batch_size=None)
    steps = max(10, min(1000, _DESCENT // problem.X.size))
    return descend(plain, learning_rates(plain, "auto", steps), tolerance=None).theta.astype(np.float64)


def judge(reference: Reference, runs: Mapping[str, BackendRun | None]) -> tuple[BackendResult, ...]:
    """Compare each backend with every other, or with exact arithmetic if there is no other.

    A backend disagrees when most of the others do not agree with it, so that one wrong backend does not condemn the
    rest. A backend that disagrees gets no time. The run of a backend that crashed is None.
    """
    completed = {name: run for name, run in runs.items() if run is not None}
    return tuple(_judge_one(reference, name, completed) for name in runs)


def _judge_one(reference: Reference, name: str, runs: Mapping[str, BackendRun]) -> BackendResult:
    if name not in runs:
        return BackendResult(name, "", "crashed")
    run, others = runs[name], [other for key, other in runs.items() if key != name]
    gradients = [_gradient_ratio(reference, run, other) for other in others]
    steps = reference.check.step_ratio(reference.problem, run.trajectory)
    trajectories = [max(steps, _trajectory_ratio(reference, run, other)) for other in others]
    worst = max(gradients) if others else _exact_ratio(reference, run)
    disagreements = [not max(pair) <= 1 for pair in zip(gradients, trajectories, strict=True)]
    disagreements = disagreements or [worst is not None and not worst <= 1]
    status: Status = "diverged" if run.fit.stop is Stop.DIVERGED else "ok"
    status = "disagrees" if sum(disagreements) > len(disagreements) / 2 else status
    return BackendResult(
        backend=name,
        device=run.device,
        status=status,
        fit=run.fit,
        gradient_ratio=worst,
        trajectory_ratio=max(trajectories, default=None),
        first_call_s=run.first_call_s if status == "ok" else None,
        step_s=run.step_s if status == "ok" else None,
    )


def _gradient_ratio(reference: Reference, a: BackendRun, b: BackendRun) -> float:
    wide = reference.bound_in_float64.ratio(a.values_in_float64, b.values_in_float64)
    return max(reference.bound.ratio(a.values, b.values), wide)


def _trajectory_ratio(reference: Reference, a: BackendRun, b: BackendRun) -> float:
    return max(reference.check.path_ratio(a.trajectory, b.trajectory), _fit_ratio(reference, a, b))


def _fit_ratio(reference: Reference, a: BackendRun, b: BackendRun) -> float:
    """Return the difference of two fits over what rounding allows, or 0 where no bound is known.

    Fits that stopped after equally many steps are judged by the bound on their parameters. Rounding may end one fit a
    check earlier; then, over all rows and at a stable rate, the longer one must not have the higher loss.
    """
    a, b = sorted((a, b), key=lambda run: run.fit.steps)
    problem = reference.problem
    bound = end_bound(problem, reference.spectrum, reference.minimum, reference.rates, a.fit.steps)
    if not np.isfinite(bound):
        return 0.0
    if Stop.DIVERGED in (a.fit.stop, b.fit.stop):
        return 0.0 if a.fit.stop is b.fit.stop else float("inf")
    if a.fit.steps == b.fit.steps:
        difference = np.linalg.norm(a.end.astype(np.float64) - b.end.astype(np.float64))
        return Limit(np.array(bound)).ratio(difference, np.zeros(()))
    if len(problem.batches) > 1:
        return 0.0
    dtype = problem.backend.dtype
    allowed = sum(evaluate(problem.objective, run.end, problem.X, problem.y, dtype).loss_bound for run in (a, b))
    return Limit(np.array(allowed)).ratio(np.array(max(0.0, b.fit.loss - a.fit.loss)), np.zeros(()))


def _exact_ratio(reference: Reference, run: BackendRun) -> float | None:
    if reference.problem.X.size > EXACT_LIMIT or reference.exact is None:
        return None
    exact = exact_values(reference.problem, reference.points)
    wide = reference.bound_in_float64.ratio(run.values_in_float64, exact, 1)
    return max(reference.bound.ratio(run.values, exact, 1), wide)


def conclusion(reference: Reference, rows: tuple[BackendResult, ...]) -> tuple[Verdict, str]:
    """Return the verdict and its sentence; the worst finding takes precedence."""
    names, dtype = _list([row.backend for row in rows]), reference.problem.backend.dtype
    sensitivity = reference.sensitivity_text(len(rows))
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
        return "inconclusive", f"{names} was compared with nothing: no other backend, and {limit}. Install another."
    diverged = [row for row in rows if row.status == "diverged"]
    if diverged:
        message = diverged[0].fit.message if diverged[0].fit else ""
        return "diverged", f"{_list([row.backend for row in diverged])} diverged. {message}"
    if reference.bound.uninformative or not reference.bound_in_float64.sensitivity(2) <= VISIBLE:
        return (
            "inconclusive",
            f"{names} do not disagree, but {reference.problem.y.size:,} rows in {dtype} show little: {sensitivity}",
        )
    differ = f"gradients differ by at most {max(r.gradient_ratio or 0.0 for r in rows):.1g} of what rounding allows"
    if len(rows) == 1:
        return (
            "agree",
            f"{names} agrees with exact arithmetic, the only other reference, at five points: {differ}. {sensitivity}",
        )
    largest, steps = max(row.trajectory_ratio or 0.0 for row in rows), f"over {len(reference.check.rates):,} steps"
    along = f"parameters {steps} by at most {largest:.1g} of it"
    if not reference.check.sensitivity <= 1:
        along = (
            f"parameters {steps} show nothing, as rounding allows {reference.check.sensitivity:.2g} times the smallest"
        )
    return "agree", f"{names} agree: {differ}, {along}. {sensitivity}"


def _list(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
