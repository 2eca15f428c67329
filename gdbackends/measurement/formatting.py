"""Formatting of results: durations as text, and trees that JSON can hold."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, cast

import numpy as np


def duration(seconds: float | None) -> str:
    """Return a duration with its unit and three digits.

    >>> duration(0.00012345), duration(None)
    ('123 us', '-')
    """
    if seconds is None:
        return "-"
    scale, unit = next(((s, u) for s, u in ((1, "s"), (1e-3, "ms"), (1e-6, "us")) if seconds >= s), (1e-9, "ns"))
    return f"{seconds / scale:.3g} {unit}"


def jsonable(value: Any) -> Any:
    """Return a tree that JSON can hold: non-finite numbers become None, and functions their repr."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in cast("list[Any]", value)]
    if callable(value):
        return repr(value)
    if isinstance(value, np.generic):
        return jsonable(value.item())
    return None if isinstance(value, float) and not isfinite(value) else value


def joined(names: Sequence[str]) -> str:
    """Return names as in "numpy, jax and torch"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
