"""Byte sources of tables and their formats, detected by the extension of a file or the first bytes of a stream."""

from __future__ import annotations

import gzip
import io
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from gdbackends.errors import InputError, InputTypeError

_TEXT = ("", ".csv", ".tsv", ".txt", ".dat", ".data")
_FORMATS = dict.fromkeys(_TEXT, "text") | {".npy": "npy", ".npz": "npz", ".parquet": "parquet", ".pq": "parquet"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PAR1": "parquet"}
_ADVICE = {
    "gzip": "gzip; rename it to end in .gz",
    "npy": "NPY; rename it to end in .npy",
    "npz": "a ZIP archive; rename an NPZ file to end in .npz, or save a spreadsheet as CSV",
    "parquet": "Parquet; rename it to end in .parquet",
}


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
        if self.gzipped:
            return cast("BinaryIO", gzip.open(io.BytesIO(self.data) if self.path is None else self.path))
        return io.BytesIO(self.data) if self.path is None else self.path.open("rb")


def file_source(path: Path) -> ByteSource:
    """Return the source for a file, with the format given by its extension.

    Raises:
        InputError: the path is not a regular file, or the extension is not supported.
    """
    mode = path.stat().st_mode
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
        supported = f"{' '.join(_TEXT[1:])} (also with .gz), .npy, .npz, .parquet and .pq"
        raise InputError(f"the extension {extension!r} is not supported; supported are {supported}")
    return ByteSource(inner.stem, kind, gzipped, path)


def stream_source(stream: Any, name: str) -> ByteSource:
    """Return the source for all bytes of a binary stream, with the format given by the first bytes."""
    data = stream.read()
    if not isinstance(data, bytes):
        raise InputTypeError(f"must be open in binary mode, got {type(data).__name__}; open it with 'rb'")
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "text")
    return ByteSource(name, "text" if kind == "gzip" else kind, kind == "gzip", None, data)


def check_text(head: bytes) -> None:
    """Raise InputError if the first bytes of a text file belong to another format."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("looks like UTF-16; save it as UTF-8")
    advice = next((_ADVICE[kind] for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if advice is not None:
        raise InputError(f"is not text but looks like {advice}")
