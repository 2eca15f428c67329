# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Tables with typed columns: NPY and NPZ files, Parquet files, and data frames."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, cast
from zipfile import ZipFile

import numpy as np

from gdbackends.arrays import numbers_of, series_of
from gdbackends.datasets import Dataset
from gdbackends.errors import InputError, require_package
from gdbackends.objectives import Array
from gdbackends.reading.column_selection import label_pair, not_numeric
from gdbackends.reading.sources import ByteSource

_MOST_DIMENSIONS = 64
"""Dimensions of a NumPy array."""
_PICKLE = "contains Python objects (a pickle), which are never loaded; save it as an array of numbers"


@dataclass(frozen=True)
class Columns:
    """A table with typed columns.

    Attributes:
        names: the names of the columns, in order.
        numbers: a function that returns a column by its index, as numbers with NaN for null; None if not numeric.
        values: a function that returns a column by its index, as a list of Python objects.
    """

    names: list[str]
    numbers: Callable[[int], Array | None]
    values: Callable[[int], list[Any]]


def to_arrays(
    table: Columns, features: list[str], target: str, labels: bool
) -> tuple[Array, Array, tuple[str, str] | None]:
    """Return X (n, d), y (n,), and the two labels of a target of text.

    Raises:
        InputError: a column is not numeric, or a value is missing or not finite; the message says where.
    """
    index = {name: j for j, name in enumerate(table.names)}
    pair: tuple[str, str] | None = None
    y = table.numbers(index[target])
    if y is None and labels:
        y, pair = _encode_labels(table.values(index[target]), target)
    y = _as_float64(table, target, y, target)
    X = np.empty((y.size, len(features)))
    for j, name in enumerate(features):
        X[:, j] = _as_float64(table, name, table.numbers(index[name]), target)
    bad = [(name, ~np.isfinite(column)) for name, column in zip((*features, target), (*X.T, y), strict=True)]
    count = sum(int(rows.sum()) for _, rows in bad)
    if count:
        row, name = min(((int(rows.argmax()), name) for name, rows in bad if rows.any()), key=lambda place: place[0])
        raise InputError(
            f"{count} missing or non-finite values, the first in row {row} (from 0), column {name!r}; "
            f"drop or fill those rows"
        )
    return X, y, pair


def _as_float64(table: Columns, name: str, column: Array | None, target: str) -> Array:
    """Return a column as float64; raise InputError, which suggests others, if it is None."""
    if column is not None:
        return np.array(column, np.float64)
    numeric = [other for j, other in enumerate(table.names) if table.numbers(j) is not None]
    values = enumerate(table.values(table.names.index(name)))
    examples = (f"row {i} (from 0): {str(value)[:40]!r}" for i, value in values if not _is_null(value))
    raise not_numeric(name, next(examples, "no values at all"), numeric, target)


def _encode_labels(values: list[Any], target: str) -> tuple[Array | None, tuple[str, str] | None]:
    """Return texts as 0, 1 and NaN, with the two texts; (None, None) if a value is neither text nor null."""
    if not all(isinstance(value, str) or _is_null(value) for value in values):
        return None, None
    zero, one = label_pair(sorted({value for value in values if isinstance(value, str)}), target)
    return np.array([{zero: 0.0, one: 1.0}.get(value, np.nan) for value in values]), (zero, one)


def _is_null(value: Any) -> bool:
    return value is None or value != value


def dataset_columns(data: Dataset) -> Columns:
    """Return the columns of a dataset, with the target last."""
    return _by_position([*data.names, data.target], [*data.X.T, data.y])


def frame_columns(frame: Any) -> Columns | None:
    """Return the columns of a data frame; None for anything else."""
    series = series_of(frame, "it")
    if series is None:
        return None
    names = [str(column.name) for column in series]
    return Columns(names, lambda j: numbers_of(series[j]), lambda j: series[j].to_list())


