"""Make features and a target of the columns of a table: numbers, and if asked for dates, categories, missing values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import nan
from typing import Any

import numpy as np

from gdbackends.errors import InputError, InputTypeError, check_memory
from gdbackends.objectives import Array
from gdbackends.preparation import NOTHING, Preparation, encoded
from gdbackends.reading.column_selection import label_pair, not_numeric
from gdbackends.reading.columns import Columns

_MOST_CATEGORIES = 100
_EPOCH = date(1970, 1, 1).toordinal()
_ROW_NUMBER = re.compile(
    r"(?i:index|idx|level_0|id|row|rows|row[ _.]?(id|no|num|number|names?|index)|no\.?|nr\.?|num|number|#|obs|"
    r"observation|case|record|sample|key|seq|serial|s\.?no\.?|uid|.+[ _.-]id|id[ _.-].+)|.*[a-z]I[dD]|[A-Z]+ID"
)
_SHOWN = 4
"""Names in a note."""


@dataclass(frozen=True)
class Steps:
    """What is made of columns that are not complete columns of numbers; by default nothing.

    The fields are arguments of `read`.
    """

    encode: bool = False
    missing: str | None = None
    dates: bool = False

    def __bool__(self) -> bool:
        """Whether there is a step."""
        return bool(self.encode or self.missing or self.dates)

    def check(self) -> None:
        """Raise InputError if an option has the wrong type or value."""
        for name in ("encode", "dates"):
            if not isinstance(getattr(self, name), bool):
                raise InputTypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.missing not in (None, "drop", "mean"):
            raise InputError(f"missing must be 'drop' or 'mean', or None to refuse, got {self.missing!r}")


@dataclass(frozen=True, eq=False)
class Prepared:
    """The arrays made of a table.

    Attributes:
        names: the names of the features.
        X: (n, d) float64.
        y: (n,) float64.
        labels: the two texts of a target of text, which stand for 0 and 1.
        preparation: what was made of columns that are not numbers.
        notes: the same in words, and what was left out.
        counted: whether a column that only counts the rows may be left out.
    """

    names: list[str]
    X: Array
    y: Array
    labels: tuple[str, str] | None = None
    preparation: Preparation = NOTHING
    notes: tuple[str, ...] = ()
    counted: bool = True


def prepare_table(table: Columns, features: list[str], target: str, labels: bool, steps: Steps) -> Prepared:
    """Return the arrays of these columns.

    Raises:
        InputError: a column is not numeric, or a value is missing or not finite; the message says where.
    """
    index = {name: j for j, name in enumerate(table.names)}
    pair: tuple[str, str] | None = None
    y = table.numbers(index[target])
    if y is None and labels:
        y, pair = _encode_labels(table.values(index[target]), target)
    if y is None:
        raise _no_numbers(table, target, target)
    made: dict[str, Array] = {}
    categories: dict[str, tuple[str, ...]] = {}
    dates: list[str] = []
    notes: list[str] = []
    for name in features:
        column = table.numbers(index[name])
        if column is not None:
            parts = {name: column}
        else:
            values = table.values(index[name])
            days = _days(values) if steps.dates else None
            if days is not None:
                parts = {name: days}
                dates.append(name)
            elif steps.encode and (texts := _categories(values, name)):
                parts = _indicators(values, name, texts)
                categories[name] = texts
                notes.append(_encoding(name, texts))
            else:
                raise _no_numbers(table, name, target)
        for part in parts:
            if part in made or (part != name and part in index):
                raise InputError(f"two columns are called {part!r}; rename one")
        made |= parts
    notes += [f"{_list(dates)}: days since 1970-01-01."] if dates else []
    X, y = _matrix(made, y.size), np.array(y, np.float64)
    kept, means, more = _without_missing(X, y, list(made), steps.missing)
    _check_finite([*made, target], X, y, kept)
    preparation = Preparation(categories, tuple(dates), means)
    if not kept.all():
        X, y = X[kept], y[kept]
    return Prepared(list(made), X, y, pair, preparation, (*notes, *more), table.titled)


def prepare_features(table: Columns, features: Sequence[str], preparation: Preparation) -> Array:
    """Return the features (n, d) of another table, made as the preparation says.

    Raises:
        InputError: a column is not numeric, holds a text that was not seen, or a value is missing.
    """
    made: dict[str, Array] = {}
    for name in preparation.columns(list(features)):
        j = table.names.index(name)
        if name in preparation.categories:
            made |= _indicators(table.values(j), name, preparation.categories[name])
            continue
        column = _days(table.values(j)) if name in preparation.dates else table.numbers(j)
        if column is None:
            raise _no_numbers(table, name, "")
        made[name] = column
    X = _matrix({name: made[name] for name in features}, next(iter(made.values())).size)
    for j, name in enumerate(features):
        if name in preparation.means:
            X[np.isnan(X[:, j]), j] = preparation.means[name]
    _check_finite(list(features), X, None, True)
    return X


def _matrix(columns: Mapping[str, Array], rows: int) -> Array:
    check_memory(16 * rows * len(columns), f"a table of {rows:,} rows and {len(columns):,} features")
    X = np.empty((rows, len(columns)))
    for j, column in enumerate(columns.values()):
        X[:, j] = column
    return X


def _no_numbers(table: Columns, name: str, target: str) -> InputError:
    """Return the error for a column that holds no numbers, which suggests others."""
    numeric = [other for j, other in enumerate(table.names) if table.numbers(j) is not None]
    values = enumerate(table.values(table.names.index(name)))
    row, value = next(((i, value) for i, value in values if not _is_null(value)), (0, None))
    example = "no values at all" if value is None else f"row {row} (from 0): {str(value)[:40]!r}"
    return not_numeric(name, example, numeric, target, value)


def _encode_labels(values: list[Any], target: str) -> tuple[Array | None, tuple[str, str] | None]:
    """Return texts as 0, 1 and NaN, with the two texts; (None, None) if a value is neither text nor null."""
    if not all(isinstance(value, str) or _is_null(value) for value in values):
        return None, None
    zero, one = label_pair(sorted({value for value in values if isinstance(value, str)}), target)
    return np.array([{zero: 0.0, one: 1.0}.get(value, np.nan) for value in values]), (zero, one)


def _is_null(value: Any) -> bool:
    return value is None or value != value


def _categories(values: list[Any], name: str) -> tuple[str, ...]:
    """Return the distinct texts of a column, sorted; none if a value is something else."""
    present = {value for value in values if not _is_null(value)}
    if not present or not all(isinstance(value, str) for value in present):
        return ()
    if len(present) > _MOST_CATEGORIES:
        raise InputError(
            f"column {name!r} holds {len(present):,} distinct texts, and at most {_MOST_CATEGORIES} are encoded; leave "
            f"it out with drop=[{name!r}] (--drop {name})"
        )
    return tuple(sorted(present))


def _indicators(values: list[Any], name: str, texts: tuple[str, ...]) -> dict[str, Array]:
    """Return a feature for each text but the first: 1 where the column holds it, NaN where a value is missing.

    Raises:
        InputError: the column holds another text.
    """
    codes = {text: float(k) for k, text in enumerate(texts)}
    for row, value in enumerate(values):
        if not _is_null(value) and value not in codes:
            known = ", ".join(map(repr, texts[:_SHOWN])) + (", ..." if len(texts) > _SHOWN else "")
            raise InputError(
                f"row {row} (from 0), column {name!r}: {str(value)[:40]!r} was not seen in the fit, which knows {known}"
            )
    code = np.array([nan if _is_null(value) else codes[value] for value in values])
    return {encoded(name, text): np.where(np.isnan(code), nan, code == k) for k, text in enumerate(texts) if k}


def _encoding(name: str, texts: tuple[str, ...]) -> str:
    """Return the note on an encoded column."""
    if len(texts) == 1:
        return f"{name}: left out, as it holds {texts[0]} only."
    return f"{name}: 1 in {_list([encoded(name, text) for text in texts[1:]])}; {texts[0]} is 0 in each."


def _days(values: list[Any]) -> Array | None:
    """Return dates, or texts of ISO 8601, as days since 1970-01-01; None if a value is something else."""
    days: list[float] = []
    for value in values:
        if _is_null(value):
            days.append(nan)
            continue
        moment = date_of(value)
        if moment is None:
            return None
        days.append(moment)
    return np.array(days)


def date_of(value: Any) -> float | None:
    """Return a date, or a text of ISO 8601, as days since 1970-01-01; None for anything else."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, datetime):
        value = value.astimezone(UTC) if value.tzinfo else value
        seconds = 3600 * value.hour + 60 * value.minute + value.second + value.microsecond / 1e6
        return value.toordinal() - _EPOCH + seconds / 86400
    return float(value.toordinal() - _EPOCH) if isinstance(value, date) else None


