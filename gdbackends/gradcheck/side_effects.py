"""Side effects of the hand gradient: changed arguments, remembered calls, and results that are not reproducible."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np

from gdbackends.errors import InputError, in_one_line
from gdbackends.gradcheck.checked_function import CheckedFunction, copied, of_the_user
from gdbackends.gradcheck.evidence import Cause
from gdbackends.objectives import Array


def hand_values(checked: CheckedFunction, points: Array, dtype: str = "float64") -> tuple[Array | None, Cause | None]:
    """Return the hand gradients at flat points, (m, d) float64, and what is wrong with the function itself.

    Two points are evaluated again at the end, since at a single one the gradient may be 0 whatever it remembers. The
    gradients are None if they do not have the shape of theta.

    Raises:
        InputError: the gradient raises, or returns no real numbers; the message says where.
    """
    kept: list[Any] = []
    values: list[Array] = []
    changed: str | None = None
    second = min(1, len(points) - 1)
    base = [a.astype(dtype, copy=False) if a.dtype.kind == "f" else a for a in checked.data]
    for point in (*points, points[second], points[0]):
        theta, data = point.astype(dtype).reshape(checked.shape), [a.copy() for a in base]
        before = (theta.copy(), *base)
        params = copied(checked.params)
        result = _call(checked, theta, data, params)
        kept.append(result)
        for name, value in checked.params.items():
            if isinstance(value, np.ndarray) and not _same_bits(value, params[name]):
                changed = f"params[{name!r}]"
        for k, (old, new) in enumerate(zip(before, (theta, *data), strict=True)):
            if not _same_bits(old, new):
                changed = "theta" if k == 0 else f"data[{k - 1}]"
        values.append(_numbers(result, checked.what))
    wrong = next((value.shape for value in values if value.shape != checked.shape), None)
    if wrong is not None:
        text = f"it has shape {wrong} where theta has {checked.shape}"
        return None, Cause("shape", text, {})
    hand = np.array([value.ravel() for value in values], np.float64)
    if changed is not None:
        return hand[:-2], Cause("mutates-input", f"the {checked.what} function changes {changed} in place", {})
    if not np.array_equal(hand[[second, 0]], hand[-2:], equal_nan=True):
        return hand[:-2], _unsteady(checked, points, dtype)
    if any(not np.array_equal(np.asarray(now), then, equal_nan=True) for now, then in zip(kept, values, strict=True)):
        return hand[:-2], Cause("stale", "a later call changes the result of an earlier one", {})
    return hand[:-2], None


def _unsteady(checked: CheckedFunction, points: Array, dtype: str) -> Cause:
    """Return whether the function remembers the previous call or is random."""
    again = [_numbers(checked.by_hand(points[-1], dtype), checked.what).ravel() for _ in range(3)]
    if np.array_equal(again[1], again[2], equal_nan=True):
        return Cause("stale", "its result at a theta changes after a call at another theta", {})
    return Cause("nondeterministic", "it returns different results at the same theta", {})


def _same_bits(old: Array, new: Array) -> bool:
    """Return whether two arrays of one shape hold the same bits, without copying large ones."""
    if not (old.flags.c_contiguous and new.flags.c_contiguous):
        return old.tobytes() == new.tobytes()
    return old.size == 0 or memoryview(old).cast("B") == memoryview(new).cast("B")


def _call(checked: CheckedFunction, theta: Array, data: list[Array], params: dict[str, Any]) -> Any:
    try:
        with np.errstate(all="ignore"):
            return checked.hand(theta, *data, **params)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # any error of the function under test
        frames = of_the_user(error)
        where = f", in {frames[-1].name}, line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
        text = in_one_line(error)
        raised = InputError(f"the {checked.what} raises {text}{where}; fix it first")
        raised.add_note("".join(traceback.format_list(frames)).rstrip())
    raise raised from None  # the note shows the user's frames


def _numbers(result: Any, what: str) -> Array:
    try:
        array = np.array(result)
    except Exception as error:  # any error of the object's own conversion
        raise InputError(f"the {what} cannot be made a NumPy array: {' '.join(str(error).split())[:150]}") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"the {what} must be real numbers, got {type(result).__name__} of dtype {array.dtype}")
    return array
