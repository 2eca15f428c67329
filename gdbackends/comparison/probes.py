"""Gradients at several points, component by component, against the bound of their rounding.

No tolerance can judge: at the minimum three correct float32 gradients differ by several times their own size. Two
evaluations A and B agree when |A - B| <= bound(A) + bound(B) in the loss and in every component of the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gdbackends.backends import Backend
from gdbackends.descent import Problem
from gdbackends.errors import InputError
from gdbackends.objectives import Array
from gdbackends.rounding import Evaluation, Limit, Values, evaluate, exact_value_and_grad, unit_roundoff


def probe_points(problem: Problem, minimum: Array, count: int = 3) -> Array:
    """Return points (count + 2, d + 1) in the problem's dtype: the start, random ones as large as the minimum, it.

    All random ones but the first predict the mean row as the minimum does: else every residual may have one sign, and
    derivatives that are cut off (absolute error, Huber) are alike in all rows, of which centred features see nothing.

    Args:
        problem: the problem.
        minimum: (d + 1,), the parameters of least cost.
        count: the number of random ones.
    """
    magnitude = np.abs(minimum)
    magnitude[magnitude == 0] = magnitude.max() or 1.0
    random = np.random.default_rng(problem.seed).normal(size=(count, minimum.size)) * magnitude
    mean = problem.X[:, : minimum.size - 1].mean(0, dtype=np.float64)
    random[1:, -1] = minimum[-1] - (random[1:, :-1] - minimum[:-1]) @ mean
    return np.concatenate((problem.theta0[None], random, minimum[None])).astype(problem.backend.dtype)


def values(backend: Backend, problem: Problem, points: Array) -> Values:
    """Evaluate the problem's objective on a backend, in that backend's dtype; the points are NumPy arrays."""
    value_and_grad = backend.value_and_grad(problem.objective)
    data = backend.asarray(problem.X), backend.asarray(problem.y)
    with np.errstate(all="ignore"):
        pairs = [[backend.to_numpy(a) for a in value_and_grad(backend.asarray(point), *data)] for point in points]
    return Values(*(np.array(column, np.float64) for column in zip(*pairs, strict=True)))


def exact_values(problem: Problem, points: Array) -> Values:
    """Evaluate exactly; the results are then the nearest float64 numbers."""
    pairs = [exact_value_and_grad(problem.objective, point, problem.X, problem.y) for point in points]
    return Values(np.array([float(f) for f, _ in pairs]), np.array([[float(g) for g in row] for _, row in pairs]))


@dataclass(frozen=True, eq=False)
class Yardstick:
    """How far apart two evaluations of one objective on the same data may lie, at each of several points.

    Attributes:
        evaluations: one a point.
        blind: the sums are so long in this precision (n u >= 0.1), or the bounds so wide (above a tenth of a
            component), that agreement means nothing.
    """

    evaluations: tuple[Evaluation, ...]
    blind: bool

    def ratio(self, a: Values, b: Values, voters: int = 2) -> float:
        """Return the largest difference over what is allowed; at most 1 means agreement. NaN never agrees.

        Args:
            a: one backend's values.
            b: another's, or the exact ones.
            voters: how many of the two are rounded: 1 when b is exact.
        """
        limit = Limit(np.array([voters * np.append(at.gradient_bound, at.loss_bound) for at in self.evaluations]))
        return limit.ratio(*(np.column_stack((v.gradients, v.losses)) for v in (a, b)))

    def sensitivity(self, voters: int = 2) -> float:
        """Return the smallest relative error that would have been seen in whichever component hides it best.

        A component whose gradient is exactly 0 at every point (of a column of zeros) can hide none.
        """
        limit = Limit(voters * np.array([at.gradient_bound for at in self.evaluations]))
        return limit.sensitivity(np.array([at.gradient for at in self.evaluations]))


def yardstick(problem: Problem, points: Array, dtype: str) -> Yardstick:
    """Return the yardstick for evaluations of the problem in `dtype`.

    Raises:
        InputError: the cost or a gradient at a point is out of the range of the dtype.
    """
    with np.errstate(all="ignore"):
        evaluations = tuple(evaluate(problem.objective, point, problem.X, problem.y, dtype) for point in points)
    largest = float(np.max([max(at.loss * problem.y.size, np.abs(at.gradient).max()) for at in evaluations]))
    if not largest <= float(np.finfo(dtype).max):
        raise InputError(f"the cost of these data exceeds the range of {dtype}; divide them by a constant")
    ruler = Yardstick(evaluations, blind=problem.y.size * unit_roundoff(dtype) >= 0.1)
    return replace(ruler, blind=ruler.blind or not ruler.sensitivity() <= 0.1)
