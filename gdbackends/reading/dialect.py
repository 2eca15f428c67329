"""How a text table is laid out, told from its first row: delimiter, decimal mark, header; and its rows of cells."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from gdbackends.errors import InputError
from gdbackends.reading.cell_text import has_decimal_comma, is_missing, is_number, shown
from gdbackends.reading.sources import TextSource, check_text

_QUOTED = re.compile(r'"[^"]*"?')
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_BLANKS = re.compile(r'("[^"]*"?)|\s+')


@dataclass(frozen=True)
class Dialect:
    """How a text table is laid out.

    Attributes:
        delimiter: what separates cells; " " is a run of blanks.
        decimal: "." or ",".
        names: of the columns.
        line: the first line of numbers, and
        start: the byte at which it starts.
        unnamed: the names of those that the header leaves without one.
    """

    delimiter: str
    decimal: str
    names: list[str]
    line: int
    start: int
    unnamed: tuple[str, ...] = ()

    def rows(self, stream: BinaryIO) -> Iterator[tuple[int, list[str]]]:
        """Yield each row of numbers with the line it ends on; refuse one with more cells or fewer."""
        width = len(self.names)
        for line, row in _rows(iter(_Lines(stream)), self.delimiter):
            if line < self.line or (len(row) <= 1 and not any(cell.strip() for cell in row)):
                continue
            if len(row) != width:
                names = " or, of row names, write the table without them" if len(row) == width + 1 else ""
                raise InputError(
                    f"line {line} has {len(row)} fields where the first has {width}; mend that line{names}"
                )
            yield line, row


class _Lines:
    """The lines of a stream, decoded, however they end; counts the bytes it has given out."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.bytes = stream, 0

    def __iter__(self) -> Iterator[str]:
        number = 0
        for piece in self.stream:
            for line in piece.splitlines(keepends=True):  # a lone carriage return ends a line too
                number += 1
                self.bytes += len(line)
                if b"\0" in line:
                    raise InputError(f"is not text, line {number} holds a zero byte; save it as CSV in UTF-8")
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    byte = line[error.start]
                    raise InputError(
                        f"is not text in UTF-8 (line {number}, byte {byte:#x}); save it as UTF-8"
                    ) from None


def _rows(lines: Iterator[str], delimiter: str, before: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Yield each record's last line, after those `before`, and its cells, none for a blank line."""
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
            raise InputError(f"line {begin} holds a cell of more than {limit}; mend it or its quotes") from None
        if "unexpected end" in str(error):
            raise InputError(f"is not a CSV table: a quote opens in line {begin} and does not close; mend it") from None
        raise InputError(f"is not a CSV table: {error} (line {before + reader.line_num}); check its quotes") from None


def layout_of(source: TextSource, delimiter: str | None, decimal: str, header: bool | None) -> Dialect:
    """Return the layout of a text table; what is None is told from the first row.

    Raises:
        InputError: no rows; another format; a first row that may be a header or not.
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
            raise InputError("is empty; rows of numbers are needed")
        sniffed = delimiter or _sniff(first, decimal)
        if delimiter is None and header is None and decimal == "." and sniffed == ",":
            _check_commas(first, number)
        last, row = next(_rows(chain([first], lines), sniffed, number - 1))
        cells = [cell.strip() for cell in row]
        if header is None:
            header = _is_header(cells, number, sniffed, decimal)
        names = [(cell if header else "") or f"c{j + 1}" for j, cell in enumerate(cells)]
        unnamed = tuple(name for name, cell in zip(names, cells, strict=True) if header and not cell)
        begin = (last + 1, counter.bytes) if header else (number, before)
        layout = Dialect(sniffed, decimal, names, *begin, unnamed)
    with source.open() as stream:
        if header and next(layout.rows(stream), None) is None:
            raise InputError("has a header and no rows; at least one row of numbers is needed")
    return layout


def _sniff(line: str, decimal: str) -> str:
    """Return the delimiter that a line holds most of, outside quotes; blanks where it holds none."""
    bare = _QUOTED.sub("", line.strip("\r\n "))
    known = ",;\t" if decimal == "." else ";\t"
    best = max(known, key=bare.count)
    return " " if best not in bare and " " in bare else best


def _check_commas(line: str, number: int) -> None:
    """Refuse a first row whose commas are plainly decimal ones, between other delimiters."""
    for other in (";", "\t", " "):
        cells = line.split(None if other == " " else other)
        if len(cells) > 1 and all(is_number(cell, ",") for cell in cells) and any(map(has_decimal_comma, cells)):
            raise InputError(
                f"line {number}: {shown(cells[0])} looks like a decimal comma; say delimiter={other!r}, decimal=',' "
                f"(--delimiter {other!r} --decimal ,)"
            )


def _is_header(cells: Sequence[str], number: int, delimiter: str, decimal: str) -> bool:
    """Tell a header from a row of numbers; refuse a mixture. Empty and missing cells may stand in either."""
    comma = next(filter(has_decimal_comma, cells), None)
    if comma is not None and decimal == ".":
        raise InputError(f"line {number}: {comma_advice(comma, delimiter)}")
    telling = [cell for cell in cells if not is_missing(cell)]
    numbers = [cell for cell in telling if is_number(cell, decimal)]
    if numbers and len(numbers) < len(telling):
        text = next(cell for cell in telling if cell not in numbers)
        raise InputError(
            f"line {number} may be a header or not: {shown(numbers[0])} is a number and {shown(text)} is none; "
            f"say header=True (--header) or header=False (--no-header)"
        )
    return bool(telling) and not numbers


def comma_advice(cell: str, delimiter: str) -> str:
    """Return what to say of a cell with a decimal comma where points were expected."""
    if delimiter == ",":
        return f"{shown(cell)} is not a number, and commas separate the cells; write it with a decimal point"
    if _THOUSANDS.fullmatch(cell.strip()):
        return (
            f"{shown(cell)} is not a number; take the thousands mark out, or say decimal=',' (--decimal ,) if it is one"
        )
    return f"{shown(cell)} is not a number; if that is a decimal comma, say decimal=',' (--decimal ,)"
