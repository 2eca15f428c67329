"""Write the output files of the commands completely or not at all, and never over an input."""

from __future__ import annotations

import csv
import io
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from threading import current_thread, main_thread

import click

from gdbackends.descent import Fit
from gdbackends.errors import InputError, file_error
from gdbackends.objectives import Array

_PART = ".gdbackends-"


def check_output(option: str, path: str, *inputs: str | None) -> None:
    """Raise InputError, before any work is done, if an output is an input, a folder, or in no existing folder."""
    target = Path(path)
    for name in inputs:
        source = Path("/dev/stdin" if name == "-" else name or "")
        if name is not None and target.exists() and source.exists() and target.samefile(source):
            raise InputError(f"{option} {path} would overwrite an input; give another name")
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise InputError(f"{option} {path} is a folder or is in no existing folder; give the name of a file")
    if not os.access(target if target.exists() else target.absolute().parent, os.W_OK):
        raise InputError(f"{option} {path} may not be written; give a file that you may write")


def same_file(first: str, second: str) -> bool:
    """Return whether two names, however spelled, mean one file, which may not exist yet."""
    a, b = Path(first), Path(second)
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def write_atomically(path: str, text: str) -> None:
    """Write a text file; a regular file is replaced atomically, so that an error leaves its old content."""
    if path == "/dev/stdout":  # may be a file, in which a second writer would overwrite the first
        click.echo(text, nl=False)
        return
    target = Path(path)
    device = str(target.absolute()).startswith(("/dev/", "/proc/"))
    target = target if device or not target.is_symlink() else target.resolve()  # keep a symbolic link
    replaceable = not device and (not target.exists() or target.is_file())  # a pipe is not
    try:
        if replaceable:
            _replace(target, text)
        else:
            with target.open("w", encoding="utf8", newline="") as stream:
                stream.write(text)
    except OSError as error:
        raise file_error(path, "written", error) from None


def _replace(target: Path, text: str) -> None:
    """Write beside the target, under a name that nobody can predict, and put the result in its place."""
    _remove_leftovers(target.parent)
    with _exit_on_termination():
        descriptor, name = mkstemp(suffix=".part", prefix=f"{_PART}{os.getpid()}-", dir=target.parent)
        written = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf8", newline="") as stream:
                stream.write(text)
            written.chmod(target.stat().st_mode if target.exists() else 0o666 & ~_umask())
            written.replace(target)
        finally:
            written.unlink(missing_ok=True)


def _umask() -> int:
    """Return the mode bits that new files lack; mkstemp makes private files."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote; those that still run keep theirs."""
    for part in folder.glob(f"{_PART}*.part"):
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
    """Turn SIGTERM into an exit, on which what was begun is removed; only the main thread can."""
    if current_thread() is not main_thread():
        yield
        return

    def leave(*_: object) -> None:
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def predictions_csv(fitted: Fit, X: Array) -> str:
    """Return the predictions as CSV: a column `prediction` and, for two labels, the more probable `label`."""
    predicted, stream = fitted.predict(X), io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    labels = None if fitted.labels is None else tuple(csv_cell(label) for label in fitted.labels)
    writer.writerow(["prediction"] if labels is None else ["prediction", "label"])
    for value in predicted.tolist():
        writer.writerow([repr(value)] if labels is None else [repr(value), labels[value > 0.5]])
    return stream.getvalue()


def csv_cell(text: str) -> str:
    """Return a cell with an apostrophe before it if a spreadsheet would run it as a formula; a number is unchanged."""
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
    return text
