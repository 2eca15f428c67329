# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
"""Rows of a Parquet file, a row group at a time, each decoded column by column.

To decode many columns side by side would take a page or two of each at once, and a row group whole may be larger than
memory. So a group's columns are decoded a few at a time into one array; of a large group, into a file that has no name.
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
"""Numbers of a row group that are held in memory: 32 MB."""
_COLUMNS = 8
"""Columns that are decoded side by side."""


@dataclass(frozen=True, eq=False)
class ParquetSource:
    """Columns of numbers in a Parquet file.

    Attributes:
        file: that must stay as it is.
        groups: rows of each row group.
        columns: the names of the features.
        target: the name of the target.
        label: what errors call the file.
        pair: the texts that the target holds, which stand for 0 and 1; None: numbers.
    """

    file: StampedFile
    groups: tuple[int, ...]
    columns: tuple[str, ...]
    target: str
    label: str
    pair: tuple[str, str] | None = None
    ordered = True

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(self.groups)

    @property
    def features(self) -> int:
        """How many features there are."""
        return len(self.columns)

    @property
    def width(self) -> int:
        """How many numbers are read for a row."""
        return len(self.columns) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, the target last."""
        return (*self.columns, self.target)

    def target_only(self) -> ParquetSource:
        """Return the same without features."""
        return replace(self, columns=())

    @contextmanager
    def opened(self) -> Generator[_Reader]:
        """Open the file."""
        with self.file.opened(), refusals(self.label), ExitStack() as stack:
            yield _Reader(self, stack.enter_context(opened(self.file.path)), stack)

    def take(self, rows: Array) -> Pieces:
        """Refuse: Parquet does not give rows by their numbers."""
        raise InputError(f"{self.label}: Parquet does not give {rows.size} rows by their numbers; write it as NPY")

    def not_finite(self, count: int, row: int, column: int, value: float) -> InputError:
        """Say where the first is."""
        where = f"row {row} (from 0), column {self.names[column]!r}"
        return InputError(
            f"{self.label}: {count} missing or non-finite values, the first in {where}; drop or fill those rows"
        )


class _Reader:
    """An opened file, from which rows are read in order."""

    def __init__(self, source: ParquetSource, parquet: Any, stack: ExitStack) -> None:
        self._source, self._parquet = source, parquet
        self._held = np.empty(min(_HELD, max(source.groups) * source.width))
        large = max(source.groups) * source.width > _HELD
        self._file: Any = stack.enter_context(TemporaryFile()) if large else None  # noqa: SIM115 - the stack closes it
        self._group, self._begin, self._end = -1, 0, 0

    def read(self, start: int, stop: int) -> Pieces:
        """Return rows from start to stop, which follow those read before."""
        block, at = np.empty((self._source.width, stop - start)), start
        while at < stop:
            while at >= self._end:
                self._next()
            upto = min(stop, self._end)
            self._copy(at - self._begin, block[:, at - start : upto - start])
            at = upto
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
        """Fill `out` (columns, m) with the group's rows from `row` on."""
        rows = self._end - self._begin
        for j, line in enumerate(out):
            place = j * rows + row
            if self._rows_held():
                line[...] = self._held[place : place + line.size]
            elif os.preadv(self._file.fileno(), [line.data], 8 * place) != line.nbytes:
                raise InputError("the folder for temporary files lost one; set TMPDIR to another")

    def _rows_held(self) -> bool:
        return (self._end - self._begin) * self._source.width <= self._held.size


@contextmanager
def parquet_source(path: Path, label: str) -> Generator[tuple[ParquetSource, Any]]:
    """Yield a Parquet file as a source of all its columns, the last as the target, and pyarrow's own file.

    Raises:
        MissingPackageError: pyarrow is not installed.
        InputError: it is damaged, or cut short.
    """
    require_package("Parquet row by row", "pyarrow", "data")
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 4))
        if size < 12 or stream.read() != b"PAR1":
            raise InputError(f"{label}: is no whole Parquet file, which begins and ends with PAR1; save it anew")
    with refusals(label), opened(str(path)) as parquet:
        metadata, names = parquet.metadata, parquet.schema_arrow.names
        groups = tuple(metadata.row_group(g).num_rows for g in range(metadata.num_row_groups))
        file = StampedFile(str(path.absolute()), stamp(path.stat()))
        yield ParquetSource(file, groups, tuple(names[:-1]), names[-1] if names else "", label), parquet
