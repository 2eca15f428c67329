"""A hundred charts in a page say most things a hundred times: here each is said once, and page.js puts it back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from gdbackends.pictures.document import Figure
from gdbackends.pictures.palette import as_variables
from gdbackends.pictures.result_dress import Drawn

_LEAST = 40
"""Characters that are worth a reference."""


def packed(figures: Sequence[Figure]) -> tuple[list[Figure], list[Any]]:
    """Return the figures with {"$": k} for whatever stands in several places, and the list of what k stands for."""
    specs = [[as_variables(panel.to_dict()) for panel in figure.panels] for figure in figures]
    counts: Counter[str] = Counter()
    for spec in (spec for panels in specs for spec in panels):
        _count(spec, counts)
    shared: dict[str, int] = {}
    said: list[Any] = []

    def pack(value: Any) -> Any:
        if not isinstance(value, (dict, list)):
            return value
        text = _text(value)
        several = counts[text] > 1 and len(text) >= _LEAST
        if not several:
            return _each(value, pack)
        if text not in shared:
            whole = _each(value, pack)
            shared[text] = len(said)
            said.append(whole)
        return {"$": shared[text]}

    done = [[Drawn({"packed": pack(spec)}) for spec in panels] for panels in specs]
    return [replace(figure, panels=tuple(each)) for figure, each in zip(figures, done, strict=True)], said


def _count(value: Any, counts: Counter[str]) -> None:
    """Count every dictionary and list by its text; what stands within one that was seen is counted once."""
    if isinstance(value, (dict, list)):
        text = _text(value)
        counts[text] += 1
        if counts[text] == 1:
            children = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
            for child in children:
                _count(child, counts)


def _each(value: Any, pack: Any) -> Any:
    if isinstance(value, dict):
        return {name: pack(child) for name, child in cast("dict[str, Any]", value).items()}
    return [pack(child) for child in cast("list[Any]", value)]


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
