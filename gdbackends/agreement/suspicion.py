"""What a difference may come from that no fit of constants tells: a kink, lost digits, or no gradient at all."""

from __future__ import annotations

import numpy as np

from gdbackends.agreement.evidence import Cause, Evidence
from gdbackends.agreement.subject import Subject, numpy_losses
from gdbackends.agreement.witness import one_sided
from gdbackends.objectives import Array
from gdbackends.rounding import unit_roundoff

_LOOKED_AT = 50
"""Components at which one-sided derivatives are taken."""


def at_a_kink(subject: Subject, points: Array, hand: Array, apart: Array, noise: float) -> Cause | None:
    """Return a cause if every difference lies at the first point, where the loss has a kink, and between its sides.

    Args:
        subject: what is checked.
        points: (m, d).
        hand: (m, d).
        apart: (m, d), the largest difference of any two gradients over what rounding allows.
        noise: how far a computed loss at the first point may be from the true one.
    """
    differing = np.flatnonzero(~(apart[0] <= 1))
    if not (apart[1:] <= 1).all() or differing.size > _LOOKED_AT or numpy_losses(subject, points[:1]) is None:
        return None

    def loss(theta: Array) -> float:
        found = numpy_losses(subject, theta[None])
        return float("nan") if found is None else float(found[0])

    low = high = 0.0
    for j in differing:
        direction = np.zeros(points.shape[1])
        direction[j] = 1.0
        h = 1e-5 * max(1.0, abs(float(points[0, j])))
        low, high = sorted(one_sided(loss, points[0], direction, h))
        wide = 1e-6 * max(abs(low), abs(high)) + 8 * noise / h
        if not (high - low > 4 * wide and low - wide <= hand[0, j] <= high + wide):
            return None
    text = f"the loss has a kink here: from {low:.6g} to {high:.6g} every derivative is right, and yours lies between"
    return Cause("kink", text, {"left": low, "right": high})


def lost_precision(subject: Subject, e: Evidence) -> Cause | None:
    """Return a cause if the error is within the rounding of a lower precision, and jumps where theta hardly moves.

    Without the second test a small smooth term is taken for lost digits.
    """
    error = np.abs(e.hand - e.right)
    for name in ("float32", "float16"):
        wider = e.allowed * unit_roundoff(name) / unit_roundoff("float64")
        if not (error <= wider).all():
            continue
        moved = e.points * (1 + 1e-9)
        again = np.array([np.asarray(subject.by_hand(point), np.float64).ravel() for point in moved])
        change = np.abs(again - e.hand)
        smooth = np.abs(e.right) * 1e-8 + e.allowed
        return (
            Cause("precision", f"digits are lost: the error is that of {name}", {"error": float(error.max())})
            if _rough(change, smooth, error)
            else None
        )
    return None


def _rough(change: Array, smooth: Array, error: Array) -> bool:
    """Say whether the gradient moved by about its error, where a smooth one hardly moves."""
    return bool((change > 10 * smooth).any() and change.max() > 1e-3 * error.max())


def not_a_gradient(subject: Subject, e: Evidence) -> Cause | None:
    """Say whether the function is the gradient of anything: then its derivative is symmetric, D_v h . u = D_u h . v."""
    d = e.points.shape[1]
    if d < 2:
        return Cause("different-function", "it is the derivative of a different function", {})
    generator, theta = np.random.default_rng(0), e.points[1]
    size = np.abs(theta) + (np.abs(theta).mean() or 1.0)
    asymmetry: list[float] = []
    for _ in range(3):
        u, v = generator.normal(size=(2, d)) * size
        along = [_slope(subject, theta, a) for a in (u, v)]
        first, second = float(along[1] @ u), float(along[0] @ v)
        largest = float(np.abs(along[1]) @ np.abs(u)) + float(np.abs(along[0]) @ np.abs(v))
        asymmetry.append(abs(first - second) / (largest or 1.0))
    if max(asymmetry) > 1e-5:
        text = f"it is the gradient of no function: its second derivatives are not symmetric, by {max(asymmetry):.1g}"
        return Cause("not-a-gradient", text, {"asymmetry": max(asymmetry)})
    return Cause("different-function", "it is the gradient of a different function", {})


def _slope(subject: Subject, theta: Array, direction: Array, h: float = 1e-4) -> Array:
    up, down = (np.asarray(subject.by_hand(theta + s * h * direction), np.float64).ravel() for s in (1, -1))
    return (up - down) / (2 * h)
