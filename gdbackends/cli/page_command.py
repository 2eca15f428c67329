"""`gdbackends page`: files of results as one HTML page."""

from __future__ import annotations

import click

from gdbackends.benchmarking.results import read_results
from gdbackends.cli.console import echo
from gdbackends.cli.output import check_output, write_whole
from gdbackends.errors import InputError


@click.command("page")
@click.argument("results", nargs=-1, required=True, metavar="RESULTS...")
@click.option("--out", default="report.html", show_default=True, help="The page to write.")
@click.option("--title", default="Which backend is fastest here?", help="Of the page.")
def command(results: tuple[str, ...], out: str, title: str) -> None:
    """Make a page of RESULTS, files that `gdbackends bench` wrote: advice, charts, and a table to sort and save.

    Several files, of two machines or two versions, stand side by side. The page is one file, which loads nothing.
    """
    from gdbackends.pictures.page import page  # the charts' library takes a second to import

    check_output("--out", out, *results)
    held = [read_results(path) for path in results]
    for path, each in zip(results, held, strict=True):
        if not each.cases:
            raise InputError(f"{path} holds no case; gdbackends bench --out {path} makes them")
    write_whole(out, page(held, title))
    echo(f"{out} is written; open it in a browser")
