"""`gdbackends export`: a file of benchmark results as CSV, Markdown or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import click

from gdbackends.benchmarking.markdown import markdown
from gdbackends.benchmarking.published import publish
from gdbackends.benchmarking.result_rows import records, result_rows
from gdbackends.benchmarking.results import read_results
from gdbackends.cli.output import check_output, csv_cell, write_atomically
from gdbackends.errors import InputError


@click.command("export")
@click.argument("results")
@click.option("--to", "form", default="csv", show_default=True, help="The format: csv, md or json.")
@click.option("--out", help="The file to write.  [default: stdout]")
def command(results: str, form: str, out: str | None) -> None:
    """Convert RESULTS, a file written by `gdbackends bench`, to a table with one row per case, in seconds and bytes.

    The Markdown table is shorter: the backends are side by side, followed by the advice.
    """
    if form not in ("csv", "md", "json", "published"):
        raise InputError(f"--to must be csv, md, json or published, got {form!r}")
    if out is not None:
        check_output("--out", out, results)
    file = read_results(results)
    if not file.cases:
        raise InputError(f"{results} contains no cases; add some with gdbackends bench --out {results}")
    if form == "published":
        text = publish(file.records())
    elif form == "md":
        text = markdown(result_rows(file))
    elif form == "json":
        text = json.dumps(records(file), allow_nan=False, indent=2) + "\n"
    else:
        text = _csv(records(file))
    write_atomically(out or "/dev/stdout", text)


def _csv(table: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(v) if isinstance(v, str) else v for name, v in row.items()} for row in table)
    return stream.getvalue()
