"""Derivatives by finite differences of the loss, without autodiff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gdbackends.objectives import Array


@dataclass(frozen=True)
class Derivative:
    """A directional derivative by finite differences.

    Attributes:
        value: the derivative.
        error: an estimate of its error, by truncation and rounding together.
        quadratic: whether the loss is quadratic along the line, within rounding, so that there is no truncation.
    """

    value: float
    error: float
    quadratic: bool


def derivative(loss: Callable[[Array], float], theta: Array, direction: Array, noise: float) -> Derivative:
    """Return the derivative of the loss along a direction, at a flat theta.

    The central difference of a quadratic is exact at every step, so the largest steps are tried first. Otherwise
    Richardson extrapolation (4 D(h) - D(2h)) / 3 is used over steps a factor 4 apart, and the estimate with the
    smallest error is returned.

    Args:
        loss: a function of a flat theta, in float64.
        theta: (d,).
        direction: (d,).
        noise: bound on the error of a computed loss.
    """
    best = Derivative(float("nan"), float("inf"), False)
    size = float(np.linalg.norm(theta)) / max(float(np.linalg.norm(direction)), 1e-300) or 1.0
    for h in size * 4.0 ** np.arange(0, -16, -1):
        central = [_central(loss, theta, direction, h), _central(loss, theta, direction, 2 * h)]
        if not np.isfinite(central).all():
            continue
        rounding = 2 * noise / h
        difference = abs(central[0] - central[1])
        if difference <= rounding:
            estimate = Derivative(central[0], rounding, True)
        else:
            finer = _central(loss, theta, direction, h / 2)
            coarse, fine = (4 * central[0] - central[1]) / 3, (4 * finer - central[0]) / 3
            estimate = Derivative(fine, abs(fine - coarse) + 4 * rounding, False)
        if estimate.error < best.error:
            best = estimate
        if best.quadratic and best.error <= 1e-12 * abs(best.value):
            break
    return best


def one_sided(loss: Callable[[Array], float], theta: Array, direction: Array, h: float) -> tuple[float, float]:
    """Return the derivatives from the left and from the right, each with an error of order h^2."""
    f0, right, left = (
        loss(theta),
        [loss(theta + k * h * direction) for k in (1, 2)],
        [loss(theta - k * h * direction) for k in (1, 2)],
    )
    return (3 * f0 - 4 * left[0] + left[1]) / (2 * h), (-3 * f0 + 4 * right[0] - right[1]) / (2 * h)


def _central(loss: Callable[[Array], float], theta: Array, direction: Array, h: float) -> float:
    """Return the central difference over the step that is really made in floating point."""
    up, down = theta + h * direction, theta - h * direction
    made = float((up - down) @ direction) / float(direction @ direction)
    return (loss(up) - loss(down)) / made
