"""`gdbackends predict`: the predictions of a saved fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from gdbackends.cli.console import silence_stderr
from gdbackends.cli.options import csv_options, csv_settings
from gdbackends.cli.output import check_output, predictions_csv, write_atomically
from gdbackends.descent import Fit
from gdbackends.errors import InputError, file_error
from gdbackends.preparation import Preparation
from gdbackends.reading import TextOptions, read_features


@click.command("predict")
@click.argument("saved", metavar="FIT")
@click.argument("source")
@csv_options
@click.option("--out", metavar="FILE", help="The file to write.  [default: stdout]")
def command(saved: str, source: str, out: str | None, **options: Any) -> None:
    """Predict the target for each row of SOURCE with FIT, a file written by `gdbackends fit --save`, as CSV.

    SOURCE must have columns with the names of the features; other columns are ignored.
    """
    if out is not None:
        check_output("--out", out, saved, source)
    fitted, preparation = _load(saved)
    with silence_stderr():
        X = read_features(source, fitted.names, TextOptions(**csv_settings(options)), preparation)
    write_atomically(out or "/dev/stdout", predictions_csv(fitted, X))


def _load(path: str) -> tuple[Fit, Preparation]:
    """Return a saved fit, and how its features are made."""
    try:
        document = json.loads(Path(path).read_bytes())
        return Fit.from_dict(document), Preparation.from_dict(document.get("preparation"))
    except OSError as error:
        raise file_error(path, "read", error, "give a saved fit") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is not JSON; save a fit with gdbackends fit --save FILE") from None
