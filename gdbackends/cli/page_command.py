"""`gdbackends page`: files of benchmark results as one HTML page."""

from __future__ import annotations

import click

from gdbackends.benchmarking.results import read_results
from gdbackends.cli.console import echo
from gdbackends.cli.output import check_output, write_atomically
from gdbackends.errors import InputError


@click.command("page")
@click.argument("results", nargs=-1, required=True, metavar="RESULTS...")
@click.option("--out", default="report.html", show_default=True, help="The page to write.")
@click.option("--title", default="Which backend is fastest here?", show_default=True, help="The title of the page.")
def command(results: tuple[str, ...], out: str, title: str) -> None:
    """Write a page about RESULTS, files written by `gdbackends bench`: advice, charts, and a table to sort and save.

    Several files, such as those of two machines or two versions, are shown side by side. The page is a single file that
    loads nothing else.
    """
    from gdbackends.pictures.page import page  # slow to import

    check_output("--out", out, *results)
    files = [read_results(path) for path in results]
    for file in files:
        if not file.cases:
            raise InputError(f"{file.path} contains no cases; add some with gdbackends bench --out {file.path}")
    write_atomically(out, page(files, title))
    echo(f"wrote {out}; open it in a browser")
