"""Write the results of a benchmark as a Markdown table: of one file, or of several by machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gdbackends.benchmarking.advice import findings, not_reached
from gdbackends.benchmarking.case import WORKS, Case, ProblemSpec
from gdbackends.benchmarking.machines import ResultFile, machine_table
from gdbackends.benchmarking.result_rows import Row, beside, by_case
from gdbackends.benchmarking.table_cells import shown_over, unknown_note
from gdbackends.measurement.formatting import duration


def markdown(table: Sequence[Row]) -> str:
    """Return a table with a line for each problem and a column for each backend, followed by the advice.

    A cell holds the time, and its ratio to NumPy's with the 99 % interval, or the status of a case without a time.
    """
    configs = list(dict.fromkeys(row.case.config for row in sorted(table, key=lambda row: row.case.config.label)))
    lines = ["| work | rows x features | dtype | " + " | ".join(_text(config.label) for config in configs) + " |"]
    lines.append("|---|--:|---|" + "--:|" * len(configs))
    others = by_case(table)
    problems = dict.fromkeys((row.case.work, row.case.spec) for row in table)
    texts: list[str] = []
    for work, spec in sorted(problems, key=_order):
        here = {row.case.config: row for row in table if (row.case.work, row.case.spec) == (work, spec)}
        cells = [_cell(here[config], others) if config in here else "" for config in configs]
        texts += cells
        kind = spec.dtype if spec.objective == "squared" else f"{spec.objective} {spec.dtype}"
        lines.append(
            f"| {_text(work)} | {spec.rows:,} x {spec.features:,} | {_text(kind)} | " + " | ".join(cells) + " |"
        )
    notes = [*unknown_note(texts), *not_reached(table), *findings(table)]
    return "\n".join([*lines, "", *(f"- {line}" for line in notes), ""])


def markdown_by_machine(files: Sequence[ResultFile]) -> str:
    """Return a table with a line for each case and backend and a column for each file, and then the environments."""
    table = machine_table(files)
    heads = [_text(f"{each.machine} ({', '.join(filter(None, (each.file, each.versions)))})") for each in table.columns]
    lines = [f"| {' | '.join([*table.titles, *heads])} |"]
    lines.append("|" + "".join("--:|" if title in ("rows", "features") else "---|" for title in table.titles))
    lines[-1] += "--:|" * len(heads)
    for texts, cells in table.lines:
        times = [f"{each.text} **{each.note}**" if each.note else each.text for each in cells]
        lines.append(f"| {' | '.join(map(_text, [*texts, *times]))} |")
    common = [f"Time of a call, {', '.join(table.common)}:", ""] if table.common else []
    notes = unknown_note(each.text for _, cells in table.lines for each in cells)
    notes += [_text(f"{file.name}: {line}") for file in files for line in not_reached(file.rows)]
    return "\n".join([*common, *lines, "", *(f"- {line}" for line in [*notes, *map(_environment, files)]), ""])


def _order(problem: tuple[str, ProblemSpec]) -> tuple[int, str, str, int, int]:
    """Return the sort key of a work and a problem."""
    work, spec = problem
    return list(WORKS).index(work), spec.objective, spec.dtype, spec.features, spec.rows


def _environment(file: ResultFile) -> str:
    """Return the versions of a file and when it was measured."""
    made = file.run["environment"]
    names = [name for name in ("python", "numpy", "jax", "torch") if made.get(name)]
    versions = ", ".join(f"{name} {made[name]}" for name in names)
    return _text(f"{file.name}: {made['cpu']}, {made['cores']} cores; {versions}; {file.run['at'][:10]}")


def _text(text: str) -> str:
    """Return a text that does not end a cell."""
    return text.replace("|", "\\|")


def _cell(row: Row, others: Mapping[Case, Row]) -> str:
    if row.timing is None:
        return row.status
    against = shown_over(row, beside(row, others, backend="numpy", device="cpu"))
    text = duration(row.timing.median) + ("" if row.status == "ok" else " (unfinished)")
    return text if against == "-" else f"{text}, x {against}"
