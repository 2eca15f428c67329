"""bench(): launch cases in shuffled, interleaved rounds until every interval is narrow or the budget is spent.

In each round every backend gets a fresh process, and the problems run in a new random order. All backends run a
problem in turn before the next problem, so that drift of the machine affects them equally.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from gdbackends.benchmarking.case import BackendConfig, Case, ProblemSpec
from gdbackends.benchmarking.result_rows import result_rows, spread
from gdbackends.benchmarking.results import SCHEMA, ResultsFile, check_same
from gdbackends.benchmarking.worker_tasks import LaunchTimes, TaskSetup, expected_of, needs_expected, read_bandwidth
from gdbackends.benchmarking.workers import Unsynchronised, WorkerPool, outcome
from gdbackends.comparison.expected import Expected
from gdbackends.errors import InputError
from gdbackends.measurement.environment import affinity, commit, environment, last_cache, machine, version_of
from gdbackends.measurement.subprocess_worker import Worker
from gdbackends.measurement.timing import Deadline, Stopped, now
from gdbackends.python_files import file_digest

_EXPECTED_TIMES = 5
"""How many times the time limit of a case the computation of what is expected may take."""

Progress = Callable[[int, int, str], None]
"""progress(done, total, next case), counted in launches of cases; the total may grow."""


@dataclass(frozen=True)
class Plan:
    """How long to time, and when to stop.

    Attributes:
        launches: minimum number of launches of each case.
        most: maximum number of launches of each case.
        precision: relative half width of a 99 % interval at which to stop.
        slice_s: approximate seconds to time a case in a launch.
        timeout_s: seconds after which a case is abandoned and its process ended.
        budget_s: seconds for the whole run, or None for no limit; the current case is always finished.
        seed: the seed of the random order.
    """

    launches: int = 5
    most: int = 10
    precision: float = 0.03
    slice_s: float = 0.1
    timeout_s: float = 60.0
    budget_s: float | None = None
    seed: int = 0


def begin(file: ResultsFile, plan: Plan, cases: Sequence[Case]) -> str:
    """Write the record of a run, with its versions and machine, and of its cases; return the name of the run.

    Args:
        file: the file of results.
        plan: how long to time.
        cases: the cases that will be timed; the contents of the files of their objectives are recorded as digests.

    Raises:
        InputError: the file has results of other versions, of another machine, or of a file that has been edited since.
    """
    name = f"{now()} {os.getpid()}"
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
    record |= {"files": files} if files else {}
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
    study, deadline = _Study(tuple(cases), file, plan, run, progress), Deadline(plan.budget_s)
    for number in range(plan.most):
        study.round(number, deadline)
        if deadline.passed:
            break
        if number == plan.launches - 1:  # check only once: stopping at the first narrow interval of many
            study.end(precise=True)  # would select intervals that are narrow by chance
    study.end(precise=False)


@dataclass(frozen=True)
class _Study:
    cases: tuple[Case, ...]
    file: ResultsFile
    plan: Plan
    run: str
    progress: Progress | None
    expected: dict[ProblemSpec, Expected | Exception] = field(default_factory=dict[ProblemSpec, Any])

    def round(self, number: int, deadline: Deadline) -> None:
        """Launch each unfinished case once, as far as time allows."""
        known = self.file.results
        wanted = [c for c in self.cases if c not in known.ends and number not in known.of(c)]
        with WorkerPool(self.plan.timeout_s) as pool:
            for threads in sorted({case.config.threads for case in wanted if _exceeds_cache(case)}):
                if (self.run, number, threads) not in known.bandwidths:
                    self._bandwidth(number, threads)
            for config, spec, works in _groups(wanted, Random(f"{self.plan.seed} {number}")):
                if deadline.passed:
                    return
                self._task(pool, config, spec, works, number)

    def _bandwidth(self, number: int, threads: int) -> None:
        """Measure the memory bandwidth in a process set up like those of the backends."""
        try:
            with Worker(affinity()[: threads or None], quiet=True) as worker:
                speed = worker.ask(read_bandwidth, self.plan.slice_s, last_cache(), timeout=self.plan.timeout_s)
        except Exception:  # only the shares of the bandwidth need it
            return
        record = {"record": "bandwidth", "run": self.run, "launch": number, "threads": threads}
        self.file.write({**record, "bytes_per_s": speed})

    def _task(self, pool: WorkerPool, config: BackendConfig, spec: ProblemSpec, works: list[str], number: int) -> None:
        """Set up a problem on a backend, and time its workloads one by one."""
        judged = not all(self._agreement(Case(config, spec, work)) for work in works)
        expected: Expected | None = None
        if judged and needs_expected(spec, works):
            try:
                expected = self._expected(spec)
            except Exception as error:  # nothing can be judged, so nothing may be timed
                for work in works:
                    self._fail(Case(config, spec, work), error)
                return
        for done, work in enumerate(works):
            case = Case(config, spec, work)
            self._tell(case, number)
            try:
                setup = pool.open(config, spec, works, judged, expected)
            except Exception as error:  # the failure applies to all remaining workloads of the problem
                for rest in works[done:]:
                    self._fail(Case(config, spec, rest), error)
                break
            try:
                times = pool.time(config, work, self.plan.slice_s)
                if times.hidden_s:
                    raise Unsynchronised(
                        f"its synchronize returned {times.hidden_s:.3g} s before the result was available"
                    )
            except Exception as error:
                self._fail(case, error)
            else:
                self._keep(pool, case, number, setup, times)
        with suppress(Exception):  # a process that ends here is replaced for the next problem
            pool.close_task(config)

    def _expected(self, spec: ProblemSpec) -> Expected:
        """Return what every backend must compute, found once in a process of its own; an error is found once too."""
        if spec not in self.expected:
            works = [case.work for case in self.cases if case.spec == spec]
            try:
                with Worker(affinity(), quiet=True) as worker:
                    limit = _EXPECTED_TIMES * self.plan.timeout_s
                    self.expected[spec] = worker.ask(expected_of, spec, works, timeout=limit)
            except Exception as error:  # any failure of the function, or of the frameworks
                self.expected[spec] = error
        found = self.expected[spec]
        if isinstance(found, Exception):
            raise found
        return found

    def _agreement(self, case: Case) -> bool:
        return any(record["agreement"] is not None for record in self.file.results.of(case).values())

    def _keep(self, pool: WorkerPool, case: Case, number: int, setup: TaskSetup, times: LaunchTimes) -> None:
        measured = asdict(times)
        record = {"record": "launch", "run": self.run, "case": case.to_dict(), "launch": number}
        info = asdict(pool.worker_info(case.config))
        self.file.write({**record, **info, **asdict(setup), "batches_s": measured.pop("batches"), **measured})

    def _fail(self, case: Case, error: Exception) -> None:
        status, reason = outcome(error)
        ratio = getattr(error, "ratio", None)
        record = {"record": "case", "run": self.run, "case": case.to_dict(), "status": status, "reason": reason}
        self.file.write({**record, "agreement": ratio})

    def end(self, precise: bool) -> None:
        """Finish the cases with a narrow interval if `precise`, otherwise all cases with enough launches."""
        for row in result_rows(self.file.results):
            if row.case not in self.cases or row.status != "unfinished" or row.timing is None:
                continue
            narrow = spread(row) <= self.plan.precision
            if len(row.timing.launches) >= self.plan.launches and (narrow or not precise):
                stopped = Stopped.PRECISE if narrow else Stopped.BUDGET
                low, high = row.timing.interval
                record = {"record": "case", "run": self.run, "case": row.case.to_dict(), "status": "ok", "reason": ""}
                figures = {"agreement": row.agreement, "median_s": row.timing.median, "low_s": low, "high_s": high}
                self.file.write({**record, "stopped": stopped.name, **figures})

    def _tell(self, case: Case, number: int) -> None:
        if self.progress:
            known = self.file.results
            done = sum(len(known.of(c)) if c not in known.ends else max(number, self.plan.launches) for c in self.cases)
            text = f"{case.config.backend} {case.spec.rows:,} x {case.spec.features} {case.work}"
            self.progress(done, len(self.cases) * max(number + 1, self.plan.launches), text)


def _exceeds_cache(case: Case) -> bool:
    """Return whether the memory bandwidth can limit the case: only then is it worth the seconds to measure it."""
    return case.config.device == "cpu" and not case.spec.is_function and case.spec.bytes > last_cache()


def _groups(cases: Sequence[Case], random: Random) -> Iterator[tuple[BackendConfig, ProblemSpec, list[str]]]:
    """Yield the workloads of each problem and backend, with the problems, and the backends of each, in random order."""
    specs = list(dict.fromkeys(case.spec for case in cases))
    random.shuffle(specs)
    for spec in specs:
        configs = list(dict.fromkeys(case.config for case in cases if case.spec == spec))
        random.shuffle(configs)
        for config in configs:
            yield config, spec, [case.work for case in cases if (case.config, case.spec) == (config, spec)]
