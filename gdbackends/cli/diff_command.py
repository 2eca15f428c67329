"""`gdbackends diff`: what changed between two files of results."""

from __future__ import annotations

from collections import Counter

import click
from rich.table import Table
from rich.text import Text

from gdbackends.benchmarking.regressions import Change, changes, version_changes
from gdbackends.benchmarking.results import read_results
from gdbackends.cli.bench_showing import print_whole
from gdbackends.cli.console import console
from gdbackends.errors import InputError

_STYLES = {"slower": "red", "faster": "green", "fails now": "bold red", "incomparable": "yellow"}


@click.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--fail-above", default="10%", show_default=True, help="Slower by more than this is a regression.")
@click.pass_context
def command(ctx: click.Context, old: str, new: str, fail_above: str) -> None:
    """Compare the cases of two files that `gdbackends bench` wrote.

    A case is slower only if the 99 % interval of its ratio, corrected for the number of cases, leaves 1 out. Another
    machine or number of threads makes a case incomparable; other versions do not.

    Exit code: 0 no regression; 1 a regression, or nothing could be compared; 2 bad use or input.
    """
    threshold = _part(fail_above)
    before, after = read_results(old), read_results(new)
    found = changes(before, after, threshold)
    if not found:
        raise InputError(f"{old} and {new} hold no case; gdbackends bench makes them")
    terminal = console()
    for line in version_changes(before, after):
        terminal.print(line, style="dim")
    print_whole(terminal, _table(found))
    for reason in dict.fromkeys(change.reason for change in found if change.reason):
        count = sum(change.reason == reason for change in found)
        terminal.print(Text(f"{count} case{'s' if count > 1 else ''}: {reason}", style="yellow"))
    worse = sum(change.regression for change in found)
    compared = sum(change.ratio is not None for change in found)
    counts = Counter(change.word for change in found)
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    terminal.print(f"{len(found)} cases: {words}", soft_wrap=True)
    plural = "" if worse == 1 else "s"
    terminal.print(f"{compared} compared, {worse} regression{plural} (slower by more than {threshold:.0%})")
    ctx.exit(1 if worse or not compared else 0)


def _table(found: list[Change]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("work", "rows", "features", "objective", "dtype", "backend", "new / old", ""):
        table.add_column(title, justify="right" if title in ("rows", "features", "new / old") else "left", no_wrap=True)
    for change in found:
        case, ratio = change.case, change.ratio
        shown = "-" if ratio is None else f"{ratio.value:.3g} ({ratio.low:.2g} to {ratio.high:.2g})"
        style = _STYLES.get(change.word, "")
        spec, size = case.spec, (f"{case.spec.rows:,}", f"{case.spec.features:,}")
        cells = (case.work, *size, spec.objective, spec.dtype, case.config.label, shown)
        table.add_row(*map(Text, cells), Text(change.word, style=style))
    return table


def _part(text: str) -> float:
    """Return a part written as 10% or 0.1."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf") or (value >= 1 and not text.endswith("%")):
        raise InputError(f"--fail-above must be a part such as 10% or 0.1, got {text!r}")
    return value
