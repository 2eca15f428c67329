"""A kink: where the derivatives from two sides differ however small the step, everything between them is right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gdbackends.gradcheck.checked_function import Subject, scalar_loss
from gdbackends.gradcheck.evidence import Cause
from gdbackends.gradcheck.finite_differences import one_sided
from gdbackends.objectives import Array

_LOOKED_AT = 50
"""Components at which one-sided derivatives are taken."""
_DIRECTIONS = 8


def at_a_kink(subject: Subject, points: Array, hand: Array, apart: Array, noise: float) -> Cause | None:
    """Return a cause if every difference lies at the first point, where the loss has a kink, and between its sides.

    A smooth loss may be steep: at a kink the jump does not shrink as the step does. And to lie between the sides in
    each component is not enough: along other directions too.

    Args:
        subject: what is checked.
        points: (m, d).
        hand: (m, d).
        apart: (m, d), the largest difference of any two gradients over what rounding allows.
        noise: how far a computed loss at the first point may be from the true one.
    """
    differing = np.flatnonzero(~(apart[0] <= 1))
    if not (apart[1:] <= 1).all() or differing.size > _LOOKED_AT or not np.isfinite(hand[0]).all():
        return None
    loss = scalar_loss(subject, points[0])
    if loss is None:
        return None
    scale = np.abs(points[1:] - points[0]).max(0)
    low = high = 0.0
    for j in differing:
        direction = np.zeros(points.shape[1])
        direction[j] = scale[j]
        sides = _sides(loss, points[0], direction, noise)
        if sides is None or not sides[0] - sides[2] <= hand[0] @ direction <= sides[1] + sides[2]:
            return None
        low, high = sides[0] / scale[j], sides[1] / scale[j]
    generator = np.random.default_rng(0)
    signs = generator.choice((-1.0, 1.0), size=(_DIRECTIONS, differing.size))
    for sign in (np.ones(differing.size), *signs):
        direction = np.zeros(points.shape[1])
        direction[differing] = sign * scale[differing]
        low_v, high_v, wide = _at(loss, points[0], direction, noise, 1e-6)
        if not low_v - wide <= hand[0] @ direction <= high_v + wide:
            return None
    text = f"the loss has a kink here: from {low:.6g} to {high:.6g} every derivative is right, and yours lies between"
    return Cause("kink", text, {"left": low, "right": high})


def _sides(
    loss: Callable[[Array], float], theta: Array, direction: Array, noise: float
) -> tuple[float, float, float] | None:
    """Return the derivatives from both sides, sorted, and how far they may be off; None if the jump shrinks away."""
    low, high, wide = _at(loss, theta, direction, noise, 1e-4)
    first = high - low
    if not first > 4 * wide:
        return None
    for h in 1e-4 / 64.0 ** np.arange(1, 6):
        finer = _at(loss, theta, direction, noise, float(h))
        if not finer[2] < first / 4:  # rounding hides what is to be seen
            break
        low, high, wide = finer
        if not high - low > first / 2:
            return None
    return low, high, wide


def _at(
    loss: Callable[[Array], float], theta: Array, direction: Array, noise: float, h: float
) -> tuple[float, float, float]:
    low, high = sorted(one_sided(loss, theta, direction, h))
    return low, high, 1e-6 * max(abs(low), abs(high)) + 8 * noise / h
