"""`gdbackends export`: a file of results as CSV, Markdown or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import click

from gdbackends.benchmarking.markdown import markdown
from gdbackends.benchmarking.result_rows import records, result_rows
from gdbackends.benchmarking.results import read_results
from gdbackends.cli.output import check_output, csv_cell, write_whole
from gdbackends.errors import InputError


@click.command("export")
@click.argument("results")
@click.option("--to", "form", default="csv", show_default=True, help="csv, md or json.")
@click.option("--out", help="A file to write.  [default: standard output]")
def command(results: str, form: str, out: str | None) -> None:
    """Make a table of RESULTS, a file that `gdbackends bench` wrote: a row a case; seconds and bytes.

    Markdown is a short one, NumPy, JAX and PyTorch side by side, with the advice below it.
    """
    if form not in ("csv", "md", "json"):
        raise InputError(f"--to must be csv, md or json, got {form!r}")
    if out is not None:
        check_output("--out", out, results)
    held = read_results(results)
    if not held.cases:
        raise InputError(f"{results} holds no case; gdbackends bench --out {results} makes them")
    if form == "md":
        text = markdown(result_rows(held))
    elif form == "json":
        text = json.dumps(records(held), allow_nan=False, indent=2) + "\n"
    else:
        text = _csv(records(held))
    write_whole(out or "/dev/stdout", text)


def _csv(table: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(v) if isinstance(v, str) else v for name, v in row.items()} for row in table)
    return stream.getvalue()
