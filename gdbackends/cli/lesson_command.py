"""`gdbackends lesson`: the mathematics of gradient descent on one's own data, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gdbackends.cli.console import echo, printable
from gdbackends.cli.output import check_output, write_whole
from gdbackends.cli.source import dataset, source_options
from gdbackends.errors import file_error


@click.command("lesson")
@source_options
@click.option("--feature", metavar="NAME", help="The feature to show.  [default: that of the best line]")
@click.option("--out", metavar="FILE", default="lesson.html", show_default=True, help="The page to write.")
@click.option("--charts", metavar="FOLDER", help="Write every chart there too, as SVG and PNG.")
def command(**options: Any) -> None:
    """Teach gradient descent on SOURCE: a page with sliders, in one file that loads nothing.

    SOURCE is a file, - for standard input, women (the default) or diabetes.
    """
    check_output("--out", options["out"], options["source"])
    from gdbackends.pictures.lesson import lesson  # needs the extra viz

    data = dataset(options)
    made = lesson(data, options["feature"])
    write_whole(options["out"], made.html())
    about = made.subject
    if about.others:
        echo(f"showing {printable(about.feature)}; choose another feature with --feature")
    if about.sampled:
        echo(about.sampled)
    for note in made.frameworks.notes:
        echo(note)
    if options["charts"] is not None:
        _write_charts(Path(options["charts"]), made.figures)


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
