"""Print results as a table that fits the terminal, with its notes and the advice: what `bench` and `show` end with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

import click
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gdbackends.benchmarking.advice import findings, not_reached
from gdbackends.benchmarking.result_rows import Row
from gdbackends.benchmarking.results import Results
from gdbackends.benchmarking.table_cells import cells, ordered, size, unknown_note, unusual
from gdbackends.cli.console import console, environment_line, plain_table, print_unwrapped, width_to_fit

WIDE = click.option("--wide", is_flag=True, help="Show all columns, even if the terminal is narrower.")
_GAP = 2
_NEEDED = ("work", "rows", "features", "", "backend", "a call")
_WORTH = ("x NumPy", "first call", "agrees", "bandwidth", "memory", "on device", "transfer", "x loss", "x idiomatic")
"""The columns beside the needed ones, by importance; the rest follows."""
_COMMON = ("work", "", "features", "rows")
"""The columns that are given once above the table if it does not fit and all rows have the same."""
_CUT = ("", "backend", "work")
"""The columns whose texts are shortened if even that is not enough."""
_LEAST = 6


def show_results(rows: Sequence[Row], results: Results, *, wide: bool = False) -> None:
    """Print the table of results, the failures, the findings, and the conditions of the measurement.

    Args:
        rows: the rows to show.
        results: the results that they are of.
        wide: whether to show all columns; by default those that fit the terminal, or all if stdout is no terminal.
    """
    terminal = console()
    rows = ordered(rows)
    width = width_to_fit(terminal)
    columns = cells(rows)
    common, shown = ({}, columns) if wide or width is None else fitted(columns, width)
    if common:
        terminal.print(Text(f"all rows: {', '.join(common.values())}"), soft_wrap=True)
    table = plain_table(*shown, right=shown.keys() - {"work", "", "backend", "plan"}, gap=_GAP)
    for line in zip(*shown.values(), strict=True):
        table.add_row(*map(Text, line))
    print_unwrapped(terminal, table)
    terminal.width = width or terminal.width
    hidden = [title for title in columns if title not in {*shown, *common}]
    if hidden:
        _say(terminal, f"--wide also shows {', '.join(hidden)}", "dim")
    for line in unknown_note(text for column in shown.values() for text in column):
        _say(terminal, line, "dim")
    for line in [*_failures(rows), *not_reached(rows)]:
        _say(terminal, line, "yellow")
    for line in findings(rows):
        _say(terminal, line)
    _conditions(terminal, rows, results)


def fitted(columns: Mapping[str, Sequence[str]], width: int) -> tuple[dict[str, str], dict[str, Sequence[str]]]:
    """Return what all rows have in common, by title, and the columns that fit beside each other.

    The columns that tell the cases apart and the time are always among them: if these do not fit, those that are the
    same in all rows are left out, and then long names are shortened.

    Args:
        columns: the cells of each column by title, as many in each.
        width: the columns of the terminal, in characters.
    """
    shown = {title: columns[title] for title in _NEEDED if title in columns}
    common: dict[str, str] = {}
    for title in _COMMON:
        if _width(shown) > width and title in shown and len(set(shown[title])) == 1:
            text = shown.pop(title)[0]
            common[title] = f"{text} {title}" if title in ("rows", "features") else text
    for title in _CUT:
        if (over := _width(shown) - width) > 0 and title in shown:
            longest = max(_LEAST, max(map(cell_len, shown[title])) - over)
            shown[title] = [text if cell_len(text) <= longest else f"…{text[1 - longest :]}" for text in shown[title]]
    for title in dict.fromkeys([*_WORTH, *columns]):
        more = shown | {title: columns[title]} if title in columns and title not in {*shown, *common} else shown
        shown = more if _width(more) <= width else shown
    return common, {title: shown[title] for title in columns if title in shown}


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    """Return the characters of a line of the table."""
    return sum(max(cell_len(title), *map(cell_len, texts)) + _GAP for title, texts in columns.items()) - _GAP


def _say(terminal: Console, line: str, style: str = "") -> None:
    """Print a line, broken between words if stdout is a terminal."""
    terminal.print(Text(line, style=style), soft_wrap=not terminal.is_terminal)


def _failures(rows: Sequence[Row]) -> list[str]:
    """Return a line for each reason why cases failed or are unfinished; those that were not reached have their own."""
    lines: list[str] = []
    reasons = Counter((row.status, row.reason) for row in rows if row.reason and row.status != "not reached")
    for (status, reason), count in reasons.items():
        first = next(row for row in rows if (row.status, row.reason) == (status, reason))
        name = ", ".join([first.case.config.label, first.case.work, size(first), *unusual(first)])
        more = "" if count == 1 else f" and {count - 1} more"
        lines.append(f"{'* ' if status == 'unfinished' else ''}{name}{more}: {status}: {reason}")
    return lines


def _conditions(terminal: Console, rows: Sequence[Row], results: Results) -> None:
    """Print how the results were judged, and the machine and versions that they are of."""
    functions = dict.fromkeys(row.case.spec.objective for row in rows if row.case.spec.is_function and row.timing)
    if functions:
        _say(terminal, f"{', '.join(functions)}: agrees with autodiff in float64, by estimated rounding bounds", "dim")
    run = list(results.runs.values())[-1]
    fastest = {threads: speed for speed, threads in sorted((s, t) for (_, _, t), s in results.bandwidths.items())}
    for threads, speed in sorted(fastest.items()):
        condition = f" with {threads} threads" if threads else ""
        _say(terminal, f"read bandwidth{condition}: {speed / 1e9:.3g} GB/s", "dim")
    cores, loads = run["environment"]["cores"], [r["load"] for row in rows for r in results.of(row.case).values()]
    if loads and median(loads) > cores + 1:
        text = f"the machine was busy: the load was {median(loads):.2g} on {cores} cores, which widens the intervals"
        _say(terminal, text, "yellow")
    _say(terminal, environment_line(run["environment"], results.path), "dim")
