"""Rows of memory-mapped NPY files; X and y may be in one file or two, and y may be in memory."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdbackends.arrays import check_shapes, real_array
from gdbackends.errors import InputError
from gdbackends.objectives import Array
from gdbackends.streaming.file_views import FileView, StampedFile, view_of
from gdbackends.streaming.rows import Pieces, Rows

STREAMED = 1 << 21
"""Number of elements from which a mapped X is streamed: 16 MB in float64. A smaller one is read, which is faster."""


@dataclass(frozen=True, eq=False)
class Held:
    """An array (n, k) that is read from memory, or through its map, whose pages are then released."""

    array: Array

    @property
    def row_bytes(self) -> int:
        """Number of bytes copied per row."""
        return self.array.shape[1] * self.array.itemsize

    def part(self, rows: slice) -> Held:
        """Return these rows alone."""
        return Held(self.array[rows])

    def take(self, rows: Any) -> Array:
        """Return a copy of these rows."""
        taken = np.array(self.array[rows])
        mapped: Any = getattr(self.array, "_mmap", None)
        if mapped is not None and self.array.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        return taken


@dataclass(frozen=True, eq=False)
class MappedSource:
    """X as arrays side by side, and y, each in a file or in memory.

    Attributes:
        X: the features.
        y: (n, 1), the target.
        names: the names of the features and, last, of the target; empty for arrays, which have only indices.
        label: the name in error messages.
    """

    X: Sequence[FileView | Held]
    y: FileView | Held
    names: tuple[str, ...] = ()
    label: str = ""
    ordered = False

    @property
    def rows(self) -> int:
        """The number of rows."""
        return _shape(self.y)[0]

    @property
    def features(self) -> int:
        """The number of features."""
        return sum(_shape(part)[1] for part in self.X)

    @property
    def width(self) -> int:
        """The number of 8-byte numbers that are read per row."""
        joint = _joint((*self.X, self.y))
        return max(self.features, sum(max(part.row_bytes for part in parts) for parts in joint) // 8)

    def target_only(self) -> MappedSource:
        """Return the source without its features."""
        return replace(self, X=())

    def part(self, rows: slice) -> MappedSource:
        """Return the source of these rows alone."""
        return replace(self, X=tuple(part.part(rows) for part in self.X), y=self.y.part(rows))

    @contextmanager
    def opened(self) -> Generator[_Reader]:
        """Open the files."""
        files = {part.file for part in (*self.X, self.y) if isinstance(part, FileView)}
        with ExitStack() as stack:
            yield _Reader(self, {file: stack.enter_context(file.opened()) for file in files})

    def take(self, rows: Array) -> Pieces:
        """Return the rows with these indices, by one read each."""
        with self.opened() as reader:
            parts = [part.take(rows) if isinstance(part, Held) else reader.gather(part, rows) for part in self.X]
            y = self.y.take(rows) if isinstance(self.y, Held) else reader.gather(self.y, rows)
        return parts, y[:, 0]

    def not_finite(self, count: int, row: int, column: int, value: float) -> InputError:
        """Return the error that says where the first is, by name or by index."""
        if self.names:
            where = f"row {row} (from 0), column {self.names[column]!r}"
            return InputError(
                f"{self.label}: {count} missing or non-finite values, the first in {where}; drop or fill those rows"
            )
        name, place = ("y", f"{row}") if column < 0 else ("X", f"{row}, {column}")
        first = f"{name}[{place}] = {value}"
        return InputError(
            f"{name} has {count} missing or non-finite values, the first {first}; drop or fill those rows"
        )


class _Reader:
    """The opened files of a source, with buffers for each thread."""

    def __init__(self, source: MappedSource, descriptors: dict[StampedFile, int]) -> None:
        self._parts, self._descriptors, self._kept = (*source.X, source.y), descriptors, threading.local()
        self._joint = [[part for part in parts if isinstance(part, FileView)] for parts in _joint(self._parts)]

    def read(self, start: int, stop: int) -> Pieces:
        """Return rows from start to stop."""
        arrays: dict[int, Array] = {}
        for k, views in enumerate(filter(None, self._joint)):
            low = min(view.offset for view in views)
            whole = replace(views[0], offset=low) if len(views) == 1 else _covering(views, low)
            read = whole.read(self._descriptors[whole.file], start, stop - start, self._buffer(k, whole, stop - start))
            for view in views:
                arrays[id(view)] = read if len(views) == 1 else _within(read, view, low)
        *X, y = (arrays[id(p)] if isinstance(p, FileView) else p.take(slice(start, stop)) for p in self._parts)
        return X, y[:, 0]

    def gather(self, view: FileView, rows: Array) -> Array:
        """Return rows by their indices."""
        size = view.span(1) if view.by_rows else view.shape[1] * view.dtype.itemsize
        buffer = np.empty((rows.size, size), np.uint8)
        for row, line in zip(rows.tolist(), buffer, strict=True):
            view.read(self._descriptors[view.file], row, 1, line)
        strides = (size, view.strides[1] if view.by_rows else view.dtype.itemsize)
        return np.ndarray((rows.size, view.shape[1]), view.dtype, buffer, 0, strides)

    def _buffer(self, k: int, whole: FileView, rows: int) -> Array:
        buffers: dict[int, Array] = self._kept.__dict__.setdefault("buffers", {})
        size = whole.span(rows) * (1 if whole.by_rows else whole.shape[1])
        if k not in buffers or buffers[k].size < size:
            buffers[k] = np.empty(size, np.uint8)
        return buffers[k]


def _shape(part: FileView | Held) -> tuple[int, int]:
    return part.shape if isinstance(part, FileView) else part.array.shape


def _joint(parts: Sequence[FileView | Held]) -> list[list[FileView | Held]]:
    """Group the views of the same rows of a file, which one read serves."""
    groups: list[list[FileView | Held]] = []
    for part in parts:
        group = next((group for group in groups if _beside(group[0], part)), None)
        if group is None:
            groups.append([part])
        else:
            group.append(part)
    return groups


def _beside(a: FileView | Held, b: FileView | Held) -> bool:
    if not (isinstance(a, FileView) and isinstance(b, FileView) and a.by_rows and b.by_rows):
        return False
    return a.file == b.file and a.strides[0] == b.strides[0] and abs(a.offset - b.offset) < a.strides[0]


def _covering(views: Sequence[FileView], low: int) -> FileView:
    """Return the bytes from the first to the last element of a row of all the views."""
    high = max(view.offset + view.span(1) for view in views)
    row = views[0].strides[0]
    return FileView(views[0].file, low, (views[0].shape[0], high - low), (row, 1), np.dtype(np.uint8))


def _within(read: Array, view: FileView, low: int) -> Array:
    """Return the part of the bytes that belongs to a view."""
    shape = (read.shape[0], view.shape[1])
    return np.ndarray(shape, view.dtype, read.base, view.offset - low, (read.strides[0], view.strides[1]))


def _part(array: Array) -> FileView | Held:
    view = view_of(array)
    return Held(array if array.ndim == 2 else array[:, None]) if view is None else view


def mapped_rows(X: np.memmap[Any, Any], y: Array) -> Rows:
    """Return the rows of a mapped X (n, d) and y (n,), mapped or in memory.

    Raises:
        InputTypeError, InputError: as in `checked_arrays`, except for non-finite values.
    """
    for array, name in ((X, "X"), (y, "y")):
        if array.dtype.kind not in "fiub":
            real_array(array[:1], name)
    check_shapes(X.shape, y.shape)
    return Rows(MappedSource((_part(X),), _part(y)))


def npy_source(parts: Sequence[np.memmap[Any, Any]], y: np.memmap[Any, Any], names: Any, label: str) -> MappedSource:
    """Return a mapped table by its column names, with X in parts (n, k) or (n,) side by side."""
    return MappedSource(tuple(map(_part, parts)), _part(y), tuple(names), label)
