"""The points at which a gradient is checked: theta, and random points near it where the functions are defined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from gdbackends.errors import InputError, InputTypeError
from gdbackends.gradcheck.checked_function import AutodiffRunners, CheckedFunction, numpy_losses
from gdbackends.gradcheck.evidence import LARGE
from gdbackends.gradcheck.parameters import flatten
from gdbackends.objectives import Array
from gdbackends.rounding.limit import Values

_POINTS = 5
_FEW = 1
"""Number of random points above `LARGE` components, where each costs much."""
_IN_RANGE = 1e150
"""Bound on the loss at random points, unless it is larger at the start; beyond it another order might overflow."""
_SHRUNK = 12


def probe_points_near(
    checked: CheckedFunction,
    start: Array,
    runners: AutodiffRunners,
    seed: int,
    bounds: Any = None,
    points: Any = None,
    symmetric: bool | None = None,
) -> Array:
    """Return flat points (m, d): the start, and random points near it.

    A component keeps its sign and stays within a factor of 2 of its value, so that a parameter that must be positive
    does; a component that is 0 moves to either side. Where the loss or the gradient is not defined, the point moves
    closer to the start. A symmetric matrix stays symmetric.

    Args:
        checked: the function that is checked.
        start: (d,).
        runners: run the loss if NumPy cannot.
        seed: seed of the points.
        bounds: pairs (least, largest), one a component, None for no bound; or SciPy's Bounds.
        points: the points to use in place of random ones, each in the form of theta.
        symmetric: whether theta is a symmetric matrix; by default it is if it is equal to its transpose and not 0.

    Raises:
        InputError: the loss is not finite at the start, or nowhere near it.
    """
    if points is not None:
        given: Array = np.array([start, *(_flat(point, start.size, k) for k, point in enumerate(points))])
        defined = _defined(checked, given, runners)
        if not defined.all():
            raise InputError(f"the loss or the gradient is not defined at points[{int(np.argmin(defined)) - 1}]")
        return given
    least, largest = _limits(bounds, start)
    generator = np.random.default_rng(seed)
    count = _POINTS if start.size <= LARGE else _FEW
    scale = np.sqrt(np.square(start).mean()) or 1.0
    factors = 2.0 ** generator.uniform(-1, 1, size=(count, start.size)) - 1
    steps = np.where(start == 0, generator.normal(size=(count, start.size)) * scale, factors * start)
    if is_symmetric(start, checked.shape) if symmetric is None else symmetric:
        steps = symmetrised(steps, checked.shape)
    for _ in range(_SHRUNK):
        all_points = np.concatenate((start[None], np.clip(start + steps, least, largest)))
        outside = ~_defined(checked, all_points, runners)[1:]
        if not outside.any():
            return all_points
        steps[outside] *= -0.5  # to the other side of the boundary of a root or a logarithm
    raise InputError("the loss is not finite near the theta given; give one within its domain, bounds= or points=")


def is_symmetric(start: Array, shape: tuple[int, ...]) -> bool:
    """Return whether theta is a square matrix equal to its transpose, and not 0."""
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
        return False
    matrix = start.reshape(shape)
    return bool((matrix == matrix.T).all() and np.any(matrix))


def symmetrised(flat: Array, shape: tuple[int, ...]) -> Array:
    """Return flat matrices (m, d) as the means of each and its transpose."""
    matrices = flat.reshape(-1, *shape)
    return ((matrices + matrices.swapaxes(1, 2)) / 2).reshape(flat.shape)


def _defined(checked: CheckedFunction, points: Array, runners: AutodiffRunners) -> Array:
    """Return at which points, (m,), the loss is finite and the hand gradient does not raise."""
    losses = numpy_losses(checked, points)
    if losses is None:
        results = [runners.run(name, "float64")(points, checked.data) for name in runners.names]
        losses = next((values.losses for values in results if isinstance(values, Values)), np.zeros(1))
    if not np.isfinite(losses[0]):
        raise InputError(f"the loss is {losses[0]} at the theta given; give one where it is finite")
    largest = _IN_RANGE if abs(losses[0]) < _IN_RANGE else np.inf
    defined = np.broadcast_to((np.abs(losses) <= largest) & np.isfinite(losses), len(points)).copy()
    for k in np.flatnonzero(defined):
        try:
            checked.by_hand(points[k])
        except (Exception, SystemExit):  # outside its domain; at theta the error is reported later
            if k == 0:
                break
            defined[k] = False
    return defined


def _flat(point: Any, size: int, k: int) -> Array:
    flat, _ = flatten(point, f"points[{k}]")
    if flat.size != size:
        raise InputError(f"points[{k}] must have {size} components as theta has, got {flat.size}")
    return flat


def _limits(bounds: Any, start: Array) -> tuple[Array, Array]:
    """Return the least and the largest value of each component, (d,)."""
    if bounds is None:
        return np.full(start.size, -np.inf), np.full(start.size, np.inf)
    try:
        if hasattr(bounds, "lb"):  # scipy.optimize.Bounds
            pairs: Array = np.stack([np.broadcast_to(b, start.size) for b in (bounds.lb, bounds.ub)], axis=1)
        else:
            rows = list(cast("Sequence[Any]", bounds))
            ends = (-np.inf, np.inf)
            pairs = np.array([[e if v is None else v for v, e in zip(row, ends, strict=True)] for row in rows], float)
    except (TypeError, ValueError):
        raise InputTypeError(f"bounds must be pairs (least, largest), one a component, got {bounds!r}") from None
    if pairs.shape != (start.size, 2):
        raise InputError(f"bounds must be {start.size} pairs, one a component, got {len(pairs)}")
    outside = (start < pairs[:, 0]) | (start > pairs[:, 1])
    if outside.any():
        raise InputError(f"theta is outside its bounds in component {int(np.argmax(outside))}; move it inside")
    with np.errstate(invalid="ignore"):  # of infinite bounds
        inner = cast(
            Array, np.where(np.isfinite(pairs), pairs + 0.05 * (start[:, None] - pairs), pairs)
        )  # bounds may be open
    return inner[:, 0], inner[:, 1]
