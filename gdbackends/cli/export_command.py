"""`gdbackends export`: files of benchmark results as CSV, Markdown or JSON, or one as a document to publish."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import click

from gdbackends.benchmarking.advice import not_reached
from gdbackends.benchmarking.machines import ResultFile, result_files
from gdbackends.benchmarking.markdown import markdown, markdown_by_machine
from gdbackends.benchmarking.published import publish
from gdbackends.benchmarking.result_rows import records
from gdbackends.benchmarking.results import read_results
from gdbackends.cli.console import echo
from gdbackends.cli.output import check_output, csv_cell, write_atomically
from gdbackends.errors import InputError

_FORMS = ("csv", "md", "json", "published")


@click.command("export")
@click.argument("results", nargs=-1, required=True, metavar="RESULTS...")
@click.option("--to", "form", default="csv", show_default=True, help="The format: csv, md, json or published.")
@click.option("--out", help="The file to write.  [default: stdout]")
def command(results: tuple[str, ...], form: str, out: str | None) -> None:
    """Convert RESULTS, files of `gdbackends bench`, to a table with one row per case, in seconds and bytes.

    The Markdown table of one file is shorter: the backends are side by side, followed by the advice. That of several
    files has a column for each machine. csv and json take several files too. A case that was planned and not reached is
    a row without a time.

    With --to published, one file becomes a JSON document to publish: all records with the environment and machine, but
    without absolute paths and the names of user and host. show, page, diff and export take it like the file itself.
    """
    if form not in _FORMS:
        raise InputError(f"--to must be csv, md, json or published, got {form!r}")
    if form == "published" and len(results) > 1:
        raise InputError(f"--to published takes one file, got {len(results)}; publish each file")
    if out is not None:
        check_output("--out", out, *results)
    files = result_files([read_results(path) for path in results])
    for file in files:
        if not file.rows:
            path = file.results.path
            raise InputError(f"{path} contains no cases; add some with gdbackends bench --out {path}")
        for line in not_reached(file.rows) if form in ("csv", "json") else ():  # Markdown has a line for it
            echo(f"{file.results.path}: {line}")
    write_atomically(out or "/dev/stdout", _converted(files, form))


def _converted(files: Sequence[ResultFile], form: str) -> str:
    if form == "published":
        return publish(files[0].results.records())
    if form == "md":
        return markdown(files[0].rows) if len(files) == 1 else markdown_by_machine(files)
    named = [({"file": file.name} if len(files) > 1 else {}, records(file.results)) for file in files]
    table = [name | record for name, some in named for record in some]
    return json.dumps(table, allow_nan=False, indent=2) + "\n" if form == "json" else _csv(table)


def _csv(table: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(v) if isinstance(v, str) else v for name, v in row.items()} for row in table)
    return stream.getvalue()
