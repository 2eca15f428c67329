# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Tables with typed columns: NPY and NPZ files, Parquet files, and data frames."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, cast
from zipfile import ZipFile

import numpy as np

from gdbackends.arrays import numbers_of, series_of
from gdbackends.datasets import Dataset
from gdbackends.errors import InputError, check_memory, require_package
from gdbackends.objectives import Array
from gdbackends.reading.sources import INFLATED, RATIO, ByteSource

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
        titled: whether the names come with the table.
    """

    names: list[str]
    numbers: Callable[[int], Array | None]
    values: Callable[[int], list[Any]]
    titled: bool = True

    @property
    def unnamed(self) -> tuple[str, ...]:
        """The columns that pandas named for want of a title."""
        return tuple(name for name in self.names if self.titled and is_unnamed(name))


def is_unnamed(title: str) -> bool:
    """Return whether a title is empty, or what pandas writes in its place."""
    return re.fullmatch(r"|Unnamed: \d+|__index_level_\d+__", title) is not None


def dataset_columns(data: Dataset) -> Columns:
    """Return the columns of a dataset, with the target last."""
    return _by_position([*data.names, data.target], [*data.X.T, data.y], titled=False)


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
            if entry.file_size > max(INFLATED, RATIO * entry.compress_size):
                raise InputError(
                    f"{key!r} inflates from {entry.compress_size:,} to {entry.file_size:,} bytes, more than {RATIO} "
                    f"times its size; if you trust it, save it with numpy.savez, uncompressed"
                )
            check_memory(2 * entry.file_size, repr(key))
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
    return _by_position([*names.tolist(), "y"], [*X.T, y], titled=False)


def array_columns(array: Array) -> Columns:
    """Return the fields of a structured array, or the columns of a 2-D array named c1, c2, ..."""
    if array.dtype.names is not None and array.ndim == 1:
        fields = [array[name] for name in array.dtype.names]
        if any(field.ndim > 1 or field.dtype.names for field in fields):
            raise InputError(f"the fields of a structured array must be scalars, got dtype {array.dtype}")
        return _by_position(list(array.dtype.names), fields)
    if array.ndim != 2 or array.dtype.names is not None:
        raise InputError(f"an array must have shape (rows, columns), with the target last, got {array.shape}")
    return _by_position([f"c{j + 1}" for j in range(array.shape[1])], list(array.T), titled=False)


def _by_position(names: list[str], columns: list[Array], titled: bool = True) -> Columns:
    numeric = [column if column.dtype.kind in "fiub" else None for column in columns]
    return Columns(names, numeric.__getitem__, lambda j: columns[j].tolist(), titled)


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
