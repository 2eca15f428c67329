"""Derivatives by differences of a function's own values, with an estimate of their error; no autodiff is needed.

Ridders' method (C. J. F. Ridders, Advances in Engineering Software 4, 1982): central differences over steps that fall
by a factor of 4, extrapolated to step 0 by Neville's scheme; the error is estimated from the neighbours in the scheme.
The noise of the function's values is measured as by J. J. More and S. M. Wild (SIAM J. Sci. Comput. 33, 2011).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial, sqrt
from typing import Any, cast

import numpy as np

from gdbackends.objectives import Array

_LEVELS = 13
_ORDER = 5
_U = float(np.finfo(np.float64).eps) / 2


@dataclass(frozen=True, eq=False)
class Derivative:
    """A directional derivative by differences.

    Attributes:
        value: the derivative, of the shape of the function's values.
        error: an estimate of its error, by truncation and rounding together; infinite where nothing is known.
        quadratic: whether the function is quadratic along the line, within rounding, so that there is no truncation.
    """

    value: Any
    error: Any
    quadratic: bool


def derivative(function: Callable[[Array], Any], theta: Array, direction: Array, noise: Any = 0.0) -> Derivative:
    """Return the derivative of a function along a direction, at a flat theta.

    The first step is half of the direction, which should be as long as theta is large. Each estimate must agree with
    those over smaller steps, which rounding blurs, but which no kink or edge within a large step can mislead.

    Args:
        function: a function of a flat theta, in float64, that returns a number or an array; NaN or infinity where it
            is not defined.
        theta: (d,).
        direction: (d,).
        noise: the error of a computed value, beyond one rounding.
    """
    row: list[Any] = []
    candidates: list[tuple[Any, Any]] = []
    least: Any = np.inf
    quadratic, blurred = False, 0
    squared = float(direction @ direction)
    for level in range(_LEVELS):
        h = 0.5 * 4.0**-level  # a component keeps its sign
        up, down = theta + h * direction, theta - h * direction
        made = float((up - down) @ direction) / squared  # the step that is really made in floating point
        above, below = function(up), function(down)
        central = (above - below) / made
        if not np.isfinite(central).all():
            row = []
            continue
        rounding = 2 * (noise + _U * np.maximum(np.abs(above), np.abs(below))) / made
        scheme = [central]
        for j, coarser in enumerate(row[:_ORDER]):
            scheme.append(scheme[j] + (scheme[j] - coarser) / (16.0 ** (j + 1) - 1))
        if len(scheme) > 1:
            if len(scheme) == 2:
                quadratic = bool((np.abs(central - row[0]) <= rounding).all())
            value, error = scheme[1], cast(Any, np.full(np.shape(central), np.inf))
            for j in range(1, len(scheme)):
                neighbours = np.maximum(np.abs(scheme[j] - scheme[j - 1]), np.abs(scheme[j] - row[j - 1]))
                value, error = cast(Any, np.where(neighbours < error, scheme[j], value)), np.minimum(neighbours, error)
            candidates.append((value, error + 1.2 * rounding))
            blurred = blurred + 1 if (rounding > least).all() else 0
            least = np.minimum(least, candidates[-1][1])
        row = scheme
        if blurred >= 2 and len(candidates) >= 4:
            break
    if not candidates:
        nothing = np.full(np.shape(function(theta)), np.nan)
        return Derivative(nothing, np.full(nothing.shape, np.inf), False)
    value, error = candidates.pop()
    consistent: Any = np.ones(np.shape(value), bool)
    while candidates:
        larger, its_error = candidates.pop()
        consistent &= np.abs(larger - value) <= 4 * (error + its_error)
        better = consistent & (its_error < error)
        value = cast(Any, np.where(better, larger, value))
        error = cast(Any, np.where(better, its_error, error))
    return Derivative(value, error, quadratic)


def noise_of(function: Callable[[Array], Any], theta: Array, direction: Array, step: float = 1e-6) -> Any:
    """Return the standard deviation of the errors in a function's values near a flat theta.

    High differences over tiny steps remove whatever is smooth; what remains is noise. 0 if the function is not defined
    there. The default step also shows the noise of code that computes in float32.
    """
    values = np.array([function(theta + k * step * direction) for k in range(-4, 5)], np.float64)
    if not np.isfinite(values).all():
        return np.zeros(values.shape[1:])
    found: list[Any] = [
        sqrt(factorial(k) ** 2 / factorial(2 * k)) * np.sqrt(np.square(np.diff(values, k, axis=0)).mean(0))
        for k in (4, 5, 6)
    ]
    return np.max(np.array(found), axis=0)


def direction_of(theta: Array, chosen: int | None = None, generator: np.random.Generator | None = None) -> Array:
    """Return a direction as long as theta is large: along one component, or random."""
    size: Array = np.abs(theta)
    size[size == 0] = sqrt(float(np.square(theta).mean())) or 1.0
    if chosen is None:
        return cast(Array, (generator or np.random.default_rng(0)).uniform(-1, 1, size=theta.size)) * size
    along: Array = np.zeros(theta.size)
    along[chosen] = size[chosen]
    return along


def one_sided(loss: Callable[[Array], float], theta: Array, direction: Array, h: float) -> tuple[float, float]:
    """Return the derivatives from the left and from the right, each with an error of order h^2."""
    f0, right, left = (
        loss(theta),
        [loss(theta + k * h * direction) for k in (1, 2)],
        [loss(theta - k * h * direction) for k in (1, 2)],
    )
    return (3 * f0 - 4 * left[0] + left[1]) / (2 * h), (-3 * f0 + 4 * right[0] - right[1]) / (2 * h)
