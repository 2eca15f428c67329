"""Causes that cannot be found by fitting constants: a kink, lost precision, or a function that is not a gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from gdbackends.gradcheck.checked_function import CheckedFunction, scalar_loss
from gdbackends.gradcheck.evidence import Cause, Evidence
from gdbackends.gradcheck.finite_differences import one_sided
from gdbackends.objectives import Array
from gdbackends.rounding import unit_roundoff

_DIFFERENTIATED = 8
"""Number of random components between which second derivatives are compared."""


def lost_precision(checked: CheckedFunction, e: Evidence) -> Cause | None:
    """Return a cause if digits are lost: the last digits of the arguments have no effect, or the error is not smooth.

    Either arguments rounded to a lower precision give the same gradient, to the last bit; or the error is within the
    rounding of that precision and not smooth in a quarter of the components. Without the second test a small smooth
    term would be taken for lost digits.
    """
    error = np.abs(e.hand - e.autodiff)
    if (error > e.allowed).any(1).mean() < 0.5:  # digits are lost at most points, not at one or two
        return None
    text = "digits are lost: the error is that of "
    for name in _BITS:  # the lowest first: arguments rounded to a higher precision give the same
        if name == "float32" and (digits := _digits(e.hand)) is not None:
            text = f"digits are lost: yours are rounded to {digits} digits"
            return Cause("precision", text, {"digits": float(digits)})
        data = tuple(_rounded(a, name) for a in checked.data)
        rounded = replace(checked, data=data)
        if np.array_equal(_hand(rounded, _rounded(e.points, name)), e.hand):
            return Cause("precision", text + name, {"error": float(error.max())})
    for name in ("float32", "float16"):
        if (error <= e.allowed * unit_roundoff(name) / unit_roundoff("float64")).all():
            rough = _rough(checked, e, 8 * unit_roundoff(name))[error > e.allowed].mean() > 0.25
            return Cause("precision", text + name, {"error": float(error.max())}) if rough else None
    return None


_STEPS = (2.0**-26, float(np.finfo(np.float64).eps) ** (1 / 3), *(10.0**-k for k in range(1, 11)))
"""The usual steps of finite differences: the roots of the precision, and powers of ten."""


def by_differences(checked: CheckedFunction, e: Evidence) -> Cause | None:
    """Return a cause if the hand gradient consists of differences of the loss, in the component that differs most."""
    loss = scalar_loss(checked, e.points[0])
    if loss is None:
        return None
    j = int((np.abs(e.hand - e.autodiff) / e.tolerance).max(0).argmax())
    if np.abs(e.hand[:, j] - e.autodiff[:, j]).max() > 0.1 * np.abs(e.autodiff[:, j]).max():
        return None  # a one-sided derivative at a kink, or a step so long that it is no approximation

    def quotient(k: int, j: int, up: float, down: float, h: float) -> tuple[float, float]:
        """Return the quotient, and the rounding in it."""
        above, below = e.points[k].copy(), e.points[k].copy()
        above[j], below[j] = above[j] + up * h, below[j] - down * h
        sides = loss(above), loss(below)
        return (sides[0] - sides[1]) / ((up + down) * h), 2.0**-50 * max(map(abs, sides)) / h

    def explains(k: int, up: float, down: float, h: float) -> bool:
        error = abs(e.hand[k, j] - e.autodiff[k, j])
        return bool(error <= e.allowed[k, j] or abs(e.hand[k, j] - quotient(k, j, up, down, h)[0]) <= error / 10)

    def in_others(up: float, down: float, h: float) -> bool:
        """Return whether some other components are these quotients too, where an exact one would not be."""
        for i in [i for i in range(e.hand.shape[1]) if i != j][:2]:
            value, rounding = quotient(0, i, up, down, h)
            error = abs(e.hand[0, i] - e.autodiff[0, i])
            if not abs(e.hand[0, i] - value) <= error / 10 + e.allowed[0, i] + rounding:
                return False
        return True

    for h in _STEPS:
        for how, up, down in (("central", 1.0, 1.0), ("forward", 1.0, 0.0), ("backward", 0.0, 1.0)):
            if all(explains(k, up, down, h) for k in range(len(e.points))) and in_others(up, down, h):
                text = f"digits are lost: yours are {how} differences of the loss over steps of {h:.2g}"
                return Cause("precision", text, {"step": h})
    return None


def _rough(checked: CheckedFunction, e: Evidence, size: float) -> Array:
    """Return where the second difference h(t + s) - 2 h(t) + h(t - s) is about as large as the error, and not O(s^2).

    The steps are a few roundings of the lower precision, since numbers rounded to it do not move over smaller ones.
    """
    along = cast(Array, np.random.default_rng(0).normal(size=e.points.shape))
    bends = [
        np.abs(_hand(checked, e.points * (1 + s * along)) + _hand(checked, e.points * (1 - s * along)) - 2 * e.hand)
        for s in (size, size / 4)
    ]
    return (bends[1] > 0.1 * np.abs(e.hand - e.autodiff)) & (bends[1] > e.tolerance) & (bends[1] > bends[0] / 4)


_BITS = {"bfloat16": 8, "float16": 11, "TF32": 11, "float32": 24}
"""The significant bits of lower precisions."""


def _rounded(array: Array, name: str) -> Array:
    if array.dtype.kind != "f":
        return array
    with np.errstate(all="ignore"):
        if name in ("float16", "float32"):
            return array.astype(name).astype(np.float64)
        parts: Any = np.frexp(array)
        mantissa, exponent = parts
        whole = cast(Array, np.round(mantissa * 2.0 ** _BITS[name]))
        return whole * 2.0 ** (exponent - _BITS[name])


def _digits(hand: Array) -> int | None:
    """Return to how many decimal digits all numbers are rounded; None if they are not, or are whole."""
    if not np.isfinite(hand).all() or np.array_equal(hand, cast(Array, np.round(hand))):
        return None
    for digits in range(2, 14):
        if all(float(f"{value:.{digits - 1}e}") == value for value in hand.ravel()):
            return digits
    return None


def _hand(checked: CheckedFunction, points: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.array([np.asarray(checked.by_hand(point), np.float64).ravel() for point in points])


def not_a_gradient(checked: CheckedFunction, e: Evidence) -> Cause | None:
    """Return whether the function is a gradient at all: then its derivatives D_j h_i and D_i h_j are equal.

    They are compared entry by entry, since in a sum over directions the largest entry hides the others.
    """
    at: Array = e.points[1:3] if e.points.shape[1] > 1 else e.points[:0]
    worst = next((relative for theta in at if (relative := _asymmetry(checked, theta, e)) > 0), 0.0)
    if worst > 0:
        text = f"it is not the gradient of any function: its Jacobian is not symmetric, by {worst:.1g}"
        return Cause("not-a-gradient", text, {"asymmetry": worst})
    return Cause("different-function", "it is the gradient of a different function", {})


def _asymmetry(checked: CheckedFunction, theta: Array, e: Evidence) -> float:
    """Return the largest |J_ij - J_ji| / (|J_ij| + |J_ji|) among those that differ by more than their errors, or 0."""
    chosen = np.random.default_rng(0).permutation(theta.size)[:_DIFFERENTIATED]
    size = np.abs(theta[chosen])
    size[size == 0] = np.abs(theta).mean() or 1.0
    steps: Array = np.array([size * 8.0**-k for k in range(2, 11)])
    estimates: Array = np.array([_differences(checked, theta, chosen, step) for step in steps])
    errors: Array = np.abs(np.diff(estimates, axis=0)) + 8 * e.tolerance.max(0)[chosen][:, None] / steps[1:, None, :]
    which: Array = np.where(np.isnan(errors), np.inf, errors).argmin(0)[None]
    best, error = (np.take_along_axis(a, which, 0)[0] for a in (estimates[1:], errors))
    asymmetry, sure = np.abs(best - best.T), 4 * (error + error.T)
    with np.errstate(all="ignore"):
        relative: Array = np.where(asymmetry > sure, asymmetry / (np.abs(best) + np.abs(best.T)), 0.0)
    return float(np.nan_to_num(relative).max())


def _differences(checked: CheckedFunction, theta: Array, chosen: Array, step: Array) -> Array:
    """Return the Jacobian of some components of the hand gradient by central differences."""
    jacobian: Array = np.zeros((chosen.size, chosen.size))
    for column, (j, h) in enumerate(zip(chosen, step, strict=True)):
        up, down = theta.copy(), theta.copy()
        up[j], down[j] = theta[j] + h, theta[j] - h
        sides = _hand(checked, np.array([up, down]))[:, chosen]
        jacobian[:, column] = (sides[0] - sides[1]) / (up[j] - down[j])
    return jacobian


_LOOKED_AT = 50
"""Most components in which one-sided derivatives are computed."""
_DIRECTIONS = 8


def at_a_kink(checked: CheckedFunction, points: Array, hand: Array, ratios: Array, noise: float) -> Cause | None:
    """Return a cause if the gradients differ only at the first point, at a kink, and the hand gradient is between.

    At a kink the jump of the derivative does not shrink with the step, as it does for a steep smooth loss. The hand
    gradient must be between the one-sided derivatives in each component and along other directions too.

    Args:
        checked: the function that is checked.
        points: (m, d).
        hand: (m, d).
        ratios: (m, d), the largest difference of any two gradients over what rounding allows.
        noise: bound on the error of a computed loss at the first point.
    """
    differing = np.flatnonzero(~(ratios[0] <= 1))
    if not (ratios[1:] <= 1).all() or differing.size > _LOOKED_AT or not np.isfinite(hand[0]).all():
        return None
    loss = scalar_loss(checked, points[0])
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
    text = f"the loss has a kink here: from {low:.6g} to {high:.6g} every derivative is valid, and yours is one of them"
    return Cause("kink", text, {"left": low, "right": high})


def _sides(
    loss: Callable[[Array], float], theta: Array, direction: Array, noise: float
) -> tuple[float, float, float] | None:
    """Return the one-sided derivatives, sorted, and a bound on their errors; None if the jump shrinks with the step."""
    low, high, wide = _at(loss, theta, direction, noise, 1e-4)
    first = high - low
    if not first > 4 * wide:
        return None
    for h in 1e-4 / 64.0 ** np.arange(1, 6):
        finer = _at(loss, theta, direction, noise, float(h))
        if not finer[2] < first / 4:  # rounding hides the jump
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