def _without_missing(
    X: Array, y: Array, names: list[str], missing: str | None
) -> tuple[Array, dict[str, float], list[str]]:
    """Return which rows are kept, the means that replace missing values, and notes; X is changed in place."""
    absent, kept, notes = np.isnan(X), np.full(y.size, True), list[str]()
    if missing is None:
        return kept, {}, notes
    kept = ~np.isnan(y) if missing == "mean" else ~(np.isnan(y) | absent.any(1))
    left_out = y.size - int(kept.sum())
    if left_out == y.size:
        raise InputError(f"every row has a missing value, {y.size:,} in all; choose fewer features")
    if left_out:
        what = "values" if missing == "drop" else "targets"
        notes.append(f"{left_out:,} of {y.size:,} rows left out, with missing {what}.")
    means: dict[str, float] = {}
    for j, name in enumerate(names) if missing == "mean" else ():
        known = X[kept & ~absent[:, j], j]
        if not known.size:
            raise InputError(f"column {name!r} has no values, so no mean; leave it out with drop=[{name!r}]")
        means[name] = float(known.mean())
        count = int(absent[kept, j].sum())
        if count:
            X[absent[:, j], j] = means[name]
            notes.append(f"{name}: the mean {means[name]:.6g} in place of {count:,} missing values.")
    return kept, means, notes


