"""`gdbackends show`: files of benchmark results as the tables with which `bench` ended."""

from __future__ import annotations

import click

from gdbackends.benchmarking.result_rows import result_rows
from gdbackends.benchmarking.results import read_results
from gdbackends.cli.result_table import WIDE, show_results
from gdbackends.errors import InputError


@click.command("show")
@click.argument("results", nargs=-1, required=True, metavar="RESULTS...")
@WIDE
def command(results: tuple[str, ...], wide: bool) -> None:
    """Print the table, the notes and the advice of RESULTS, files of `gdbackends bench` or published documents.

    In a terminal the table has the most important columns that fit. One line at the end names the machine and the file.
    """
    files = [read_results(path) for path in results]
    for file in files:
        if not file.cases:
            raise InputError(f"{file.path} contains no cases; add some with gdbackends bench --out {file.path}")
    for number, file in enumerate(files):
        if number:
            click.echo()
        show_results(result_rows(file), file, wide=wide)
