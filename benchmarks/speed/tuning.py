"""Each backend at its best beside itself as people usually write it: `python benchmarks/speed/tuning.py [--grid]`.

A step of the driver, in a process of its own for each backend and shape. Both tunings are prepared there and take turns
in short rounds, so that a neighbour on the machine slows both; a ratio is the median of those of the rounds, with the
least and the most. They must agree on the descent before either is timed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from alternatives import duration

from gdbackends import get_backend
from gdbackends.backends import names
from gdbackends.benchmarking.case import ProblemSpec
from gdbackends.benchmarking.worker_tasks import read_bandwidth
from gdbackends.benchmarking.workloads import work
from gdbackends.descent import Problem, ProblemOptions, descend, prepare
from gdbackends.measurement.subprocess_worker import Crashed, in_fresh_process
from gdbackends.measurement.timing import Deadline, marginal_steps, seconds

TARGETS = [(100, 1, "float64"), (10_000, 100, "float64"), (10**6, 10, "float64"), (400_000, 100, "float64")]
TARGETS += [(10**6, 100, "float32")]
LARGEST = 1 << 30
"""Bytes of X."""
STEPS = 40
CLOSE = {"float64": 1e-9, "float32": 1e-3}
"""How far, relatively, the two may be apart after STEPS steps; whether they are right is for `gdbackends bench`."""


@dataclass(frozen=True)
class Found:
    """What one process found.

    Attributes:
        best: seconds of a step, by round.
        idiomatic: of the same rounds.
        first: seconds of the first steps of the best, compiling included.
        plan: how the best goes about it.
        bandwidth: bytes a second of reading memory; NaN for small data.
    """

    best: list[float]
    idiomatic: list[float]
    first: float
    plan: str
    bandwidth: float

    @property
    def ratios(self) -> list[float]:
        """The best's time over the idiomatic's, round by round."""
        return sorted(b / i for b, i in zip(self.best, self.idiomatic, strict=True))


def trial(name: str, spec: ProblemSpec, tuning: str, rounds: int, budget: float) -> Found:
    """Time two tunings of a backend in turn, that one and the idiomatic."""
    limit = read_bandwidth(0.2) if spec.bytes > 1 << 25 else float("nan")
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
    return Found(*times, first, problems[0].plan, max(limit, read_bandwidth(0.2)) if limit == limit else limit)


def _check(problems: list[Problem], dtype: str) -> None:
    ends = [descend(p, np.full(STEPS, 1e-3 / p.theta0.size, p.backend.dtype)).theta for p in problems]
    apart = float(np.abs(ends[0] - ends[1]).max() / np.abs(ends[1]).max())
    if not apart <= CLOSE[dtype]:
        raise ArithmeticError(f"the two tunings are {apart:.1e} apart after {STEPS} steps")


def line(name: str, spec: ProblemSpec, found: Found) -> str:
    """Return a row of the table."""
    r, best = found.ratios, median(found.best)
    share = "" if np.isnan(found.bandwidth) else f"{spec.bytes / best / found.bandwidth:.0%}"
    shape = f"{spec.rows:,} x {spec.features:,} {spec.dtype}"
    return (
        f"| {shape} | {name} | {duration(best)} | {median(r):.2f} ({r[0]:.2f} to {r[-1]:.2f}) | {share} "
        f"| {duration(found.first)} | {found.plan} |"
    )


def grid() -> list[tuple[int, int, str]]:
    """Return rows 1e2..1e6, features 1..1000, up to 1 GB, both precisions."""
    shapes: list[tuple[int, int, str]] = []
    for dtype in ("float64", "float32"):
        for rows in (100, 1000, 10_000, 100_000, 1_000_000):
            shapes += [(rows, d, dtype) for d in (1, 10, 100, 1000) if rows * d * np.dtype(dtype).itemsize <= LARGEST]
    return shapes


def main(arguments: list[str]) -> int:
    """Print the table; exit 1 where some process failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", action="store_true", help="every shape, not the five of the targets")
    parser.add_argument("--backends", default=",".join(names()), help="only these, by comma")
    parser.add_argument("--shapes", default="", help="only these: ROWSxFEATURESxDTYPE, by comma")
    parser.add_argument("--tuning", default="best", help="best, or compiled (torch)")
    parser.add_argument("--rounds", type=int, default=15, help="pairs of timings (15)")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of a process (10)")
    given = parser.parse_args(arguments)
    shapes: list[Any] = grid() if given.grid else TARGETS
    if given.shapes:
        shapes = [(int(float(n)), int(float(d)), t) for n, d, t in (s.split("x") for s in given.shapes.split(","))]
    print("| X | backend | a step | over idiomatic | of the bandwidth | first 40 steps | plan |", flush=True)
    print("|---|---|--:|--:|--:|--:|---|", flush=True)
    failed = False
    for rows, features, dtype in shapes:
        spec = ProblemSpec(rows=rows, features=features, dtype=dtype)
        for name in given.backends.split(","):
            try:
                found = in_fresh_process(
                    trial, name, spec, given.tuning, given.rounds, given.budget, timeout=20 * given.budget + 120
                )
                print(line(name, spec, found), flush=True)
            except (Crashed, ArithmeticError) as error:
                failed = True
                print(f"| {rows:,} x {features:,} {dtype} | {name} | {error} | | | | |", flush=True)
    return int(failed)


if __name__ == "__main__":
    import tuning  # a process of its own finds `trial` by this name

    sys.exit(tuning.main(sys.argv[1:]))
