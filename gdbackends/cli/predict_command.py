"""`gdbackends predict`: the predictions of a saved fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from gdbackends.cli.output import check_output, predictions_csv, write_whole
from gdbackends.cli.source import mark_options, marks, unheard
from gdbackends.descent import Fit
from gdbackends.errors import InputError, file_error
from gdbackends.reading import read_features


@click.command("predict")
@click.argument("saved", metavar="FIT")
@click.argument("source")
@mark_options
@click.option("--out", metavar="FILE", help="Write there.  [default: stdout]")
def command(saved: str, source: str, out: str | None, **options: Any) -> None:
    """Predict from FIT (written by `gdbackends fit --save`) for the rows of SOURCE, as CSV.

    SOURCE needs the features of the fit, by name; other columns do not matter.
    """
    if out is not None:
        check_output("--out", out, saved, source)
    fitted, features = _load(saved)
    with unheard():
        X = read_features(source, features, **marks(options))
    text = predictions_csv(fitted, X)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_whole(out, text)


def _load(path: str) -> tuple[Fit, list[str]]:
    """Return a saved fit and the names of its features."""
    try:
        document = json.loads(Path(path).read_bytes())
        return Fit.from_dict(document), list(document["coefficients"])
    except OSError as error:
        raise file_error(path, "read", error, "give a saved fit") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is no JSON; save a fit with gdbackends fit --save FILE") from None
