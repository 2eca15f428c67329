# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
"""stream(): a table in a file that is larger than memory, whose rows are read when a fit asks for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gdbackends.errors import InputError, InputTypeError, file_error
from gdbackends.reading.column_selection import choose, label_codes, no_numbers
from gdbackends.reading.columns import npy_header
from gdbackends.reading.sources import file_source
from gdbackends.streaming import Rows, Targets, npy_source, parquet_source
from gdbackends.streaming.arrow import is_numeric, texts_of

PART_OF_MEMORY = 8
"""A table that would fill this part of the machine's memory is streamed: a fit in memory holds X a few times."""


@dataclass(frozen=True, eq=False)
class StreamedDataset:
    """A table in a file: `fit(data.X, data.y, ...)` reads it block by block.

    Attributes:
        X: (n, d); it has a shape, and no numbers until a fit asks for them.
        y: (n,), likewise.
        names: the d features' names.
        target: the target's name.
        name: what to call the table.
        labels: the texts that 0 and 1 of the target stand for, if it is text.
    """

    X: Rows
    y: Targets
    names: tuple[str, ...]
    target: str
    name: str
    labels: tuple[str, str] | None = None


def stream(
    path: str | Path, *, target: str | None = None, features: Sequence[str] | None = None, labels: bool = False
) -> StreamedDataset:
    """Return a table of an NPY or a Parquet file without reading its rows: a fit reads them at every step.

    Values are checked when they are read. Parquet is decoded anew each time, which for many steps takes longer than to
    write the table as NPY once; the columns of a row group of more than 4,000,000 numbers pass through a temporary file
    of that group's size.

    Args:
        path: of the file, its format told by its extension.
        target: the target's column; the last one by default.
        features: the features' columns; all the others by default.
        labels: take a target of two texts as 0 and 1, in order (Parquet).

    Raises:
        InputError: there is no such table, or it cannot be streamed.
        MissingPackageError: pyarrow, which reads Parquet, is not installed; the text holds the line to type.
    """
    if not isinstance(path, (str, Path)):
        raise InputTypeError(f"only a file is read row by row, got {type(path).__name__}; give a path, or use read")
    label = str(path)
    try:
        found = file_source(Path(path))
        if found.format == "npy":
            return _npy(Path(path), label, target, features, found.name)
        if found.format == "parquet":
            return _parquet(Path(path), label, target, features, found.name, labels)
    except OSError as error:
        raise file_error(label, "read", error, "give a file") from None
    except InputError as error:
        said = str(error)
        raise type(error)(said if said.startswith(f"{label}: ") else f"{label}: {said}") from None
    raise InputError(f"{label}: only NPY and Parquet are read row by row; save it as one of them, or read it whole")


def is_large(path: str | Path) -> bool:
    """Say whether a table is best streamed: its numbers would fill an eighth of the machine's memory.

    False of what is neither NPY nor Parquet, or no file at all.
    """
    try:
        found = file_source(Path(path))
        if found.format == "npy":
            with found.open() as opened:
                shape, _, dtype = npy_header(opened, Path(path).stat().st_size)
            numbers = int(np.prod(shape)) * len(dtype.names or [""])
        elif found.format == "parquet":
            with parquet_source(Path(path), "") as (source, _):
                numbers = source.rows * source.width
        else:
            return False
    except (OSError, InputError):  # said when it is read
        return False
    return 8 * numbers > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // PART_OF_MEMORY


def _npy(path: Path, label: str, target: str | None, features: Sequence[str] | None, name: str) -> StreamedDataset:
    """Return the columns of a structured array by their names, of a 2-D one as c1, c2, ..."""
    with path.open("rb") as opened:
        shape, _, dtype = npy_header(opened, path.stat().st_size)
    table = np.load(path, mmap_mode="r", allow_pickle=False) if np.prod(shape) else np.zeros(shape, dtype)
    fields = dtype.names
    if fields is None and len(shape) != 2:
        raise InputError(f"an array must have shape (rows, columns), the target last, got {shape}")
    if fields is not None and (len(shape) != 1 or any(dtype[field].shape or dtype[field].names for field in fields)):
        raise InputError(f"the fields of a structured array must be single numbers, got dtype {dtype} of shape {shape}")
    names = list(fields) if fields else [f"c{j + 1}" for j in range(shape[-1])]
    chosen, target = choose(names, target, features)
    if not np.prod(shape):
        raise InputError(f"X must have at least one row and one feature, got shape {(shape[0], len(chosen))}")
    index = {known: j for j, known in enumerate(names)}

    def column(known: str) -> Any:
        return table[known] if fields else table[:, index[known]]

    numeric = [known for known in names if column(known).dtype.kind in "fiub"]
    for known in (*chosen, target):
        if known not in numeric:
            raise no_numbers(known, f"row 0 (from 0): {str(column(known)[0])[:40]!r}", numeric, target)
    parts = [column(known) for known in chosen] if fields else _runs(table, [index[known] for known in chosen])
    X = Rows(npy_source(parts, column(target), (*chosen, target), label))
    return StreamedDataset(X, X.targets, tuple(chosen), target, name)


def _runs(table: Any, columns: list[int]) -> list[Any]:
    """Return the columns as slices of the table, as few as there can be."""
    cuts = [0, *(k for k in range(1, len(columns)) if columns[k] != columns[k - 1] + 1), len(columns)]
    return [table[:, columns[a] : columns[b - 1] + 1] for a, b in pairwise(cuts)]


def _parquet(
    path: Path, label: str, target: str | None, features: Sequence[str] | None, name: str, labels: bool
) -> StreamedDataset:
    pair: tuple[str, str] | None = None
    with parquet_source(path, label) as (source, parquet):
        names = list(parquet.schema_arrow.names)
        chosen, target = choose(names, target, features)
        kinds = {known: parquet.schema_arrow.field(known).type for known in (*chosen, target)}
        numeric = [known for known in names if is_numeric(parquet.schema_arrow.field(known).type)]
        if not source.rows:
            raise InputError(f"X must have at least one row and one feature, got shape (0, {len(chosen)})")
        for known in (*chosen, target):
            if known in numeric:
                continue
            if not (known == target and labels and _is_text(kinds[known])):
                raise no_numbers(known, f"its type is {kinds[known]}", numeric, target)
            pair = label_codes(sorted(_texts(parquet, target)), target)
    X = Rows(replace(source, columns=tuple(chosen), target=target, pair=pair))
    return StreamedDataset(X, X.targets, tuple(chosen), target, name, pair)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _texts(parquet: Any, target: str) -> set[str]:
    """Return the different texts of a column; of more than two, some."""
    found: set[str] = set()
    for batch in parquet.iter_batches(1 << 15, columns=[target], use_threads=False):
        found |= set(texts_of(batch.column(0)).unique().to_pylist()) - {None}
        if len(found) > 2:
            break
    return found
