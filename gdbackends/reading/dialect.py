"""The dialect of a text table, detected from its first row: delimiter, decimal mark and header; its rows and cells."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from gdbackends.errors import InputError
from gdbackends.reading.sources import ByteSource, check_text

_MISSING = {"", "na", "n/a", "nan", "null", "none"}
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+([eE][+-]?\d+)?\s*")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_QUOTED = re.compile(r'"[^"]*"?')
_BLANKS = re.compile(r'("[^"]*"?)|\s+')


def parse_number(cell: str, decimal: str) -> float:
    """Return the number in a cell; NaN if the cell is missing or not a number."""
    if decimal == ",":
        if "." in cell:
            return math.nan
        cell = cell.replace(",", ".")
    try:
        return float(cell) if "_" not in cell else math.nan  # float() would accept 1_000
    except ValueError:
        return math.nan


def is_number(cell: str, decimal: str) -> bool:
    """Return whether a cell is a number, including infinity."""
    return not math.isnan(parse_number(cell, decimal))


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty or a word for a missing value."""
    return cell.strip().casefold() in _MISSING


def has_decimal_comma(cell: str) -> bool:
    """Return whether a cell is a number with a decimal comma."""
    return _DECIMAL_COMMA.fullmatch(cell) is not None


def quoted(cell: str) -> str:
    """Return a cell for an error message, quoted and truncated."""
    return repr(cell.strip()[:40])


@dataclass(frozen=True)
class Dialect:
    """The dialect of a text table.

    Attributes:
        delimiter: the delimiter of cells; " " stands for a run of blanks.
        decimal: the decimal mark, "." or ",".
        names: the names of the columns.
        line: the number of the line at which the data begin.
        start: the byte at which the data begin.
        unnamed: the generated names of the columns without a name in the header.
    """

    delimiter: str
    decimal: str
    names: list[str]
    line: int
    start: int
    unnamed: tuple[str, ...] = ()

    def rows(self, stream: BinaryIO) -> Iterator[tuple[int, list[str]]]:
        """Yield the last line number and the cells of each row of data.

        Raises:
            InputError: a row has too many or too few cells.
        """
        width = len(self.names)
        for line, row in _records(iter(_Lines(stream)), self.delimiter):
            if line < self.line or (len(row) <= 1 and not any(cell.strip() for cell in row)):
                continue
            if len(row) != width:
                raise InputError(
                    f"line {line} has {len(row)} cell{'' if len(row) == 1 else 's'}, but the first row has {width}; "
                    f"correct that line{', or remove the row names' if len(row) == width + 1 else ''}"
                )
            yield line, row


class _Lines:
    """The decoded lines of a stream with any line ends; `bytes` counts the bytes of the lines yielded so far."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.bytes = stream, 0

    def __iter__(self) -> Iterator[str]:
        number = 0
        for piece in self.stream:
            for line in piece.splitlines(keepends=True):  # a lone carriage return also ends a line
                number += 1
                self.bytes += len(line)
                if b"\0" in line:
                    raise InputError(f"is not text: line {number} contains a zero byte; save it as CSV in UTF-8")
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    byte = line[error.start]
                    raise InputError(f"is not UTF-8 text (line {number}, byte {byte:#x}); save it as UTF-8") from None


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


def detect_dialect(source: ByteSource, delimiter: str | None, decimal: str, header: bool | None) -> Dialect:
    """Return the dialect of a text table; a delimiter or header of None is detected from the first row.

    Raises:
        InputError: the table has no rows or another format, or its first row is ambiguous.
    """
    with source.open() as stream:
        check_text(stream.read(6))
    with source.open() as stream:
        counter = _Lines(stream)
        lines = iter(counter)
        before = number = 0
        for number, first in enumerate(lines, 1):  # noqa: B007
            if first.strip():
                break
            before = counter.bytes
        else:
            raise InputError("is empty; at least one row of numbers is needed")
        detected = delimiter or _detect_delimiter(first, decimal)
        if delimiter is None and header is None and decimal == "." and detected == ",":
            _check_commas(first, number)
        last, row = next(_records(chain([first], lines), detected, number - 1))
        cells = [cell.strip() for cell in row]
        if header is None:
            header = _is_header(cells, number, detected, decimal)
        names = [(cell if header else "") or f"c{j + 1}" for j, cell in enumerate(cells)]
        unnamed = tuple(name for name, cell in zip(names, cells, strict=True) if header and not cell)
        begin = (last + 1, counter.bytes) if header else (number, before)
        dialect = Dialect(detected, decimal, names, *begin, unnamed)
    with source.open() as stream:
        if header and next(dialect.rows(stream), None) is None:
            raise InputError("has a header but no rows; at least one row of numbers is needed")
    return dialect


def _detect_delimiter(line: str, decimal: str) -> str:
    """Return the most frequent delimiter outside quotes; blanks if the line contains no other."""
    unquoted = _QUOTED.sub("", line.strip("\r\n "))
    best = max(",;\t" if decimal == "." else ";\t", key=unquoted.count)
    return " " if best not in unquoted and " " in unquoted else best


def _check_commas(line: str, number: int) -> None:
    """Raise InputError if the commas of a first row are decimal marks between other delimiters."""
    for other in (";", "\t", " "):
        cells = line.split(None if other == " " else other)
        if len(cells) > 1 and all(is_number(cell, ",") for cell in cells) and any(map(has_decimal_comma, cells)):
            raise InputError(
                f"line {number}: {quoted(cells[0])} looks like a number with a decimal comma; use delimiter={other!r}, "
                f"decimal=',' (--delimiter {other!r} --decimal ,)"
            )


def _is_header(cells: Sequence[str], number: int, delimiter: str, decimal: str) -> bool:
    """Return whether a first row is a header; missing cells are ignored.

    Raises:
        InputError: the row contains both numbers and text, or a decimal comma where a point is expected.
    """
    comma = next(filter(has_decimal_comma, cells), None)
    if comma is not None and decimal == ".":
        raise InputError(f"line {number}: {decimal_comma_error(comma, delimiter)}")
    present = [cell for cell in cells if not is_missing(cell)]
    numbers = [cell for cell in present if is_number(cell, decimal)]
    if numbers and len(numbers) < len(present):
        text = next(cell for cell in present if cell not in numbers)
        raise InputError(
            f"line {number} may or may not be a header: {quoted(numbers[0])} is a number and {quoted(text)} is not; "
            f"use header=True (--header) or header=False (--no-header)"
        )
    return bool(present) and not numbers


def decimal_comma_error(cell: str, delimiter: str) -> str:
    """Return the error text for a cell with a comma where a decimal point is expected."""
    if delimiter == ",":
        return f"{quoted(cell)} is not a number, as commas separate the cells; write it with a decimal point"
    option = "use decimal=',' (--decimal ,)"
    if _THOUSANDS.fullmatch(cell.strip()):
        return f"{quoted(cell)} is not a number; remove the thousands separator, or {option} if it is a decimal comma"
    return f"{quoted(cell)} is not a number; if that is a decimal comma, {option}"
