"""Group files of results by the machine that measured them, and put their times side by side in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gdbackends.benchmarking.case import BackendConfig, Case, ProblemSpec
from gdbackends.benchmarking.crossovers import of_any_size, winner
from gdbackends.benchmarking.published import redacted
from gdbackends.benchmarking.regressions import MACHINE, machine_setting
from gdbackends.benchmarking.result_rows import Row, result_rows
from gdbackends.benchmarking.results import Results
from gdbackends.benchmarking.table_cells import ordered, timed

_VERSIONS = ("gdbackends", "commit", "python", "numpy", "jax", "torch")
_COMMON = ("work", "objective", "dtype")
MISSING = "not measured"
"""The text of a case that a file does not have."""


@dataclass(frozen=True, eq=False)
class ResultFile:
    """A file of results.

    Attributes:
        name: the label of the file.
        results: the content of the file.
        rows: the rows of the file.
    """

    name: str
    results: Results
    rows: list[Row]

    @property
    def run(self) -> dict[str, Any]:
        """The record of the last run."""
        return list(self.results.runs.values())[-1]


@dataclass(frozen=True, eq=False)
class Machine:
    """A machine and its files.

    Attributes:
        name: the processor, the number of cores and other devices; with settings or a number if names are equal.
        files: the files that were measured on it.
    """

    name: str
    files: tuple[ResultFile, ...]


@dataclass(frozen=True)
class MachineCell:
    """The time of a case in one file.

    Attributes:
        text: the time, or the status if there is no time.
        seconds: the time, or None.
        note: "fastest", "among the fastest" or "", compared with the other backends in the file; always "" where one
            of them has neither a time nor a reason why it failed.
    """

    text: str
    seconds: float | None = None
    note: str = ""


@dataclass(frozen=True)
class MachineColumn:
    """A column of the table by machine.

    Attributes:
        machine: the name of the machine.
        file: the name of the file.
        versions: the versions that are not the same in all files, such as "jax 0.10.2".
    """

    machine: str
    file: str
    versions: str


@dataclass(frozen=True)
class MachineTable:
    """The times by case and machine.

    Attributes:
        common: the work, objective and dtype, as far as all cases have the same.
        titles: the titles of the other columns of a case, of which the first is "backend".
        columns: a column for each file, the files of a machine side by side.
        lines: for each case of any file, its texts by title, and its cells by column.
    """

    common: tuple[str, ...]
    titles: tuple[str, ...]
    columns: tuple[MachineColumn, ...]
    lines: tuple[tuple[tuple[str, ...], tuple[MachineCell, ...]], ...]


def file_labels(paths: Sequence[str]) -> list[str]:
    """Return distinct labels of files: their names, or their paths if two names are equal."""
    short = [Path(path).name for path in paths]
    labels = short if len(set(short)) == len(short) else list(paths)
    counts = [labels[: k + 1].count(name) for k, name in enumerate(labels)]
    return [f"{name} ({count})" if count > 1 else name for name, count in zip(labels, counts, strict=True)]


def result_files(results: Sequence[Results]) -> list[ResultFile]:
    """Return results with their labels and rows."""
    labels = file_labels([each.path for each in results])
    return [ResultFile(name, each, result_rows(each)) for name, each in zip(labels, results, strict=True)]


def machines(files: Sequence[ResultFile]) -> list[Machine]:
    """Return the machines in the order of their first files.

    Files are of one machine if `diff` would compare them, and if both name their devices, these are the same.
    """
    groups: list[list[ResultFile]] = []
    for file in files:
        group = next((group for group in groups if all(_same_machine(file, other) for other in group)), None)
        if group is None:
            groups.append([file])
        else:
            group.append(file)
    names = [_name(group) for group in groups]
    full = [_name(group, names.count(name) > 1) for name, group in zip(names, groups, strict=True)]
    counts = [full[: k + 1].count(name) for k, name in enumerate(full)]
    numbered = [f"{name} ({count})" if count > 1 else name for name, count in zip(full, counts, strict=True)]
    return [Machine(name, tuple(group)) for name, group in zip(numbered, groups, strict=True)]


def machine_differences(old: ResultFile, new: ResultFile) -> str:
    """Return how the machines of two files differ, such as "cpu AMD EPYC -> Another"."""
    names = [name for name in ("cores", *MACHINE) if _setting(old, name) != _setting(new, name)]
    texts = [f"{name} {_setting(old, name)} -> {_setting(new, name)}" for name in names]
    was, now = (" and ".join(_devices(file)) or "none" for file in (old, new))
    return "; ".join([*texts, *([f"devices {was} -> {now}"] if was != now else [])])


def machine_table(files: Sequence[ResultFile]) -> MachineTable:
    """Return the times of every case in every file, also of cases that failed or that a file does not have."""
    every = [(machine, file) for machine in machines(files) for file in machine.files]
    versions = _differing_versions([file for _, file in every])
    columns = [
        MachineColumn(machine.name, file.name, text) for (machine, file), text in zip(every, versions, strict=True)
    ]
    cells = [_cells(file.rows) for _, file in every]
    rows = {row.case: row for _, file in reversed(every) for row in file.rows}
    cases = [row.case for row in ordered([*rows.values()])]
    texts = [_texts(case) for case in cases]
    same = [title for title in _COMMON if len({each[title] for each in texts}) == 1]
    titles = tuple(title for title in texts[0] if title not in same)
    missing = MachineCell(MISSING)
    lines = [
        (tuple(text[title] for title in titles), tuple(of.get(case, missing) for of in cells))
        for case, text in zip(cases, texts, strict=True)
    ]
    return MachineTable(tuple(texts[0][title] for title in same), titles, tuple(columns), tuple(lines))


def _texts(case: Case) -> dict[str, str]:
    """Return the texts of a case by the titles of their columns."""
    spec, seed = case.spec, f", seed {case.spec.seed}" if case.spec.seed else ""
    size = {"rows": f"{spec.rows:,}", "features": f"{spec.features:,}"}
    settings = {"objective": f"{spec.objective}{seed}", "dtype": spec.dtype}
    return {"backend": case.config.label, "work": case.work, **size, **settings}


def _cells(rows: Sequence[Row]) -> dict[Case, MachineCell]:
    """Return the cells of a file by case."""
    by_problem: dict[tuple[str, ProblemSpec], list[Row]] = {}
    asked: dict[tuple[str, ProblemSpec], list[BackendConfig]] = {}
    for row in rows:
        by_problem.setdefault((row.case.work, row.case.spec), []).append(row)
        asked.setdefault((row.case.work, of_any_size(row.case.spec)), []).append(row.case.config)
    notes: dict[Case, str] = {}
    for (work, spec), some in by_problem.items():
        several = sum(row.timing is not None for row in some) > 1
        first = winner(spec.rows, some, asked[work, of_any_size(spec)]).first if several else ()
        word = "fastest" if len(first) == 1 else "among the fastest"
        notes |= {Case(config, spec, work): word for config in first}
    return {
        row.case: MachineCell(timed(row), row.timing.median if row.timing else None, notes.get(row.case, ""))
        for row in rows
    }


def _differing_versions(files: Sequence[ResultFile]) -> list[str]:
    """Return for each file the versions that are not the same in all files."""
    known = [{**file.run["environment"], **file.run} for file in files]
    differing = [name for name in _VERSIONS if len({str(each.get(name)) for each in known}) > 1]
    return [", ".join(f"{name} {each.get(name) or '-'}" for name in differing) for each in known]


def _same_machine(one: ResultFile, other: ResultFile) -> bool:
    first, second = _devices(one), _devices(other)
    same = all(_setting(one, name) == _setting(other, name) for name in ("cores", *MACHINE))
    return same and (not first or not second or first == second)


def _setting(file: ResultFile, name: str) -> str:
    return str(file.run["environment"].get("cores")) if name == "cores" else machine_setting(file.run, name)


def _devices(file: ResultFile) -> list[str]:
    """Return the names of the devices other than the CPU on which cases were timed."""
    return sorted({row.device for row in file.rows if row.case.config.device != "cpu" and row.device})


def _name(files: Sequence[ResultFile], settings: bool = False) -> str:
    run = files[0].run
    cores, of_machine = run["environment"]["cores"], run["machine"].get("machine_cores")
    of = f"{cores} of {of_machine}" if of_machine and of_machine != cores else f"{cores}"
    parts = [run["machine"].get("cpu") or run["environment"]["cpu"], f"{of} core{'' if cores == 1 else 's'}"]
    parts += dict.fromkeys(device for file in files for device in _devices(file))
    if settings:
        quota, variables = run["machine"].get("cpu_quota"), run["machine"].get("variables", {})
        parts += [f"quota of {quota:g} cores"] if quota else []
        parts += [f"{name}={value}" for name, value in redacted(variables).items()]
    return ", ".join(map(str, parts))
