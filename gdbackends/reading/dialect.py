"""The dialect of a text table, detected from its first rows: delimiter, numbers and header; its rows and cells."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, islice
from typing import BinaryIO

from gdbackends.errors import InputError, InputTypeError
from gdbackends.reading.cells import NumberFormat, boolean, has_decimal_comma, is_missing, quoted, thousands_mark
from gdbackends.reading.columns import is_unnamed
from gdbackends.reading.sources import ByteSource, check_text

_MOST_LINE = 1 << 24
_MOST_CELLS = 1_000_000
_MOST_BLANK = 1_000_000
_PIECE = 1 << 20
_HEAD = 1 << 20
_LOOKED_AT = 10
"""Rows that show whether lines end with a delimiter."""
_QUOTED = re.compile(r'"[^"]*"?')
_BLANKS = re.compile(r'("[^"]*"?)|\s+')
_COMMENT = re.compile(r"\s*(?:#|%|//)+(?:[^\d.,;+\-\t]|$)")
"""A mark, and then no number or delimiter: `#1` is a cell, and `#,name` names a column."""
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""The first line by which Excel is told the delimiter."""


@dataclass(frozen=True)
class TextOptions:
    """How a text table is written, as far as the caller says; None means detected. The fields are those of `read`."""

    delimiter: str | None = None
    decimal: str = "."
    header: bool | None = None
    thousands: str | None = None
    encoding: str = "utf-8"

    def check(self) -> None:
        """Raise InputError if an option has the wrong type or value."""
        if not (self.header is None or isinstance(self.header, bool)):
            raise InputTypeError(f"header must be True or False, got {self.header!r}")
        if self.decimal not in (".", ","):
            raise InputError(f"decimal must be '.' or ',', got {self.decimal!r}")
        if self.thousands is not None:
            if self.thousands not in (",", ".", " ", "'", "_"):
                raise InputError(f"thousands must be ',', '.', ' ', \"'\" or '_', got {self.thousands!r}")
            if self.thousands == self.decimal:
                raise InputError(f"thousands and decimal must differ, got {self.decimal!r} for both")
        try:
            "".encode(self.encoding)
        except (LookupError, TypeError):
            raise InputError(
                f"encoding must be one that Python knows, such as 'utf-8', 'latin-1' or 'utf-16', got {self.encoding!r}"
            ) from None
        mark = self.delimiter
        if mark is None:
            return
        if not isinstance(mark, str) or len(mark) != 1 or mark.isalnum() or mark in '."+-_\r\n\0':
            raise InputError(f"delimiter must be one character, such as ',', ';', '\\t' or ' ' (blanks), got {mark!r}")
        if mark == self.decimal:
            raise InputError(f"delimiter and decimal must differ, got {self.decimal!r} for both")


@dataclass(frozen=True)
class Dialect:
    """The dialect of a text table.

    Attributes:
        delimiter: the delimiter of cells; " " stands for a run of blanks.
        numbers: how numbers are written.
        names: the names of the columns.
        line: the number of the line at which the data begin.
        start: the byte at which the data begin.
        unnamed: the generated names of the columns without a name in the header.
    """

    delimiter: str
    numbers: NumberFormat
    names: list[str]
    line: int
    start: int
    unnamed: tuple[str, ...] = ()

    def rows(self, stream: BinaryIO, skipped: Counter[str] | None = None) -> Iterator[tuple[int, list[str]]]:
        """Yield the last line number and the cells of each row of data; `skipped` counts the comments between them.

        Raises:
            InputError: a row has too many or too few cells.
        """
        width = len(self.names)
        for line, row in self.raw_rows(stream, skipped):
            if len(row) == width + 1 and not row[-1].strip():
                row.pop()  # the line ends with a delimiter
            if len(row) != width:
                raise InputError(
                    f"line {line} has {len(row)} cell{'' if len(row) == 1 else 's'}, but the first row has {width}; "
                    f"correct that line{', or remove the row names' if len(row) == width + 1 else ''}"
                )
            yield line, row

    def raw_rows(self, stream: BinaryIO, skipped: Counter[str] | None = None) -> Iterator[tuple[int, list[str]]]:
        """Yield the same, whatever the number of cells."""
        for line, row in _records(iter(_Lines(stream)), self.delimiter):
            if line < self.line or (len(row) <= 1 and not any(cell.strip() for cell in row)):
                continue
            if _COMMENT.match(row[0] + (self.delimiter if len(row) > 1 else "")):
                if skipped is not None:
                    skipped["comments"] += 1
                continue
            yield line, row


