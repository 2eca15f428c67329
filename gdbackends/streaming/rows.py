"""Rows of a file: X and y without their numbers, which are read block by block, scaled, and prefetched."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from gdbackends.blocks import Parts, add_up, over_blocks
from gdbackends.errors import InputError
from gdbackends.objectives import Array
from gdbackends.ranks import Share
from gdbackends.scaling import Scaling
from gdbackends.streaming.prefetch import prefetched, slots

ELEMENTS = 1 << 18
"""Elements of X in a block: 2 MB in float64, which fits in the cache with its copies; BLAS uses one thread for it."""
_READERS = 4
"""Most threads that read."""

Pieces = tuple[Sequence[Array], Array]
"""Rows as they are stored: X in arrays (m, k) side by side, of any real dtypes, and y (m,)."""


class Reader(Protocol):
    """An open source."""

    def read(self, start: int, stop: int) -> Pieces:
        """Return these rows in arrays that may be changed, and that the next call from the same thread overwrites."""
        ...


class RowSource(Protocol):
    """A source of rows."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        ...

    @property
    def features(self) -> int:
        """The number of features."""
        ...

    @property
    def width(self) -> int:
        """The number of 8-byte numbers that are read per row."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether rows can be read only in order, by one thread."""
        ...

    def opened(self) -> AbstractContextManager[Reader]:
        """Open the files; refuse those that have changed, at the beginning and at the end."""
        ...

    def take(self, rows: Array) -> Pieces:
        """Return the rows with these indices."""
        ...

    def target_only(self) -> RowSource:
        """Return the source without its features."""
        ...

    def part(self, rows: slice) -> RowSource:
        """Return the source of these rows, from start to stop, alone."""
        ...

    def not_finite(self, count: int, row: int, column: int, value: float) -> InputError:
        """Return the error for `count` non-finite numbers; column -1 is the target."""
        ...


def as_numbers(values: Array) -> Array:
    """Return the values rounded to float64."""
    with np.errstate(over="ignore"):  # a longdouble may exceed the range, which is refused later
        return values.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Rows:
    """X (n, p) in a file, with its `shape`, `blocks`, and rows by index.

    Attributes:
        source: the source of the rows.
        dtype: the dtype of the blocks.
        scaling: the scaling applied in float64 before rounding to the dtype, or None.
        ones: whether a column of ones is added as the last.
        code: the function from y as it is stored to float64.
        feature_major: whether a block is contiguous by features.
        share: the part of all rows that the source holds, if several processes hold them; None if it holds all.
        in_memory: whether a descent loads the rows first, instead of reading them at every step.
    """

    source: RowSource
    dtype: str = "float64"
    scaling: Scaling | None = None
    ones: bool = False
    code: Callable[[Array], Array] = as_numbers
    feature_major: bool = True
    share: Share | None = None
    in_memory: bool = False

    ndim = 2

    def __repr__(self) -> str:
        """Return the shape and dtype in words."""
        return f"Rows({self.shape[0]:,} x {self.shape[1]:,} {self.dtype}, in a file)"

    @property
    def shape(self) -> tuple[int, int]:
        """(n, p), of all processes together."""
        rows = self.source.rows if self.share is None else self.share.rows
        return rows, self.source.features + self.ones

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.shape[0] * self.shape[1]

    @property
    def block(self) -> int:
        """The number of rows of a block; the last may be shorter."""
        return min(self.source.rows, max(1, ELEMENTS // max(self.source.width, self.shape[1])))

    @property
    def targets(self) -> Targets:
        """The target (n,), also without its numbers."""
        return Targets(self)

    def blocks(self) -> Generator[tuple[Array, Array]]:
        """Yield X (m, p) and y (m,) of each block in order, valid until the next one, while the next ones are read.

        The blocks are those of this process.
        """
        rows, block = self.source.rows, self.block
        workers = 1 if self.source.ordered else min(_READERS, os.cpu_count() or 1)
        kept = [self._empty(block) for _ in range(slots(workers))]  # freed memory is faulted in again
        with self.source.opened() as reader:

            def load(k: int, slot: int) -> tuple[Array, Array]:
                pieces, stored = reader.read(k * block, min((k + 1) * block, rows))
                y = self._coded(stored)  # before the features, which may include y and are scaled in slot
                return self._filled(kept[slot][: y.shape[0]], pieces), y

            with closing(prefetched(load, -(-rows // block), workers)) as blocks:
                yield from blocks

    def part(self, rows: slice) -> Rows:
        """Return these rows, from start to stop, alone."""
        return replace(self, source=self.source.part(rows))

    def loaded(self) -> tuple[Array, Array]:
        """Return X (m, p) and y (m,) of all rows of this process."""
        X, y, at = self._empty(self.source.rows), np.empty(self.source.rows, self.dtype), 0
        for block, target in self.blocks():
            X[at : at + target.size], y[at : at + target.size] = block, target
            at += target.size
        return X, y

    def __getitem__(self, rows: Array) -> Array:
        """Return X of the rows with these indices, (m, p), in NumPy."""
        pieces, y = self.source.take(np.asarray(rows))
        return self._filled(self._empty(y.shape[0]), pieces)

    def taken(self, rows: Array) -> Array:
        """Return y of the rows with these indices, (m,), in NumPy."""
        return self._coded(self.source.target_only().take(np.asarray(rows))[1])

    def _empty(self, rows: int) -> Array:
        out = np.empty((rows, self.shape[1]), self.dtype, order="F" if self.feature_major else "C")
        out[:, self.source.features :] = 1.0
        return out

    def _filled(self, out: Array, pieces: Sequence[Array]) -> Array:
        """Scale the rows into `out`, to the same bits as `Scaling.apply` with one rounding."""
        j = 0
        with np.errstate(all="ignore"):  # numbers out of range are refused elsewhere
            for raw in pieces:
                part, own = out[:, j : j + raw.shape[1]], slice(j, j + raw.shape[1])
                j = own.stop
                if self.scaling is None:
                    part[...] = raw if self.dtype == "float64" else raw.astype(np.float64)
                    continue
                work = raw if raw.dtype == np.float64 and raw.flags.writeable else None  # false for swapped byte order
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
        """Return y of the rows with these indices, (m,), in NumPy."""
        return self.rows.taken(rows)


def over_rows(evaluate: Callable[[Array, Array], Parts], X: Any, y: Any) -> Parts:
    """Return evaluate(X, y), whose parts are means over rows; for Rows, block by block and over all processes."""
    if not isinstance(X, Rows):
        return evaluate(X, y)
    with closing(X.blocks()) as blocks:

        def part(start: int, size: int) -> Parts:
            return evaluate(*next(blocks))

        mean = over_blocks(part, X.source.rows, X.block, add_up)
        next(blocks, None)  # ends the reading, and refuses files that have changed
    return mean if X.share is None else X.share.mean(mean)


def over_ranks(X: Any, array: Any) -> Array:
    """Return what every process has computed of its rows, (size, ...); (1, ...) for X that one process holds."""
    share = X.share if isinstance(X, Rows) else None
    return np.asarray(array)[None] if share is None else share.ranks.gathered(np.asarray(array))


def row_blocks(X: Any, y: Any) -> Generator[tuple[Array, Array]]:
    """Yield two arrays at once, or Rows of this process block by block."""
    if isinstance(X, Rows):
        yield from X.blocks()
    else:
        yield X, y
