# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""The numbers of a text table: fast where it is plain, and else by an exact path, which numbers never differ from."""

from __future__ import annotations

import io
import zlib
from array import array
from collections.abc import Iterator
from importlib.util import find_spec
from operator import itemgetter
from typing import BinaryIO

import numpy as np

from gdbackends.objectives import Array
from gdbackends.reading.cell_text import is_missing, is_number
from gdbackends.reading.column_selection import label_codes
from gdbackends.reading.diagnosis import refuse
from gdbackends.reading.dialect import Dialect
from gdbackends.reading.sources import TextSource

_CHUNK = 1 << 22  # bytes; larger ones are as fast and take more memory
_CONTROLS = bytes({*range(32)} - {*b"\t\r\n"})
_RUNS = (b"  ", b"\t", b"\n ", b" \n", b" \r")  # of blanks that are more than a delimiter
Table = tuple[Array, Array]


def read_text(
    source: TextSource, layout: Dialect, features: list[str], target: str, labels: bool
) -> tuple[Array, Array, tuple[str, str] | None]:
    """Return X (n, d), y (n,) and the labels of a target of text.

    Raises:
        InputError: a cell is no number, or a row has more cells or fewer; the text says where.
    """
    index = {name: j for j, name in enumerate(layout.names)}
    columns = [index[name] for name in (*features, target)]
    pair = _labels(source, layout, target) if labels else None
    if pair is None:
        table = _fast(source, layout, columns)
        if table is not None:
            return *table, None
    table = _exact(source, layout, columns, pair)
    if table is None:
        refuse(source, layout, features, target, pair)
    return *table, pair


def _labels(source: TextSource, layout: Dialect, target: str) -> tuple[str, str] | None:
    """Return the two labels of a target of text; None if it holds a number."""
    texts, j = set[str](), layout.names.index(target)
    with source.open() as stream:
        for _, row in layout.rows(stream):
            if is_number(row[j], layout.decimal):
                return None
            if not is_missing(row[j]) and len(texts) < 3:
                texts.add(row[j].strip())
    return label_codes(sorted(texts), target) if texts else None


def _exact(source: TextSource, layout: Dialect, columns: list[int], pair: tuple[str, str] | None) -> Table | None:
    """Return X and y as Python reads numbers, or None if there is anything but finite numbers."""
    values, pick, last = array("d"), itemgetter(*columns), columns[-1]
    codes = {} if pair is None else {pair[0]: "0", pair[1]: "1"}
    with source.open() as stream:
        for _, row in layout.rows(stream):
            if pair is not None:
                row[last] = codes.get(row[last].strip(), row[last])
            cells: tuple[str, ...] = pick(row)
            joined = "\0".join(cells)
            if "_" in joined:  # float() would take 1_000
                return None
            if layout.decimal == ",":
                if "." in joined:
                    return None
                cells = tuple(joined.replace(",", ".").split("\0"))
            try:
                values.extend(map(float, cells))
            except ValueError:
                return None
    numbers = np.frombuffer(values).reshape(-1, len(columns))
    return (numbers[:, :-1].copy(), numbers[:, -1].copy()) if np.isfinite(numbers).all() else None


def _fast(source: TextSource, layout: Dialect, columns: list[int]) -> Table | None:
    """Return X and y by polars or NumPy, or None if there is anything but plain, finite numbers."""
    if not layout.delimiter.isascii():
        return None
    parse = _polars if find_spec("polars") is not None else _numpy
    blocks: list[Array] = []
    try:
        with source.open() as stream:
            stream.seek(layout.start)
            for chunk in (_plain(raw, layout) for raw in _chunks(stream)):
                block = None if chunk is None else parse(chunk, layout, columns)
                if block is None or not np.isfinite(block).all():
                    return None
                blocks.append(block)
    except (OSError, EOFError, zlib.error):  # a damaged gzip file; the exact path may meet another mistake before it
        return None
    if not blocks:
        return None
    X, y = np.empty((sum(map(len, blocks)), len(columns) - 1)), np.empty(sum(map(len, blocks)))
    i = y.size
    while blocks:  # each is let go when it has been copied
        block = blocks.pop()
        i -= len(block)
        X[i : i + len(block)], y[i : i + len(block)] = block[:, :-1], block[:, -1]
    return X, y


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes in pieces of whole lines."""
    rest: list[bytes] = []
    while piece := stream.read(_CHUNK):
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, piece[:cut]])
            rest = []
        rest.append(piece[cut:])
    if any(rest):
        yield b"".join(rest)


def _plain(chunk: bytes, layout: Dialect) -> bytes | None:
    """Return the chunk with decimal points if no reader can differ on it: rows without quotes or odd line ends."""
    odd = chunk.isspace() or b'"' in chunk or b"\0" in chunk
    if odd or (b"\r" in chunk and chunk.count(b"\r") != chunk.count(b"\r\n")):
        return None
    try:
        chunk.decode()
    except UnicodeDecodeError:
        return None
    if layout.delimiter == " ":
        whole = b"\n" + chunk + b"\n"
        if _has_controls(chunk) or any(run in whole for run in _RUNS):
            return None
    if layout.decimal == ",":
        return None if b"." in chunk else chunk.replace(b",", b".")
    return chunk


def _has_controls(chunk: bytes) -> bool:
    """Say whether there are characters that some readers take for blanks or digits and others do not."""
    return not chunk.isascii() or len(chunk.translate(None, _CONTROLS)) < len(chunk)


def _polars(chunk: bytes, layout: Dialect, columns: list[int]) -> Array | None:
    """Return the columns (k, columns), or None; polars is stricter than float(), but for missing and extra cells."""
    import polars as pl

    width, chosen = len(layout.names), set(columns)
    schema = {str(j): pl.Float64 if j in chosen else pl.String for j in range(width)}
    try:
        frame = pl.read_csv(chunk, has_header=False, separator=layout.delimiter, quote_char=None, schema=schema)
    except pl.exceptions.PolarsError:
        return None
    if len(columns) < width and chunk.count(layout.delimiter.encode()) != (width - 1) * frame.height:
        return None  # a cell that nobody chose is missing
    return frame.select(map(str, columns)).to_numpy()


def _numpy(chunk: bytes, layout: Dialect, columns: list[int]) -> Array | None:
    """Return the columns (k, columns), or None; loadtxt refuses rows of different lengths itself."""
    if _has_controls(chunk):
        return None
    try:
        rows = np.loadtxt(io.StringIO(chunk.decode()), delimiter=layout.delimiter, comments=None, ndmin=2)
    except ValueError:
        return None
    return rows[:, columns] if rows.shape[1] == len(layout.names) else None
