# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Read the numbers of a text table: by polars or NumPy if it is plain, otherwise by an exact path in Python.

All paths return the same numbers. If the exact path fails too, the first mistake in the table is found and reported.
"""

from __future__ import annotations

import io
import math
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from operator import itemgetter
from typing import BinaryIO

import numpy as np

from gdbackends.errors import InputError
from gdbackends.objectives import Array
from gdbackends.reading.cells import boolean, has_decimal_comma, is_missing, quoted, thousands_mark
from gdbackends.reading.column_selection import label_pair, not_numeric
from gdbackends.reading.columns import Columns
from gdbackends.reading.dialect import Dialect, mark_error
from gdbackends.reading.sources import ByteSource

_CHUNK = 1 << 22
"""Bytes per chunk; larger chunks are not faster and take more memory."""
_EMPTY_LINES = re.compile(rb"\n[\r\n]+")
_CONTROLS = bytes({*range(32)} - {*b"\t\r\n"})
_BLANK_RUNS = (b"  ", b"\t", b"\n ", b" \n", b" \r")
"""Blanks that are not a single delimiter between two cells."""
_MOST_PIECES = 8
"""Chunks without an end of a line, after which the table is not plain."""
Table = tuple[Array, Array]
Place = tuple[int, str]
"""A line number and the cell in that line."""


def read_text(
    source: ByteSource, dialect: Dialect, features: list[str], target: str, labels: bool, skipped: Counter[str]
) -> tuple[Array, Array, tuple[str, str] | None]:
    """Return X (n, d), y (n,), and the two labels of a target of text; `skipped` counts the comments left out.

    Raises:
        InputError: a cell is not a number, or a row has too many or too few cells; the message says where.
    """
    index = {name: j for j, name in enumerate(dialect.names)}
    columns = [index[name] for name in (*features, target)]
    pair = _labels(source, dialect, target) if labels else None
    if pair is None:
        table = _fast(source, dialect, columns)
        if table is not None:
            return *table, None
    table = _exact(source, dialect, columns, pair, skipped)
    if table is None:
        raise _first_mistake(source, dialect, features, target, pair)
    return *table, pair


def _labels(source: ByteSource, dialect: Dialect, target: str) -> tuple[str, str] | None:
    """Return the two labels of a target of text; None if it contains a number."""
    texts, j = set[str](), dialect.names.index(target)
    with source.open() as stream:
        for _, row in dialect.rows(stream):
            if dialect.numbers.is_number(row[j]):
                return None
            if not is_missing(row[j]) and len(texts) < 3:
                texts.add(row[j].strip())
    return label_pair(sorted(texts), target) if texts else None


def fast_columns(source: ByteSource, dialect: Dialect) -> Columns | None:
    """Return a table that is plain and holds finite numbers only; None for any other."""
    table = _fast(source, dialect, list(range(len(dialect.names))))
    if table is None:
        return None
    columns = [*table[0].T, table[1]]
    return Columns(dialect.names, columns.__getitem__, lambda j: columns[j].tolist())


def text_columns(source: ByteSource, dialect: Dialect, skipped: Counter[str]) -> Columns:
    """Return the table as columns of numbers and of texts, in memory; None stands for a missing cell."""
    cells: list[list[str]] = [[] for _ in dialect.names]
    with source.open() as stream:
        for _, row in dialect.rows(stream, skipped):
            for column, cell in zip(cells, row, strict=True):
                column.append(cell)

    def numbers(j: int) -> Array | None:
        for parse in (dialect.numbers.parse, boolean):
            column = np.array([math.nan if (number := parse(cell)) is None else number for cell in cells[j]])
            if all(is_missing(cell) for cell, number in zip(cells[j], column, strict=True) if number != number):
                return column
        return None

    return Columns(dialect.names, numbers, lambda j: [None if is_missing(c) else c.strip() for c in cells[j]])


def _exact(
    source: ByteSource, dialect: Dialect, columns: list[int], pair: tuple[str, str] | None, skipped: Counter[str]
) -> Table | None:
    """Return X and y, cell by cell in Python; None if a cell is not a finite number."""
    values, pick, last = array("d"), itemgetter(*columns), columns[-1]
    booleans = Counter[int]()
    codes = {} if pair is None else {pair[0]: "0", pair[1]: "1"}
    parse = dialect.numbers.parse
    plain = dialect.numbers.decimal == "." and dialect.numbers.thousands is None
    with source.open() as stream:
        for _, row in dialect.rows(stream, skipped):
            if pair is not None:
                row[last] = codes.get(row[last].strip(), row[last])
            cells: tuple[str, ...] = pick(row)
            try:
                if not plain or "_" in "".join(cells):
                    raise ValueError
                numbers = list(map(float, cells))
            except ValueError:
                numbers = list(map(parse, cells))
                for j, number in enumerate(numbers):
                    if number != number and (code := boolean(cells[j])) is not None:
                        numbers[j], booleans[j] = code, booleans[j] + 1
                if not all(map(math.isfinite, numbers)):
                    return None
            values.extend(numbers)
    if any(count < len(values) // len(columns) for count in booleans.values()):  # among numbers
        return None
    numbers = np.frombuffer(values).reshape(-1, len(columns))
    return (numbers[:, :-1].copy(), numbers[:, -1].copy()) if np.isfinite(numbers).all() else None


def _fast(source: ByteSource, dialect: Dialect, columns: list[int]) -> Table | None:
    """Return X and y read by polars or NumPy; None if the table is not plain or a cell is not a finite number."""
    if not dialect.delimiter.isascii() or dialect.numbers.thousands is not None:
        return None
    parse = _polars if find_spec("polars") is not None else _numpy
    blocks: list[Array] = []
    try:
        with source.open() as stream:
            stream.seek(dialect.start)
            for raw in _chunks(stream):
                chunk = _plain(raw, dialect)
                if chunk == b"":  # empty lines only
                    continue
                block = None if chunk is None else parse(chunk, dialect, columns)
                if block is None or not np.isfinite(block).all():
                    return None
                blocks.append(block)
    except (OSError, EOFError, zlib.error):  # a damaged gzip file: the exact path may find an earlier mistake
        return None
    if not blocks:
        return None
    X, y = np.empty((sum(map(len, blocks)), len(columns) - 1)), np.empty(sum(map(len, blocks)))
    i = y.size
    while blocks:  # free each block after it has been copied
        block = blocks.pop()
        i -= len(block)
        X[i : i + len(block)], y[i : i + len(block)] = block[:, :-1], block[:, -1]
    return X, y


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes in chunks of whole lines."""
    rest: list[bytes] = []
    while piece := stream.read(_CHUNK):
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, piece[:cut]])
            rest = []
        rest.append(piece[cut:])
        if len(rest) > _MOST_PIECES:
            yield b"\0"  # not plain: the exact path reports the line
            return
    if any(rest):
        yield b"".join(rest)


