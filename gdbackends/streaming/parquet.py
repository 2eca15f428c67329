# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
"""Rows of a Parquet file, one row group at a time, each decoded column by column.

Decoding many columns at once needs a page or two of each, and a whole row group may be larger than memory. So the
columns of a group are decoded a few at a time into one array, or for a large group into an unnamed temporary file.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from gdbackends.errors import InputError, require_package
from gdbackends.objectives import Array
from gdbackends.streaming.arrow import decoded, opened, refusals
from gdbackends.streaming.file_views import StampedFile, stamp
from gdbackends.streaming.rows import Pieces

_HELD = 1 << 22
"""Most numbers of a row group that are held in memory: 32 MB."""
_COLUMNS = 8
"""Columns that are decoded at once."""


@dataclass(frozen=True, eq=False)
class ParquetSource:
    """Numeric columns of a Parquet file.

    Attributes:
        file: the file, which must not change.
        groups: the number of rows of each row group.
        columns: the names of the features.
        target: the name of the target.
        label: the name of the file in error messages.
        pair: the two texts in the target, which stand for 0 and 1; None if it is numeric.
        span: the rows of the file, from the first to before the last; None for all.
    """

    file: StampedFile
    groups: tuple[int, ...]
    columns: tuple[str, ...]
    target: str
    label: str
    pair: tuple[str, str] | None = None
    span: tuple[int, int] | None = None
    ordered = True

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(self.groups) if self.span is None else self.span[1] - self.span[0]

    @property
    def first(self) -> int:
        """The index of the first row in the file."""
        return 0 if self.span is None else self.span[0]

    @property
    def features(self) -> int:
        """The number of features."""
        return len(self.columns)

    @property
    def width(self) -> int:
        """The number of numbers that are read per row."""
        return len(self.columns) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, with the target last."""
        return (*self.columns, self.target)

    def target_only(self) -> ParquetSource:
        """Return the source without its features."""
        return replace(self, columns=())

    def part(self, rows: slice) -> ParquetSource:
        """Return the source of these rows alone; only the row groups that hold them are decoded."""
        return replace(self, span=(self.first + rows.start, self.first + rows.stop))

    @contextmanager
    def opened(self) -> Generator[_Reader]:
        """Open the file."""
        with self.file.opened(), refusals(self.label), ExitStack() as stack:
            yield _Reader(self, stack.enter_context(opened(self.file.path)), stack)

    def take(self, rows: Array) -> Pieces:
        """Refuse, since Parquet has no access to rows by index."""
        raise InputError(
            f"{self.label}: Parquet rows cannot be read by index, got {rows.size} indices; save the table as NPY"
        )

    def not_finite(self, count: int, row: int, column: int, value: float) -> InputError:
        """Return the error that says where the first is."""
        where = f"row {row} (from 0), column {self.names[column]!r}"
        return InputError(
            f"{self.label}: {count} missing or non-finite values, the first in {where}; drop or fill those rows"
        )


class _Reader:
    """An open file, whose rows are read in order."""

    def __init__(self, source: ParquetSource, parquet: Any, stack: ExitStack) -> None:
        self._source, self._parquet = source, parquet
        self._held = np.empty(min(_HELD, max(source.groups) * source.width))
        large = max(source.groups) * source.width > _HELD
        self._file: Any = stack.enter_context(TemporaryFile()) if large else None  # noqa: SIM115 - the stack closes it
        self._group, self._begin, self._end = -1, 0, 0
        while self._end + source.groups[self._group + 1] <= source.first:  # groups before the first row
            self._group += 1
            self._begin, self._end = self._end, self._end + source.groups[self._group]

    def read(self, start: int, stop: int) -> Pieces:
        """Return rows from start to stop, which follow those read before."""
        block, at, done = np.empty((self._source.width, stop - start)), self._source.first + start, 0
        while done < stop - start:
            while at >= self._end:
                self._next()
            count = min(stop - start - done, self._end - at)
            self._copy(at - self._begin, block[:, done : done + count])
            at, done = at + count, done + count
        return [block[:-1].T], block[-1]

    def _next(self) -> None:
        """Decode the next row group."""
        self._group += 1
        source, rows = self._source, self._source.groups[self._group]
        self._begin, self._end = self._end, self._end + rows
        for first in range(0, source.width, _COLUMNS):
            names = source.names[first : first + _COLUMNS]
            for row, columns in decoded(self._parquet, self._group, names, source.pair):
                for j, values in enumerate(columns, first):
                    self._store(j * rows + row, values)

    def _store(self, place: int, values: Array) -> None:
        if self._rows_held():
            self._held[place : place + values.size] = values
        else:
            os.pwrite(self._file.fileno(), np.ascontiguousarray(values).data, 8 * place)

    def _copy(self, row: int, out: Array) -> None:
        """Fill `out` (columns, m) with the rows of the group from `row`."""
        rows = self._end - self._begin
        for j, line in enumerate(out):
            place = j * rows + row
            if self._rows_held():
                line[...] = self._held[place : place + line.size]
            elif os.preadv(self._file.fileno(), [line.data], 8 * place) != line.nbytes:
                raise InputError("a temporary file was truncated; set TMPDIR to another folder")

    def _rows_held(self) -> bool:
        return (self._end - self._begin) * self._source.width <= self._held.size


@contextmanager
def parquet_source(path: Path, label: str) -> Generator[tuple[ParquetSource, Any]]:
    """Yield a Parquet file as a source of all its columns, with the last as the target, and the file of pyarrow.

    Raises:
        MissingPackageError: pyarrow is not installed.
        InputError: the file is damaged or truncated.
    """
    require_package("Parquet row by row", "pyarrow", "data")
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 4))
        if size < 12 or stream.read() != b"PAR1":
            raise InputError(f"{label}: is not a complete Parquet file, which begins and ends with PAR1; save it again")
    with refusals(label), opened(str(path)) as parquet:
        metadata, names = parquet.metadata, parquet.schema_arrow.names
        groups = tuple(metadata.row_group(g).num_rows for g in range(metadata.num_row_groups))
        file = StampedFile(str(path.absolute()), stamp(path.stat()))
        yield ParquetSource(file, groups, tuple(names[:-1]), names[-1] if names else "", label), parquet
