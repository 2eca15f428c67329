"""Compare the best with the idiomatic tuning of each backend: `python benchmarks/speed/tuning.py [--grid]`.

The time is that of a step of the driver. Each backend and shape has its own process, in which the two tunings take
turns in short rounds, so that other load on the machine slows both. A ratio is the median over the rounds, with the
minimum and maximum. The two descents must agree before either is timed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gdbackends import get_backend
from gdbackends.backends import names
from gdbackends.benchmarking.case import ProblemSpec
from gdbackends.benchmarking.worker_tasks import read_bandwidth
from gdbackends.benchmarking.workloads import work
from gdbackends.descent import ProblemOptions, TableProblem, descend, prepare
from gdbackends.measurement.formatting import duration
from gdbackends.measurement.provenance import TIMED, measured
from gdbackends.measurement.subprocess_worker import Crashed, in_fresh_process
from gdbackends.measurement.timing import Deadline, marginal_steps, seconds

SHAPES = [(100, 1, "float64"), (10_000, 100, "float64"), (10**6, 10, "float64"), (400_000, 100, "float64")]
SHAPES += [(10**6, 100, "float32")]
HEAD = (
    "| X | backend | time of a step | over idiomatic | bandwidth used | first 40 steps | plan |",
    "|---|---|--:|--:|--:|--:|---|",
)
FAILED = "failed:"
MAX_BYTES = 1 << 30
"""The largest X of the grid, in bytes."""
STEPS = 40
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
"""The largest relative difference of theta between the tunings after STEPS steps.

