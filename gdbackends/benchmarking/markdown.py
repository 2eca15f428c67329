"""Write the results of a benchmark as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gdbackends.benchmarking.advice import findings
from gdbackends.benchmarking.case import Case
from gdbackends.benchmarking.formatting import shown_ratio
from gdbackends.benchmarking.rows import Row, beside, by_case, ratio
from gdbackends.measurement.formatting import duration


def markdown(table: Sequence[Row]) -> str:
    """Return a table with a line for each problem and a column for each backend, followed by the advice.

    A cell holds the time, and its ratio to NumPy's with the 99 % interval.
    """
    places = list(dict.fromkeys(row.case.place for row in sorted(table, key=lambda row: row.case.place.label)))
    lines = ["| work | rows x features | dtype | " + " | ".join(place.label for place in places) + " |"]
    lines.append("|---|--:|---|" + "--:|" * len(places))
    others = by_case(table)
    problems = dict.fromkeys((row.case.work, row.case.task) for row in table)
    for work, task in sorted(problems, key=lambda key: (key[0], key[1].dtype, key[1].features, key[1].rows)):
        here = {row.case.place: row for row in table if (row.case.work, row.case.task) == (work, task)}
        cells = [_cell(here[place], others) if place in here else "" for place in places]
        kind = task.dtype if task.objective == "squared" else f"{task.objective} {task.dtype}"
        lines.append(f"| {work} | {task.rows:,} x {task.features:,} | {kind} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- {line}" for line in findings(table)), ""])


def _cell(row: Row, others: Mapping[Case, Row]) -> str:
    if row.timing is None:
        return row.status
    base = beside(row, others, backend="numpy", device="cpu")
    against = None if base is None or base is row else ratio(row, base)
    text = duration(row.timing.median) + ("" if row.status == "ok" else " (unfinished)")
    return text if against is None else f"{text}, x {shown_ratio(against)}"
