"""What the loss's own values say: its derivatives by differences, which decide where gradients contradict each other.

Autodiff is the derivative of the loss's code. Where the code stops a gradient, has a wrong rule of its own, or computes
a part outside the framework, that is not the derivative of the loss's values, and the values decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gdbackends.errors import InputError
from gdbackends.gradcheck.checked_function import CheckedFunction, Runner, scalar_loss
from gdbackends.gradcheck.finite_differences import Derivative, derivative, direction_of, noise_of
from gdbackends.objectives import Array
from gdbackends.rounding import Values, unit_roundoff

MOST_COMPONENTS = 64
"""Number of components up to which each has a difference of its own; beyond it there is a sample, and directions."""
_FEW_COMPONENTS = 16
"""Number of components up to which all points are used."""
ERRORS = 8.0
"""How many times the estimated error of a difference is allowed."""
_TERMS = 1e4
"""Number of terms that a sum is taken to have where the data are inside objects."""


def scalar_values(checked: CheckedFunction, theta: Array, run: Runner | None = None) -> Callable[[Array], float] | None:
    """Return the loss as a function of a flat theta: in NumPy, or by a runner; None if neither can run it."""
    loss = scalar_loss(checked, theta)
    if loss is not None or run is None:
        return loss

    def value(theta: Array) -> float:
        result = run(theta[None], checked.data)
        return float(result.losses[0]) if isinstance(result, Values) else float("nan")

    return value


@dataclass(frozen=True, eq=False)
class Differences:
    """The gradient by differences of a loss.

    Attributes:
        loss: the loss, a function of a flat theta that returns NaN where it is not defined.
    """

    loss: Callable[[Array], float]

    def rounding(self, theta: Array) -> float:
        """Return the standard deviation of the rounding errors of a loss computed in float64 near a point."""
        with np.errstate(all="ignore"):
            return float(noise_of(self.loss, theta, direction_of(theta), step=1e-10))

    def along(self, theta: Array, direction: Array) -> Derivative:
        """Return the derivative along a direction."""
        with np.errstate(all="ignore"):
            noise = 2 * noise_of(self.loss, theta, direction)
            return derivative(self.loss, theta, direction, noise)

    def gradient(self, theta: Array, chosen: Array) -> tuple[Array, Array]:
        """Return the chosen components of the gradient at a point, and estimates of their errors."""
        with np.errstate(all="ignore"):
            noise = 2 * noise_of(self.loss, theta, direction_of(theta))
            directions = [direction_of(theta, int(j)) for j in chosen]
            found = [derivative(self.loss, theta, along, noise) for along in directions]
        lengths = np.array([along[j] for along, j in zip(directions, chosen, strict=True)])
        values = np.array([float(f.value) for f in found]) / lengths
        return values, np.array([float(f.error) for f in found]) / np.abs(lengths)


def run_by_differences(checked: CheckedFunction) -> Runner:
    """Return a runner that differentiates the loss by differences in NumPy."""

    def run(points: Array, data: tuple[Array, ...]) -> Values | str:
        subject = replace(checked, data=data)
        loss = scalar_loss(subject, points[0])
        return "NumPy cannot run the loss" if loss is None else values_and_bounds(subject, points, loss)[0]

    return run


def values_and_bounds(
    checked: CheckedFunction, points: Array, loss: Callable[[Array], float], dtype: str = "float64"
) -> tuple[Values, Values]:
    """Return losses and gradients by differences at flat points (m, d), and bounds on their errors.

    The bounds leave room for the rounding of a gradient in the dtype that is compared.
    """
    losses = np.array([loss(point) for point in points])
    pairs = [Differences(loss).gradient(point, np.arange(point.size)) for point in points]
    gradients, errors = (np.array(column) for column in zip(*pairs, strict=True))
    terms = max((float(a.size) for a in (*checked.data, points[0])), default=1.0)
    rounding = 16 * unit_roundoff(dtype) * max(terms, _TERMS) ** 0.5
    bounds = Values(rounding * np.abs(losses), ERRORS * errors + rounding * np.abs(gradients))
    return Values(losses, gradients), bounds


def points_for_differences(points: Array) -> Array:
    """Return the points at which differences are taken, so that many components do not take long."""
    return points if points.shape[1] <= _FEW_COMPONENTS else points[:3]


class Plane:
    """A function with many parameters, restricted to a sample of components and random directions around theta.

    Its parameters s are factors: theta = start + V (s - 1), so that s = 1 is the start and a component keeps its sign;
    its gradient is V^T times the gradient.

    Attributes:
        checked: the restricted function.
        sampled: the number of components in the sample.
        directions: the number of random directions.
    """

    def __init__(self, checked: CheckedFunction, start: Array, loss: Callable[[Array], float], seed: int) -> None:
        generator = np.random.default_rng(seed)
        self._start, self._loss, self._full = start, loss, checked
        self.sampled = 8 if start.size > 100 * MOST_COMPONENTS else MOST_COMPONENTS // 2
        self.directions = self.sampled // 2
        self._chosen = np.sort(generator.choice(start.size, self.sampled, replace=False))
        self._size = np.where(start == 0, np.sqrt(np.square(start).mean()) or 1.0, start)[self._chosen]
        self._random = [direction_of(start, generator=generator) / start.size**0.5 for _ in range(self.directions)]
        shape = (self.sampled + self.directions,)
        self.checked = CheckedFunction({"numpy": self._value}, self._hand, shape, checked.data, checked.params)

    def _value(self, s: Array, *_: Array, **__: object) -> float:
        return self.loss(s)

    def loss(self, s: Array) -> float:
        """Return the loss at a place of the plane."""
        return self._loss(self._place(s))

    def projected(self, gradients: Array) -> Array:
        """Return gradients (m, d) in the parameters of the plane, (m, k)."""
        columns = [gradients[:, self._chosen] * self._size, *((gradients @ v)[:, None] for v in self._random)]
        return np.concatenate(columns, axis=1)

    def names_of(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the parameters of the plane."""
        return (*(names[int(j)] for j in self._chosen), *(f"random direction {k + 1}" for k in range(self.directions)))

    def _place(self, s: Array) -> Array:
        theta = self._start.copy()
        for factor, v in zip(s[self.sampled :] - 1, self._random, strict=True):
            theta += factor * v
        theta[self._chosen] += (s[: self.sampled] - 1) * self._size
        return theta

    def _hand(self, s: Array, *data: Array, **params: object) -> Array:
        theta = self._place(s.astype(np.float64)).astype(s.dtype)
        gradient = np.asarray(self._full.hand(theta.reshape(self._full.shape), *data, **params))
        if gradient.shape != self._full.shape:
            raise InputError(f"the gradient has shape {gradient.shape}, it must have that of theta, {self._full.shape}")
        return self.projected(gradient.reshape(1, -1))[0]


def contradicted(
    differences: Differences, points: Array, gradients: Mapping[str, Array], allowed: Array, seed: int
) -> tuple[str, ...]:
    """Return the names of the gradients (m, d) that the loss's values contradict at two random points."""
    generator = np.random.default_rng(seed)
    tried = points[-2:] if len(points) > 2 else points[-1:]
    against = dict.fromkeys(gradients, 0)
    for k, theta in zip(range(len(points) - len(tried), len(points)), tried, strict=True):
        direction = direction_of(theta, generator=generator)
        estimate = differences.along(theta, direction)
        if not np.isfinite(estimate.error):
            continue
        wide = 2 * ERRORS * float(estimate.error) + float(allowed[k] @ np.abs(direction))
        for name, gradient in gradients.items():
            against[name] += not abs(float(gradient[k] @ direction) - float(estimate.value)) <= wide
    return tuple(name for name, count in against.items() if count == len(tried))