def parquet_columns(source: ByteSource) -> Columns:
    """Return the columns of a Parquet file."""
    require_package("Parquet", "polars", "data")
    import polars as pl

    with source.open() as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 4))
        if size < 12 or stream.read() != b"PAR1":
            raise InputError("is not a complete Parquet file, which begins and ends with PAR1; save it again")
        stream.seek(0)
        try:
            frame = pl.read_parquet(stream)
        except pl.exceptions.PanicException:  # not a subclass of Exception
            raise InputError("is a damaged Parquet file; save it again") from None
    return cast("Columns", frame_columns(frame))


def npy_columns(source: ByteSource) -> Columns:
    """Return the columns of an NPY file."""
    with source.open() as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        return array_columns(_load(stream, size))


def npz_columns(source: ByteSource) -> Columns:
    """Return the columns of an NPZ file, which contains X and y (and optionally names), or a single array."""
    with source.open() as stream, ZipFile(stream) as archive:
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if not (len(entries) == 1 or {"X", "y"} <= set(entries) <= {"X", "y", "names"}):
            names = ", ".join(map(repr, list(entries)[:10])) or "nothing"
            raise InputError(
                f"an NPZ file must contain X and y (and optionally names), or one array, got {names}; "
                f"save it with numpy.savez(path, X=X, y=y)"
            )
        arrays: dict[str, Array] = {}
        for key, entry in entries.items():
            with archive.open(entry) as member:
                arrays[key] = _load(member, entry.file_size)
    if len(arrays) == 1:
        return array_columns(*arrays.values())
    X, y = arrays["X"], arrays["y"]
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise InputError(f"X must have shape (rows, features) and y (rows,), got {X.shape} and {y.shape}")
    names = arrays.get("names", np.array([f"x{j + 1}" for j in range(X.shape[1])]))
    if names.dtype.kind != "U" or names.shape != X.shape[1:]:
        raise InputError(
            f"names must be {X.shape[1]} strings, one per feature, got {names.dtype} of shape {names.shape}"
        )
    return _by_position([*names.tolist(), "y"], [*X.T, y])


def array_columns(array: Array) -> Columns:
    """Return the fields of a structured array, or the columns of a 2-D array named c1, c2, ..."""
    if array.dtype.names is not None and array.ndim == 1:
        fields = [array[name] for name in array.dtype.names]
        if any(field.ndim > 1 or field.dtype.names for field in fields):
            raise InputError(f"the fields of a structured array must be scalars, got dtype {array.dtype}")
        return _by_position(list(array.dtype.names), fields)
    if array.ndim != 2 or array.dtype.names is not None:
        raise InputError(f"an array must have shape (rows, columns), with the target last, got {array.shape}")
    return _by_position([f"c{j + 1}" for j in range(array.shape[1])], list(array.T))


def _by_position(names: list[str], columns: list[Array]) -> Columns:
    numeric = [column if column.dtype.kind in "fiub" else None for column in columns]
    return Columns(names, numeric.__getitem__, lambda j: columns[j].tolist())


def npy_header(stream: BinaryIO | Any, size: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the dtype of an NPY file of `size` bytes.

    Raises:
        InputError: the file is not an NPY file, is truncated, or contains a pickle.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about headers written by Python 2
        if stream.read(1) == b"\x80":
            raise InputError(_PICKLE)
        stream.seek(0)
        try:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(stream)
        except Exception as error:  # any error of the parser on damaged bytes
            raise InputError(f"is not a readable NPY file: {' '.join(str(error).split())[:200]}") from None
    if dtype.hasobject:
        raise InputError(_PICKLE)
    if len(shape) > _MOST_DIMENSIONS or not all(type(length) is int and length >= 0 for length in shape):
        raise InputError(f"is not a readable NPY file: its shape is {str(shape)[:40]}; save it again")
    needed, left = prod(shape) * dtype.itemsize, size - stream.tell()
    if needed > left:
        raise InputError(f"is truncated: its header announces {needed:,} bytes of data, got {left:,}; save it again")
    return shape, dtype


def _load(stream: BinaryIO | Any, size: int) -> Array:
    """Return the array in a stream of `size` bytes; a pickle is never loaded."""
    npy_header(stream, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream.seek(0)
        return np.load(stream, allow_pickle=False)
