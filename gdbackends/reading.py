"""Reading a table of numbers from a file: read()."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from gdbackends.datasets import Dataset
from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives import Array

_MISSING = {"", "na", "n/a", "nan", "null", "none"}


def read(path: str | Path, *, target: str | None = None, features: Sequence[str] | None = None) -> Dataset:
    """Read a CSV file, with or without a header; fields may be quoted, separated by a comma, semicolon or tab.

    Without a header (a first line of numbers alone) the columns are called c1, c2, ...

    Args:
        path: the file, in UTF-8.
        target: the target's column; the last one by default.
        features: the features' columns; all the others by default.

    Raises:
        InputError: the file cannot be read as such a table; the text names the line and the column.
    """
    for name, value in (("target", target), ("features", features)):
        if not (value is None or isinstance(value, str if name == "target" else (list, tuple))):
            raise InputTypeError(f"{name} must be {'a name' if name == 'target' else 'a list of names'}, got {value!r}")
    try:
        table = _parse(_text(Path(path)))
        target = table.names[-1] if target is None else table.column(target)
        others = [name for name in table.names if name != target]
        features = others if features is None else [table.column(name) for name in features]
        if target in features:
            raise InputError(f"the target {target!r} is among the features; leave it out")
        repeated = next((name for name in features if features.count(name) > 1), None)
        if repeated is not None:
            raise InputError(f"the feature {repeated!r} is named twice; name it once")
        if not features:
            raise InputError(
                f"a target and at least one feature are needed, got {', '.join(map(repr, table.names))} alone"
            )
        numbers = table.numbers([*features, target])
        return Dataset(numbers[:, :-1], numbers[:, -1], tuple(features), target, Path(path).stem)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


@dataclass(frozen=True)
class _Table:
    """The cells of a file: names of columns, and rows with the number of the line each ends on."""

    names: list[str]
    rows: list[tuple[int, list[str]]]

    def column(self, name: str) -> str:
        """Return the name if there is such a column."""
        if not isinstance(name, str):
            raise InputTypeError(f"a column is chosen by its name, got {name!r}")
        if name in self.names:
            return name
        folded = {known.casefold(): known for known in self.names}
        near = [folded[close] for close in get_close_matches(name.casefold(), folded, 1)]
        advice = f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(map(repr, self.names[:10]))}"
        raise InputError(f"no column {name!r}; {advice}")

    def numbers(self, names: list[str]) -> Array:
        """Return the named columns as numbers, (n, len(names))."""
        numbers = np.empty((len(self.rows), len(names)))
        missing: list[str] = []
        columns = [(k, self.names.index(name), name) for k, name in enumerate(names)]
        for i, (line, row) in enumerate(self.rows):
            if len(row) != len(self.names):
                raise InputError(
                    f"line {line} has {len(row)} fields where the first has {len(self.names)}; mend that line"
                )
            for k, j, name in columns:
                numbers[i, k] = value = _number(row[j])
                if not math.isfinite(value):
                    cell, place = row[j].strip(), f"line {line}, column {name!r}"
                    if not _is_number(cell):
                        raise InputError(f"{place}: {cell[:40]!r} is not a number; mend it or leave the column out")
                    missing.append(f"{place}: {cell[:40]!r}")
        if missing:
            raise InputError(
                f"{len(missing)} missing or non-finite values, the first in {missing[0]}; drop or fill those lines"
            )
        return numbers


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read: {(error.strerror or str(error)).lower()}; give a CSV file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"is not text in UTF-8 (byte {error.start}); save it as CSV in UTF-8") from None
    except ValueError as error:  # a zero byte in the path
        raise InputError(f"cannot be read: {error}; give a CSV file") from None
    if "\0" in text:
        raise InputError("is not text, it holds a zero byte; save it as CSV in UTF-8")
    return text


def _parse(text: str) -> _Table:
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row) or len(row) > 1]
    except csv.Error as error:
        raise InputError(f"is not a CSV table: {error} (line {reader.line_num}); check its quotes") from None
    if not rows:
        raise InputError("is empty; rows of numbers are needed")
    cells = [cell.strip() for cell in rows[0][1]]
    header = not all(_is_number(cell) for cell in cells)
    names = cells if header else [f"c{j + 1}" for j in range(len(cells))]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"two columns are called {repeated!r}; rename one")
    if header and len(rows) == 1:
        raise InputError("has a header and no rows; at least one row of numbers is needed")
    return _Table(names, rows[header:])


def _number(cell: str) -> float:
    """Return the number, or NaN for what is missing or none."""
    try:
        return float(cell) if "_" not in cell else math.nan  # float() would take 1_000
    except ValueError:
        return math.nan


def _is_number(cell: str) -> bool:
    """Say whether the cell is a number, infinite and missing ones included."""
    return not math.isnan(_number(cell)) or cell.casefold() in _MISSING
