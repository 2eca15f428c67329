"""How results of a benchmark are shown: a table of the rows, and what they come to in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gdbackends.benchmarking.advice import findings
from gdbackends.benchmarking.bench import Plan
from gdbackends.benchmarking.case import Case
from gdbackends.benchmarking.result_rows import Row
from gdbackends.benchmarking.results import Results
from gdbackends.benchmarking.table_cells import cells, ordered, size, unusual
from gdbackends.cli.console import console, environment_line


def show(table: Sequence[Row], results: Results) -> None:
    """Print the table, then the findings, then what was measured with."""
    terminal = console()
    if not table:
        terminal.print("nothing was timed: the time budget was spent before; --resume goes on")
    table = ordered(table)
    print_whole(terminal, _table(table))
    for (status, reason), count in Counter((row.status, row.reason) for row in table if row.reason).items():
        one = next(_name(row) for row in table if (row.status, row.reason) == (status, reason))
        who = one if count == 1 else f"{one} and {count - 1} more"
        mark = "* " if status == "unfinished" else ""
        terminal.print(Text(f"{mark}{who}: {status}: {reason}", style="yellow"), soft_wrap=True)
    for line in findings(table):
        terminal.print(Text(line), soft_wrap=True)
    run = list(results.runs.values())[-1]
    speeds = {threads: speed for (_, _, threads), speed in sorted(results.bandwidths.items(), key=_speed)}
    for threads, speed in sorted(speeds.items()):
        of = f" of {threads} threads" if threads else ""
        terminal.print(f"read bandwidth{of} {speed / 1e9:.3g} GB/s", style="dim")
    cores, loads = run["environment"]["cores"], [r["load"] for row in table for r in results.of(row.case).values()]
    if loads and median(loads) > cores + 1:
        text = f"the machine was busy: a load of {median(loads):.2g} on {cores} cores; intervals are wide for it"
        terminal.print(Text(text, style="yellow"))
    terminal.print(environment_line(run["environment"], results.path), style="dim", soft_wrap=True)


def print_whole(terminal: Console, table: Table) -> None:
    """Print a table with nothing left out, wider than the terminal if need be: it wraps, a cut figure is lost."""
    whole = Measurement.get(terminal, terminal.options.update(max_width=1000), table).maximum
    terminal.width = max(terminal.width, whole)
    terminal.print(table)


def show_plan(cases: Sequence[Case], plan: Plan) -> None:
    """Print what would be timed."""
    terminal, table = console(), Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("work", "rows", "features", "dtype", "objective", "backend"):
        table.add_column(title, justify="right" if title in ("rows", "features") else "left")
    for case in cases:
        spec = case.spec
        table.add_row(case.work, f"{spec.rows:,}", f"{spec.features:,}", spec.dtype, spec.objective, case.config.label)
    print_whole(terminal, table)
    budget = "no limit" if plan.budget_s is None else f"{plan.budget_s:g} s"
    terminal.print(f"{len(cases)} cases, {plan.launches} to {plan.most} launches each, {budget} in all")


def _table(table: Sequence[Row]) -> Table:
    """Return the rows as the terminal shows them."""
    rich = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = cells(table)
    for title in columns:
        left = title in ("work", "", "backend", "plan")
        rich.add_column(title, justify="left" if left else "right", no_wrap=True)
    for line in zip(*columns.values(), strict=True):
        rich.add_row(*map(Text, line))
    return rich


def _speed(item: tuple[object, float]) -> float:
    return item[1]


def _name(row: Row) -> str:
    return ", ".join([row.case.config.label, row.case.work, size(row), *unusual(row)])
