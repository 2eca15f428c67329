"""Cells of text as numbers: decimal and thousands marks, True and False, and words for a missing value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property

_MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "?", "-", "."}
_BOOLEANS = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+([eE][+-]?\d+)?\s*")
_GROUPED = r"[+-]?\d{{1,3}}(?:{mark}\d{{2,3}})*{mark}\d{{3}}(?:{point}\d*)?(?:[eE][+-]?\d+)?"
"""Digits in groups of three, or as in India of two before the last three."""
_BLANKS = str.maketrans("\u00a0\u2009\u202f", "   ")
"""The blanks that group digits: no-break, thin and narrow no-break."""


@dataclass(frozen=True)
class NumberFormat:
    """How a text table writes numbers.

    Attributes:
        decimal: the decimal mark, "." or ",".
        thousands: the mark between groups of digits, or None.
    """

    decimal: str = "."
    thousands: str | None = None

    @cached_property
    def _grouped(self) -> re.Pattern[str]:
        return re.compile(_GROUPED.format(mark=re.escape(self.thousands or ""), point=re.escape(self.decimal)))

    def parse(self, cell: str) -> float:
        """Return the number in a cell; NaN if it is missing or not a number."""
        if self.thousands is not None:
            cell = cell.translate(_BLANKS).strip() if self.thousands == " " else cell.strip()
            if self.thousands in cell:
                if self._grouped.fullmatch(cell) is None:
                    return math.nan
                cell = cell.replace(self.thousands, "")
        if self.decimal == ",":
            if "." in cell:
                return math.nan
            cell = cell.replace(",", ".")
        try:
            return float(cell) if "_" not in cell else math.nan  # float() would accept 1_000
        except ValueError:
            return math.nan

    def is_number(self, cell: str) -> bool:
        """Return whether a cell is a number, including infinity."""
        return not math.isnan(self.parse(cell))


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty or a word for a missing value."""
    return cell.strip().casefold() in _MISSING


def boolean(cell: str) -> float | None:
    """Return 1 for True and 0 for False, in any case; None for anything else."""
    return _BOOLEANS.get(cell.strip().casefold())


def has_decimal_comma(cell: str) -> bool:
    """Return whether a cell is a number with a decimal comma."""
    return _DECIMAL_COMMA.fullmatch(cell) is not None


def thousands_mark(cell: str) -> str | None:
    """Return the mark between the thousands of a number such as 1,200 or 1'200.50; None if there is none."""
    cell = cell.translate(_BLANKS).strip()
    for mark in ",'. ":
        other = NumberFormat("," if mark == "." else ".", mark)
        if mark in cell and not cell.lstrip("+-").startswith("0") and other.is_number(cell):
            return mark
    return None


def quoted(cell: str) -> str:
    """Return a cell for an error message, quoted and truncated."""
    return repr(cell.strip()[:40])