`gdbackends bench` checks whether theta is right.
"""


@dataclass(frozen=True)
class TuningTimes:
    """The times of two tunings in one process.

    Attributes:
        best: seconds of a step in each round, with the tuning that --tuning names.
        idiomatic: seconds of a step in each round, with idiomatic tuning.
        first: seconds of the first STEPS steps with the named tuning, including compilation.
        plan: the plan of the named tuning, as in `Fit.plan`.
        bandwidth: the memory read bandwidth in bytes per second; NaN for small data.
    """

    best: list[float]
    idiomatic: list[float]
    first: float
    plan: str
    bandwidth: float

    @property
    def ratios(self) -> list[float]:
        """The ratios of best to idiomatic in each round, sorted."""
        return sorted(b / i for b, i in zip(self.best, self.idiomatic, strict=True))


def time_tunings(name: str, spec: ProblemSpec, tuning: str, rounds: int, budget: float) -> TuningTimes:
    """Time a tuning of a backend beside its idiomatic tuning, in at least three rounds of alternating order."""
    bandwidth = read_bandwidth(0.2) if spec.bytes > 1 << 25 else float("nan")
    data = spec.table()
    problems = [
        prepare(
            data.X,
            data.y,
            get_backend(name, dtype=spec.dtype, tuning=each),
            spec.model,
            options=ProblemOptions(standardize=False),
        )
        for each in (tuning, "idiomatic")
    ]
    del data
    runs, times = [work("step", problem).run for problem in problems], ([], [])
    first = seconds(lambda: runs[0](STEPS))
    _check(problems, spec.dtype)
    deadline = Deadline(budget)
    while len(times[0]) < 3 or (len(times[0]) < rounds and not deadline.passed):
        for k in (0, 1) if len(times[0]) % 2 else (1, 0):
            times[k].append(median(marginal_steps(runs[k], least=0.02, rounds=1)[0]))
    if not np.isnan(bandwidth):
        bandwidth = max(bandwidth, read_bandwidth(0.2))
    return TuningTimes(*times, first, problems[0].plan, bandwidth)


def _check(problems: list[TableProblem], dtype: str) -> None:
    thetas = [descend(p, np.full(STEPS, 1e-3 / p.theta0.size, p.backend.dtype)).theta for p in problems]
    difference = float(np.abs(thetas[0] - thetas[1]).max() / np.abs(thetas[1]).max())
    if not difference <= TOLERANCE[dtype]:
        raise ArithmeticError(f"the two tunings differ by {difference:.1e} (relative) after {STEPS} steps")


def table_row(name: str, spec: ProblemSpec, times: TuningTimes) -> str:
    """Return a row of the Markdown table."""
    ratios, best = times.ratios, median(times.best)
    bandwidth = "" if np.isnan(times.bandwidth) else f"{spec.bytes / best / times.bandwidth:.0%}"
    shape = f"{spec.rows:,} x {spec.features:,} {spec.dtype}"
    return (
        f"| {shape} | {name} | {duration(best)} | {median(ratios):.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}) | {bandwidth} | {duration(times.first)} | {times.plan} |"
    )


def grid() -> list[tuple[int, int, str]]:
    """Return the shapes with 100 to 1,000,000 rows and 1 to 1,000 features, at most 1 GiB, in both precisions."""
    shapes: list[tuple[int, int, str]] = []
    for dtype in ("float64", "float32"):
        for rows in (100, 1000, 10_000, 100_000, 1_000_000):
            shapes += [(rows, d, dtype) for d in (1, 10, 100, 1000) if rows * d * np.dtype(dtype).itemsize <= MAX_BYTES]
    return shapes


def table_rows(
    shapes: list[tuple[int, int, str]], backends: Sequence[str], tuning: str, rounds: int, budget: float
) -> Iterator[str]:
    """Yield a row of the table for each shape and backend; one with FAILED if a process failed."""
    for rows, features, dtype in shapes:
        spec = ProblemSpec(rows=rows, features=features, dtype=dtype)
        for name in backends:
            try:
                timeout = 20 * budget + 120
                times = in_fresh_process(time_tunings, name, spec, tuning, rounds, budget, timeout=timeout)
                yield table_row(name, spec, times)
            except (Crashed, ArithmeticError) as error:
                yield f"| {rows:,} x {features:,} {dtype} | {name} | {FAILED} {error} | | | | |"


def page() -> Iterator[str]:
    """Yield the lines of results/tuning.md: the five shapes, PyTorch compiled, and every size in float64."""
    line = measured(TIMED)
    yield from HEAD
    yield from table_rows(SHAPES, names(), "best", 15, 10.0)
    yield from table_rows(SHAPES[:1], ["torch"], "compiled", 15, 10.0)
    yield from ("", "Every size in float64, in shorter rounds:", "", *HEAD)
    yield from table_rows([shape for shape in grid() if shape[2] == "float64"], names(), "best", 5, 2.0)
    yield from ("", line)


def main(arguments: list[str]) -> int:
    """Print the table; return 1 if a process failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", action="store_true", help="time every shape instead of five")
    parser.add_argument(
        "--backends", default=",".join(names()), help="backends, separated by commas (default: all bundled)"
    )
    parser.add_argument("--shapes", default="", help="shapes ROWSxFEATURESxDTYPE, separated by commas")
    parser.add_argument(
        "--tuning", default="best", help="tuning to compare: best or compiled (torch only; default: best)"
    )
    parser.add_argument("--rounds", type=int, default=15, help="maximum number of rounds (default: 15)")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds per process (default: 10)")
    parser.add_argument("--out", type=Path, help="write the page of all tables instead, which takes some ten minutes")
    options = parser.parse_args(arguments)
    shapes: list[Any] = grid() if options.grid else SHAPES
    if options.shapes:
        shapes = [(int(float(n)), int(float(d)), t) for n, d, t in (s.split("x") for s in options.shapes.split(","))]
    given = options.backends.split(","), options.tuning, options.rounds, options.budget
    lines: list[str] = []
    for line in page() if options.out else chain(HEAD, table_rows(shapes, *given)):
        print(line, flush=True)
        lines.append(line)
    failed = any(FAILED in line for line in lines)
    if options.out and not failed:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf8")
    return int(failed)


if __name__ == "__main__":
    import tuning  # the processes import `time_tunings` from this module

    sys.exit(tuning.main(sys.argv[1:]))
