"""The sentences and lists of the report page: the verdict, the fastest backend, failures, the environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from gdbackends.benchmarking.crossovers import Series
from gdbackends.benchmarking.result_rows import Row
from gdbackends.benchmarking.results import BAD, FAILURES, Results
from gdbackends.benchmarking.table_cells import size


@dataclass(frozen=True, eq=False)
class ResultFile:
    """A file of results on the page.

    Attributes:
        name: the label of the file on the page.
        results: the content of the file.
        rows: the rows of the file.
    """

    name: str
    results: Results
    rows: list[Row]


def file_labels(paths: Sequence[str]) -> list[str]:
    """Return distinct labels of files: their names, or their paths if two names are equal."""
    short = [Path(path).name for path in paths]
    labels = short if len(set(short)) == len(short) else list(paths)
    counts = [labels[: k + 1].count(name) for k, name in enumerate(labels)]
    return [f"{name} ({count})" if count > 1 else name for name, count in zip(labels, counts, strict=True)]


def verdict(table: Sequence[Row]) -> tuple[str, str]:
    """Return "good" or "bad", and the verdict on agreement in one or two sentences."""
    timed = [row for row in table if row.timing is not None]
    judged = [row.agreement for row in timed if row.agreement is not None]
    counts = Counter(row.status for row in table if row.status in FAILURES)
    failed = ", ".join(f"{count} {status}" for status, count in counts.items())
    worst = f"{max(judged):.1g}" if judged else "none"
    agree = (
        f"{_cases(len(timed))} timed, and each agrees with the exact result: the largest difference is {worst} of what "
        "rounding allows."
    )
    without_time = f" {_cases(sum(counts.values()))} not: {failed}." if counts else ""
    unfinished = sum(row.status == "unfinished" for row in table)
    rest = f" {_cases(unfinished)} unfinished." if unfinished else ""
    return "bad" if set(counts) & set(BAD) else "good", agree + without_time + rest


def _cases(count: int) -> str:
    return f"{count:,} case was" if count == 1 else f"{count:,} cases were"


def fastest(every: Sequence[Series]) -> str:
    """Return a sentence on how often each backend is the single fastest, or "" if there is only one backend.

    The best tuning is used if there is one.
    """
    best = [each for each in every if each.tuning == "best"] or every
    sizes = [at for each in best if len(each.configs) > 1 for at in each.winners]
    alone = Counter(at.first[0].label for at in sizes if len(at.first) == 1)
    parts = [f"{label} at {count}" for label, count in alone.most_common()]
    parts += [f"no single backend at {len(sizes) - sum(alone.values())}"] if len(sizes) > sum(alone.values()) else []
    return f"Fastest of {len(sizes)} sizes: {', '.join(parts)}." if parts else ""


def failures(files: Sequence[ResultFile]) -> list[tuple[str, ...]]:
    """Return the rows without a time: file, backend, case, status, reason."""
    return [
        (file.name, row.case.config.label, case(row), row.status, row.reason)
        for file in files
        for row in file.rows
        if row.timing is None
    ]


def case(row: Row) -> str:
    """Return a row's case in full."""
    return f"{row.case.work}, {size(row)}, {row.case.spec.objective}, {row.case.spec.dtype}"


def environment_lines(files: Sequence[ResultFile]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the environment: a name, and a value for each file; unknown values are omitted."""
    columns = [_environment(file) for file in files]
    every = dict.fromkeys(name for column in columns for name in column)
    return [(name, tuple(column.get(name, "-") for column in columns)) for name in every]


def _environment(file: ResultFile) -> dict[str, str]:
    run = list(file.results.runs.values())[-1]
    made, machine, plan = run["environment"], run["machine"], run.get("plan", {})
    lines = {"measured at": _joined(each["at"] for each in file.results.runs.values())}
    lines["gdbackends"] = f"{run['gdbackends']}{', commit ' + run['commit'] if run.get('commit') else ''}"
    names = {
        "python": "Python",
        "numpy": "NumPy",
        "jax": "JAX",
        "torch": "PyTorch",
        "cpu": "CPU",
        "cores": "cores",
    }
    lines |= {title: str(made[key]) for key, title in names.items() if made.get(key)}
    lines |= {"of the machine": f"{machine['machine_cores']} cores"} if machine.get("machine_cores") else {}
    lines |= {"memory": f"{machine['memory_bytes'] / 1e9:.3g} GB"} if machine.get("memory_bytes") else {}
    lines |= {"variables": _settings(machine["variables"])} if machine.get("variables") else {}
    devices = dict.fromkeys(row.device for row in file.rows if row.device and row.device != "cpu")
    lines |= {"devices": _joined(devices)} if devices else {}
    speeds: dict[int, float] = {}
    for (_, _, threads), speed in file.results.bandwidths.items():
        speeds[threads] = max(speed, speeds.get(threads, 0.0))
    for threads, speed in sorted(speeds.items()):
        lines[f"read bandwidth{f', {threads} threads' if threads else ''}"] = f"{speed / 1e9:.3g} GB/s"
    if plan:
        lines["launches"] = f"{plan['launches']} to {plan['most']} of each case, to ± {plan['precision']:.0%}"
    loads = [record["load"] for row in file.rows for record in file.results.of(row.case).values()]
    if loads:
        busy = ", so intervals may be wide" if median(loads) > made["cores"] + 1 else ""
        lines["load"] = f"{median(loads):.2g}{busy}"
    return lines


def _settings(variables: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in variables.items())


def _joined(texts: Any) -> str:
    return ", ".join(dict.fromkeys(str(text) for text in texts))
