"""`gdbackends compare`: the same fit on every backend, in one table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from gdbackends.cli.console import (
    console,
    count_of_rows,
    environment_line,
    format_number,
    labels_line,
    plain_table,
    print_json,
    print_unwrapped,
    printable,
)
from gdbackends.cli.options import (
    fit_options,
    fit_settings,
    needs_labels,
    problem_maker,
    read_dataset,
    source_options,
    split,
)
from gdbackends.comparison import BackendResult, Comparison, compare
from gdbackends.descent import Fit
from gdbackends.measurement.environment import affinity, busy
from gdbackends.measurement.formatting import duration

_MAX_FEATURES = 12
"""Coefficients in the table; --json has all."""
_STYLES = {"agree": "green", "disagree": "bold red", "inconclusive": "yellow", "diverged": "bold red"}


@click.command("compare")
@source_options
@fit_options
@click.option("--backends", metavar="A,B,...", help="numpy, jax, torch, module:name.  [default: all installed]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    help="The seconds after which a backend is stopped.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Also make each fit with the rows divided among N processes.",
)
@click.pass_context
def command(ctx: click.Context, **options: Any) -> None:
    """Fit SOURCE on every backend, check that the backends agree, and time them.

    SOURCE is a file, - for standard input, women (the default) or diabetes. Each backend runs in its own process.

    The time of a step has the half width of its 99 % interval over the rounds of that process. It does not cover the
    differences between processes; `gdbackends bench` does.

    A loss of your own is --objective FILE.py:NAME, a function loss(theta, *data) or an object with a loss. The file is
    run with your permissions. Without SOURCE its own data are used; see `gdbackends bench --help`.

    Exit code: 0 they agree; 1 they disagree, diverged, or the result is inconclusive; 2 invalid usage or input.
    """
    backends = None if options["backends"] is None else split("--backends", options["backends"])
    given: dict[str, Any] = {"backends": backends, "isolate": True, "timeout": options["timeout"]}
    given["processes"] = options["processes"]
    with redirect_stdout(sys.stderr):  # what a file prints does not belong to the result
        make = problem_maker(options)
    if make is None:
        data = read_dataset(options, labels=needs_labels(options))
        comparison = compare(data, **given, **fit_settings(options))
    else:
        comparison = compare(make, **given, **fit_settings(options))
    if options["as_json"]:
        print_json(comparison.to_dict())
    else:
        _show(comparison)
    ctx.exit(0 if comparison.verdict == "agree" else 1)


def _show(comparison: Comparison) -> None:
    terminal, data = console(), comparison.dataset
    predicting = f", predicting {printable(data['target'])}" if data["target"] else ""
    terminal.print(f"{printable(data['name'])}: {count_of_rows(data['rows'])}{predicting}")
    print_unwrapped(console(), _table(comparison))
    if sentence := busy(comparison.load, len(affinity())):
        terminal.print(sentence, style="yellow")
    if comparison.labels is not None:
        terminal.print(labels_line(comparison.labels))
    rate = next((row.fit.learning_rate for row in comparison.rows if row.fit), None)
    terminal.print(f"learning rate {'-' if rate is None else format_number(rate)}{_recommended_rates(comparison)}")
    style = _STYLES[comparison.verdict] if comparison.finished else "yellow"
    terminal.print(Text(comparison.sentence, style=style))
    for note in comparison.notes:
        terminal.print(note)
    terminal.print(environment_line(comparison.environment, comparison.settings.dtype), style="dim")


def _recommended_rates(comparison: Comparison) -> str:
    """Return the best and the largest stable learning rate as text, as far as they are known."""
    spectrum = comparison.spectrum
    if spectrum is None:
        return ""
    best = f"best {format_number(spectrum.best_rate)}, " if comparison.exact is not None else ""
    text = f"{best}stable up to {format_number(spectrum.largest_stable_rate)}"
    return f" ({text})" if comparison.settings.batch_size is None else f" (for all rows: {text})"


def _table(comparison: Comparison) -> Table:
    """Return a table with a column for each backend and one for the exact solution, if known."""
    titles = ["", *(row.backend for row in comparison.rows), *([] if comparison.exact is None else ["exact"])]
    table = plain_table(*titles, right=titles[1:])
    for name, cell, exact in _lines(comparison):
        table.add_row(*[Text(text) for text in (name, *map(cell, comparison.rows), exact)][: len(titles)])
    return table


def _lines(comparison: Comparison) -> Iterator[tuple[str, Callable[[BackendResult], str], str]]:
    """Yield each line: its name, a function that returns the cell of a backend, and the cell of the exact solution."""

    def of_fit(cell: Callable[[Fit], str]) -> Callable[[BackendResult], str]:
        return lambda row: cell(row.fit) if row.fit else "-"

    features = comparison.dataset["features"]
    exact = (
        [""] * (len(features) + 2)
        if comparison.exact is None
        else [format_number(value) for value in (*comparison.exact, comparison.exact_loss or 0.0)]
    )
    numpy_step = next((row.step_s for row in comparison.rows if row.backend == "numpy"), None)
    yield "device", lambda row: row.device, ""
    if any(row.processes > 1 for row in comparison.rows):
        yield "processes", lambda row: str(row.processes), ""
    for j, feature in enumerate(features[:_MAX_FEATURES]):
        yield printable(feature, 24), of_fit(lambda fit, j=j: format_number(fit.theta[j])), exact[j]
    if len(features) > _MAX_FEATURES:
        yield f"{len(features) - _MAX_FEATURES} more (--json)", of_fit(lambda fit: "..."), "..."
    if comparison.dataset["target"]:  # the parameters of a loss function have names of their own
        yield "intercept", of_fit(lambda fit: format_number(fit.intercept)), exact[-2]
    yield "loss", of_fit(lambda fit: format_number(fit.loss)), exact[-1]
    yield "steps", of_fit(lambda fit: f"{fit.steps:,}"), ""
    yield "stopped", lambda row: row.fit.stop.name.lower() if row.fit else row.status, ""
    blind = not (comparison.trajectory_sensitivity or 0.0) <= 1
    yield "gradient", lambda row: _agreement(row, row.gradient_ratio), ""
    yield "trajectory", lambda row: "blind" if blind else _agreement(row, row.trajectory_ratio), ""
    yield "first call", lambda row: duration(row.first_call_s), ""
    yield "a step", _step, ""
    yield "speed", lambda row: _speed(row, numpy_step), ""


def _agreement(row: BackendResult, ratio: float | None) -> str:
    """Return whether a backend agrees with all others; "agrees partly" if it differs from at most half of them."""
    if ratio is None:
        return "-"
    word = "agrees" if ratio <= 1 else "DISAGREES" if row.status == "disagrees" else "agrees partly"
    return f"{word} {ratio:.1g}"


def _step(row: BackendResult) -> str:
    """Return the time of a step with the half width of its interval; "?" if that is unknown or 100 % or more."""
    if row.step_s is None:
        return "-"
    half = row.step_spread
    reach = "?" if not half < 1 else f"{half:.1%}" if half < 0.01 else f"{half:.0%}"
    return f"{duration(row.step_s)} ± {reach}"


def _speed(row: BackendResult, numpy_step: float | None) -> str:
    if not (row.step_s and numpy_step):
        return "-"
    ratio = numpy_step / row.step_s
    return f"{ratio:.2g} x NumPy" if ratio < 99 else f"{float(f'{ratio:.2g}'):,.0f} x NumPy"