def _plain(chunk: bytes, dialect: Dialect) -> bytes | None:
    """Return the chunk with decimal points; None if readers could differ on it, as on quotes or unusual line ends."""
    chunk = _EMPTY_LINES.sub(b"\n", chunk.lstrip(b"\r\n")) if _EMPTY_LINES.search(chunk) else chunk
    if not chunk.strip(b"\r\n"):
        return b""
    unusual = chunk.isspace() or b'"' in chunk or b"\0" in chunk
    if unusual or (b"\r" in chunk and chunk.count(b"\r") != chunk.count(b"\r\n")):
        return None
    try:
        chunk.decode()
    except UnicodeDecodeError:
        return None
    if dialect.delimiter == " ":
        padded = b"\n" + chunk + b"\n"
        if _has_controls(chunk) or any(run in padded for run in _BLANK_RUNS):
            return None
    if dialect.numbers.decimal == ",":
        return None if b"." in chunk else chunk.replace(b",", b".")
    return chunk


def _has_controls(chunk: bytes) -> bool:
    """Return whether a chunk contains characters that only some readers treat as blanks or digits."""
    return not chunk.isascii() or len(chunk.translate(None, _CONTROLS)) < len(chunk)


def _polars(chunk: bytes, dialect: Dialect, columns: list[int]) -> Array | None:
    """Return the columns (k, columns), or None; polars is stricter than float() except on missing and extra cells."""
    import polars as pl

    width, used = len(dialect.names), set(columns)
    schema = {str(j): pl.Float64 if j in used else pl.String for j in range(width)}
    try:
        frame = pl.read_csv(chunk, has_header=False, separator=dialect.delimiter, quote_char=None, schema=schema)
    except pl.exceptions.PolarsError:
        return None
    if len(columns) < width and chunk.count(dialect.delimiter.encode()) != (width - 1) * frame.height:
        return None  # a cell is missing in an unused column
    return frame.select(map(str, columns)).to_numpy()


