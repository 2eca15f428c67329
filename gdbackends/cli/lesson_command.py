"""`gdbackends lesson`: the mathematics of gradient descent, shown on any table, as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gdbackends.cli.console import echo, printable
from gdbackends.cli.options import read_dataset, source_options
from gdbackends.cli.output import check_output, write_atomically
from gdbackends.datasets import Dataset
from gdbackends.errors import InputError, file_error


@click.command("lesson")
@source_options
@click.option("--feature", metavar="NAME", help="The feature to show.  [default: the one whose line fits best]")
@click.option("--out", metavar="FILE", default="lesson.html", show_default=True, help="The page to write.")
@click.option("--charts", metavar="FOLDER", help="Also write every chart to a folder, as SVG and PNG.")
def command(**options: Any) -> None:
    """Explain gradient descent on SOURCE: a page with sliders, in a single file that loads nothing else.

    SOURCE is a file, - for standard input, women (the default) or diabetes.
    """
    check_output("--out", options["out"], options["source"])
    charts = None if options["charts"] is None else Path(options["charts"])
    if charts is not None and charts.exists() and not charts.is_dir():
        raise InputError(f"--charts {charts} is a file; give the name of a folder")
    from gdbackends.pictures.lesson import lesson  # needs the extra viz

    page = lesson(_read(options), options["feature"])
    write_atomically(options["out"], page.html())
    if page.subject.others:
        echo(f"showing {printable(page.subject.feature)}; choose another feature with --feature")
    if page.subject.sampled:
        echo(page.subject.sampled)
    for note in page.frameworks.notes:
        echo(note)
    if charts is not None:
        _write_charts(charts, page.figures)


def _read(options: Mapping[str, Any]) -> Dataset:
    """Return the table; with the named feature alone if another column cannot be read."""
    try:
        return read_dataset(options)
    except InputError:
        if options["feature"] is None or options["features"] is not None or options["source"] in (None, "-"):
            raise
        return read_dataset({**options, "features": [options["feature"]]})


def _write_charts(folder: Path, figures: Any) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for figure in figures:
            for k, panel in enumerate(figure.panels, 1):
                name = figure.name if len(figure.panels) == 1 else f"{figure.name}-{k}"
                for kind in ("svg", "png"):
                    panel.save(folder / f"{name}.{kind}")
    except OSError as error:
        raise file_error(folder, "written", error) from None
