"""`gdbackends diff`: the changes between two files of benchmark results."""

from __future__ import annotations

from collections import Counter

import click
from rich.table import Table
from rich.text import Text

from gdbackends.benchmarking.regressions import (
    Change,
    changes,
    hidden,
    load_changes,
    pooled,
    regressed,
    version_changes,
)
from gdbackends.benchmarking.result_rows import known
from gdbackends.benchmarking.results import Results, read_results
from gdbackends.benchmarking.table_cells import UNKNOWN, shown_ends
from gdbackends.cli.console import console, plain_table, print_unwrapped
from gdbackends.cli.options import fraction
from gdbackends.errors import InputError

_STYLES = {"slower": "red", "faster": "green", "fails now": "bold red", "incomparable": "yellow"}


@click.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--fail-above", default="10%", show_default=True, help="The slowdown above which a case is a regression.")
@click.option("--strict", is_flag=True, help="Exit with 3 if the noise may hide a regression.")
@click.pass_context
def command(ctx: click.Context, old: str, new: str, fail_above: str, strict: bool) -> None:
    """Compare the cases of two files written by `gdbackends bench`.

    A case is slower only if the 99 % interval of its time ratio, corrected for the number of cases, excludes 1. Cases
    from different machines or numbers of threads are incomparable; cases from different versions are compared.

    Exit code: 0 no regression; 1 a regression, or nothing could be compared; 2 invalid usage or input; 3 with --strict,
    no regression was found, but one may be hidden by noise.
    """
    threshold = fraction("--fail-above", fail_above)
    before, after = read_results(old), read_results(new)
    ctx.exit(show_changes(before, after, threshold, strict=strict))


def show_changes(before: Results, after: Results, threshold: float, *, strict: bool) -> int:
    """Print the changes of all cases, and return the exit code.

    Args:
        before: the results of the old version.
        after: those of the new one.
        threshold: the relative slowdown above which a case, or all cases together, are a regression.
        strict: whether noise that may hide a regression counts.
    """
    changed = changes(before, after, threshold)
    if not changed:
        raise InputError(f"{before.path} and {after.path} contain no cases; write them with gdbackends bench")
    terminal = console()
    for line in [*version_changes(before, after), *load_changes(before, after)]:
        terminal.print(line, style="dim")
    print_unwrapped(terminal, _table(changed))
    for reason in dict.fromkeys(change.reason for change in changed if change.reason):
        count = sum(change.reason == reason for change in changed)
        terminal.print(Text(f"{count} case{'s' if count > 1 else ''}: {reason}", style="yellow"))
    worse = sum(change.regression for change in changed)
    compared = sum(change.ratio is not None for change in changed)
    words = ", ".join(f"{count} {word}" for word, count in Counter(change.word for change in changed).items())
    terminal.print(f"{len(changed)} cases: {words}", soft_wrap=True)
    plural = "" if worse == 1 else "s"
    terminal.print(f"{compared} compared, {worse} regression{plural} (slower by more than {threshold:.0%})")
    together, unknown = pooled(changed), sum(change.word == "cannot tell" for change in changed)
    slower = regressed(changed, threshold)
    if together is not None:
        interval = f"{together.low:.3g} to {together.high:.3g}"
        word = ": slower" if slower and not worse else ""
        terminal.print(f"all cases together: new / old {together.value:.3g} ({interval}){word}", soft_wrap=True)
    if unknown:
        told = "nothing can be told" if unknown == compared else f"{unknown} of {compared} cases cannot be told"
        text = f"{told}: the noise may hide a slowdown of up to {hidden(changed):.0%}; give more --launches"
        terminal.print(Text(text, style="yellow"), soft_wrap=True)
    return 1 if slower or not compared else 3 if strict and unknown else 0


def _table(changed: list[Change]) -> Table:
    titles = ("work", "rows", "features", "objective", "dtype", "backend", "new / old", "")
    table = plain_table(*titles, right=("rows", "features", "new / old"), gap=2)
    for change in changed:
        case, ratio = change.case, change.ratio
        sure = known(ratio)
        interval = "-" if ratio is None else UNKNOWN if sure is None else f"{sure.value:.3g} ({shown_ends(sure)})"
        spec, size = case.spec, (f"{case.spec.rows:,}", f"{case.spec.features:,}")
        cells = (case.work, *size, spec.objective, spec.dtype, case.config.label, interval)
        table.add_row(*map(Text, cells), Text(change.word, style=_STYLES.get(change.word, "")))
    return table