def _numpy(chunk: bytes, dialect: Dialect, columns: list[int]) -> Array | None:
    """Return the columns (k, columns), or None; loadtxt itself rejects rows of different lengths."""
    if _has_controls(chunk):
        return None
    try:
        rows = np.loadtxt(io.StringIO(chunk.decode()), delimiter=dialect.delimiter, comments=None, ndmin=2)
    except ValueError:
        return None
    return rows[:, columns] if rows.shape[1] == len(dialect.names) else None


def _first_mistake(
    source: ByteSource, dialect: Dialect, features: list[str], target: str, labels: tuple[str, str] | None
) -> InputError:
    """Return the error for the first cell of text, else for the first number out of range, else for missing values."""
    numeric: set[str] = set()
    text: dict[str, Place] = {}
    large: dict[str, Place] = {}
    missing: dict[str, Place] = {}
    booleans: dict[str, Place] = {}
    count, used = 0, {*features, target}
    with source.open() as stream:
        for line, row in dialect.rows(stream):
            for name, cell in zip(dialect.names, row, strict=True):
                value = dialect.numbers.parse(cell)
                if math.isfinite(value) or (name == target and cell.strip() in (labels or ())):
                    numeric.add(name)
                elif is_missing(cell) or (math.isinf(value) and "inf" in cell.casefold()):
                    count += name in used
                    missing.setdefault(name, (line, cell))
                elif boolean(cell) is not None:
                    booleans.setdefault(name, (line, cell))
                else:
                    (text if math.isnan(value) else large).setdefault(name, (line, cell))
    for name in booleans.keys() & (numeric | text.keys()):
        text[name] = min(booleans[name], text.get(name, booleans[name]))
    numeric |= booleans.keys() - text.keys()
    if used & text.keys():
        usable = [name for name in dialect.names if name in numeric and name not in text]
        return _text_error(dialect, {name: text[name] for name in used & text.keys()}, numeric, usable, target)
    if used & large.keys():
        where, cell = _first(dialect, {name: large[name] for name in used & large.keys()})
        return InputError(f"{where}: {quoted(cell)} exceeds the range of float64, 1.8e308; scale the column down")
    where, cell = _first(dialect, {name: missing[name] for name in used & missing.keys()})
    return InputError(
        f"{count} missing or non-finite values, the first in {where}: {quoted(cell)}; drop or fill those lines, as "
        f"missing='drop' or 'mean' does (--missing drop)"
    )


def _first(dialect: Dialect, places: dict[str, Place]) -> tuple[str, str]:
    """Return the first place as text, and its cell."""
    name = min(places, key=lambda name: (places[name][0], dialect.names.index(name)))
    line, cell = places[name]
    return f"line {line}, column {name!r}", cell


def _text_error(
    dialect: Dialect, text: dict[str, Place], numeric: set[str], usable: list[str], target: str
) -> InputError:
    """Return the error for text in numeric columns: a wrong mark, a column without numbers, or a cell."""
    where, cell = _first(dialect, text)
    if (dialect.numbers.decimal == "." and has_decimal_comma(cell)) or thousands_mark(cell) is not None:
        return InputError(f"{where}: {mark_error(cell, dialect.delimiter)}")
    if dialect.numbers.decimal == "," and cell.count(".") == 1 and _is_float(cell):
        return InputError(f"{where}: {quoted(cell)} has a decimal point, but the decimal mark is ','; correct it")
    without_numbers = [name for name in dialect.names if name in text and name not in numeric]
    if without_numbers:
        line, cell = text[without_numbers[0]]
        return not_numeric(without_numbers[0], f"line {line}: {quoted(cell)}", usable, target, cell)
    return InputError(f"{where}: {quoted(cell)} is not a number; correct it or leave the column out")


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
