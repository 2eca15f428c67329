"""Output files of the commands: written completely or not at all, and never over an input."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import click

from gdbackends.descent import Fit
from gdbackends.errors import InputError, file_error
from gdbackends.objectives import Array


def check_output(option: str, path: str, *inputs: str | None) -> None:
    """Refuse, before any work is done, an output that is an input, a folder, or in no folder."""
    target = Path(path)
    for given in inputs:
        source = Path("/dev/stdin" if given == "-" else given or "")
        if given is not None and target.exists() and source.exists() and target.samefile(source):
            raise InputError(f"{option} {path} would overwrite what is read; give another name")
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise InputError(f"{option} {path} is a folder, or in none; give the name of a file")


def write_whole(path: str, text: str) -> None:
    """Write atomically: readers see the old or the new content, and a full disk keeps the old."""
    if path == "/dev/stdout":  # may be a file, in which two writers would overwrite each other
        click.echo(text, nl=False)
        return
    target = Path(path)
    device = str(target.absolute()).startswith(("/dev/", "/proc/"))
    target = target if device or not target.is_symlink() else target.resolve()  # keep a symbolic link
    whole = not device and (not target.exists() or target.is_file())  # a pipe cannot be replaced
    written = target.with_name(f".gdbackends-{os.getpid()}.part") if whole else target
    try:
        with written.open("w", encoding="utf8", newline="") as stream:
            stream.write(text)
        if whole and target.exists():
            written.chmod(target.stat().st_mode)
        if whole:
            written.replace(target)
    except OSError as error:
        raise file_error(path, "written", error) from None
    finally:
        if whole:
            written.unlink(missing_ok=True)


def predictions_csv(fitted: Fit, X: Array) -> str:
    """Return the predictions as CSV: a column `prediction`, and for two labels the more probable `label`."""
    predicted, stream = fitted.predict(X), io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    labels = None if fitted.labels is None else tuple(csv_cell(label) for label in fitted.labels)
    writer.writerow(["prediction"] if labels is None else ["prediction", "label"])
    for value in predicted.tolist():
        writer.writerow([repr(value)] if labels is None else [repr(value), labels[value > 0.5]])
    return stream.getvalue()


def csv_cell(text: str) -> str:
    """Return text that no spreadsheet runs: the beginning of a formula gets an apostrophe, unless it is a number."""
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
    return text
