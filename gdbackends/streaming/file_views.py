"""The position of an array in a file, and plain reads of its rows; pages read through a memory map stay in memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gdbackends.errors import InputError, file_error
from gdbackends.objectives import Array

Stamp = tuple[int, int, int, int]
"""Device, inode, size, and modification time of a file."""


@dataclass(frozen=True)
class StampedFile:
    """A file that must not change while it is read."""

    path: str
    stamp: Stamp

    @contextmanager
    def opened(self) -> Generator[int]:
        """Yield its descriptor; refuse a file that has changed, at the beginning and at the end."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise file_error(self.path, "read", error) from None
        try:
            self._check(descriptor)
            yield descriptor
            self._check(descriptor)
        finally:
            os.close(descriptor)

    def _check(self, descriptor: int) -> None:
        if stamp(os.fstat(descriptor)) != self.stamp:
            raise InputError(
                f"{self.path}: changed while it was being read; fit again when no other process writes to it"
            )

    def read(self, descriptor: int, start: int, into: memoryview) -> None:
        """Fill `into` with the bytes from `start`."""
        while into:
            try:
                count = os.preadv(descriptor, [into], start)
            except OSError as error:
                raise file_error(self.path, "read", error) from None
            if count == 0:
                raise InputError(f"{self.path}: was truncated at byte {start:,}; fit again when the file is complete")
            into, start = into[count:], start + count


def stamp(status: os.stat_result) -> Stamp:
    """Return the stamp of a file, which changes when the file does."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class FileView:
    """An array (n, k) in a file; element (i, j) is at offset + i strides[0] + j strides[1]."""

    file: StampedFile
    offset: int
    shape: tuple[int, int]
    strides: tuple[int, int]
    dtype: np.dtype[Any]

    @property
    def by_rows(self) -> bool:
        """Whether a row is read in one piece, including the bytes between its elements."""
        return self.shape[1] == 1 or self.strides[1] < self.strides[0]

    @property
    def row_bytes(self) -> int:
        """Number of bytes read per row."""
        return self.strides[0] if self.by_rows else self.shape[1] * self.strides[0]

    def part(self, rows: slice) -> FileView:
        """Return these rows alone."""
        start, count = rows.start, rows.stop - rows.start
        return replace(self, offset=self.offset + start * self.strides[0], shape=(count, self.shape[1]))

    def span(self, rows: int) -> int:
        """Return the bytes from the first of so many rows to the end of the last; of one column if not `by_rows`."""
        columns = self.shape[1] if self.by_rows else 1
        return (rows - 1) * self.strides[0] + (columns - 1) * self.strides[1] + self.dtype.itemsize

    def read(self, descriptor: int, start: int, rows: int, buffer: Array) -> Array:
        """Return rows from `start`, (rows, k), in the buffer (bytes)."""
        span, first = self.span(rows), self.offset + start * self.strides[0]
        columns = 1 if self.by_rows else self.shape[1]
        memory = memoryview(buffer)
        for j in range(columns):
            self.file.read(descriptor, first + j * self.strides[1], memory[j * span : (j + 1) * span])
        strides = (self.strides[0], self.strides[1] if self.by_rows else span)
        return np.ndarray((rows, self.shape[1]), self.dtype, buffer, 0, strides)


def view_of(array: Any) -> FileView | None:
    """Return the position of a mapped array (1-D or 2-D); None if plain reads would not give the same numbers.

    That is the case for a copy-on-write map, a file that has been renamed, and overlapping or reversed elements.
    """
    mapped: Any = getattr(array, "_mmap", None)  # of np.memmap
    if mapped is None or array.filename is None or array.mode == "c":
        return None
    base = np.frombuffer(mapped, np.uint8).ctypes.data
    start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    rows, columns = array.shape[0], array.shape[1] if array.ndim == 2 else 1
    outer, inner = array.strides if array.ndim == 2 else (array.strides[0], array.itemsize)
    inner = array.itemsize if columns == 1 else inner
    short, count, long = (inner, columns, outer) if inner < outer else (outer, rows, inner)
    if short < array.itemsize or (columns > 1 and long < (count - 1) * short + array.itemsize):
        return None
    path = str(Path(array.filename).absolute())
    try:
        status = Path(path).stat()
    except OSError:
        return None
    if _mapped_number(base) != status.st_ino:
        return None
    offset = array.ctypes.data - base + start
    return FileView(StampedFile(path, stamp(status)), offset, (rows, columns), (outer, inner), array.dtype)


def _mapped_number(address: int) -> int | None:
    """Return the inode of the mapped file, since its name may now belong to another file."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        bounds, _, _, _, number, *_ = line.split(maxsplit=5)
        low, high = (int(end, 16) for end in bounds.split("-"))
        if low <= address < high:
            return int(number)
    return None
