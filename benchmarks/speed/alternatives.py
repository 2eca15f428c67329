"""Time gdbackends beside its alternatives: `python benchmarks/speed/alternatives.py [--rows N --features D]`.

Two workloads are timed: a step of gradient descent (the driver on every backend, hand-written NumPy, jax.jit, optax and
torch.optim), and a fit from NumPy arrays to NumPy parameters whose loss is within 1e-6 (relative) of the minimum (the
same, and scikit-learn, SciPy and direct solutions). The features are random, and uncorrelated unless stated. Every
answer is checked, and a wrong one gets no time.

Each launch is a fresh process of one framework; the order of the frameworks is random in each round. A time is the
median over the launches. A ratio is the median of the ratios within each round, with their minimum and maximum: the
range of n launches contains the true median with probability 1 - 2^(1 - n), which is 99 % for eight.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import worker_tasks
from implementations import DRIVER, IMPLEMENTATIONS
from pages import replace_section
from worker_tasks import DataSpec, LaunchResult, Results

from gdbackends.measurement.environment import affinity, load
from gdbackends.measurement.formatting import duration
from gdbackends.measurement.provenance import TIMED, measured
from gdbackends.measurement.subprocess_worker import Worker
from gdbackends.measurement.timing import Deadline

DATA = [DataSpec(100, 1), DataSpec(10_000, 100), DataSpec(10_000, 100, 0.5)]
PACKAGES = ("scikit-learn", "scipy", "optax")
TIMEOUT = 120.0
"""Seconds after which a process is stopped."""
TIME_BUDGET = 110.0
"""Seconds after which no further round begins, so that everything takes at most three minutes."""
Row = tuple[str, str, list[LaunchResult]]
"""A framework, the label of an implementation, and its result in each launch."""


def run_in_process(
    function: Callable[..., Results], framework: str, *arguments: Any, cores: list[int]
) -> Results | str:
    """Return function(framework, *arguments) from a fresh process, or the error as text."""
    try:
        with Worker(cores) as worker:
            return worker.ask(function, framework, *arguments, timeout=TIMEOUT)
    except Exception as error:  # any error, such as a missing package, is shown in the table
        return f"{type(error).__name__}: {error}"


def collect(
    data: list[DataSpec], workloads: list[str], launches: int, budget: float, cores: list[int]
) -> dict[tuple[DataSpec, str], list[Row]]:
    """Launch every framework once per round; after two rounds, none begins when TIME_BUDGET is spent."""
    deadline, names = Deadline(TIME_BUDGET), list(IMPLEMENTATIONS)
    settings = {
        name: run_in_process(worker_tasks.choose_settings, name, data, cores=cores) if "fit" in workloads else {}
        for name in names
    }
    keys = [(spec, workload) for spec in data for workload in workloads if workload == "fit" or not spec.correlation]
    results: dict[tuple[DataSpec, str], dict[tuple[str, str], list[LaunchResult]]] = {key: {} for key in keys}
    rounds = 0
    while rounds < launches and not (rounds >= 2 and deadline.passed):
        for k in np.random.default_rng(rounds).permutation(len(names)):
            name, setting = names[k], settings[names[k]]
            answer = setting
            if not isinstance(setting, str):
                arguments = (name, data, workloads, setting, rounds, budget)
                answer = run_in_process(worker_tasks.time_implementations, *arguments, cores=cores)
            for key, by_label in results.items():
                failed = isinstance(answer, str)
                for label, result in ({"": LaunchResult(failure=answer)} if failed else answer.get(key, {})).items():
                    text = label.format(setting[key][label]) if "{" in label else label
                    by_label.setdefault((name, text), []).append(result)
        rounds += 1
    missing = LaunchResult(failure="a process gave no answer")
    return {
        key: [(*label, [*launched, *[missing] * (rounds - len(launched))]) for label, launched in by_label.items()]
        for key, by_label in results.items()
    }


def status(results: list[LaunchResult], workload: str) -> str:
    """Return "ok", or the reason why there is no time."""
    for result in results:
        if result.failure:
            return f"failed: {result.failure}"
        if not result.times:
            return f"loss too high: {result.error:.1e}" if workload == "fit" else f"wrong: {result.error:.1e}"
    return "ok"


def launch_medians(results: list[LaunchResult]) -> list[float]:
    """Return the median time of each launch in seconds."""
    return [median(result.times) for result in results]


def markdown(rows: list[Row], workload: str) -> list[str]:
    """Return a Markdown table sorted by time; implementations without a time come last."""
    timed = [row for row in rows if status(row[2], workload) == "ok"]
    timed.sort(key=lambda row: median(launch_medians(row[2])))
    driver = {name: results for name, label, results in timed if label == DRIVER}
    titles = {
        "step": ["time of a step", "over the fastest", "gdbackends over this"],
        "fit": ["time of a fit", "over the fastest", "first fit"],
    }
    lines = [f"| framework | implementation | {' | '.join(titles[workload])} |", "|---|---|--:|--:|--:|"]
    for name, label, results in timed:
        last = _ratio(driver[name], results) if name in driver else ""
        if workload == "fit":
            last = duration(median(result.first for result in results))
        cells = [duration(median(launch_medians(results))), _ratio(results, timed[0][2]), last]
        lines.append(f"| {name} | {_code(label)} | {' | '.join(cells)} |")
    for name, label, results in rows:
        if (text := status(results, workload)) != "ok":
            lines.append(f"| {name} | {_code(label)} | {text} | | |")
    return lines


def _ratio(results: list[LaunchResult], others: list[LaunchResult]) -> str:
    """Format the ratio of two times, taken launch by launch: the median, the minimum and the maximum."""
    if results is others:
        return "1"
    ratios = [a / b for a, b in zip(launch_medians(results), launch_medians(others), strict=True)]
    middle, low, high = (f"{r:.2f}" if r < 10 else f"{r:,.0f}" for r in (median(ratios), min(ratios), max(ratios)))
    return f"{middle} ({low} to {high})"


def _code(label: str) -> str:
    return f"`{label}`" if "(" in label or "." in label else label


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options, after checking them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="number of rows; requires --features, and replaces the default data")
    parser.add_argument("--features", type=int, help="number of features")
    parser.add_argument("--correlation", type=float, default=0.0, help="correlation of every two features (default: 0)")
    parser.add_argument("--work", choices=("step", "fit"), help="the only workload to time (default: both)")
    parser.add_argument("--launches", type=int, default=8, help="maximum launches of each framework (default: 8)")
    parser.add_argument("--budget", type=float, default=0.1, help="seconds per time and launch (default: 0.1)")
    parser.add_argument("--threads", type=int, help="cores and threads that a process may use (default: all)")
    parser.add_argument("--out", type=Path, help="page whose section between the markers is replaced by the tables")
    options = parser.parse_args(arguments)
    if (options.rows is None) != (options.features is None):
        parser.error("give --rows and --features together")
    if not 0 <= options.correlation < 1:
        parser.error(f"--correlation must be at least 0 and less than 1, got {options.correlation:g}")
    if options.correlation and (options.rows is None or options.work == "step"):
        parser.error("--correlation requires --rows and --features, and excludes --work step")
    if min(options.launches, options.threads or 1, options.rows or 1, options.features or 1) < 1:
        parser.error("--rows, --features, --launches and --threads must be at least 1")
    if not options.budget > 0:
        parser.error(f"--budget must be positive, got {options.budget:g}")
    return options


def main(arguments: list[str]) -> int:
    """Print a table for each data set and workload; return 1 if an implementation of gdbackends has no time."""
    options = parse(arguments)
    cores = affinity()[: options.threads]
    lines = [f"{measured(TIMED, PACKAGES, len(cores))}; load before {load():.1f}"]
    data = DATA if options.rows is None else [DataSpec(options.rows, options.features, options.correlation)]
    workloads = [options.work] if options.work else ["step", "fit"]
    failed = False
    for (spec, workload), rows in collect(data, workloads, options.launches, options.budget, cores).items():
        correlation = f" (correlation {spec.correlation:g})" if spec.correlation else ""
        title = "a step" if workload == "step" else "a fit within 1e-6 of the minimum loss"
        launches = f"{len(rows[0][2])} launches"
        lines += ["", f"{spec.rows:,} x {spec.features}{correlation}, {title}, {launches}:", ""]
        lines += markdown(rows, workload)
        required = [results for _, label, results in rows if label in (DRIVER, "") or label.startswith("fit(")]
        failed |= any(status(results, workload) != "ok" for results in required)
    print(*lines, sep="\n")
    if options.out and not failed:
        replace_section(options.out, "\n".join(lines) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
