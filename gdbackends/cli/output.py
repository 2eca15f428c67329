"""Write the output files of the commands completely or not at all, and never over an input."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import click

from gdbackends.atomic_files import replace_file
from gdbackends.descent import Fit
from gdbackends.errors import InputError, file_error
from gdbackends.objectives import Array


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
            replace_file(target, lambda stream: stream.write(text.encode("utf8")))
        else:
            with target.open("w", encoding="utf8", newline="") as stream:
                stream.write(text)
    except OSError as error:
        raise file_error(path, "written", error) from None


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
