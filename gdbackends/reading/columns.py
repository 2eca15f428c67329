# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Tables that hold columns with types: NPY, NPZ, Parquet, data frames."""

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
from gdbackends.reading.column_selection import label_codes, no_numbers
from gdbackends.reading.sources import TextSource

_PICKLE = "holds Python objects (a pickle), which are never loaded; save it as an array of numbers"


@dataclass(frozen=True)
class Columns:
    """A table by columns.

    Attributes:
        names: of the columns, in order.
        numbers: a column by its position, as numbers with NaN for null; None where it is of another type.
        texts: the values of such a column.
    """

    names: list[str]
    numbers: Callable[[int], Array | None]
    texts: Callable[[int], list[Any]]


def take(table: Columns, features: list[str], target: str, labels: bool) -> tuple[Array, Array, tuple[str, str] | None]:
    """Return X (n, d), y (n,) and the labels of a target of text.

    Raises:
        InputError: a chosen column holds no numbers, or a value is missing or not finite; the text says where.
    """
    index = {name: j for j, name in enumerate(table.names)}
    pair: tuple[str, str] | None = None
    y = table.numbers(index[target])
    if y is None and labels:
        y, pair = _coded(table.texts(index[target]), target)
    y = _numeric(table, target, y, target)
    X = np.empty((y.size, len(features)))
    for j, name in enumerate(features):
        X[:, j] = _numeric(table, name, table.numbers(index[name]), target)
    bad = [(name, ~np.isfinite(column)) for name, column in zip((*features, target), (*X.T, y), strict=True)]
    count = sum(int(where.sum()) for _, where in bad)
    if count:
        firsts = [(int(where.argmax()), name) for name, where in bad if where.any()]
        row, name = min(firsts, key=lambda first: first[0])
        raise InputError(
            f"{count} missing or non-finite values, the first in row {row} (from 0), column {name!r}; "
            f"drop or fill those rows"
        )
    return X, y, pair


def _numeric(table: Columns, name: str, column: Array | None, target: str) -> Array:
    """Return the column as float64, or refuse it and name the others."""
    if column is not None:
        return np.array(column, np.float64)
    numeric = [other for j, other in enumerate(table.names) if table.numbers(j) is not None]
    texts = table.texts(table.names.index(name))
    seen = (f"row {i} (from 0): {str(value)[:40]!r}" for i, value in enumerate(texts) if not _is_null(value))
    raise no_numbers(name, next(seen, "no values at all"), numeric, target)


def _coded(values: list[Any], target: str) -> tuple[Array | None, tuple[str, str] | None]:
    """Return the texts as 0, 1 and NaN, and which two they are; None if they are no texts."""
    if not all(isinstance(value, str) or _is_null(value) for value in values):
        return None, None
    no, yes = label_codes(sorted({value for value in values if isinstance(value, str)}), target)
    return np.array([{no: 0.0, yes: 1.0}.get(value, np.nan) for value in values]), (no, yes)


def _is_null(value: Any) -> bool:
    return value is None or value != value


def dataset_columns(data: Dataset) -> Columns:
    """Return the columns of a dataset, the target last."""
    return _by_position([*data.names, data.target], [*data.X.T, data.y])


def frame_columns(frame: Any, name: str) -> Columns | None:
    """Return the columns of a data frame; None for what is none."""
    series = series_of(frame, name)
    if series is None:
        return None
    names = [str(column.name) for column in series]
    return Columns(names, lambda j: numbers_of(series[j]), lambda j: series[j].to_list())


def parquet_columns(source: TextSource) -> Columns:
    """Return the columns of a Parquet file."""
    require_package("Parquet", "polars", "data")
    import polars as pl

    with source.open() as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 4))
        if size < 12 or stream.read() != b"PAR1":
            raise InputError("is no whole Parquet file, which begins and ends with PAR1; save it anew")
        stream.seek(0)
        try:
            frame = pl.read_parquet(stream)
        except pl.exceptions.PanicException:  # which is no Exception
            raise InputError("is a damaged Parquet file; save it anew") from None
    return cast("Columns", frame_columns(frame, "it"))


def npy_columns(source: TextSource) -> Columns:
    """Return the columns of an NPY file."""
    with source.open() as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        return _array_columns(_load(stream, size))


def npz_columns(source: TextSource) -> Columns:
    """Return the columns of an NPZ file: X and y (and names), or a single array."""
    with source.open() as stream, ZipFile(stream) as archive:
        sizes = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if not (len(sizes) == 1 or {"X", "y"} <= set(sizes) <= {"X", "y", "names"}):
            found = ", ".join(map(repr, list(sizes)[:10])) or "nothing"
            raise InputError(f"an NPZ file must hold X and y (and names), or one array, got {found}; save those")
        arrays: dict[str, Array] = {}
        for key, entry in sizes.items():
            with archive.open(entry) as member:
                arrays[key] = _load(member, entry.file_size)
    if len(arrays) == 1:
        return _array_columns(*arrays.values())
    X, y = arrays["X"], arrays["y"]
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise InputError(f"X must have shape (rows, features) and y (rows,), got {X.shape} and {y.shape}")
    names = arrays.get("names", np.array([f"x{j + 1}" for j in range(X.shape[1])]))
    if names.dtype.kind != "U" or names.shape != X.shape[1:]:
        raise InputError(f"names must be {X.shape[1]} texts, one a feature, got {names.dtype} of shape {names.shape}")
    return _by_position([*names.tolist(), "y"], [*X.T, y])


def _array_columns(array: Array) -> Columns:
    """Return the columns of a structured array by their names, of a 2-D one as c1, c2, ..."""
    if array.dtype.names is not None and array.ndim == 1:
        fields = [array[name] for name in array.dtype.names]
        if any(field.ndim > 1 or field.dtype.names for field in fields):
            raise InputError(f"the fields of a structured array must be single numbers, got dtype {array.dtype}")
        return _by_position(list(array.dtype.names), fields)
    if array.ndim != 2 or array.dtype.names is not None:
        raise InputError(f"an array must have shape (rows, columns), the target last, got {array.shape}")
    return _by_position([f"c{j + 1}" for j in range(array.shape[1])], list(array.T))


def _by_position(names: list[str], columns: list[Array]) -> Columns:
    def numbers(j: int) -> Array | None:
        return columns[j] if columns[j].dtype.kind in "fiub" else None

    return Columns(names, numbers, lambda j: columns[j].tolist())


def npy_header(stream: BinaryIO | Any, size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether in Fortran's order, and dtype; the header must promise no more than the `size` bytes hold.

    Raises:
        InputError: it is no NPY file, is cut short, or holds a pickle.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        if stream.read(1) == b"\x80":
            raise InputError(_PICKLE)
        stream.seek(0)
        try:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = header(stream)
        except Exception as error:  # whatever the bytes lead the parser to
            raise InputError(f"is no NPY file that can be read: {' '.join(str(error).split())[:200]}") from None
    if dtype.hasobject:
        raise InputError(_PICKLE)
    promised, left = prod(shape) * dtype.itemsize, size - stream.tell()
    if promised > left:
        raise InputError(
            f"is cut short: its header promises {promised:,} bytes of numbers and {left:,} follow; save it anew"
        )
    return shape, fortran, dtype


def _load(stream: BinaryIO | Any, size: int) -> Array:
    """Return one array, never a pickle."""
    npy_header(stream, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream.seek(0)
        return np.load(stream, allow_pickle=False)
