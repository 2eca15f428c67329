"""The eigenvalues of the Hessian, which determine the best rate, the largest stable rate, and the whole descent.

On a quadratic with eigenvalues l_min..l_max a step of gradient descent multiplies the error along each
eigenvector by 1 - rate l. The rate 2 / (l_min + l_max) shrinks the slowest error fastest; above 2 / l_max an error
grows (Nocedal and Wright, Numerical Optimization, section 3.3; Polyak, Introduction to Optimization, section 1.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np

from gdbackends.errors import InputError
from gdbackends.objectives import Array, LinearModel
from gdbackends.streaming import over_ranks, over_rows, row_blocks

_DENSE = 2000
"""Number of parameters up to which all eigenvalues are computed; above, only the largest, by power iteration."""


@runtime_checkable
class HasHessianBound(Protocol):
    """An objective that knows its Hessian, or a bound on it."""

    def curvature(self, V: Array, X: Array) -> Array:
        """Return H V, for V of shape (parameters, m)."""
        ...

    def row_curvature(self, X: Array) -> Array:
        """Return the largest eigenvalue of each row's own Hessian, (n,)."""
        ...


def has_hessian_bound(objective: object) -> TypeGuard[HasHessianBound]:
    """Return whether the objective has a bound on its Hessian that holds everywhere."""
    return isinstance(objective, HasHessianBound) and getattr(objective, "smooth", True)


@dataclass(frozen=True)
class Spectrum:
    """The extreme eigenvalues of the Hessian.

    Attributes:
        largest: l_max.
        smallest: the smallest eigenvalue that is not zero within rounding, or None if only l_max is known.
        singular: whether an eigenvalue is zero within rounding (more features than rows, collinear or constant
            columns), so that the minimum is not unique.
    """

    largest: float
    smallest: float | None
    singular: bool

    @property
    def best_rate(self) -> float:
        """The constant rate that converges fastest: 2 / (l_min + l_max), or 1 / l_max if l_min is unknown."""
        return 1 / self.largest if self.smallest is None else 2 / (self.smallest + self.largest)

    @property
    def largest_stable_rate(self) -> float:
        """The constant rate above which the fit diverges: 2 / l_max."""
        return 2 / self.largest

    def rate_within(self, steps: int) -> float:
        """Return the constant rate that leaves the least cost after so many steps, whatever the start.

        A mode of eigenvalue l adds l (1 - a l)^(2k) to the cost after k steps. If l_min is so small that k steps hardly
        move its mode, the best rate lets that of l_max oscillate just as long. This rate balances l_max against the
        slowest mode that still moves, l = 1 / (a (2k + 1)): |1 - a l_max|^(2k) = 1 / (e (2k + 1) a l_max), where
        a l_max is near 2.
        """
        balanced = (1 + (1 / (2 * e * (2 * steps + 1))) ** (1 / (2 * steps))) / self.largest
        return min(self.best_rate, balanced)

    @property
    def condition(self) -> float | None:
        """l_max / l_min over the eigenvalues that are not zero."""
        return None if self.smallest is None else self.largest / self.smallest


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A quadratic cost along the eigenvectors of its Hessian, where descent is a geometric sequence.

    With theta - minimum = sum c_i v_i the cost is least + sum l_i c_i^2 / 2, and k steps at any rate a multiply each
    c_i by (1 - a l_i)^k.

    Attributes:
        minimum: (p,), the parameters of least cost, the nearest to the start if there are several.
        least: the cost there.
        values: (p,), l_i, ascending.
        vectors: (p, p), whose columns are v_i.
    """

    minimum: Array
    least: float
    values: Array
    vectors: Array

    def shares(self, theta: Array) -> Array:
        """Return c_i, (p,), of theta (p,)."""
        return self.vectors.T @ (theta - self.minimum)

    def cost(self, theta: Array) -> float:
        """Return the cost at theta (p,)."""
        return self.least + float(self.values @ self.shares(theta) ** 2) / 2

    def gradient(self, theta: Array) -> Array:
        """Return the gradient at theta (p,), of its shape."""
        return self.vectors @ (self.values * self.shares(theta))

    def after(self, start: Array, rate: float, steps: int) -> Array:
        """Return theta (p,) after so many steps from the start."""
        return self.minimum + self.vectors @ (self.shares(start) * (1 - rate * self.values) ** steps)


def quadratic(objective: LinearModel, X: Array, y: Array, start: Array) -> Quadratic:
    """Return the cost of squared errors along its eigenvectors, in float64; start (p,) is as in `minimum`."""
    minimum = objective.minimum(X, y, start)
    values, vectors = np.linalg.eigh(_hessian(objective, np.asarray(X, np.float64), start.size))
    return Quadratic(minimum, float(objective.loss(minimum, X, y)), values, vectors)


def spectrum(objective: HasHessianBound, X: Array, parameters: int) -> Spectrum:
    """Return the spectrum of the objective's Hessian over X, in float64, for that many parameters.

    An eigenvalue of at most parameters * eps * l_max counts as zero, since rounding alone may produce it.
    """
    if parameters > _DENSE:
        return Spectrum(_power_iteration(objective, X, parameters), None, singular=X.shape[0] < parameters)
    eigenvalues = np.linalg.eigvalsh(_hessian(objective, X, parameters))
    largest = float(eigenvalues[-1])
    nonzero = eigenvalues[eigenvalues > parameters * np.finfo(np.float64).eps * largest]
    return Spectrum(largest, float(nonzero[0]), singular=nonzero.size < parameters)


def _hessian(objective: HasHessianBound, X: Array, parameters: int) -> Array:
    with np.errstate(all="ignore"):
        hessian = _product(objective, np.eye(parameters), X)
    if not np.isfinite(hessian).all():
        raise InputError("the squares of the features exceed the range of float64; standardise or divide them")
    return hessian


def batch_curvature(objective: HasHessianBound, X: Array, rows: int) -> float:
    """Return a bound on l_max of every batch of that many rows: the mean of the largest row curvatures.

    The Hessian of a batch is the mean of those of its rows, and the norm of a mean is at most the mean of the norms.
    """
    largest = np.zeros(0)
    for block, _ in row_blocks(X, None):
        largest = np.sort(np.append(largest, objective.row_curvature(np.asarray(block, np.float64))))[-rows:]
    every = over_ranks(X, np.concatenate((np.zeros(rows - largest.size), largest)))
    return float(np.sort(every, axis=None)[-rows:].mean())


def _product(objective: HasHessianBound, V: Array, X: Array) -> Array:
    """Return H V, which is a mean over rows like the objective."""
    return over_rows(lambda block, _: (objective.curvature(V, np.asarray(block, np.float64)),), X, None)[0]


def _power_iteration(objective: HasHessianBound, X: Array, parameters: int, steps: int = 200) -> float:
    """Return l_max, from below; a random start is not orthogonal to any eigenvector."""
    v = np.random.default_rng(0).normal(size=(parameters, 1))
    largest = 0.0
    for _ in range(steps):
        v = v / np.linalg.norm(v)
        image = _product(objective, v, X)
        previous, largest = largest, float(np.linalg.norm(image))
        if largest - previous <= 1e-6 * largest:
            break
        v = image
    return largest
