"""bench(): launch cases in shuffled, interleaved rounds until every interval is narrow or the budget is spent.

In each round every backend gets a fresh process, and the problems run in a new random order. The backends time a
workload in turn, a slice of some milliseconds each, so that drift of the machine cancels in their ratios. In every
launch of a case the answer of a timed call, drawn at random, is judged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import inf
from random import Random
from typing import Any

from gdbackends.benchmarking.case import WORKS, Case, ProblemSpec
from gdbackends.benchmarking.judges import Judges
from gdbackends.benchmarking.launch import Launch, Plan, Runner, Side
from gdbackends.benchmarking.result_rows import Row, by_case, ratio, result_rows, spread
from gdbackends.benchmarking.results import SCHEMA, ResultsFile, check_same
from gdbackends.benchmarking.worker_tasks import read_bandwidth
from gdbackends.benchmarking.workers import WorkerPool, memory_needed
from gdbackends.errors import InputError
from gdbackends.measurement.environment import affinity, commit, environment, last_cache, machine, version_of
from gdbackends.measurement.subprocess_worker import Worker
from gdbackends.measurement.timing import Deadline, Stopped, now
from gdbackends.python_files import file_digest

_THREADS = 4
"""The number of backends that are set up at the same time."""
_BANDWIDTHS = 3
"""The number of rounds in which the bandwidth is measured."""
Progress = Callable[[float, str], None]
"""progress(fraction of the launches or of the budget, the case and its last time)."""


def begin(
    file: ResultsFile,
    plan: Plan,
    cases: Sequence[Case],
    *,
    name: str | None = None,
    made_with: Mapping[str, Any] | None = None,
) -> str:
    """Write the record of a run, with its versions and machine, and of its cases; return the name of the run.

    Args:
        file: the file of results.
        plan: how long to time.
        cases: the cases that will be timed; the contents of the files of their objectives are recorded as digests.
        name: the name of a run that another version of the package takes part in, with results in another file.
        made_with: the versions and machine of that other version; None means this one.

    Raises:
        InputError: the file has results of other versions, of another machine, or of a file that has been edited since.
    """
    paired, name = name is not None, name or f"{now()} {os.getpid()}"
    if made_with is None:
        versions = {"gdbackends": version_of("gdbackends"), "commit": commit()}
        made_with = {**versions, "environment": environment(), "machine": machine()}
    for run in file.results.runs.values():
        check_same(f"{file.results.path} was measured", run, made_with, "give another --out")
    objectives = dict.fromkeys(case.spec.objective for case in cases)
    files = {text: digest for text in objectives if (digest := file_digest(text))}
    for text, digest in (item for run in file.results.runs.values() for item in run.get("files", {}).items()):
        if files.get(text, digest) != digest:
            raise InputError(f"{text} has been edited since {file.results.path} was measured; give another --out")
    record = {"record": "run", "schema": SCHEMA, "run": name, "at": now(), **made_with, "plan": asdict(plan)}
    record |= ({"files": files} if files else {}) | ({"paired": True} if paired else {})
    file.write(record)
    for case in cases:
        if case not in file.results.cases:
            file.write({"record": "planned", "run": name, "case": case.to_dict()})
    return name


def bench(cases: Sequence[Case], file: ResultsFile, plan: Plan, run: str, progress: Progress | None = None) -> None:
    """Time the cases and append the results to the file.

    Args:
        cases: the cases to time; finished cases are skipped, and launches in the file are not repeated.
        file: the file of results, which already contains the record of the run.
        plan: how long to time.
        run: the name of the run.
        progress: a function called before every launch of a case.
    """
    bench_sides(cases, [Side(file)], plan, run, progress)


def bench_sides(
    cases: Sequence[Case], sides: Sequence[Side], plan: Plan, run: str, progress: Progress | None = None
) -> None:
    """Time the cases on every side in turn, slice by slice; the other arguments are those of `bench`."""
    deadline, check = Deadline(plan.budget_s), plan.launches
    with Judges(cases, plan.timeout_s) as judges:
        study = _Study(tuple(cases), tuple(sides), plan, run, judges, deadline, progress)
        for number in range(plan.most):
            study.round(number)
            if deadline.passed:
                break
            if number + 1 == check:  # check rarely: stopping at the first narrow interval of many would select
                study.end(precise=True)  # intervals that are narrow by chance
                check *= 2
        study.end(precise=False)


@dataclass(frozen=True)
class _Study:
    cases: tuple[Case, ...]
    sides: tuple[Side, ...]
    plan: Plan
    run: str
    judges: Judges
    deadline: Deadline
    progress: Progress | None

    def round(self, number: int) -> None:
        """Launch each unfinished case once, as far as time allows."""
        wanted = [(side, case) for case in self.cases for side in self.sides if self._wanted(side, case, number)]
        random = Random(f"{self.plan.seed} {number}")
        for threads in sorted({case.config.threads for _, case in wanted if _exceeds_cache(case)}):
            self._bandwidth(number, threads)
        with ExitStack() as stack:
            threads = stack.enter_context(ThreadPoolExecutor(_THREADS))
            pools = {side: stack.enter_context(WorkerPool(self.plan.timeout_s, side.checkout)) for side in self.sides}
            for spec, runners in _groups(wanted, random):
                for together in _fitting(spec, list(runners)):
                    if self.deadline.passed:
                        return
                    works = {runner: runners[runner] for runner in together}
                    Launch(self.plan, self.judges, self.run, number, spec, works, pools, threads, self._tell).run(
                        random
                    )

    @staticmethod
    def _wanted(side: Side, case: Case, number: int) -> bool:
        known = side.file.results
        return case not in known.ends and number not in known.of(case)

    def _bandwidth(self, number: int, threads: int) -> None:
        """Measure the memory bandwidth in a process set up like those of the backends, in the first rounds."""
        measured = self.sides[0].file.results.bandwidths
        if sum(run == self.run and count == threads for run, _, count in measured) >= _BANDWIDTHS:
            return
        size = max(32 << 20, 4 * last_cache())
        try:
            with Worker(affinity()[: threads or None], quiet=True) as worker:
                speed = worker.ask(read_bandwidth, 0.1, size, timeout=self.plan.timeout_s)
        except Exception:  # only the shares of the bandwidth need it
            return
        for side in self.sides:
            record = {"record": "bandwidth", "run": self.run, "launch": number, "threads": threads}
            side.file.write({**record, "bytes_per_s": speed})

    def end(self, precise: bool) -> None:
        """Finish the cases with narrow intervals if `precise`, otherwise all cases with enough launches."""
        tables = [by_case(result_rows(side.file.results)) for side in self.sides]
        groups: dict[tuple[ProblemSpec, str], list[tuple[Side, Row]]] = {}
        for case in self.cases:
            for side, table in zip(self.sides, tables, strict=True):
                if case in table and table[case].timing is not None:
                    groups.setdefault((case.spec, case.work), []).append((side, table[case]))
        for group in groups.values():
            narrow = _half_width([row for _, row in group]) <= self.plan.precision
            for side, row in group:
                enough = row.timing is not None and len(row.timing.launches) >= self.plan.launches
                if row.status == "unfinished" and enough and (narrow or not precise):
                    self._finish(side, row, Stopped.PRECISE if narrow else Stopped.BUDGET)

    def _finish(self, side: Side, row: Row, stopped: Stopped) -> None:
        assert row.timing is not None
        low, high = (end if end < inf else None for end in row.timing.interval)
        record = {"record": "case", "run": self.run, "case": row.case.to_dict(), "status": "ok", "reason": ""}
        figures = {
            "agreement": row.agreement,
            "median_s": row.timing.median,
            "low_s": low,
            "high_s": high,
        }
        side.file.write({**record, "stopped": stopped.name, **figures})

    def _tell(self, text: str) -> None:
        """Report the progress: the fraction of the launches, or of the budget if that is spent sooner."""
        if self.progress:
            least, every = self.plan.launches, [(side.file.results, case) for side in self.sides for case in self.cases]
            done = sum(least if case in known.ends else min(least, len(known.of(case))) for known, case in every)
            spent = self.deadline.spent / self.plan.budget_s if self.plan.budget_s else 0.0
            self.progress(min(1.0, max(done / (least * len(every)), spent)), text)


def _half_width(rows: Sequence[Row]) -> float:
    """Return the largest relative half width: of the ratios to the fastest row, or of the time of a lone row."""
    fastest = min(rows, key=lambda row: row.timing.median if row.timing else inf)
    if len(rows) == 1:
        return spread(fastest)
    found = [ratio(row, fastest) for row in rows if row is not fastest]
    return max(inf if each is None else each.spread for each in found)


def _fitting(spec: ProblemSpec, runners: list[Runner]) -> list[list[Runner]]:
    """Return the runners together if their data fit in memory at the same time, and otherwise one by one."""
    free = machine()["memory_available_bytes"]
    fits = free is None or memory_needed(spec) * len(runners) <= free
    return [runners] if fits else [[runner] for runner in runners]


def _exceeds_cache(case: Case) -> bool:
    """Return whether the memory bandwidth can limit the case: only then is it worth the seconds to measure it."""
    return case.config.device == "cpu" and not case.spec.is_function and case.spec.bytes > last_cache()


def _groups(
    wanted: Sequence[tuple[Side, Case]], random: Random
) -> Iterator[tuple[ProblemSpec, dict[Runner, list[str]]]]:
    """Yield the workloads of each problem by runner, with the problems, and the runners of each, in random order."""
    specs = list(dict.fromkeys(case.spec for _, case in wanted))
    random.shuffle(specs)
    for spec in specs:
        here = [(side, case) for side, case in wanted if case.spec == spec]
        random.shuffle(here)
        works: dict[Runner, list[str]] = {}
        for side, case in here:
            works.setdefault((side, case.config), []).append(case.work)
        yield spec, {runner: [work for work in WORKS if work in names] for runner, names in works.items()}
