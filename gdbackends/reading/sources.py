"""Byte sources of tables and their formats, detected by the extension of a file or the first bytes of a stream."""

from __future__ import annotations

import gzip
import io
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from gdbackends.errors import InputError, InputTypeError, check_memory

_TEXT = ("", ".csv", ".tsv", ".txt", ".dat", ".data")
_FORMATS = dict.fromkeys(_TEXT, "text") | {".npy": "npy", ".npz": "npz", ".parquet": "parquet", ".pq": "parquet"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PAR1": "parquet"}
_WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods", ".numbers")
_ADVICE = {
    b"\x1f\x8b": "gzip; rename it to end in .gz",
    b"\x93NUMPY": "NPY; rename it to end in .npy",
    b"PK\x03\x04": "a ZIP archive; rename an NPZ file to end in .npz, or save the sheet of a workbook as CSV",
    b"PAR1": "Parquet; rename it to end in .parquet",
    b"\xd0\xcf\x11\xe0": "a workbook; save the sheet as CSV",
    b"ARROW1": "Arrow; save it as Parquet",
    b"\x89HDF": "HDF5; save the table as NPY or Parquet",
    b"SQLite format 3": "an SQLite database; save the table as CSV",
    b"%PDF": "PDF; save the table as CSV",
}
_MARKUP = {
    r"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body|table|\?xml)\b": "HTML or XML; save the table as CSV",
    r"\s*\|[^\r\n]*\|[ \t]*\r?\n\s*\|[ \t]*:?-+": "a Markdown table; save it as CSV",
    r'\s*(\{\s*"|\[\s*(\{|\[))': "JSON; save the table as CSV",
}
INFLATED = 1 << 25
RATIO = 200
"""Compressed bytes may become more than INFLATED bytes only if these are at most RATIO times as many."""
_PIECE = 1 << 24
"""Bytes of a stream that are read at once."""


@dataclass(frozen=True)
class ByteSource:
    """Bytes that can be opened repeatedly.

    Attributes:
        name: the name of the table.
        format: "text", "npy", "npz" or "parquet".
        gzipped: whether the bytes are compressed.
        path: the path of the file, or None if the bytes are in memory.
        data: the bytes if `path` is None.
    """

    name: str
    format: str
    gzipped: bool
    path: Path | None
    data: bytes = b""

    def open(self) -> BinaryIO:
        """Return a stream of the decompressed bytes."""
        raw = io.BytesIO(self.data) if self.path is None else self.path.open("rb")
        return cast("BinaryIO", io.BufferedReader(_Inflated(raw))) if self.gzipped else raw

    def as_utf8(self, encoding: str) -> ByteSource:
        """Return text of that encoding as UTF-8, in memory.

        Raises:
            InputError: the bytes are not of that encoding.
        """
        with self.open() as stream:
            data = stream.read()
        check_memory(4 * len(data), "its text")
        try:
            text = data.decode(encoding)
        except (UnicodeError, LookupError) as error:
            raise InputError(f"is not {encoding} text ({error}); name another encoding") from None
        return replace(self, path=None, gzipped=False, data=text.removeprefix("\ufeff").encode())


class _Inflated(io.RawIOBase):
    """The decompressed bytes of a gzip stream; refuses a small file that becomes a huge one."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._gzip, self._most = raw, gzip.GzipFile(fileobj=raw), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._gzip.readinto(buffer)
        self._most = max(self._most, self._gzip.tell())
        if self._most > INFLATED and self._most > RATIO * self._raw.tell():
            raise InputError(
                f"is a gzip file that inflates to more than {RATIO} times its size; if you trust it, decompress it "
                f"first"
            )
        return count

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._gzip.seek(offset, whence)

    def close(self) -> None:
        self._gzip.close()
        self._raw.close()
        super().close()


def file_source(path: Path) -> ByteSource:
    """Return the source for a file, with the format given by its extension.

    Raises:
        InputError: the path is not a regular file, or the extension is not supported.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a zero byte in the path
        raise InputError(f"cannot be read: {error}; give the path of a file") from None
    if stat.S_ISDIR(mode):
        raise InputError("cannot be read: is a directory; give the path of a file")
    if not stat.S_ISREG(mode):
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a device" if not stat.S_ISSOCK(mode) else "a socket"
        raise InputError(f"cannot be read: is {kind}, not a regular file; pipe it into standard input and give -")
    gzipped = path.suffix.lower() == ".gz"
    inner = path.with_suffix("") if gzipped else path
    kind = _FORMATS.get(inner.suffix.lower())
    if kind is None or (gzipped and kind != "text"):
        extension = "".join(path.suffixes[-2:] if gzipped else [path.suffix])
        if path.suffix.lower() in _WORKBOOKS:
            raise InputError(f"the extension {extension!r} is that of a workbook; save the sheet as CSV")
        supported = f"{' '.join(_TEXT[1:])} (also with .gz), .npy, .npz, .parquet and .pq"
        raise InputError(f"the extension {extension!r} is not supported; supported are {supported}")
    return ByteSource(inner.stem, kind, gzipped, path)


def stream_source(stream: Any, name: str) -> ByteSource:
    """Return the source for all bytes of a binary stream, with the format given by the first bytes."""
    pieces, size = [stream.read(_PIECE)], 0
    if not isinstance(pieces[0], bytes):
        raise InputTypeError(f"must be open in binary mode, got {type(pieces[0]).__name__}; open it with 'rb'")
    while pieces[-1]:
        size += len(pieces[-1])
        check_memory(2 * size, "the stream")
        pieces.append(stream.read(_PIECE))
    data = b"".join(pieces)
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "text")
    return ByteSource(name, "text" if kind == "gzip" else kind, kind == "gzip", None, data)


def check_text(head: bytes) -> None:
    """Raise InputError if the first bytes of a text file belong to another format."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("looks like UTF-16; save it as UTF-8, or use encoding='utf-16' (--encoding utf-16)")
    text = head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    markup = (advice for pattern, advice in _MARKUP.items() if re.match(pattern, text, re.IGNORECASE | re.DOTALL))
    advice = next((text for magic, text in _ADVICE.items() if head.startswith(magic)), None) or next(markup, None)
    if advice is not None:
        raise InputError(f"is not text but looks like {advice}")
