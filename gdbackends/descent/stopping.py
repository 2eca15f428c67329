"""When to stop, and the advice that is given."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from math import inf, isfinite, nan
from numbers import Real
from typing import Any, cast

import numpy as np

from gdbackends.descent.problem import Problem, TableProblem
from gdbackends.descent.rates import Rates, extremes
from gdbackends.descent.result import Check, Fit, Stop
from gdbackends.descent.spectrum import Spectrum, batch_curvature, has_hessian_bound
from gdbackends.errors import InputError
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import evaluate, has_bound
from gdbackends.streaming import over_ranks, row_blocks

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
_DIVERGED = 1e6
_RANKED = 1 << 22
"""Elements of X up to which its rank is computed, by singular values."""
_EXACT = 1e-20
"""A cost of this fraction of the variance of the target is that of rounding."""


def checked_tolerance(problem: Problem, tolerance: float | None) -> float:
    """Return the tolerance, the dtype's default for None; 0 if phi' jumps, since the gradient need not shrink then."""
    tolerance = TOLERANCE[problem.backend.dtype] if tolerance is None else tolerance
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 <= tolerance < inf:
        raise InputError(f"tolerance must be a finite number of at least 0, got {tolerance!r}")
    return 0.0 if nonsmooth(problem.objective) else float(tolerance)


def nonsmooth(objective: object) -> bool:
    """Return whether the derivative of the row loss jumps."""
    return isinstance(objective, LinearModel) and objective.row_loss.jump > 0


def check_outputs(loss: Array, gradient: Array, theta: Array) -> None:
    """Refuse an objective whose loss is not a scalar, or whose gradient does not have the shape of theta."""
    if loss.shape != () or gradient.shape != theta.shape:
        raise InputError(
            f"an objective's loss must be a scalar and its gradient have theta's shape {theta.shape}, "
            f"got the shapes {loss.shape} and {gradient.shape}"
        )


def norm(gradient: Array) -> float:
    """Return the 2-norm, without underflow or overflow of squares."""
    largest = float(np.abs(gradient).max())
    return largest * float(np.linalg.norm(gradient.astype(np.float64) / largest)) if 0 < largest < inf else largest


def largest_loss(problem: Problem, first: float) -> float:
    """Return the loss above which the fit has diverged; NaN, which no loss is below, if the first is not finite.

    The loss of a batch may be n / size times that of all rows without any divergence.
    """
    if not isfinite(first):
        return nan
    limits = np.finfo(problem.backend.dtype)
    if abs(first) < limits.smallest_normal:  # some frameworks flush subnormal numbers to zero
        return float(limits.max)
    return min(_DIVERGED * abs(first) * problem.rows / min(problem.batches), float(limits.max))


def stop_reason(
    problem: Problem, theta: Array, gradient: Array, checks: Sequence[Check], tolerance: float
) -> Stop | None:
    """Return why to stop after the last check over all rows, or None; theta and the gradient are NumPy arrays.

    The gradient is measured as that of standardised features: a feature of 1e9 has a derivative so large that all
    others are rounding errors beside it.

    The worst case of rounding grows with the number of rows, and in float32 soon exceeds gradients that still make
    progress. So FLOOR uses the probable error, and requires that the gradient has not halved since the check before.
    """
    first, now = checks[0], checks[-1]
    if not now.loss <= largest_loss(problem, first.loss):
        return Stop.DIVERGED
    if tolerance and now.standardized_norm <= tolerance * first.standardized_norm:
        return Stop.CONVERGED
    if tolerance and isinstance(problem, TableProblem) and has_bound(problem.objective):
        if len(checks) == 1 or now.standardized_norm <= checks[-2].standardized_norm / 2:
            return None
        dtype = problem.backend.dtype
        at = evaluate(problem.objective, theta, problem.X, problem.y, dtype, probable=True)
        if (np.abs(gradient) <= at.gradient_bound).all():
            return Stop.FLOOR
    return None


def advice(problem: TableProblem, descended: Fit, rates: Rates, automatic: bool) -> str:
    """Return advice on a fit, which is in the scaled coordinates; "" if there is none."""
    theta, stop = descended.theta.astype(np.float64), descended.stop
    parts = [
        _on_the_answer(problem, descended.loss),
        "" if automatic or stop not in (Stop.DIVERGED, Stop.STEPS) else _on_the_rate(problem, stop, rates),
        "The derivative of this loss jumps, so the tolerance is ignored." if nonsmooth(problem.objective) else "",
        "The data are separable: the coefficients grow without bound; add a penalty (l2)."
        if stop is not Stop.DIVERGED and _separated(problem, theta)
        else "",
    ]
    return " ".join(filter(None, parts))


def _on_the_answer(problem: TableProblem, loss: float) -> str:
    """Return whether least squares have more than one answer, and whether no residual is left."""
    objective = problem.objective
    if not (isinstance(objective, LinearModel) and objective.row_loss.least_squares and not objective.l2):
        return ""
    rows, parameters = problem.y.size, problem.theta0.size
    known: Spectrum | None = problem.__dict__.get("spectrum")  # not computed for this alone
    collinear = problem.measure is None and known is not None and known.singular and _is_collinear(problem)
    parts: list[str] = []
    if rows < parameters or collinear:
        why = f"{rows:,} rows for {parameters:,} parameters" if rows < parameters else "collinear or constant features"
        parts.append(f"The solution is not unique ({why}); this is the one nearest to the start.")
    if isinstance(problem.y, np.ndarray):
        with np.errstate(over="ignore"):
            spread = float(cast(Array, problem.y).astype(np.float64).var()) * rows / objective.divisor(rows)
        if loss <= _EXACT * spread or (spread == 0 and loss == 0):
            parts.append("The fit is exact: no residual is left but rounding.")
    return " ".join(parts)


def _is_collinear(problem: TableProblem) -> bool:
    """Return whether the features are collinear or constant within rounding, which their squares show too early."""
    X: Any = problem.X
    if not isinstance(X, np.ndarray) or X.size > _RANKED:
        return True
    columns: Array = X[:, : problem.theta0.size - 1].astype(np.float64)
    return bool(np.linalg.matrix_rank(columns) < columns.shape[1])


def _separated(problem: TableProblem, theta: Array) -> bool:
    """Return whether an unpenalised logistic fit classifies every row correctly: then no theta is the best."""
    objective = problem.objective
    if not (isinstance(objective, LinearModel) and objective.row_loss.target == "label" and not objective.l2):
        return False
    at = theta.astype(np.float64)
    with closing(row_blocks(problem.X, problem.y)) as blocks:
        separated = all(bool(((1 - 2 * y) * objective.predict(at, X) < 0).all()) for X, y in blocks)
    return bool(over_ranks(problem.X, separated).all())


def _on_the_rate(problem: TableProblem, stop: Stop, rates: Rates) -> str:
    """Return advice on the rate, if it is the reason for how the fit ended."""
    smallest, largest = extremes(rates)
    if problem.spectrum is None or not has_hessian_bound(problem.objective):
        return f"Try a learning rate below {largest:.6g}." if stop is Stop.DIVERGED else ""
    if len(problem.batches) > 1:
        stable = 2 / batch_curvature(problem.objective, problem.X, min(problem.batches))
        text = f"For these data every rate up to {stable:.6g} is stable for every batch; {largest:.6g} was used."
        return text if stop is Stop.DIVERGED else ""
    stable = problem.spectrum.largest_stable_rate
    exact = isinstance(problem.objective, LinearModel) and problem.objective.row_loss.least_squares
    known = f"the largest stable rate is {stable:.6g}" if exact else f"every rate up to {stable:.6g} is stable"
    text = f"For these data {known}; {largest:.6g} was used."
    return text if stop is Stop.DIVERGED or (exact and smallest > stable) else ""
