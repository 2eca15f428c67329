"""Replace a file atomically: a reader, and whoever is killed, finds the old content or the new one, never a part."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from threading import current_thread, main_thread
from typing import IO

_PART = ".gdbackends-"


def replace_file(target: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside the target, under an unpredictable name, and put it in the target's place.

    Both the file and its folder are synchronised to disk. SIGTERM removes the temporary file and ends the process; what
    SIGKILL leaves is removed by the next call for the same folder.

    Args:
        target: the file, which may exist.
        write: writes the content to an open file.

    Raises:
        OSError: the file cannot be written; the target is unchanged.
    """
    _remove_leftovers(target.parent)
    with _exit_on_termination():
        descriptor, written = _temporary(target.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            written.chmod(target.stat().st_mode if target.exists() else 0o666 & ~_umask())
            written.replace(target)
        finally:
            written.unlink(missing_ok=True)
    _synchronize(target.parent)


def check_replaceable(target: Path) -> None:
    """Try whether a file can be written beside the target.

    Raises:
        OSError: it cannot.
    """
    descriptor, written = _temporary(target.parent)
    os.close(descriptor)
    written.unlink()


def _temporary(folder: Path) -> tuple[int, Path]:
    """Return a new file of this process on this machine: a folder may be shared by several machines."""
    descriptor, name = mkstemp(suffix=".part", prefix=f"{_PART}{os.getpid()}-{_node()}-", dir=folder)
    return descriptor, Path(name)


def _node() -> str:
    return f"{zlib.crc32(os.uname().nodename.encode()):08x}"


def _synchronize(folder: Path) -> None:
    """Bring the new name to disk; some file systems cannot synchronise a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    """Return the mode bits that new files lack; mkstemp makes private files."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes of this machine left that were killed while they wrote; those that run keep theirs."""
    for part in folder.glob(f"{_PART}*-{_node()}-*.part"):
        process = part.name.removeprefix(_PART).partition("-")[0]
        if process.isdecimal() and not _runs(int(process)):
            with suppress(OSError):
                part.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


@contextmanager
def _exit_on_termination() -> Generator[None]:
    """Turn SIGTERM into an exit, on which what was begun is removed; only the main thread can.

    A handler of the program is kept.
    """
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
