"""Compare every backend with every other, and write the verdict; what all are judged by is computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, log

import numpy as np

from gdbackends.backends import get_backend
from gdbackends.comparison.backend_run import BackendRun
from gdbackends.comparison.outcome import BackendResult, Settings, Status, Verdict
from gdbackends.comparison.referee import ErrorBound, error_bound, exact_values, probe_points
from gdbackends.comparison.trajectory import TrajectoryCheck, end_bound, trajectory_check
from gdbackends.datasets import Dataset
from gdbackends.descent import Fit, Stop, TableProblem, descend, learning_rates, prepare
from gdbackends.descent.rates import Rates
from gdbackends.descent.stopping import checked_tolerance
from gdbackends.measurement.formatting import joined
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import VISIBLE, Limit, evaluate
from gdbackends.scaling import standardization

EXACT_LIMIT = 1 << 22
"""Elements of X up to which a lone backend is compared with exact arithmetic, which takes some seconds."""
_NEAR = 1e-3
"""A fit is near the exact answer if each coefficient times the spread of its feature is so near, relative to the
largest."""
_MOST_STEPS = 1e8
_VISIBLE_ERROR = 1e-6
"""The table shows six digits."""
_DESCENT = 1 << 30
"""Elements of X read to come near a minimum that has no closed form."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """What the backends are judged by, computed once with NumPy.

    Attributes:
        problem: as it is descended.
        exact: (d + 1,), the parameters of least squares in the data's own units, computed without descending; None
            for other losses.
        exact_loss: the cost there.
        points: (m, d + 1), where the gradients are compared.
        bound: the error bound for the dtype asked for.
        bound_in_float64: the error bound for float64.
        check: the fixed steps and their bounds.
        unique: whether there is one answer.
        minimum: (d + 1,), the parameters of least cost of the rounded data, in the coordinates that are descended in;
            near it for losses other than squared errors.
        rates: the rates of the fit.
        spread: (d,), the standard deviation of each feature, 1 for a constant.
        standardized_condition: the condition number of the Hessian if the features were standardised.
    """

    problem: TableProblem
    exact: Array | None
    exact_loss: float | None
    points: Array
    bound: ErrorBound
    bound_in_float64: ErrorBound
    check: TrajectoryCheck
    unique: bool
    minimum: Array
    rates: Rates
    spread: Array
    standardized_condition: float

    def sensitivity_text(self, backends: int) -> str:
        """Return in words how small an error would be detected between that many backends."""
        rounded = min(backends, 2)
        wide = f", of {self.bound_in_float64.sensitivity(rounded):.0e} in float64 at the same points"
        more = wide if self.problem.backend.dtype != "float64" else ""
        smallest = self.bound.sensitivity(rounded)
        return f"A relative error of {smallest:.0e} in any component of a gradient would have been detected{more}."


@np.errstate(all="ignore")
def baseline(data: Dataset, settings: Settings) -> Baseline:
    """Return what to judge by; refuse what a backend would refuse, before one is started."""
    objective = settings.objective
    assert isinstance(objective, LinearModel)
    arguments = objective, settings.problem_options
    problem = prepare(data.X, data.y, get_backend("numpy", dtype=settings.dtype), *arguments)
    checked_tolerance(problem, settings.tolerance)
    rates = learning_rates(problem, settings.learning_rate, settings.steps)
    exact, unrounded = None, problem
    if objective.row_loss.least_squares:
        if settings.dtype != "float64":
            unrounded = prepare(data.X, data.y, get_backend("numpy"), *arguments)
        exact, minimum = _least_squares(unrounded), _least_squares(problem)
    else:
        minimum = _end_of_descent(problem)
    points = probe_points(problem, minimum)
    scaling = standardization(data.X)
    singular_values = np.linalg.svd(scaling.apply(data.X), compute_uv=False)
    return Baseline(
        problem=problem,
        exact=None if exact is None else problem.scaling.to_data_units(exact),
        exact_loss=None if exact is None else float(unrounded.objective.loss(exact, unrounded.X, unrounded.y)),
        points=points,
        bound=error_bound(problem, points, settings.dtype),
        bound_in_float64=error_bound(problem, points, "float64"),
        check=trajectory_check(problem, minimum),
        unique=bool(objective.l2) or _full_rank(singular_values, data.X.shape),
        minimum=minimum,
        rates=rates,
        spread=scaling.spread,
        standardized_condition=float(max(singular_values.max() ** 2, data.y.size) / singular_values.min() ** 2)
        if singular_values.min()
        else np.inf,
    )


def _full_rank(singular_values: Array, shape: tuple[int, int]) -> bool:
    """Judge by the standardised features, since units and offsets do not affect uniqueness, as matrix_rank does."""
    least = singular_values.max() * max(shape) * np.finfo(np.float64).eps
    return bool((singular_values > least).sum() == shape[1])


def _least_squares(problem: TableProblem) -> Array:
    assert isinstance(problem.objective, LinearModel)
    return problem.objective.minimum(problem.X, problem.y.astype(np.float64), problem.theta0.astype(np.float64))


def _end_of_descent(problem: TableProblem) -> Array:
    """Return where a descent over all rows at the automatic rate ends."""
    whole = replace(problem, batch_size=None)
    steps = max(10, min(1000, _DESCENT // problem.X.size))
    return descend(whole, learning_rates(whole, "auto", steps), tolerance=None).theta.astype(np.float64)


def judge_backends(base: Baseline, runs: Mapping[str, BackendRun | str]) -> tuple[BackendResult, ...]:
    """Hold each backend against every other, or against the exact reference if there is no other.

    A backend disagrees when most of the others do not agree with it: one that errs does not condemn the rest. A
    backend that has not passed gets no time. A text is the reason why a backend gave no answer.
    """
    answers = {name: run for name, run in runs.items() if not isinstance(run, str)}
    return tuple(
        BackendResult(name, "", "failed", reason=run) if isinstance(run, str) else _result(base, name, answers)
        for name, run in runs.items()
    )


def _result(base: Baseline, name: str, runs: Mapping[str, BackendRun]) -> BackendResult:
    run, others = runs[name], [other for n, other in runs.items() if n != name]
    gradients = [_gradient_ratio(base, run, other) for other in others]
    losses = base.check.losses_ratio(base.problem, run.trajectory)
    trajectories = [
        max(losses, base.check.ratio(run.trajectory, other.trajectory), _fits_ratio(base, run, other))
        for other in others
    ]
    worst = max(gradients) if others else _exact_ratio(base, run)
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
        processes=run.processes,
    ).timed(run.first_call_s, run.step)


def _gradient_ratio(base: Baseline, a: BackendRun, b: BackendRun) -> float:
    wide = base.bound_in_float64.ratio(a.values_in_float64, b.values_in_float64)
    return max(base.bound.ratio(a.values, b.values), wide)


def _fits_ratio(base: Baseline, a: BackendRun, b: BackendRun) -> float:
    """Return at most 1 if the fits themselves agree, and 0 if nothing is known.

    Fits that stopped after the same number of steps are judged by the bound of their rounding. Rounding may end one of
    them a check earlier: then, over all rows and at a stable rate, the longer one must not have the higher cost.
    """
    problem = base.problem
    a, b = sorted((a, b), key=lambda run: run.fit.steps)
    bound = end_bound(problem, base.minimum, base.rates, a.fit.steps)
    if not np.isfinite(bound):
        return 0.0
    if Stop.DIVERGED in (a.fit.stop, b.fit.stop):
        return 0.0 if a.fit.stop is b.fit.stop else float("inf")
    if a.fit.steps == b.fit.steps:
        distance = np.linalg.norm(a.end.astype(np.float64) - b.end.astype(np.float64))
        return Limit(np.array(bound)).ratio(distance, np.zeros(1))
    if len(problem.batches) > 1:
        return 0.0
    bounds = [evaluate(problem.objective, r.end, problem.X, problem.y, problem.backend.dtype) for r in (a, b)]
    return max(0.0, b.fit.loss - a.fit.loss) / sum(at.loss_bound for at in bounds)


def _exact_ratio(base: Baseline, run: BackendRun) -> float | None:
    if base.problem.X.size > EXACT_LIMIT or base.exact is None:
        return None
    exact = exact_values(base.problem, base.points)
    return max(base.bound.ratio(run.values, exact, 1), base.bound_in_float64.ratio(run.values_in_float64, exact, 1))


def conclusion(base: Baseline, rows: tuple[BackendResult, ...]) -> tuple[Verdict, str]:
    """Return the verdict and its sentence; the worst that can be said comes first."""
    names, dtype = joined([row.backend for row in rows]), base.problem.backend.dtype
    sensitivity = base.sensitivity_text(len(rows))
    ratios = {r.backend: max(r.gradient_ratio, r.trajectory_ratio or 0.0) for r in rows if r.gradient_ratio is not None}
    if any(not ratio <= 1 for ratio in ratios.values()):
        wrong = [row.backend for row in rows if row.status == "disagrees"] or [n for n in ratios if not ratios[n] <= 1]
        verb = "disagrees" if len(wrong) == 1 else "disagree"
        return "disagree", f"{joined(wrong)} {verb}: {max(ratios[n] for n in wrong):.3g} times what rounding allows."
    failed = [row for row in rows if row.status == "failed"]
    if failed:
        reasons = " ".join(f"{row.backend} gave no answer: {row.reason}." for row in failed)
        others = tuple(row for row in rows if row.status != "failed")
        return "inconclusive", f"{reasons} {conclusion(base, others)[1] if others else ''}".rstrip()
    if not ratios:
        limit = f"exact arithmetic supports only squared errors and up to {EXACT_LIMIT:,} numbers"
        return (
            "inconclusive",
            f"{names} was compared with nothing: there is no other backend, and {limit}. Install another.",
        )
    diverged = [row for row in rows if row.status == "diverged"]
    if diverged:
        message = diverged[0].fit.message if diverged[0].fit else ""
        return "diverged", f"{joined([row.backend for row in diverged])} diverged. {message}"
    if base.bound.blind or not base.bound_in_float64.sensitivity(2) <= VISIBLE:
        size = base.problem.y.size
        return (
            "inconclusive",
            f"{names} do not disagree, but rounding hides most errors of {size:,} rows in {dtype}: {sensitivity}",
        )
    differ = f"gradients differ by at most {max(r.gradient_ratio or 0.0 for r in rows):.1g} of what rounding allows"
    if len(rows) == 1:
        witness = "agrees with exact arithmetic, the only other reference, at five points"
        return "agree", f"{names} {witness}: {differ}. {sensitivity}"
    paths, steps = max(row.trajectory_ratio or 0.0 for row in rows), f"over {len(base.check.rates):,} steps"
    parameters = f"parameters {steps} by at most {paths:.1g} of it"
    if not base.check.sensitivity <= 1:
        allowed = f"rounding allows {base.check.sensitivity:.2g} times the smallest"
        parameters = f"parameters {steps} cannot be judged, as {allowed}"
    return "agree", f"{names} agree: {differ}, {parameters}. {sensitivity}"


def distance_from_exact(base: Baseline, rows: tuple[BackendResult, ...], names: Sequence[str]) -> str:
    """Return in words how far the fits ended from the exact answer, and what would get there; "" if they are near.

    A coefficient is compared after multiplication by the spread of its feature: that is its effect on the predictions.
    """
    fits = [row.fit for row in rows if row.fit is not None and row.status == "ok"]
    if base.exact is None or not base.unique or not fits:
        return ""
    spread = np.append(base.spread, 1.0)
    effects = np.abs(base.exact) * spread
    scale = effects[:-1].max() or effects[-1] or 1.0
    errors = [np.abs(fit.theta.astype(np.float64) - base.exact) * spread for fit in fits]
    fit, error = max(zip(fits, errors, strict=True), key=lambda pair: float(pair[1].max()))
    if error.max() <= _NEAR * scale:
        return ""
    relative = np.where(error > _NEAR * scale, error / np.where(effects > 0, effects, np.inf), 0.0)
    j = int(np.argmax(relative[:-1] if relative[:-1].any() else relative))
    name = [*names, "the intercept"][j]
    ended = {Stop.STEPS: f"After {fit.steps:,} steps"}.get(fit.stop, f"Where it stopped, after {fit.steps:,} steps,")
    return (
        f"{ended} the fit is still far from the exact answer: {name} is {fit.theta[j]:.6g}, exactly {base.exact[j]:.6g}"
        f", and the loss is {fit.loss:.6g}, exactly {base.exact_loss:.6g}. {_way_to_exact(base, fit)}"
    )


def exact_uncertainty(base: Baseline) -> str:
    """Return a note on the error of the exact answer itself, where it is visible; "" elsewhere.

    Least squares by an orthogonal factorisation in float64 err by about eps (k + k^2 r), where k is the condition
    number of the standardised features and r the residual over the predictions (Golub and Van Loan, Matrix
    Computations, section 5.3.7).
    """
    if base.exact is None or base.exact_loss is None or not base.unique:
        return ""
    condition = base.standardized_condition**0.5
    fitted = float(np.linalg.norm(base.exact[:-1] * base.spread)) or 1.0
    error = np.finfo(np.float64).eps * condition * (1 + condition * base.exact_loss**0.5 / fitted)
    if error <= _VISIBLE_ERROR:
        return ""
    return (
        f"The exact answer is itself uncertain, by about {min(error, 1):.0e} of its largest coefficient in units of "
        f"the spreads, as the condition number of the features is {condition:.0e}."
    )


def _way_to_exact(base: Baseline, fit: Fit) -> str:
    """Return what would bring a fit to the exact answer, by the rule of a quadratic: an error falls by 1 - rate l_min.

    Nocedal and Wright, Numerical Optimization, section 3.3.
    """
    ends = base.problem.spectrum
    condition = inf if ends is None or ends.singular else ends.condition or inf
    text = f"The condition number is {'beyond 1e15' if condition == inf else f'{condition:.2g}'}"
    if base.problem.measure is not None and base.standardized_condition < min(1e15, condition / 10):
        return f"{text}, and {base.standardized_condition:.2g} with standardised features: standardise them."
    if ends is None or ends.smallest is None or condition == inf:
        return f"{text}: no number of steps gets there; solve it directly."
    if fit.learning_rate < ends.best_rate / 4:
        return f"{text}; the learning rate is {fit.learning_rate:.3g}, and {ends.best_rate:.3g} is the best."
    needed = log(1 / _NEAR) / (fit.learning_rate * ends.smallest)
    if needed > _MOST_STEPS:
        return f"{text}, so about {needed:.0e} steps would be needed: solve it directly, or use fewer features."
    return f"{text}, so about {needed:,.0f} steps are needed."
