"""What the report page says beside its charts: verdict, fastest backends, changes, failures, environment, legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from gdbackends.benchmarking.case import BackendConfig
from gdbackends.benchmarking.crossovers import Series, Winner
from gdbackends.benchmarking.machines import ResultFile
from gdbackends.benchmarking.regressions import Change, version_changes
from gdbackends.benchmarking.result_rows import Row
from gdbackends.benchmarking.results import BAD, FAILURES
from gdbackends.benchmarking.table_cells import shown_ratio, size
from gdbackends.measurement.statistics import MIN_LAUNCHES
from gdbackends.pictures.results.encodings import Look
from gdbackends.pictures.results.table_rows import features


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
    """Return how often each backend is the single fastest, in sentences, or "" if there is only one backend.

    The best tuning is used if there is one. A size where a backend has neither a time nor a failure has no winner, and
    failures are given.
    """
    best = [each for each in every if each.tuning == "best"] or every
    sizes = [at for each in best if len(each.configs) > 1 for at in each.winners]
    alone = Counter(at.first[0].label for at in sizes if len(at.first) == 1)
    parts = [f"{label} at {count}" for label, count in alone.most_common()]
    counts = {
        "no single backend": sum(len(at.first) > 1 for at in sizes),
        "no winner named": sum(bool(at.missing or at.few) for at in sizes),
        "no backend with a time": sum(not (at.first or at.missing or at.few) for at in sizes),
    }
    parts += [f"{what} at {count}" for what, count in counts.items() if count]
    failed = Counter(f"{config.label} ({status})" for at in sizes for config, status in at.failed)
    beside = ", ".join(f"{name} at {count}" for name, count in failed.most_common())
    without = f" Failed and not compared: {beside}." if failed else ""
    return f"Fastest of {len(sizes)} sizes: {', '.join(parts)}.{without}" if parts else ""


def failures(files: Sequence[ResultFile]) -> list[tuple[str, ...]]:
    """Return the rows without a time, except those not reached: file, backend, case, status, reason."""
    return [
        (file.name, row.case.config.label, case(row), row.status, row.reason)
        for file in files
        for row in file.rows
        if row.timing is None and row.status != "not reached"
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
    run = file.run
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


@dataclass(frozen=True)
class Cell:
    """The fastest backends at one size.

    Attributes:
        name: the display names of the fastest backends.
        note: the ratio to the next one, or why there is more than one.
        backends: the names of the backends in the results.
    """

    name: str
    note: str
    backends: tuple[str, ...]


@dataclass(frozen=True)
class Winners:
    """The table of the fastest backends.

    Attributes:
        sizes: the headings of the columns.
        lines: the heading and the cells of each line; None if nothing was timed.
    """

    sizes: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Cell | None, ...]], ...]


def winners(group: Sequence[Series]) -> Winners:
    """Return the fastest backends at each size, for series of one workload, objective and dtype."""
    sizes = sorted({at.rows for each in group for at in each.winners})
    several = len({each.tuning for each in group}) > 1
    lines: list[tuple[str, tuple[Cell | None, ...]]] = []
    for each in group:
        at = {winner.rows: _cell(winner) for winner in each.winners}
        name = features(each.spec.features) + (f", {each.tuning}" if several else "")
        lines.append((name, tuple(at.get(n) for n in sizes)))
    return Winners(tuple(f"{n:,}" for n in sizes), tuple(lines))


def _cell(at: Winner) -> Cell:
    failed = [f"{_name(config)}: {status}" for config, status in at.failed]
    if not at.first:
        why = [f"no time: {', '.join(map(_name, at.missing))}"] if at.missing else []
        why += [f"fewer than {MIN_LAUNCHES} launches"] if at.few else []
        return Cell("none named" if why else "none", "; ".join([*why, *failed]), ())
    names, backends = " or ".join(_name(config) for config in at.first), tuple(config.backend for config in at.first)
    note = f"{at.lead.value:.2g} x" if at.lead else "the only one with a time"
    if len(at.first) > 1:
        note = "no difference" if at.resolved else "hidden by noise"
    return Cell(names, "; ".join([note, *failed]), backends)


def _name(config: BackendConfig) -> str:
    """Return the label of a backend without its tuning, which the line gives."""
    return BackendConfig(config.backend, config.device, config.threads).label


_LISTED = ("slower", "faster", "fails now", "works now", "fails")


@dataclass(frozen=True)
class Changed:
    """The changes from one file to another.

    Attributes:
        old: the name of the first file.
        new: the name of the later file.
        versions: the versions that differ.
        counts: the number of cases by outcome, in words.
        reasons: the reasons why cases cannot be compared, with their numbers.
        lines: the cases that changed: backend, case, ratio of new to old, outcome.
    """

    old: str
    new: str
    versions: tuple[str, ...]
    counts: str
    reasons: tuple[str, ...]
    lines: tuple[tuple[str, str, str, str], ...]


def changed(old: ResultFile, new: ResultFile, every: Sequence[Change]) -> Changed:
    """Return the summary of the changes between two files."""
    counts = Counter(change.word for change in every)
    reasons = Counter(change.reason for change in every if change.reason)
    lines = [
        (change.case.config.label, _case(change), shown_ratio(change.ratio), change.word)
        for change in every
        if change.word in _LISTED
    ]
    return Changed(
        old.name,
        new.name,
        tuple(version_changes(old.results, new.results)),
        f"{len(every)} cases: {', '.join(f'{count} {word}' for word, count in counts.items())}.",
        tuple(f"{count} case{'s' if count > 1 else ''}: {reason}" for reason, count in reasons.items()),
        tuple(lines),
    )


def _case(change: Change) -> str:
    spec = change.case.spec
    return f"{change.case.work}, {spec.rows:,} x {spec.features:,}, {spec.objective}, {spec.dtype}"


_SHAPES = {
    "circle": "M2,8a6,6 0 1,0 12,0a6,6 0 1,0 -12,0Z",
    "square": "M3,3H13V13H3Z",
    "triangle-up": "M8,2L14.5,13H1.5Z",
    "diamond": "M8,1L14,8L8,15L2,8Z",
    "cross": "M6,2H10V6H14V10H10V14H6V10H2V6H6Z",
    "triangle-down": "M8,14L14.5,3H1.5Z",
    "triangle-right": "M14,8L3,1.5V14.5Z",
}


@dataclass(frozen=True)
class Entry:
    """An entry of the legend.

    Attributes:
        name: the display name of a backend or variant.
        colour: the palette's name of the backend's colour.
        key: the name of the backend in the results.
        path: the SVG path of the backend's shape, in a box of 16 by 16.
        dashes: the SVG dash pattern of the variant's line.
    """

    name: str
    colour: str = ""
    key: str = ""
    path: str = ""
    dashes: str = ""


def legend(shown: Look) -> list[Entry]:
    """Return the entries of the backends, and of the variants if there are several."""
    backends = zip(shown.names, shown.marks, shown.backends, strict=True)
    entries = [Entry(name, of, key, _SHAPES[shape]) for name, (of, shape), key in backends]
    several = len(shown.variants) > 1
    dashes = zip(shown.variants, shown.dashes, strict=True)
    return entries + [Entry(name, dashes=" ".join(map(str, d))) for name, d in dashes if several]
