"""A hundred charts in a page say most things a hundred times: here each is said once, and page.js puts it back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from gdbackends.pictures.document import Figure
from gdbackends.pictures.palette import as_variables
from gdbackends.pictures.results.theme import Drawn

_LEAST = 40
"""Characters that are worth a reference."""


def packed(figures: Sequence[Figure]) -> tuple[list[Figure], list[Any]]:
    """Return the figures, and what they share.

    {"$": k} is the k-th thing of those that are shared; {"=": columns} are the points of a chart.
    """
    specs = [[as_variables(panel.to_dict()) for panel in figure.panels] for figure in figures]
    counts: Counter[str] = Counter()
    for spec in (spec for panels in specs for spec in panels):
        _count(spec, counts)
    shared: dict[str, int] = {}
    said: list[Any] = []

    def pack(value: Any) -> Any:
        if not isinstance(value, (dict, list)):
            return value
        if _are_rows(value):
            return {"=": _columns(cast(Any, value))}
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
    if isinstance(value, (dict, list)) and not _are_rows(value):
        text = _text(value)
        counts[text] += 1
        if counts[text] == 1:
            children = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
            for child in children:
                _count(child, counts)


def _are_rows(value: Any) -> bool:
    """Say whether these are the points of a chart."""
    rows = cast("list[Any]", value) if isinstance(value, list) else []
    return len(rows) > 1 and all(isinstance(row, dict) and ("c0" in row or "c1" in row) for row in rows)


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return points as columns: names once; None for what a point does not have."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _each(value: Any, pack: Any) -> Any:
    if isinstance(value, dict):
        return {name: pack(child) for name, child in cast("dict[str, Any]", value).items()}
    return [pack(child) for child in cast("list[Any]", value)]


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
