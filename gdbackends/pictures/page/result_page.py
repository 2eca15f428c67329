"""The report page: files of results as one HTML file that begins with the advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gdbackends.benchmarking.advice import advices, imports, not_reached, payments
from gdbackends.benchmarking.crossovers import series
from gdbackends.benchmarking.machines import (
    MISSING,
    Machine,
    ResultFile,
    file_labels,
    machine_differences,
    machine_table,
    machines,
)
from gdbackends.benchmarking.regressions import Change, changes
from gdbackends.benchmarking.result_rows import Row
from gdbackends.benchmarking.results import Results
from gdbackends.benchmarking.table_cells import unknown_note
from gdbackends.errors import InputError
from gdbackends.pictures.document import Figure, document, embedded
from gdbackends.pictures.page.figures import HEADINGS, HEADINGS_OF_ALL, Shown, figures, overall
from gdbackends.pictures.page.summary import (
    Entry,
    Winners,
    changed,
    environment_lines,
    failures,
    fastest,
    legend,
    verdict,
    winners,
)
from gdbackends.pictures.page.table import rows_table
from gdbackends.pictures.results.encodings import Look, look
from gdbackends.pictures.results.table_rows import Group, groups, rows_in

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class GroupSummary:
    """The summary of a group in one file.

    Attributes:
        name: the name of the file.
        fastest: a sentence on how often each backend is fastest.
        advice: the advice in sentences.
        winners: the table of the fastest backends.
    """

    name: str
    fastest: str
    advice: list[str]
    winners: Winners


@dataclass(frozen=True, eq=False)
class Choice:
    """A group of the page, of which one is shown at a time.

    Attributes:
        name: the workload, objective and dtype.
        summaries: the summary of each file.
        figures: the figures that have data.
        headings: the headings of the figures.
        columns: the number of panels side by side.
        legend: the legend of the figures.
    """

    name: str
    summaries: list[GroupSummary]
    figures: list[Figure]
    headings: list[str]
    columns: int
    legend: list[Entry]


def page(results: Sequence[Results], title: str = "Which backend is fastest here?") -> str:
    """Return the report of files of results as HTML.

    Args:
        results: results from `read_results`; several are shown side by side, with a table of the times by machine, and
            with the changes since the first file of the same machine.
        title: the title of the page.

    Raises:
        InputError: there are no results, or a file has no row with a time.
    """
    if not results:
        raise InputError("a page needs a file of results, got none; make one with gdbackends bench")
    labels = file_labels([each.path for each in results])
    files = [ResultFile(name, each, rows_in(each)) for name, each in zip(labels, results, strict=True)]
    shown = look([row for file in files for row in file.rows])
    found = machines(files)
    firsts = {file.name: machine.files[0] for machine in found for file in machine.files[1:]}
    since = {file.name: changes(firsts[file.name].results, file.results) for file in files if file.name in firsts}
    names = {first.name for first in firsts.values()}
    choices = _choices(files, shown, since, names.pop() if len(names) == 1 else "the first file of the machine")
    every = [*overall(files, shown), *(each for choice in choices for each in choice.figures)]
    table = rows_table(files)
    return document(
        "page/page.html.j2",
        title,
        every,
        style=(_FOLDER / "page.css").read_text(encoding="utf8") + table.style,
        script="\n".join((_FOLDER / name).read_text(encoding="utf8") for name in ("copy.js", "page.js")),
        title_of_page=title,
        files=[(file.name, _machine_of(file, found), *verdict(file.rows)) for file in files],
        choices=choices,
        legend=legend(shown),
        overall=[(HEADINGS_OF_ALL[each.name], each.name) for each in every if each.name in HEADINGS_OF_ALL],
        changes=[changed(firsts[file.name], file, since[file.name]) for file in files if file.name in firsts],
        others=[(each.files[0].name, machine_differences(files[0], each.files[0])) for each in found[1:]],
        machines=machine_table(files) if len(files) > 1 else None,
        missing=MISSING,
        unreached=[_named(file, line, files) for file in files for line in not_reached(file.rows)],
        unknown=unknown_note(cell for line in table.lines for cell in line),
        failures=[line if len(files) > 1 else line[1:] for line in failures(files)],
        imports=[_named(file, line, files) for file in files for line in imports(file.rows)],
        environment=[(name, *texts) for name, texts in environment_lines(files)],
        file_names=tuple(labels),
        table=table,
        data=embedded(table.data),
    )


def _named(file: ResultFile, line: str, files: Sequence[ResultFile]) -> str:
    """Return a line about a file, which is named if there are several."""
    return f"{file.name}: {line}" if len(files) > 1 else line


def _machine_of(file: ResultFile, found: Sequence[Machine]) -> str:
    return next(machine.name for machine in found if file in machine.files)


def _choices(files: Sequence[ResultFile], shown: Look, since: dict[str, list[Change]], first: str) -> list[Choice]:
    """Return the groups of all files."""
    by_file = {file.name: groups(file.rows) for file in files}
    every = groups([row for file in files for row in file.rows])
    return [_choice(number, group, files, by_file, shown, since, first) for number, group in enumerate(every)]


def _choice(
    number: int,
    group: Group,
    files: Sequence[ResultFile],
    by_file: dict[str, dict[Group, list[Row]]],
    shown: Look,
    since: dict[str, list[Change]],
    first: str,
) -> Choice:
    parts = {file.name: by_file[file.name][group] for file in files if group in by_file[file.name]}
    changed_here = {name: [c for c in each if Group.of(c.case) == group] for name, each in since.items()}
    whole = {file.name: file.rows for file in files}
    every = {name: series(rows) for name, rows in parts.items()}
    summaries = [
        GroupSummary(name, fastest(of), [*advices(of), *payments(parts[name])], winners(of))
        for name, of in every.items()
    ]
    made = list(figures(Shown(number, group, parts, every, shown, changed_here, first, whole)))
    panels = len(made[0].panels)
    columns = len(parts) if len(parts) > 1 else 2 if panels in (2, 4) else min(panels, 3)
    headings = [HEADINGS[each.name.rpartition("-")[0]] for each in made]
    timed = {row.case.config.backend for part in parts.values() for row in part if row.timing}
    entries = [entry for entry in legend(shown) if not entry.key or entry.key in timed]
    return Choice(str(group), summaries, made, headings, columns, entries)
