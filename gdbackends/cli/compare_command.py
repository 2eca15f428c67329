"""`gdbackends compare`: the same fit on every backend, in one table."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table
from rich.text import Text

from gdbackends.cli.options import (
    console,
    dataset,
    duration,
    environment_line,
    fit_options,
    fit_settings,
    number,
    print_json,
    printable,
    split,
)
from gdbackends.comparison import Comparison, Row, compare

_SHOWN = 12
_STYLES = {"agree": "green", "disagree": "bold red", "inconclusive": "yellow", "diverged": "bold red"}


@click.command("compare")
@fit_options
@click.option("--backends", metavar="A,B,...", help="numpy, jax, torch: insist on these.  [default: all installed]")
@click.pass_context
def command(ctx: click.Context, source: str | None, target: str | None, features: str | None, **options: Any) -> None:
    """Fit SOURCE (a CSV file; without it, 15 heights and weights) on every backend, prove that they agree, time them.

    Each backend runs in a process of its own. Exit code: 0 they agree; 1 they disagree, diverged, or nothing can be
    said; 2 bad use or input.
    """
    backends = None if options["backends"] is None else split("--backends", options["backends"])
    data = dataset(source, target, features)
    comparison = compare(data, backends=backends, isolate=True, **fit_settings(options))
    if options["as_json"]:
        print_json(comparison.to_dict())
    else:
        _show(comparison)
    ctx.exit(0 if comparison.verdict == "agree" else 1)


def _show(comparison: Comparison) -> None:
    terminal, data = console(), comparison.dataset
    terminal.print(f"{printable(data['name'])}: {data['rows']:,} rows, predicting {printable(data['target'])}")
    terminal.print(_table(comparison))
    ends = comparison.spectrum
    used = next((row.fit.learning_rate for row in comparison.rows if row.fit), None)
    rates = f"best {number(ends.best_rate)}, stable up to {number(ends.largest_stable_rate)}"
    terminal.print(f"learning rate {'-' if used is None else number(used)} ({rates})")
    terminal.print(Text(comparison.sentence, style=_STYLES[comparison.verdict]))
    for note in comparison.notes:
        terminal.print(note)
    terminal.print(environment_line(comparison.environment, comparison.settings.dtype), style="dim")


def _table(comparison: Comparison) -> Table:
    """Return backends side by side: a line for each coefficient, however many there are."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for row in comparison.rows:
        table.add_column(row.backend, justify="right")
    table.add_column("exact", justify="right")
    features, exact = comparison.dataset["features"], comparison.exact
    numpy_step = next((row.step_s for row in comparison.rows if row.backend == "numpy"), None)

    def line(name: str, cells: list[str], last: str = "") -> None:
        table.add_row(*map(Text, (name, *cells, last)))

    def each(show: Any) -> list[str]:
        return [show(row) for row in comparison.rows]

    line("device", each(lambda row: row.device or "-"))
    for j, feature in enumerate(features[:_SHOWN]):
        cells = each(lambda row, j=j: number(row.fit.theta[j]) if row.fit else "-")
        line(printable(feature, 24), cells, number(exact[j]))
    if len(features) > _SHOWN:
        line(f"{len(features) - _SHOWN} more (--json)", each(lambda row: "..."), "...")
    line("intercept", each(lambda row: number(row.fit.intercept) if row.fit else "-"), number(exact[-1]))
    line("loss", each(lambda row: number(row.fit.loss) if row.fit else "-"), number(comparison.exact_loss))
    line("steps", each(lambda row: f"{row.fit.steps:,}" if row.fit else "-"))
    line("stopped", each(lambda row: row.fit.stop.name.lower() if row.fit else row.status))
    line("gradient", each(lambda row: _judged(row.gradient_ratio)))
    line("trajectory", each(lambda row: _judged(row.trajectory_ratio)))
    line("first call", each(lambda row: duration(row.first_call_s)))
    line("a step", each(lambda row: duration(row.step_s)))
    line("speed", each(lambda row: _speed(row, numpy_step)))
    return table


def _judged(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"agrees {ratio:.1g}" if ratio <= 1 else f"DISAGREES {ratio:.2g}"


def _speed(row: Row, numpy_step: float | None) -> str:
    return f"{numpy_step / row.step_s:.2g} x NumPy" if row.step_s and numpy_step else "-"
