"""What one cell of a text table says: a number, nothing, or something else."""

from __future__ import annotations

import math
import re

_MISSING = {"", "na", "n/a", "nan", "null", "none"}
_COMMA = re.compile(r"\s*[+-]?\d+,\d+([eE][+-]?\d+)?\s*")


def parse_number(cell: str, decimal: str) -> float:
    """Return the number, or NaN for what is missing or none."""
    if decimal == ",":
        if "." in cell:
            return math.nan
        cell = cell.replace(",", ".")
    try:
        return float(cell) if "_" not in cell else math.nan  # float() would take 1_000
    except ValueError:
        return math.nan


def is_missing(cell: str) -> bool:
    """Say whether the cell is empty or a word for a missing value."""
    return cell.strip().casefold() in _MISSING


def is_number(cell: str, decimal: str) -> bool:
    """Say whether the cell is a number, infinity included."""
    return not math.isnan(parse_number(cell, decimal))


def is_infinity(cell: str) -> bool:
    """Say whether the cell is a word for infinity, rather than a number too large."""
    return "inf" in cell.casefold()


def has_decimal_comma(cell: str) -> bool:
    """Say whether the cell would be a number if a comma were its decimal point."""
    return _COMMA.fullmatch(cell) is not None


def shown(cell: str) -> str:
    """Return the cell as a message shows it: quoted and cut."""
    return repr(cell.strip()[:40])
