"""Judge whether a backend computes the right thing: the one referee of compare, bench, doctor and the lesson.

No tolerance can judge: at the minimum three correct float32 gradients differ by several times their own size. So every
difference is divided by the largest one that rounding explains (`Limit`), in the loss and in every component of the
gradient, at several points and along whole descents. A ratio of at most 1 means agreement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdbackends.backends import Backend
from gdbackends.comparison.trajectory import TrajectoryCheck, curvature, path_bounds, run_trajectory
from gdbackends.descent import Problem, learning_rates
from gdbackends.descent.stopping import kinked
from gdbackends.errors import InputError
from gdbackends.objectives import Array
from gdbackends.rounding import Evaluation, Limit, Values, evaluate, exact_value_and_grad, unit_roundoff

_STEPS = 300
_ELEMENTS = 4_000_000
"""Largest numbers of steps, and of elements of X read, in the descents of `formula_ratio`; two steps at least."""


@dataclass(frozen=True, eq=False)
class ErrorBound:
    """How far two evaluations of one objective on the same data may differ, at each of several points.

    Attributes:
        evaluations: one for each point.
        uninformative: True if agreement would mean nothing: the sums are too long for this precision (n u >= 0.1), or
            the bounds exceed a tenth of a component.
    """

    evaluations: tuple[Evaluation, ...]
    uninformative: bool

    def ratio(self, a: Values, b: Values, rounded: int = 2) -> float:
        """Return the largest difference over what rounding allows: at most 1 for agreement, infinite for NaN.

        Args:
            a: the values of one backend.
            b: the values of another backend, or the exact ones.
            rounded: how many of the two are rounded: 1 when b is exact.
        """
        limit = Limit(np.array([rounded * np.append(at.gradient_bound, at.loss_bound) for at in self.evaluations]))
        return limit.ratio(*(np.column_stack((v.gradients, v.losses)) for v in (a, b)))

    def sensitivity(self, rounded: int = 2) -> float:
        """Return the smallest relative error that would show in whichever component hides it best.

        A component whose gradient is exactly 0 at every point (from a column of zeros) hides none.
        """
        limit = Limit(rounded * np.array([at.gradient_bound for at in self.evaluations]))
        return limit.sensitivity(np.array([at.gradient for at in self.evaluations]))


def error_bound(problem: Problem, points: Array, dtype: str) -> ErrorBound:
    """Return the error bound for evaluations of the problem in `dtype`.

    Raises:
        InputError: the loss or a gradient at a point is outside the range of the dtype.
    """
    with np.errstate(all="ignore"):
        evaluations = tuple(evaluate(problem.objective, point, problem.X, problem.y, dtype) for point in points)
    largest = float(np.max([max(at.loss * problem.y.size, np.abs(at.gradient).max()) for at in evaluations]))
    if not largest <= float(np.finfo(dtype).max):
        raise InputError(f"the cost of these data exceeds the range of {dtype}; divide them by a constant")
    bound = ErrorBound(evaluations, uninformative=problem.y.size * unit_roundoff(dtype) >= 0.1)
    return replace(bound, uninformative=bound.uninformative or not bound.sensitivity() <= 0.1)


def gradient_ratio(a: Array, b: Array, bound: Array) -> float:
    """Return the largest difference of two gradients over what rounding allows; `bound` holds for each."""
    return Limit(2 * bound).ratio(a, b)


def probe_points(problem: Problem, minimum: Array, count: int = 3) -> Array:
    """Return points (count + 2, d + 1) in the problem's dtype: the start, random points, and the minimum.

    The random points have the magnitude of the minimum. All but the first predict for the mean row what the minimum
    predicts. Otherwise all residuals may have one sign, and a clipped derivative (absolute error, Huber) would be
    equal in all rows, so that centred features would not affect the gradient.

    Args:
        problem: the problem.
        minimum: (d + 1,), the minimizer.
        count: the number of random points.
    """
    magnitude = np.abs(minimum)
    magnitude[magnitude == 0] = magnitude.max() or 1.0
    random = np.random.default_rng(problem.seed).normal(size=(count, minimum.size)) * magnitude
    mean = problem.X[:, : minimum.size - 1].mean(0, dtype=np.float64)
    random[1:, -1] = minimum[-1] - (random[1:, :-1] - minimum[:-1]) @ mean
    return np.concatenate((problem.theta0[None], random, minimum[None])).astype(problem.backend.dtype)


def values(backend: Backend, problem: Problem, points: Array) -> Values:
    """Evaluate the problem's objective on a backend, in that backend's dtype, at points given as NumPy arrays."""
    value_and_grad = backend.value_and_grad(problem.objective)
    data = backend.asarray(problem.X), backend.asarray(problem.y)
    with np.errstate(all="ignore"):
        pairs = [[backend.to_numpy(a) for a in value_and_grad(backend.asarray(point), *data)] for point in points]
    return Values(*(np.array(column, np.float64) for column in zip(*pairs, strict=True)))


def exact_values(problem: Problem, points: Array) -> Values:
    """Evaluate exactly, and round the results to the nearest float64 numbers."""
    pairs = [exact_value_and_grad(problem.objective, point, problem.X, problem.y) for point in points]
    return Values(np.array([float(f) for f, _ in pairs]), np.array([[float(g) for g in row] for _, row in pairs]))


def formula_ratio(problem: Problem, wide: Backend) -> tuple[float, str]:
    """Compare a backend with the closed formula in float64.

    Its loss, alone and with the gradient, is compared at two points, and so is every step of two short descents, one
    that records its path and one that does not.

    Args:
        problem: the problem on the backend, of a bundled objective.
        wide: the same backend in float64, used where agreement in the problem's dtype would mean nothing.

    Returns:
        The largest difference over what rounding allows (at most 1 for agreement), and the quantity that has it.
    """
    with np.errstate(all="ignore"):
        points, backend = _two_points(problem), problem.backend
        bound, in_float64 = (error_bound(problem, points, dtype) for dtype in (backend.dtype, "float64"))
        at = in_float64.evaluations
        reference = Values(np.array([e.loss for e in at]), np.array([e.gradient for e in at]))
        ratios = {"gradient": bound.ratio(values(backend, problem, points), reference)}
        ratios["loss alone"] = _loss_ratio(problem, points, bound, reference)
        if bound.uninformative:
            ratios["gradient in float64"] = in_float64.ratio(values(wide, problem, points), reference)
        ratios["descent"] = _descent_ratio(problem)
    worst = max(ratios, key=lambda name: ratios[name])
    return ratios[worst], worst


def _random_point(problem: Problem) -> Array:
    size = problem.theta0.size
    generator: Any = np.random.default_rng(problem.seed)
    return generator.normal(scale=size**-0.5, size=size).astype(problem.backend.dtype)


def _two_points(problem: Problem) -> Array:
    """Return the start and a random point, (2, d + 1), in the problem's dtype."""
    return np.stack((problem.theta0, _random_point(problem)))


def _loss_ratio(problem: Problem, points: Array, bound: ErrorBound, reference: Values) -> float:
    """Judge the loss of a backend that computes it without the gradient; return 0 if the backend cannot."""
    backend = problem.backend
    value: Any = getattr(backend, "value", None)
    if value is None:
        return 0.0
    alone = value(problem.objective)
    losses = [backend.to_numpy(alone(backend.asarray(point), *problem.data)) for point in points]
    return bound.ratio(Values(np.array(losses, np.float64), reference.gradients), reference)


def _descent_ratio(problem: Problem) -> float:
    """Judge two short descents by the closed formula at their own parameters."""
    moved = replace(problem, theta0=_random_point(problem))
    largest = curvature(moved, None)
    steps = max(2, min(_STEPS, _ELEMENTS // problem.X.size))
    rates = learning_rates(moved, "auto" if kinked(moved.objective) else 0.2 / largest, steps)
    bounds = path_bounds(moved, rates, largest)
    check = TrajectoryCheck(rates, np.append(bounds, bounds[-1]), np.inf, largest)
    return check.step_ratio(moved, run_trajectory(moved, rates))
