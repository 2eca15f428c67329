"""The call that repeats a check, where it can be written in one line that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, cast

import numpy as np

from gdbackends.objectives import Array

_LONGEST = 400
"""Number of characters above which a call is no longer one line."""


def call_text(name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return a call in one line that runs in the module of its functions; "" if there is none.

    Args:
        name: the name of the called function.
        given: its arguments by name; `data` is a tuple of arguments.
        defaults: the default values of its keywords, which are not written.
    """
    words = [_text(value) for argument, value in given.items() if argument not in (*defaults, "data")]
    words += map(_text, given["data"])
    for argument, default in defaults.items():
        value = given[argument]
        if value is default or (type(value) is type(default) and value == default):
            continue
        holds_arrays = argument == "params" and any(isinstance(v, np.ndarray) for v in value.values())
        text = None if holds_arrays else _text(value)  # a list in their place would be another argument
        words.append(None if text is None else f"{argument}={text}")
    known = [word for word in words if word is not None]
    call = f"{name}({', '.join(known)})"
    return call if len(known) == len(words) and len(call) <= _LONGEST else ""


def _text(value: Any) -> str | None:
    """Return an expression for a value; None if there is no short one."""
    if value is None or isinstance(value, (bool, int, str)):
        return repr(value)
    if isinstance(value, float):
        return repr(float(value)) if isfinite(value) else None
    if isinstance(value, np.ndarray):
        array = cast(Array, value)
        return _text(array.tolist()) if array.dtype.kind in "fiub" and array.size <= _LONGEST else None
    if type(value) is dict:
        entries = cast("dict[Any, Any]", value)
        texts = [(repr(key), _text(entry)) for key, entry in entries.items() if isinstance(key, str)]
        if len(texts) < len(entries) or any(text is None for _, text in texts):
            return None
        return "{" + ", ".join(f"{key}: {text}" for key, text in texts) + "}"
    if type(value) in (list, tuple):
        items = cast("list[Any]", value)
        if len(items) > _LONGEST or any(isinstance(item, np.ndarray) for item in items):  # not one array
            return None
        texts = [text for text in map(_text, items) if text is not None]
        ends = "[]" if type(value) is list else "()"
        comma = "," if ends == "()" and len(items) == 1 else ""
        return f"{ends[0]}{', '.join(texts)}{comma}{ends[1]}" if len(texts) == len(items) else None
    return _name_of(value) if callable(value) else None


def _name_of(function: Callable[..., Any]) -> str | None:
    """Return the name by which a function is known in its module; None if it has none."""
    name = getattr(function, "__name__", "")
    return name if getattr(function, "__globals__", {}).get(name) is function else None
