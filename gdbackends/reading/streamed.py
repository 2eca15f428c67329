# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
"""Use a table that is larger than memory, whose rows stay in the file until a fit reads them: stream()."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gdbackends.errors import InputError, InputTypeError, file_error
from gdbackends.preparation import NOTHING, Preparation
from gdbackends.reading.column_selection import choose_columns, label_pair, not_numeric, row_name_columns
from gdbackends.reading.columns import array_columns, is_unnamed, npy_header
from gdbackends.reading.preparing import counter_note, is_row_number, row_names_note
from gdbackends.reading.sources import file_source
from gdbackends.streaming import Rows, Targets, npy_source, parquet_source
from gdbackends.streaming.arrow import is_numeric, texts_of

PART_OF_MEMORY = 8
"""A table that would fill 1 / PART_OF_MEMORY of the memory is large: a fit in memory takes several copies of X."""


@dataclass(frozen=True, eq=False)
class StreamedDataset:
    """A table in a file: `fit(data.X, data.y, ...)` reads it block by block.

    Attributes:
        X: the features (n, d), with a shape but no numbers until a fit reads them.
        y: the targets (n,), likewise unread.
        names: the names of the features.
        target: the name of the target.
        name: the name of the table.
        labels: the two texts in the target, which stand for 0 and 1; None if it is numeric.
        notes: what was left out, a sentence each.
    """

    X: Rows
    y: Targets
    names: tuple[str, ...]
    target: str
    name: str
    labels: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    preparation: Preparation = NOTHING


def stream(
    path: str | Path,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    labels: bool = False,
) -> StreamedDataset:
    """Return the table in an NPY or Parquet file without reading its rows; a fit reads them at every step.

    Values are checked when they are read. Parquet is decoded at every step, so for many steps it is faster to write the
    table as NPY once. A Parquet row group of more than 4,000,000 numbers passes through a temporary file of its size.

    Args:
        path: the path of the file, whose extension gives the format.
        target: the column to predict; by default the last one.
        features: the columns to predict from; by default all others.
        drop: columns that are neither.
        labels: encode a target of two texts as 0 and 1, in sorted order (Parquet only).

    Raises:
        InputError: the table cannot be read or cannot be streamed.
        MissingPackageError: pyarrow, which reads Parquet, is not installed; the message says what to run.
    """
    if not isinstance(path, (str, Path)):
        raise InputTypeError(f"only files can be streamed, got {type(path).__name__}; give a path, or use read")
    label, pick = str(path), partial(choose_columns, target=target, features=features, drop=drop)
    try:
        source = file_source(Path(path))
        if source.format == "npy":
            return _npy(Path(path), label, pick, source.name)
        if source.format == "parquet":
            return _parquet(Path(path), label, pick, source.name, labels, every=features is None)
    except OSError as error:
        raise file_error(label, "read", error, "give the path of a file") from None
    except InputError as error:
        raise type(error)(f"{label}: {str(error).removeprefix(f'{label}: ')}") from None
    raise InputError(f"{label}: only NPY and Parquet files can be streamed; save it as one of them, or use read")


def is_large(path: str | Path) -> bool:
    """Return whether a table is best streamed: an NPY or Parquet file whose numbers would fill an eighth of the memory.

    An unreadable file is not large; reading it raises the error.
    """
    try:
        source = file_source(Path(path))
        if source.format == "npy":
            with source.open() as file:
                shape, dtype = npy_header(file, Path(path).stat().st_size)
            numbers = int(np.prod(shape)) * len(dtype.names or [""])
        elif source.format == "parquet":
            with parquet_source(Path(path), "") as (parquet, _):
                numbers = parquet.rows * parquet.width
        else:
            return False
    except (OSError, InputError):
        return False
    return is_large_table(numbers)


def is_large_table(numbers: int) -> bool:
    """Return whether so many numbers would fill an eighth of the memory."""
    return 8 * numbers > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // PART_OF_MEMORY


def _npy(path: Path, label: str, pick: Callable[..., tuple[list[str], str]], name: str) -> StreamedDataset:
    with path.open("rb") as file:
        shape, dtype = npy_header(file, path.stat().st_size)
    table = np.load(path, mmap_mode="r", allow_pickle=False) if np.prod(shape) else np.zeros(shape, dtype)
    columns = array_columns(table)
    index = {column: j for j, column in enumerate(columns.names)}
    numbers: dict[str, Any] = {column: columns.numbers(j) for column, j in index.items()}
    chosen, target = pick(columns.names)
    if not table.size:
        raise InputError(f"X must have at least one row and one feature, got shape {(shape[0], len(chosen))}")
    numeric = [column for column in columns.names if numbers[column] is not None]
    for column in (*chosen, target):
        if numbers[column] is None:
            example = str(table[0][column if dtype.names else index[column]])[:40]
            raise not_numeric(column, f"row 0 (from 0): {example!r}", numeric, target)
    parts = [numbers[column] for column in chosen] if dtype.names else _slices(table, [index[c] for c in chosen])
    X = Rows(npy_source(parts, numbers[target], (*chosen, target), label))
    return StreamedDataset(X, X.targets, tuple(chosen), target, name)


def _slices(table: Any, columns: list[int]) -> list[Any]:
    """Return the columns as the fewest slices of the table."""
    cuts = [0, *(k for k in range(1, len(columns)) if columns[k] != columns[k - 1] + 1), len(columns)]
    return [table[:, columns[a] : columns[b - 1] + 1] for a, b in pairwise(cuts)]


def _parquet(
    path: Path, label: str, pick: Callable[..., tuple[list[str], str]], name: str, labels: bool, every: bool
) -> StreamedDataset:
    """Return the table; `every` tells that the features were not chosen."""
    pair: tuple[str, str] | None = None
    with parquet_source(path, label) as (source, parquet):
        names = list(parquet.schema_arrow.names)
        unnamed = tuple(filter(is_unnamed, names))
        chosen, target = pick(names, unnamed=unnamed)
        notes = list(map(row_names_note, row_name_columns(names, unnamed) if every else ()))
        types = {column: parquet.schema_arrow.field(column).type for column in names}
        numeric = [column for column in names if is_numeric(types[column])]
        if not source.rows:
            raise InputError(f"X must have at least one row and one feature, got shape (0, {len(chosen)})")
        for column in (*chosen, target):
            if column in numeric:
                continue
            if not (column == target and labels and _is_text(types[column])):
                raise not_numeric(column, f"its type is {types[column]}", numeric, target)
            pair = label_pair(sorted(_texts(parquet, target)), target)
        counters = [column for column in chosen if every and _counts(parquet, column, types[column])]
    if len(counters) < len(chosen):
        chosen = [column for column in chosen if column not in counters]
        notes += map(counter_note, counters)
    X = Rows(replace(source, columns=tuple(chosen), target=target, pair=pair))
    return StreamedDataset(X, X.targets, tuple(chosen), target, name, pair, tuple(notes))


def _counts(parquet: Any, column: str, kind: Any) -> bool:
    """Return whether a column is called like row numbers and counts the rows from 0 or 1; read as far as it does."""
    from pyarrow import types

    at, first = 0, None
    if not (is_row_number(column) and types.is_integer(kind)):
        return False
    for batch in parquet.iter_batches(1 << 15, columns=[column], use_threads=False):
        values = batch.column(0)
        if values.null_count or not len(values):
            return False
        numbers = values.to_numpy()
        first = int(numbers[0]) if first is None else first
        if first not in (0, 1) or not np.array_equal(numbers, first + np.arange(at, at + numbers.size)):
            return False
        at += numbers.size
    return True


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _texts(parquet: Any, target: str) -> set[str]:
    """Return the distinct texts of a column; at least three, but not necessarily all, if there are more than two."""
    distinct: set[str] = set()
    for batch in parquet.iter_batches(1 << 15, columns=[target], use_threads=False):
        distinct |= set(texts_of(batch.column(0)).unique().to_pylist()) - {None}
        if len(distinct) > 2:
            break
    return distinct
