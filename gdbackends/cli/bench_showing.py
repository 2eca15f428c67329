"""How results of a benchmark are shown: a table of the rows, and what they come to in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from statistics import median

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gdbackends.benchmarking.advice import advice
from gdbackends.benchmarking.bench import Plan
from gdbackends.benchmarking.case import Case
from gdbackends.benchmarking.findings import series
from gdbackends.benchmarking.results import Results
from gdbackends.benchmarking.rows import Row, beside, paid_after, ratio, spread
from gdbackends.cli.showing import console, duration, environment_line
from gdbackends.measurement.student import Estimate

_ORDER = {"loss": 0, "gradient": 1, "step": 2, "fit": 3}


def show(table: Sequence[Row], results: Results) -> None:
    """Print the table, then the findings, then what was measured with."""
    terminal = console()
    if not table:
        terminal.print("nothing was timed: the time budget was spent before; --resume goes on")
    ordered = sorted(table, key=_key)
    print_whole(terminal, _table(ordered))
    for (status, reason), count in Counter((row.status, row.reason) for row in ordered if row.reason).items():
        one = next(_name(row) for row in ordered if (row.status, row.reason) == (status, reason))
        who = one if count == 1 else f"{one} and {count - 1} more"
        mark = "* " if status == "unfinished" else ""
        terminal.print(Text(f"{mark}{who}: {status}: {reason}", style="yellow"), soft_wrap=True)
    for line in findings(ordered):
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


def findings(table: Sequence[Row]) -> list[str]:
    """Return what the rows come to, a line each: who is fastest, when a compile is paid, and what an import takes."""
    lines: list[str] = []
    for found in series(table):
        if len(found.places) == 1:
            continue
        task = found.task
        what = f"{found.work}, {task.features} feature{'s' if task.features > 1 else ''}"
        usual = [text for text in (task.objective, task.dtype, found.tuning) if text not in _USUAL]
        lines.append(f"{', '.join([what, *usual])}: {advice(found)}.")
    paid: dict[str, list[tuple[float, Row]]] = {}
    for row in table:
        base = beside(row, table, backend="numpy", device="cpu")
        steps = paid_after(row, base) if base and row.case.work == "step" else None
        if steps and base and (found := ratio(row, base)) and found.differs():
            paid.setdefault(row.case.place.label, []).append((steps, row))
    for name, after in paid.items():
        ends = [f"{float(f'{steps:.2g}'):,.0f} steps ({_size(row)})" for steps, row in sorted(after, key=_first)]
        text = " to ".join(dict.fromkeys((ends[0], ends[-1])))
        lines.append(f"{name}: its first call has been paid for after {text}, against NumPy, where it is faster.")
    imports = {row.case.place.label: row.import_s for row in table if row.import_s}
    if imports:
        lines.append("import: " + ", ".join(f"{name} {duration(taken)}" for name, taken in imports.items()))
    return lines


def show_plan(cases: Sequence[Case], plan: Plan) -> None:
    """Print what would be timed."""
    terminal, table = console(), Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("work", "rows", "features", "dtype", "objective", "backend"):
        table.add_column(title, justify="right" if title in ("rows", "features") else "left")
    for case in cases:
        task = case.task
        table.add_row(case.work, f"{task.rows:,}", f"{task.features:,}", task.dtype, task.objective, case.place.label)
    print_whole(terminal, table)
    budget = "no limit" if plan.budget_s is None else f"{plan.budget_s:g} s"
    terminal.print(f"{len(cases)} cases, {plan.launches} to {plan.most} launches each, {budget} in all")


def _table(table: Sequence[Row]) -> Table:
    """Return the rows; a column in which nothing stands is left out."""
    shown: dict[str, Callable[[Row], str]] = {
        "work": lambda row: row.case.work,
        "rows": lambda row: f"{row.case.task.rows:,}",
        "features": lambda row: f"{row.case.task.features:,}",
        "": lambda row: " ".join(t for t in (row.case.task.objective, row.case.task.dtype) if t not in _USUAL),
        "backend": lambda row: row.case.place.label,
        "transfer": lambda row: duration(row.transfer_s),
        "first call": lambda row: duration(row.first_call_s),
        "a call": lambda row: _timed(row),
        "x loss": lambda row: _over_loss(row, table),
        "x NumPy": lambda row: _over_numpy(row, table),
        "x idiomatic": lambda row: over_idiomatic(row, table),
        "memory": lambda row: "-" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:,.0f} MB",
        "on device": lambda row: "-" if row.device_peak_bytes is None else f"{row.device_peak_bytes / 1e6:,.0f} MB",
        "bandwidth": lambda row: "-" if row.share is None else f"{row.share:.0%}",
        "agrees": lambda row: "-" if row.agreement is None or row.timing is None else f"{row.agreement:.0e}",
        "plan": lambda row: row.plan,
    }
    rich = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    cells = {title: [cell(row) for row in table] for title, cell in shown.items()}
    cells = {title: column for title, column in cells.items() if any(cell not in ("-", "") for cell in column)}
    for title in cells:
        left = title in ("work", "", "backend", "plan")
        rich.add_column(title, justify="left" if left else "right", no_wrap=True)
    for line in zip(*cells.values(), strict=True):
        rich.add_row(*map(Text, line))
    return rich


_USUAL = ("squared", "float64", "best")


def _timed(row: Row) -> str:
    if row.timing is None:
        return row.status
    half, mark = spread(row), "" if row.status == "ok" else " *"
    reach = f"± {half:.0%}" if half < 1 else f"x/÷ {1 + half:.2g}" if half < 99 else "± ?"
    return f"{duration(row.timing.median)} {reach}{mark}"


def _over_numpy(row: Row, table: Sequence[Row]) -> str:
    base = beside(row, table, backend="numpy", device="cpu")
    return "-" if base is None or base is row else shown_ratio(ratio(row, base))


def over_idiomatic(row: Row, table: Sequence[Row]) -> str:
    """Return the time over that of the same backend as people usually write it."""
    base = beside(row, table, tuning="idiomatic")
    return "-" if base is None or base is row else shown_ratio(ratio(row, base))


def _over_loss(row: Row, table: Sequence[Row]) -> str:
    base = beside(row, table, work="loss")
    return "-" if base is None or row.case.work != "gradient" else shown_ratio(ratio(row, base))


def shown_ratio(found: Estimate | None) -> str:
    """Return a ratio with its interval; of one launch there is none."""
    if found is None:
        return "-"
    ends = f"{found.low:.2g} to {found.high:.2g}" if found.high < inf else "one launch"
    return f"{found.value:.2g} ({ends})"


def _key(row: Row) -> tuple[object, ...]:
    task = row.case.task
    return (_ORDER[row.case.work], task.objective, task.dtype, task.features, task.rows, row.case.place.label)


def _speed(item: tuple[object, float]) -> float:
    return item[1]


def _first(pair: tuple[float, Row]) -> float:
    return pair[0]


def _size(row: Row) -> str:
    return f"{row.case.task.rows:,} x {row.case.task.features:,}"


def _name(row: Row) -> str:
    unusual = [text for text in (row.case.task.objective, row.case.task.dtype) if text not in _USUAL]
    return ", ".join([row.case.place.label, row.case.work, _size(row), *unusual])
