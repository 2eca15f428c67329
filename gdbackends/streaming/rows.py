"""Rows that lie in a file: X and y without their numbers, which come block by block, scaled, and read ahead."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gdbackends.blocks import Parts, add_up, over_blocks
from gdbackends.errors import InputError
from gdbackends.objectives import Array
from gdbackends.scaling import Scaling
from gdbackends.streaming.prefetch import ahead, places

ELEMENTS = 1 << 18
"""Elements of X in a block: 2 MB in float64, which with its copies stays in the cache; BLAS uses one thread for it."""
_READERS = 4
"""Threads that read, at most."""

Pieces = tuple[Sequence[Array], Array]
"""Some rows as they are stored: X in arrays (m, k) side by side, of any real dtypes, and y (m,)."""


class Reader(Protocol):
    """A source that has been opened."""

    def read(self, start: int, stop: int) -> Pieces:
        """Return those rows, in arrays that the next call from the same thread overwrites; they may be changed."""
        ...


class RowSource(Protocol):
    """Where rows lie."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        ...

    @property
    def features(self) -> int:
        """How many features there are."""
        ...

    @property
    def width(self) -> int:
        """How many numbers of 8 bytes are read for a row."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether rows can be read only in order, by one thread."""
        ...

    def opened(self) -> AbstractContextManager[Reader]:
        """Open the files; refuse those that changed, here and at the end."""
        ...

    def take(self, rows: Array) -> Pieces:
        """Return the rows of those numbers."""
        ...

    def target_only(self) -> RowSource:
        """Return the same without features."""
        ...

    def not_finite(self, count: int, row: int, column: int, value: float) -> InputError:
        """Return the refusal of so many numbers that are none; column -1 is the target."""
        ...


def as_numbers(values: Array) -> Array:
    """Return the float64 nearest to each value."""
    with np.errstate(over="ignore"):  # a longdouble may exceed the range, which is refused by its place
        return values.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Rows:
    """X (n, p) in a file: `shape`, `blocks`, and rows by their numbers.

    Attributes:
        source: where they lie.
        dtype: of the blocks.
        scaling: what the features are changed by, in float64, before they are rounded to the dtype; None: nothing.
        ones: whether a column of ones is added as the last.
        code: from y as it is stored to float64.
        feature_major: whether the features of a block lie one after the other.
    """

    source: RowSource
    dtype: str = "float64"
    scaling: Scaling | None = None
    ones: bool = False
    code: Callable[[Array], Array] = as_numbers
    feature_major: bool = True

    ndim = 2

    def __repr__(self) -> str:
        """Say what it stands for."""
        return f"Rows({self.shape[0]:,} x {self.shape[1]:,} {self.dtype}, in a file)"

    @property
    def shape(self) -> tuple[int, int]:
        """(n, p)."""
        return self.source.rows, self.source.features + self.ones

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.shape[0] * self.shape[1]

    @property
    def block(self) -> int:
        """Rows of a block; the last may be short."""
        return min(self.shape[0], max(1, ELEMENTS // max(self.source.width, self.shape[1])))

    @property
    def targets(self) -> Targets:
        """The y (n,), likewise without its numbers."""
        return Targets(self)

    def blocks(self) -> Generator[tuple[Array, Array]]:
        """Yield X (m, p) and y (m,) of each block in order, while the next ones are read; good until the next."""
        rows, block = self.shape[0], self.block
        workers = 1 if self.source.ordered else min(_READERS, os.cpu_count() or 1)
        kept = [self._empty(block) for _ in range(places(workers))]  # what a thread frees it pays for again
        with self.source.opened() as reader:

            def load(k: int, place: int) -> tuple[Array, Array]:
                pieces, stored = reader.read(k * block, min((k + 1) * block, rows))
                y = self._coded(stored)  # first: it may be one of the features, which are scaled in place
                return self._filled(kept[place][: y.shape[0]], pieces), y

            with closing(ahead(load, -(-rows // block), workers)) as blocks:
                yield from blocks

    def __getitem__(self, rows: Array) -> Array:
        """Return X of the rows of those numbers, (m, p), in NumPy."""
        pieces, y = self.source.take(np.asarray(rows))
        return self._filled(self._empty(y.shape[0]), pieces)

    def taken(self, rows: Array) -> Array:
        """Return y of the rows of those numbers, (m,), in NumPy."""
        return self._coded(self.source.target_only().take(np.asarray(rows))[1])

    def _empty(self, rows: int) -> Array:
        out = np.empty((rows, self.shape[1]), self.dtype, order="F" if self.feature_major else "C")
        out[:, self.source.features :] = 1.0
        return out

    def _filled(self, out: Array, pieces: Sequence[Array]) -> Array:
        """Scale what was read into `out`, to the same bits as `Scaling.apply` and one rounding would."""
        j = 0
        with np.errstate(all="ignore"):  # what exceeds the range has been refused, or will be by its place
            for raw in pieces:
                part, own = out[:, j : j + raw.shape[1]], slice(j, j + raw.shape[1])
                j = own.stop
                if self.scaling is None:
                    part[...] = raw if self.dtype == "float64" else raw.astype(np.float64)
                    continue
                work = raw if raw.dtype == np.float64 and raw.flags.writeable else None  # false of swapped bytes
                work = np.subtract(raw, self.scaling.center[own], out=work, dtype=np.float64, casting="same_kind")
                if self.dtype == "float64":
                    np.divide(work, self.scaling.spread[own], out=part)
                else:
                    part[...] = np.divide(work, self.scaling.spread[own], out=work)
        return out

    def _coded(self, y: Array) -> Array:
        with np.errstate(over="ignore"):
            return self.code(y).astype(self.dtype)


@dataclass(frozen=True, eq=False)
class Targets:
    """y (n,) in a file, beside its `Rows`."""

    rows: Rows

    @property
    def shape(self) -> tuple[int]:
        """(n,)."""
        return (self.rows.shape[0],)

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.rows.shape[0]

    def __getitem__(self, rows: Array) -> Array:
        """Return y of the rows of those numbers, (m,), in NumPy."""
        return self.rows.taken(rows)


def over_rows(evaluate: Callable[[Array, Array], Parts], X: Any, y: Any) -> Parts:
    """Return evaluate(X, y), whose parts are means over rows: of arrays in one go, of Rows block by block."""
    if not isinstance(X, Rows):
        return evaluate(X, y)
    with closing(X.blocks()) as blocks:

        def part(start: int, size: int) -> Parts:
            return evaluate(*next(blocks))

        mean = over_blocks(part, X.shape[0], X.block, add_up)
        next(blocks, None)  # ends the reading, where files that have changed are refused
        return mean


def row_blocks(X: Any, y: Any) -> Generator[tuple[Array, Array]]:
    """Yield all of two arrays, or Rows block by block."""
    if isinstance(X, Rows):
        yield from X.blocks()
    else:
        yield X, y
