"""Write the results of a benchmark as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gdbackends.benchmarking.advice import findings
from gdbackends.benchmarking.case import Case
from gdbackends.benchmarking.result_rows import Row, beside, by_case, ratio
from gdbackends.benchmarking.table_cells import shown_ratio
from gdbackends.measurement.formatting import duration


def markdown(table: Sequence[Row]) -> str:
    """Return a table with a line for each problem and a column for each backend, followed by the advice.

    A cell holds the time, and its ratio to NumPy's with the 99 % interval.
    """
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
