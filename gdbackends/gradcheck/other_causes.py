"""What a difference may come from that no fit of constants tells: lost digits, or no gradient at all."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from gdbackends.gradcheck.checked_function import Subject, scalar_loss
from gdbackends.gradcheck.evidence import Cause, Evidence
from gdbackends.objectives import Array
from gdbackends.rounding import unit_roundoff

_DIFFERENTIATED = 8
"""Components, at random, between which second derivatives are compared."""


def lost_precision(subject: Subject, e: Evidence) -> Cause | None:
    """Return a cause if digits are lost: the last ones of the arguments make no difference, or the error jumps.

    Arguments rounded to the lower precision then give the same answer, to the last bit; or the error is within the
    rounding of that precision and rough in a quarter of the components: without the second test a small smooth term is
    taken for lost digits.
    """
    error = np.abs(e.hand - e.right)
    if (error > e.allowed).any(1).mean() < 0.5:  # digits are lost everywhere, not at a point or two
        return None
    text = "digits are lost: the error is that of "
    for name in ("float32", "float16"):
        data = tuple(_rounded(a, name) for a in subject.data)
        rounded = replace(subject, data=data)
        if np.array_equal(_hand(rounded, _rounded(e.points, name)), e.hand):
            return Cause("precision", text + name, {"error": float(error.max())})
        if (error <= e.allowed * unit_roundoff(name) / unit_roundoff("float64")).all():
            rough = _rough(subject, e, 8 * unit_roundoff(name))[error > e.allowed].mean() > 0.25
            return Cause("precision", text + name, {"error": float(error.max())}) if rough else None
    return None


_STEPS = (2.0**-26, float(np.finfo(np.float64).eps) ** (1 / 3), *(10.0**-k for k in range(1, 11)))
"""By which derivatives are usually estimated: the roots of the precision, and powers of ten."""


def by_differences(subject: Subject, e: Evidence) -> Cause | None:
    """Return a cause if yours are the differences of the loss over a short step, where they differ most."""
    loss = scalar_loss(subject, e.points[0])
    if loss is None:
        return None
    j = int((np.abs(e.hand - e.right) / e.tolerance).max(0).argmax())

    def explains(k: int, up: float, down: float, h: float) -> bool:
        ahead, behind = e.points[k].copy(), e.points[k].copy()
        ahead[j], behind[j] = ahead[j] + up * h, behind[j] - down * h
        quotient = (loss(ahead) - loss(behind)) / ((up + down) * h)
        error = abs(e.hand[k, j] - e.right[k, j])
        return bool(error <= e.allowed[k, j] or abs(e.hand[k, j] - quotient) <= error / 10)

    for h in _STEPS:
        for how, up, down in (("central", 1.0, 1.0), ("forward", 1.0, 0.0), ("backward", 0.0, 1.0)):
            if all(explains(k, up, down, h) for k in range(len(e.points))):
                text = f"digits are lost: yours are {how} differences of the loss over steps of {h:.2g}"
                return Cause("precision", text, {"step": h})
    return None


def _rough(subject: Subject, e: Evidence, size: float) -> Array:
    """Say where the bend h(t + s) - 2 h(t) + h(t - s) is about as large as the error, and does not fall like s^2.

    The steps are a few roundings of the lower precision: over smaller ones, numbers rounded to it do not move at all.
    """
    along = cast(Array, np.random.default_rng(0).normal(size=e.points.shape))
    bends = [
        np.abs(_hand(subject, e.points * (1 + s * along)) + _hand(subject, e.points * (1 - s * along)) - 2 * e.hand)
        for s in (size, size / 4)
    ]
    return (bends[1] > 0.1 * np.abs(e.hand - e.right)) & (bends[1] > e.tolerance) & (bends[1] > bends[0] / 4)


def _rounded(array: Array, name: str) -> Array:
    with np.errstate(all="ignore"):
        return array.astype(name).astype(np.float64) if array.dtype.kind == "f" else array


def _hand(subject: Subject, points: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.array([np.asarray(subject.by_hand(point), np.float64).ravel() for point in points])


def not_a_gradient(subject: Subject, e: Evidence) -> Cause | None:
    """Say whether the function is the gradient of anything: then its derivatives D_j h_i and D_i h_j are the same.

    Entry by entry, as in a sum over directions the largest entry hides the others.
    """
    at: Array = e.points[1:3] if e.points.shape[1] > 1 else e.points[:0]
    worst = next((found for theta in at if (found := _asymmetry(subject, theta, e)) > 0), 0.0)
    if worst > 0:
        text = f"it is the gradient of no function: its second derivatives are not symmetric, by {worst:.1g}"
        return Cause("not-a-gradient", text, {"asymmetry": worst})
    return Cause("different-function", "it is the gradient of a different function", {})


def _asymmetry(subject: Subject, theta: Array, e: Evidence) -> float:
    """Return the largest |J_ij - J_ji| / (|J_ij| + |J_ji|) of those that differ by more than their errors, or 0."""
    chosen = np.random.default_rng(0).permutation(theta.size)[:_DIFFERENTIATED]
    size = np.abs(theta[chosen])
    size[size == 0] = np.abs(theta).mean() or 1.0
    steps: Array = np.array([size * 8.0**-k for k in range(2, 11)])
    estimates: Array = np.array([_differences(subject, theta, chosen, step) for step in steps])
    errors: Array = np.abs(np.diff(estimates, axis=0)) + 8 * e.tolerance.max(0)[chosen][:, None] / steps[1:, None, :]
    which: Array = np.where(np.isnan(errors), np.inf, errors).argmin(0)[None]
    best, error = (np.take_along_axis(a, which, 0)[0] for a in (estimates[1:], errors))
    apart, sure = np.abs(best - best.T), 4 * (error + error.T)
    share: Array = np.where(apart > sure, apart / (np.abs(best) + np.abs(best.T)), 0.0)
    return float(np.nan_to_num(share).max())


def _differences(subject: Subject, theta: Array, chosen: Array, step: Array) -> Array:
    """Return the derivatives of some components of the hand gradient with respect to them, by central differences."""
    found: Array = np.zeros((chosen.size, chosen.size))
    for column, (j, h) in enumerate(zip(chosen, step, strict=True)):
        up, down = theta.copy(), theta.copy()
        up[j], down[j] = theta[j] + h, theta[j] - h
        sides = _hand(subject, np.array([up, down]))[:, chosen]
        found[:, column] = (sides[0] - sides[1]) / (up[j] - down[j])
    return found
