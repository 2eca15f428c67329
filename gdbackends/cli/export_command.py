"""`gdbackends export`: a file of results as CSV, Markdown or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from gdbackends.benchmarking.advice import findings
from gdbackends.benchmarking.case import Case
from gdbackends.benchmarking.result_rows import Row, beside, by_case, ratio, records, result_rows
from gdbackends.benchmarking.results import read_results
from gdbackends.benchmarking.table_cells import shown_ratio
from gdbackends.cli.output import check_output, csv_cell, write_whole
from gdbackends.errors import InputError
from gdbackends.measurement.formatting import duration


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


def markdown(table: Sequence[Row]) -> str:
    """Return a line a problem, a column a config: the time, and its ratio to NumPy with the 99 % interval."""
    configs = list(dict.fromkeys(row.case.config for row in sorted(table, key=lambda row: row.case.config.label)))
    lines = ["| work | rows x features | dtype | " + " | ".join(config.label for config in configs) + " |"]
    lines.append("|---|--:|---|" + "--:|" * len(configs))
    others = by_case(table)
    problems = dict.fromkeys((row.case.work, row.case.spec) for row in table)
    for work, spec in sorted(problems, key=lambda key: (key[0], key[1].dtype, key[1].features, key[1].rows)):
        here = {row.case.config: row for row in table if (row.case.work, row.case.spec) == (work, spec)}
        cells = [_cell(here[config], others) if config in here else "" for config in configs]
        kind = spec.dtype if spec.objective == "squared" else f"{spec.objective} {spec.dtype}"
        lines.append(f"| {work} | {spec.rows:,} x {spec.features:,} | {kind} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- {line}" for line in findings(table)), ""])


def _cell(row: Row, others: Mapping[Case, Row]) -> str:
    if row.timing is None:
        return row.status
    base = beside(row, others, backend="numpy", device="cpu")
    against = None if base is None or base is row else ratio(row, base)
    text = duration(row.timing.median) + ("" if row.status == "ok" else " (unfinished)")
    return text if against is None else f"{text}, x {shown_ratio(against)}"