class _Lines:
    """The decoded lines of a stream with any line ends; `bytes` counts the bytes of the lines yielded so far."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.bytes = stream, 0

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self._split(), 1):
            self.bytes += len(line)
            if b"\0" in line:
                raise InputError(f"is not text: line {number} contains a zero byte; save it as CSV in UTF-8")
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start]
                raise InputError(
                    f"is not UTF-8 text (line {number}, byte {byte:#x}); save it as UTF-8, or name its encoding, such "
                    f"as encoding='latin-1' (--encoding latin-1)"
                ) from None

    def _split(self) -> Iterator[bytes]:
        """Yield the lines, a lone carriage return also ends one; refuse a line that is too long before it is read."""
        rest, number = b"", 1
        while piece := self.stream.readline(_PIECE):
            if not rest and piece.endswith(b"\n") and b"\r" not in piece[:-2]:
                number += 1
                yield piece
                continue
            *whole, rest = (rest + piece).splitlines(keepends=True)
            if rest.endswith(b"\n"):
                whole, rest = [*whole, rest], b""
            number += len(whole)
            yield from whole
            if len(rest) > _MOST_LINE:
                raise InputError(
                    f"line {number} is longer than {_MOST_LINE:,} bytes, which no table of rows is; save it as NPY"
                )
        if rest:
            yield rest


def _records(lines: Iterator[str], delimiter: str, before: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Yield the last line number and the cells of each record; a blank line has no cells.

    `before` is the number of lines that precede `lines` in the file.
    """
    if delimiter == " ":
        lines = (_BLANKS.sub(lambda match: match[1] or "\t", line.strip()) for line in lines)
    reader = csv.reader(lines, delimiter="\t" if delimiter == " " else delimiter, strict=True)
    begin = before + 1
    try:
        for row in reader:
            yield before + reader.line_num, row
            begin = before + reader.line_num + 1
    except csv.Error as error:
        if "field larger" in str(error):
            limit = f"{csv.field_size_limit():,} characters"
            raise InputError(f"line {begin} has a cell of more than {limit}; shorten it or check its quotes") from None
        if "unexpected end" in str(error):
            raise InputError(f"is not a CSV table: an open quote in the row from line {begin}; close it") from None
        raise InputError(f"is not a CSV table: {error} (line {before + reader.line_num}); check its quotes") from None


@dataclass
class _Beginning:
    """The lines of a text before its first row.

    Attributes:
        number: the number of the line with the first row.
        start: the byte at which that line begins.
        first: that line.
        comments: the comments before it.
        separator: the delimiter that the first line tells, or None.
    """

    number: int
    start: int
    first: str
    comments: list[str]
    separator: str | None


def _beginning(lines: Iterator[str], counter: _Lines) -> _Beginning:
    """Return what precedes the first row."""
    comments: list[str] = []
    separator, start = None, 0
    for number, line in enumerate(lines, 1):
        mark = _SEPARATOR.fullmatch(line) if number == 1 else None
        if mark is not None:
            separator = mark[1]
        elif _COMMENT.match(line):
            comments.append(line.strip().lstrip("#%/ "))
        elif line.strip():
            return _Beginning(number, start, line, comments, separator)
        elif number > _MOST_BLANK:
            break
        start = counter.bytes
    raise InputError("is empty; at least one row of numbers is needed")


def detect_dialect(source: ByteSource, options: TextOptions) -> Dialect:
    """Return the dialect of a text table; a delimiter or header of None is detected from the first rows.

    Raises:
        InputError: the table has no rows or another format, or its first row is ambiguous.
    """
    with source.open() as stream:
        check_text(stream.read(512))
    numbers, header = NumberFormat(options.decimal, options.thousands), options.header
    with source.open() as stream:
        counter = _Lines(stream)
        lines = iter(counter)
        begin = _beginning(lines, counter)
        delimiter = options.delimiter or begin.separator or _detect_delimiter(begin.first, options.decimal)
        _check_width(begin, delimiter)
        if (options.delimiter, header, options.decimal, delimiter) == (None, None, ".", ","):
            _check_commas(begin.first, begin.number)
        last, row = next(_records(chain([begin.first], lines), delimiter, begin.number - 1))
        after_header = (last + 1, counter.bytes)
    cells = [cell.strip() for cell in row]
    titles = _commented_header(begin.comments, cells, delimiter, numbers) if header is not False else None
    if titles is not None:
        header, cells, place = True, titles, (begin.number, begin.start)
    else:
        header = _is_header(cells, begin.number, delimiter, numbers) if header is None else header
        place = after_header if header else (begin.number, begin.start)
    return _with_names(Dialect(delimiter, numbers, [], *place), source, cells, header)


def _check_width(begin: _Beginning, delimiter: str) -> None:
    """Raise InputError if a first row has more cells than a table may have columns."""
    count = len(begin.first.split(None if delimiter == " " else delimiter))
    if count > _MOST_CELLS:
        raise InputError(
            f"line {begin.number} has {count:,} cells, and a text table may have {_MOST_CELLS:,}; save it as NPY"
        )