def _check_finite(names: list[str], X: Array, y: Array | None, kept: Array | bool) -> None:
    """Raise InputError if a value in a row that is kept is missing or not finite."""
    columns = [*X.T] if y is None else [*X.T, y]
    bad = [(name, ~np.isfinite(column) & kept) for name, column in zip(names, columns, strict=True)]
    count = sum(int(rows.sum()) for _, rows in bad)
    if count:
        row, name = min(((int(rows.argmax()), name) for name, rows in bad if rows.any()), key=lambda place: place[0])
        raise InputError(
            f"{count} missing or non-finite values, the first in row {row} (from 0), column {name!r}; "
            f"drop or fill those rows, as missing='drop' or 'mean' does (--missing drop)"
        )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def row_numbers(X: Array, names: Sequence[str]) -> list[int]:
    """Return the columns that are called like row numbers and count the rows from 0 or 1; never all."""
    n = len(X)
    counted = [
        j
        for j, name in enumerate(names)
        if is_row_number(name) and n > 1 and X[0, j] in (0, 1) and np.array_equal(X[:, j], X[0, j] + np.arange(n))
    ]
    return counted if len(counted) < len(names) else []


def is_row_number(name: str) -> bool:
    """Return whether a column is called like one of row numbers: index, id, row, PassengerId, customer_id, ...

    The name decides too, since a real feature may count the rows: the days of a series, or 0, 1, ..., 20 in a design.
    """
    return _ROW_NUMBER.fullmatch(name.strip()) is not None


def counter_note(name: str) -> str:
    """Return the note on a column of row numbers."""
    return f"{name!r} only counts the rows and is left out; use it with features=[{name!r}, ...] (--features)."


def row_names_note(name: str) -> str:
    """Return the note on a column without a name, which holds the names of the rows."""
    return f"The column of row names is left out; use it with features=[{name!r}, ...] (--features)."
