"""The referee: whether a backend computes the right thing, judged by what rounding allows.

Two evaluations A and B agree when |A - B| <= bound(A) + bound(B) in the loss and in every component of the gradient.
`compare` compares the backends with each other, or a single one with exact arithmetic. `judge_backend` compares one
backend with the float64 evaluation of the closed formula: its cost, alone and with its gradient, at two points, and
every step of two short descents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdbackends.backends import Backend, capabilities
from gdbackends.comparison.trajectory import TrajectoryCheck, curvature_bound, path_bounds, run_trajectory
from gdbackends.descent import TableProblem, learning_rates
from gdbackends.descent.stopping import nonsmooth
from gdbackends.errors import InputError
from gdbackends.objectives import Array
from gdbackends.rounding import Evaluation, Limit, Values, evaluate, exact_value_and_grad, unit_roundoff

_STEPS = 300
_ELEMENTS = 4_000_000
"""Most steps, and most elements of X read, of the descents that are judged; at least two steps."""


def probe_points(problem: TableProblem, minimum: Array, count: int = 3) -> Array:
    """Return points (count + 2, d + 1) in the problem's dtype: the start, `count` random points, and the minimum.

    The random points have the magnitude of the minimum. All but the first predict the mean row as the minimum does:
    otherwise every residual may have one sign, and derivatives that are clipped (absolute error, Huber) are alike in
    all rows, which centred features do not show.

    Args:
        problem: the problem.
        minimum: (d + 1,), the parameters of least cost.
        count: the number of random points.
    """
    magnitude = np.abs(minimum)
    magnitude[magnitude == 0] = magnitude.max() or 1.0
    random = np.random.default_rng(problem.seed).normal(size=(count, minimum.size)) * magnitude
    mean = problem.X[:, : minimum.size - 1].mean(0, dtype=np.float64)
    random[1:, -1] = minimum[-1] - (random[1:, :-1] - minimum[:-1]) @ mean
    return np.concatenate((problem.theta0[None], random, minimum[None])).astype(problem.backend.dtype)


def values(backend: Backend, problem: TableProblem, points: Array, data: tuple[Any, ...] | None = None) -> Values:
    """Evaluate the problem's objective on a backend, in that backend's dtype; the points are NumPy arrays.

    The data are those of the problem, unless they are given as the backend holds them.
    """
    value_and_grad = backend.value_and_grad(problem.objective)
    data = (backend.asarray(problem.X), backend.asarray(problem.y)) if data is None else data
    with np.errstate(all="ignore"):
        pairs = [[backend.to_numpy(a) for a in value_and_grad(backend.asarray(point), *data)] for point in points]
    return Values(*(np.array(column, np.float64) for column in zip(*pairs, strict=True)))


def exact_values(problem: TableProblem, points: Array) -> Values:
    """Evaluate exactly; the results are rounded to the nearest float64 numbers."""
    pairs = [exact_value_and_grad(problem.objective, point, problem.X, problem.y) for point in points]
    return Values(np.array([float(f) for f, _ in pairs]), np.array([[float(g) for g in row] for _, row in pairs]))


@dataclass(frozen=True, eq=False)
class ErrorBound:
    """How far apart two evaluations of one objective on the same data may lie, at each of several points.

    Attributes:
        evaluations: one for each point.
        blind: whether agreement means nothing: the sums are too long for the precision (n u >= 0.1), or the bounds
            exceed a tenth of a component.
    """

    evaluations: tuple[Evaluation, ...]
    blind: bool

    @property
    def reference(self) -> Values:
        """The float64 evaluations themselves."""
        at = self.evaluations
        return Values(np.array([e.loss for e in at]), np.array([e.gradient for e in at]))

    def ratio(self, a: Values, b: Values, rounded: int = 2) -> float:
        """Return the largest difference over what is allowed; at most 1 means agreement.

        Args:
            a: the values of one backend.
            b: those of another, or the exact ones.
            rounded: how many of the two are rounded: 1 if b is exact.
        """
        limit = Limit(np.array([rounded * np.append(at.gradient_bound, at.loss_bound) for at in self.evaluations]))
        return limit.ratio(*(np.column_stack((v.gradients, v.losses)) for v in (a, b)))

    def sensitivity(self, rounded: int = 2) -> float:
        """Return the smallest relative error that would be detected in any component."""
        limit = Limit(rounded * np.array([at.gradient_bound for at in self.evaluations]))
        return limit.sensitivity(self.reference.gradients)


def error_bound(problem: TableProblem, points: Array, dtype: str) -> ErrorBound:
    """Return the bound on evaluations of the problem in `dtype`.

    Raises:
        InputError: the cost or a gradient at a point is out of the range of the dtype.
    """
    with np.errstate(all="ignore"):
        evaluations = tuple(evaluate(problem.objective, point, problem.X, problem.y, dtype) for point in points)
    largest = float(np.max([max(at.loss * problem.y.size, np.abs(at.gradient).max()) for at in evaluations]))
    if not largest <= float(np.finfo(dtype).max):
        raise InputError(f"the cost of these data exceeds the range of {dtype}; divide them by a constant")
    bound = ErrorBound(evaluations, blind=problem.y.size * unit_roundoff(dtype) >= 0.1)
    return replace(bound, blind=bound.blind or not bound.sensitivity() <= 0.1)


def judge_backend(problem: TableProblem, in_float64: Backend) -> dict[str, float]:
    """Return the largest differences from the truth over what rounding allows, by what differs; 1 is agreement.

    Args:
        problem: as placed on the backend, with a bundled objective.
        in_float64: the same backend in float64, used where the sums are too long for the dtype to show anything.
    """
    with np.errstate(all="ignore"):
        points, dtype = _two_points(problem), problem.backend.dtype
        bound, wide = error_bound(problem, points, dtype), error_bound(problem, points, "float64")
        truth = wide.reference
        ratios = {
            "gradient": bound.ratio(values(problem.backend, problem, points), truth),
        } | _alone(problem, points, bound, truth)
        if bound.blind:
            ratios["gradient in float64"] = wide.ratio(values(in_float64, problem, points), truth)
        ratios["descent"] = _descent_ratio(problem)
    return ratios


def _two_points(problem: TableProblem) -> Array:
    """Return the start and a random point, (2, d + 1), in the problem's dtype."""
    return np.stack((problem.theta0, _random_point(problem)))


