"""What was given to read: which bytes, and of which format, by a file's name or standard input's first bytes."""

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
_ACCEPTED = f"{' '.join(_TEXT[1:])} (also with .gz), .npy, .npz, .parquet and .pq"
_MAGIC = {b"\x1f\x8b": "gzip", b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PAR1": "parquet"}
_LOOKS = {
    "gzip": "gzip; let its name end in .gz",
    "npy": "NPY; let its name end in .npy",
    "npz": "a ZIP archive; let its name end in .npz if it is one, save a spreadsheet as CSV",
    "parquet": "Parquet; let its name end in .parquet",
}


@dataclass(frozen=True)
class TextSource:
    """Bytes that can be opened again and again.

    Attributes:
        name: what the table is called.
        format: "text", "npy", "npz" or "parquet".
        gzipped: whether the bytes are compressed.
        path: the file; or None, and then
        data: the bytes.
    """

    name: str
    format: str
    gzipped: bool
    path: Path | None
    data: bytes = b""

    def open(self) -> BinaryIO:
        """Open the bytes, as they were before compression."""
        if self.gzipped:
            return cast("BinaryIO", gzip.open(io.BytesIO(self.data) if self.path is None else self.path))
        return io.BytesIO(self.data) if self.path is None else self.path.open("rb")


def file_source(path: Path) -> TextSource:
    """Return the file at the path, its format by its extension; refuse what is no regular file."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise InputError("cannot be read: is a directory; give a file")
    if not stat.S_ISREG(mode):
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a device" if not stat.S_ISSOCK(mode) else "a socket"
        raise InputError(f"cannot be read: is {kind}, no regular file; pipe it into standard input, which is -")
    gzipped = path.suffix.lower() == ".gz"
    inner = path.with_suffix("") if gzipped else path
    kind = _FORMATS.get(inner.suffix.lower())
    if kind is None or (gzipped and kind != "text"):
        raise InputError(
            f"files whose names end in {''.join(path.suffixes[-2:] if gzipped else [path.suffix])!r} are "
            f"not read; accepted are {_ACCEPTED}"
        )
    return TextSource(inner.stem, kind, gzipped, path)


def stream_source(stream: Any, name: str) -> TextSource:
    """Return all that a binary stream holds, its format by its first bytes."""
    data = stream.read()
    if not isinstance(data, bytes):
        raise InputTypeError(f"must be open in binary mode, got {type(data).__name__}; open it with 'rb'")
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "text")
    return TextSource(name, "text" if kind == "gzip" else kind, kind == "gzip", None, data)


def check_text(head: bytes) -> None:
    """Refuse the first bytes of a text file that are another format's."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("looks like UTF-16; save it as UTF-8")
    looks = next((_LOOKS[kind] for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if looks is not None:
        raise InputError(f"is not text, it looks like {looks}")
