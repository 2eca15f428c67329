"""`gdbackends compare`: the same fit on every backend, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from gdbackends.cli.console import console, environment_line, labels_line, number, print_json, printable, rows
from gdbackends.cli.options import fit_options, fit_settings
from gdbackends.cli.source import dataset, source_options, split
from gdbackends.comparison import BackendResult, Comparison, compare
from gdbackends.descent import Fit
from gdbackends.measurement.formatting import duration

_SHOWN = 12
_STYLES = {"agree": "green", "disagree": "bold red", "inconclusive": "yellow", "diverged": "bold red"}


@click.command("compare")
@source_options
@fit_options
@click.option("--backends", metavar="A,B,...", help="numpy, jax, torch: insist on these.  [default: all installed]")
@click.pass_context
def command(ctx: click.Context, **options: Any) -> None:
    """Fit SOURCE on every backend, prove that they agree, time them.

    SOURCE is a file, - for standard input, women (the default) or diabetes. Each backend runs in a process of its own.

    Exit code: 0 they agree; 1 they disagree, diverged, or nothing can be said; 2 bad use or input.
    """
    backends = None if options["backends"] is None else split("--backends", options["backends"])
    data = dataset(options, labels=options["objective"] == "logistic")
    comparison = compare(data, backends=backends, isolate=True, **fit_settings(options))
    if options["as_json"]:
        print_json(comparison.to_dict())
    else:
        _show(comparison)
    ctx.exit(0 if comparison.verdict == "agree" else 1)


def _show(comparison: Comparison) -> None:
    terminal, data = console(), comparison.dataset
    terminal.print(f"{printable(data['name'])}: {rows(data['rows'])}, predicting {printable(data['target'])}")
    terminal.print(_table(comparison))
    if comparison.labels is not None:
        terminal.print(labels_line(comparison.labels))
    used = next((row.fit.learning_rate for row in comparison.rows if row.fit), None)
    terminal.print(f"learning rate {'-' if used is None else number(used)}{_rates(comparison)}")
    terminal.print(Text(comparison.sentence, style=_STYLES[comparison.verdict]))
    for note in comparison.notes:
        terminal.print(note)
    terminal.print(environment_line(comparison.environment, comparison.settings.dtype), style="dim")


def _rates(comparison: Comparison) -> str:
    """Say which rates are good, as far as that is known."""
    ends = comparison.spectrum
    if ends is None:
        return ""
    best = f"best {number(ends.best_rate)}, " if comparison.exact is not None else ""
    text = f"{best}stable up to {number(ends.largest_stable_rate)}"
    return f" ({text})" if comparison.settings.batch_size is None else f" (for all rows: {text})"


def _table(comparison: Comparison) -> Table:
    """Return backends side by side: a line for each coefficient, however many there are."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    columns = len(comparison.rows) + (1 if comparison.exact is None else 2)
    for j, title in enumerate(["", *(row.backend for row in comparison.rows), "exact"][:columns]):
        table.add_column(title, justify="right" if j else "left")
    for name, show, exact in _lines(comparison):
        table.add_row(*[Text(cell) for cell in (name, *map(show, comparison.rows), exact)][:columns])
    return table


def _lines(comparison: Comparison) -> Iterator[tuple[str, Callable[[BackendResult], str], str]]:
    """Yield for each line its name, what it shows of a backend, and of the exact answer."""

    def fitted(show: Callable[[Fit], str]) -> Callable[[BackendResult], str]:
        return lambda row: show(row.fit) if row.fit else "-"

    features = comparison.dataset["features"]
    exact = (
        [""] * (len(features) + 2)
        if comparison.exact is None
        else [number(value) for value in (*comparison.exact, comparison.exact_loss or 0.0)]
    )
    numpy_step = next((row.step_s for row in comparison.rows if row.backend == "numpy"), None)
    yield "device", lambda row: row.device, ""
    for j, feature in enumerate(features[:_SHOWN]):
        yield printable(feature, 24), fitted(lambda fit, j=j: number(fit.theta[j])), exact[j]
    if len(features) > _SHOWN:
        yield f"{len(features) - _SHOWN} more (--json)", fitted(lambda fit: "..."), "..."
    yield "intercept", fitted(lambda fit: number(fit.intercept)), exact[-2]
    yield "loss", fitted(lambda fit: number(fit.loss)), exact[-1]
    yield "steps", fitted(lambda fit: f"{fit.steps:,}"), ""
    yield "stopped", lambda row: row.fit.stop.name.lower() if row.fit else row.status, ""
    blind = not (comparison.trajectory_sensitivity or 0.0) <= 1
    yield "gradient", lambda row: _judged(row, row.gradient_ratio), ""
    yield "trajectory", lambda row: "blind" if blind else _judged(row, row.trajectory_ratio), ""
    yield "first call", lambda row: duration(row.first_call_s), ""
    yield "a step", lambda row: duration(row.step_s), ""
    yield "speed", lambda row: _speed(row, numpy_step), ""


def _judged(row: BackendResult, ratio: float | None) -> str:
    """Say whether it agrees with all others; one that most agree with does not itself disagree."""
    if ratio is None:
        return "-"
    word = "agrees" if ratio <= 1 else "DISAGREES" if row.status == "disagrees" else "not with all:"
    return f"{word} {ratio:.1g}"


def _speed(row: BackendResult, numpy_step: float | None) -> str:
    return f"{numpy_step / row.step_s:.2g} x NumPy" if row.step_s and numpy_step else "-"
