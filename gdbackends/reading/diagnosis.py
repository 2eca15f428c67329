"""Why a text table cannot be used: the first thing that is wrong with it, and its place."""

from __future__ import annotations

import math
from typing import NoReturn

from gdbackends.errors import InputError
from gdbackends.reading.cell_text import has_decimal_comma, is_infinity, is_missing, parse_number, shown
from gdbackends.reading.column_selection import no_numbers
from gdbackends.reading.dialect import Dialect, comma_advice
from gdbackends.reading.sources import TextSource

Place = tuple[int, str]


def refuse(
    source: TextSource, layout: Dialect, features: list[str], target: str, labels: tuple[str, str] | None
) -> NoReturn:
    """Raise what is wrong: a column of text, then a cell of text, a number too large, then missing values."""
    numeric: set[str] = set()
    text: dict[str, Place] = {}
    large: dict[str, Place] = {}
    missing: dict[str, Place] = {}
    count, chosen = 0, {*features, target}
    with source.open() as stream:
        for line, row in layout.rows(stream):
            for name, cell in zip(layout.names, row, strict=True):
                value = parse_number(cell, layout.decimal)
                if math.isfinite(value) or (name == target and cell.strip() in (labels or ())):
                    numeric.add(name)
                elif is_missing(cell) or (math.isinf(value) and is_infinity(cell)):
                    count += name in chosen
                    missing.setdefault(name, (line, cell))
                else:
                    (text if math.isnan(value) else large).setdefault(name, (line, cell))
    if chosen & text.keys():
        usable = [name for name in layout.names if name in numeric and name not in text]
        raise _of_text(layout, {name: text[name] for name in chosen & text.keys()}, numeric, usable, target)
    if chosen & large.keys():
        place, cell = _first(layout, {name: large[name] for name in chosen & large.keys()})
        raise InputError(f"{place}: {shown(cell)} is beyond float64's range, 1.8e308; scale the column down")
    place, cell = _first(layout, {name: missing[name] for name in chosen & missing.keys()})
    raise InputError(
        f"{count} missing or non-finite values, the first in {place}: {shown(cell)}; drop or fill those lines"
    )


def _first(layout: Dialect, places: dict[str, Place]) -> tuple[str, str]:
    """Return the first place in words, and its cell."""
    name = min(places, key=lambda name: (places[name][0], layout.names.index(name)))
    line, cell = places[name]
    return f"line {line}, column {name!r}", cell


def _of_text(layout: Dialect, text: dict[str, Place], numeric: set[str], usable: list[str], target: str) -> InputError:
    """Return the refusal of cells that are not numbers: a decimal mark, a whole column, or a cell."""
    place, cell = _first(layout, text)
    if layout.decimal == "." and has_decimal_comma(cell):
        return InputError(f"{place}: {comma_advice(cell, layout.delimiter)}")
    if layout.decimal == "," and not math.isnan(parse_number(cell, ".")):
        return InputError(f"{place}: {shown(cell)} has a decimal point where commas are the decimal mark; mend it")
    whole = {name: place for name, place in text.items() if name not in numeric}
    if whole:
        name = min(whole, key=layout.names.index)
        line, cell = whole[name]
        return no_numbers(name, f"line {line}: {shown(cell)}", usable, target)
    return InputError(f"{place}: {shown(cell)} is not a number; mend it or leave the column out")