def _random_point(problem: TableProblem) -> Array:
    size = problem.theta0.size
    generator: Any = np.random.default_rng(problem.seed)
    point: Array = generator.normal(scale=size**-0.5, size=size)
    return point.astype(problem.backend.dtype)


def _alone(problem: TableProblem, points: Array, bound: ErrorBound, truth: Values) -> dict[str, float]:
    """Judge the loss computed without its gradient, and the gradient without the loss, if the backend has them."""
    backend, offered, ratios = problem.backend, capabilities(problem.backend), dict[str, float]()
    for name, function in (
        ("loss", offered.value(problem.objective)),
        ("gradient", offered.gradient(problem.objective)),
    ):
        if function is None:
            continue
        found = [backend.to_numpy(function(backend.asarray(point), *problem.data)) for point in points]
        values = np.array(found, np.float64)
        alone = Values(values, truth.gradients) if name == "loss" else Values(truth.losses, values)
        ratios[f"{name} alone"] = bound.ratio(alone, truth)
    return ratios


def _descent_ratio(problem: TableProblem) -> float:
    """Judge two short descents by the true losses and gradients at their own parameters."""
    moved = replace(problem, theta0=_random_point(problem))
    curvature = curvature_bound(moved, by_rows=True)
    steps = max(2, min(_STEPS, _ELEMENTS // problem.X.size))
    rates = learning_rates(moved, "auto" if nonsmooth(moved.objective) else 0.2 / curvature, steps)
    bounds = path_bounds(moved, rates, curvature)
    check = TrajectoryCheck(rates, np.append(bounds, bounds[-1]), np.inf, curvature)
    return check.losses_ratio(moved, run_trajectory(moved, rates))
