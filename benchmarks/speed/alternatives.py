"""gdbackends beside what one would take instead: `python benchmarks/speed/alternatives.py [--rows N --features D]`.

A step of gradient descent: our driver on every backend, hand-written NumPy, jax.jit, optax and torch.optim. And a fit,
from NumPy arrays to parameters in NumPy, whose loss is within 1e-6 (relative) of the least: those again, scikit-learn,
SciPy, and the direct solutions. Each framework runs in processes of its own, whose launches are interleaved in an order
that is drawn. A time is the median launch's, and a ratio the median of those within a launch, with the least and the
most: the range of n launches holds the true median with a probability of 1 - 2^(1 - n), of eight 99 %. No time stands
beside a wrong answer. The features are random, uncorrelated but where it is said.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import trials
from implementations import WAYS
from trials import Found, Sample, Table

from gdbackends.measurement.environment import affinity, environment, version_of
from gdbackends.measurement.subprocess_worker import Worker
from gdbackends.measurement.timing import Deadline

TABLES = [Table(100, 1), Table(10_000, 100), Table(10_000, 100, 0.5)]
PACKAGES = ("scikit-learn", "scipy", "optax")
OURS = "our driver"
LATE, ENOUGH = 120.0, 110.0
"""Seconds after which a process is ended; and no more launches begun, that all be done in three minutes."""
Row = tuple[str, str, list[Sample]]
"""A framework, a spelling, and what its launches found."""


def trial(function: Callable[..., Found], framework: str, *arguments: Any, cores: list[int]) -> Found | str:
    """Return what the function finds in a fresh process, or how that failed."""
    try:
        with Worker(cores) as worker:
            return worker.ask(function, framework, *arguments, timeout=LATE)
    except Exception as error:  # a missing package, or whatever an import raises, is an outcome
        return f"{type(error).__name__}: {error}"


def collect(
    tables: list[Table], works: list[str], launches: int, budget: float, cores: list[int]
) -> dict[tuple[Table, str], list[Row]]:
    """Ask every framework so many times, in turn; no round is begun when ENOUGH seconds are spent."""
    deadline, names = Deadline(ENOUGH), list(WAYS)
    chosen = {name: trial(trials.settings, name, tables, cores=cores) if "fit" in works else {} for name in names}
    keys = [(table, work) for table in tables for work in works if work == "fit" or not table.correlation]
    found: dict[tuple[Table, str], dict[tuple[str, str], list[Sample]]] = {key: {} for key in keys}
    done = 0
    while done < launches and not (done >= 2 and deadline.passed):
        for k in np.random.default_rng(done).permutation(len(names)):
            name, setting = names[k], chosen[names[k]]
            answer = setting
            if not isinstance(setting, str):
                answer = trial(trials.launch, name, tables, works, setting, done, budget, cores=cores)
            for key, ways in found.items():
                said = {"": Sample(trouble=answer)} if isinstance(answer, str) else answer.get(key, {})
                for label, sample in said.items():
                    shown = label.format(setting[key][label]) if "{" in label else label
                    ways.setdefault((name, shown), []).append(sample)
        done += 1
    lost = Sample(trouble="a process gave no answer")
    return {
        key: [(*way, [*samples, *[lost] * (done - len(samples))]) for way, samples in ways.items()]
        for key, ways in found.items()
    }


def outcome(samples: list[Sample], work: str) -> str:
    """Return "ok", or why there is no time."""
    for sample in samples:
        if sample.trouble:
            return f"failed: {sample.trouble}"
        if not sample.times:
            return f"does not reach it: {sample.error:.1e}" if work == "fit" else f"differs: {sample.error:.1e}"
    return "ok"


def ratios(samples: list[Sample], other: list[Sample]) -> list[float]:
    """Return the first's time over the other's, launch by launch."""
    return [a / b for a, b in zip(seconds(samples), seconds(other), strict=True)]


def seconds(samples: list[Sample]) -> list[float]:
    """Return the median of each launch."""
    return [median(sample.times) for sample in samples]


def duration(value: float) -> str:
    """Return seconds in units that suit."""
    for unit, size in (("us", 1e-6), ("ms", 1e-3)):
        if value < 1000 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} s"


def markdown(rows: list[Row], work: str) -> list[str]:
    """Return a markdown table: the fastest first, those without a time last."""
    timed = sorted((row for row in rows if outcome(row[2], work) == "ok"), key=lambda row: median(seconds(row[2])))
    ours = {name: samples for name, label, samples in timed if label == OURS}
    heads = {"step": ["a step", "over the fastest", "our driver / this"], "fit": ["a fit", "over the fastest", "first"]}
    lines = [f"| | | {' | '.join(heads[work])} |", "|---|---|--:|--:|--:|"]
    for name, label, samples in timed:
        last = [_ratio(ours[name], samples) if name in ours else ""]
        if work == "fit":
            last = [duration(median(sample.first for sample in samples))]
        cells = [duration(median(seconds(samples))), _ratio(samples, timed[0][2]), *last]
        lines.append(f"| {name} | {_code(label)} | {' | '.join(cells)} |")
    for name, label, samples in rows:
        if (said := outcome(samples, work)) != "ok":
            lines.append(f"| {name} | {_code(label)} | {said} | | |")
    return lines


def _ratio(samples: list[Sample], other: list[Sample]) -> str:
    if samples is other:
        return "1"
    found = ratios(samples, other)
    return " ".join((_short(median(found)), f"({_short(min(found))} to {_short(max(found))})"))


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def _code(label: str) -> str:
    return f"`{label}`" if "(" in label or "." in label else label


def main(arguments: list[str]) -> int:
    """Print a table for each size and work; 1 if something of ours has no time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="N; with --features, instead of the usual tables")
    parser.add_argument("--features", type=int, help="D")
    parser.add_argument("--correlation", type=float, default=0.0, help="of every two features (0)")
    parser.add_argument("--work", choices=("step", "fit"), help="only this")
    parser.add_argument("--launches", type=int, default=8, help="of each framework, within two minutes (8)")
    parser.add_argument("--budget", type=float, default=0.1, help="seconds for a time in a launch, about (0.1)")
    parser.add_argument("--threads", type=int, help="cores, and threads, that each may use (all)")
    given = parser.parse_args(arguments)
    if (given.rows is None) != (given.features is None):
        parser.error("give --rows and --features together")
    if not 0 <= given.correlation < 1:
        parser.error("the correlation must be at least 0 and less than 1")
    if given.correlation and (given.rows is None or given.work == "step"):
        parser.error(
            "a correlation is for the fits of a table of your own; give --rows and --features, and not --work step"
        )
    if min(given.launches, given.threads or 1, given.rows or 1, given.features or 1) < 1 or not given.budget > 0:
        parser.error("rows, features, launches, threads and the budget must be positive")
    cores = affinity()[: given.threads]
    found = environment() | {name: version_of(name) for name in PACKAGES}
    found |= {"cores": len(cores), "load before": f"{os.getloadavg()[0]:.1f}"}
    print("; ".join(f"{name} {value}" for name, value in found.items()))
    tables = TABLES if given.rows is None else [Table(given.rows, given.features, given.correlation)]
    results = collect(tables, [given.work] if given.work else ["step", "fit"], given.launches, given.budget, cores)
    failed = False
    for (table, work), rows in results.items():
        mixed = f" (correlation {table.correlation:g})" if table.correlation else ""
        title = "a step" if work == "step" else "a loss within 1e-6 of the least"
        launches = f"{len(rows[0][2])} launches"
        print(f"\n{table.rows:,} x {table.features}{mixed}, {title}, {launches}:\n", *markdown(rows, work), sep="\n")
        failed |= any(outcome(s, work) != "ok" for _, label, s in rows if label == OURS or label[:4] in ("", "fit("))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