def _first_rows(dialect: Dialect, source: ByteSource) -> list[list[str]]:
    """Return a few rows; a file may have one row and then empty lines, so all but one are looked for at its head."""
    with source.open() as stream:
        head = stream.read(dialect.start + _HEAD)
    head = head if len(head) < dialect.start + _HEAD else head[: head.rfind(b"\n") + 1]
    rows = [row for _, row in islice(dialect.raw_rows(BytesIO(head)), _LOOKED_AT)]
    if rows:
        return rows
    with source.open() as stream:
        return [row for _, row in islice(dialect.raw_rows(stream), 1)]


def _with_names(dialect: Dialect, source: ByteSource, cells: list[str], header: bool) -> Dialect:
    """Return the dialect with the names of the columns, from the header or c1, c2, ...

    R writes row names without a title: the header is then one cell shorter than the rows. Some programs end each line
    with a delimiter: then the last column has neither name nor cells.
    """
    rows = _first_rows(dialect, source)
    if not rows:
        raise InputError("has a header but no rows; at least one row of numbers is needed")
    width = len(cells)
    if header and all(len(row) == width + 1 and row[-1].strip() for row in rows):
        cells = ["", *cells]
    elif width > 1 and not cells[-1] and not any(cell.strip() for row in rows for cell in row[width - 1 :]):
        cells = cells[:-1]
    names = [(cell if header else "") or f"c{j + 1}" for j, cell in enumerate(cells)]
    unnamed = tuple(name for name, cell in zip(names, cells, strict=True) if header and is_unnamed(cell))
    return Dialect(dialect.delimiter, dialect.numbers, names, dialect.line, dialect.start, unnamed)


def _commented_header(
    comments: Sequence[str], cells: Sequence[str], delimiter: str, numbers: NumberFormat
) -> list[str] | None:
    """Return the names in the last comment before a row with numbers, as numpy.savetxt writes; None if none."""
    if not comments or not any(map(numbers.is_number, cells)):
        return None
    titles = [cell.strip() for _, row in _records(iter([comments[-1]]), delimiter) for cell in row]
    titles = ["#", *titles] if len(titles) == len(cells) - 1 else titles  # the mark is the title of row numbers
    sound = len(titles) == len(cells) == len(set(titles)) and not any(map(numbers.is_number, titles))
    return titles if sound else None


def _detect_delimiter(line: str, decimal: str) -> str:
    """Return the most frequent delimiter outside quotes; blanks if the line contains no other."""
    unquoted = _QUOTED.sub("", line.strip("\r\n "))
    best = max(",;\t" if decimal == "." else ";\t", key=unquoted.count)
    return " " if best not in unquoted and " " in unquoted else best


def _check_commas(line: str, number: int) -> None:
    """Raise InputError if the commas of a first row are decimal marks between other delimiters."""
    comma = NumberFormat(",")
    for other in (";", "\t", " "):
        cells = line.split(None if other == " " else other)
        if len(cells) > 1 and all(map(comma.is_number, cells)) and any(map(has_decimal_comma, cells)):
            raise InputError(
                f"line {number}: {quoted(cells[0])} looks like a number with a decimal comma; use delimiter={other!r}, "
                f"decimal=',' (--delimiter {other!r} --decimal ,)"
            )


def _is_header(cells: Sequence[str], number: int, delimiter: str, numbers: NumberFormat) -> bool:
    """Return whether a first row is a header; missing cells are ignored.

    Raises:
        InputError: the row contains both numbers and text, or a decimal comma where a point is expected.
    """
    comma = next((cell for cell in cells if has_decimal_comma(cell) and not numbers.is_number(cell)), None)
    if comma is not None and numbers.decimal == ".":
        raise InputError(f"line {number}: {mark_error(comma, delimiter)}")
    present = [cell for cell in cells if not is_missing(cell)]
    known = [cell for cell in present if numbers.is_number(cell) or boolean(cell) is not None]
    if known and len(known) < len(present):
        text = next(cell for cell in present if cell not in known)
        raise InputError(
            f"line {number} may or may not be a header: {quoted(known[0])} is a number and {quoted(text)} is not; "
            f"use header=True (--header) or header=False (--no-header)"
        )
    return bool(present) and not known


def mark_error(cell: str, delimiter: str) -> str:
    """Return the error text for a cell with a thousands mark, or a decimal comma where a point is expected."""
    mark = thousands_mark(cell)
    if mark is not None:
        given = "' '" if mark == " " else '"\'"' if mark == "'" else mark
        other = ", or decimal=',' (--decimal ,) if it is a decimal comma" if mark == "," and delimiter != "," else ""
        return (
            f"{quoted(cell)} is not a number; if {mark!r} marks thousands, use thousands={mark!r} (--thousands {given})"
            f"{other}"
        )
    if delimiter == ",":
        return f"{quoted(cell)} is not a number, as commas separate the cells; write it with a decimal point"
    return f"{quoted(cell)} is not a number; if that is a decimal comma, use decimal=',' (--decimal ,)"
