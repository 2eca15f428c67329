"""bench(): launches in rounds, shuffled and interleaved, until every interval is narrow or the budget is spent.

In a round each backend gets a fresh process, and the tasks go through in an order drawn anew; a task is put to all
backends in turn before the next, so that drift of the machine falls on all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from random import Random

from gdbackends.benchmarking.case import Case, Place, Task
from gdbackends.benchmarking.results import SCHEMA, ResultsFile, check_same
from gdbackends.benchmarking.rows import rows, spread
from gdbackends.benchmarking.worker_tasks import LaunchTimes, TaskSetup, bandwidth
from gdbackends.benchmarking.workers import Unsynchronised, WorkerPool, outcome
from gdbackends.measurement.environment import affinity, commit, environment, machine, version_of
from gdbackends.measurement.subprocess_worker import Worker
from gdbackends.measurement.timing import Deadline, Stopped, now

Progress = Callable[[int, int, str], None]
"""progress(done, in all, what comes next), in launches of cases; there may be more than `in all` in the end."""


@dataclass(frozen=True)
class Plan:
    """How long to time, and when to stop.

    Attributes:
        launches: of each case at least.
        most: launches at most.
        precision: the half width of a 99 % interval, as a part of the time, that is narrow enough.
        slice_s: seconds to time a case in a launch, about.
        timeout_s: seconds after which a case is given up, and its process ended.
        budget_s: seconds for all; the case under way is finished. None: no limit.
        seed: of the order.
    """

    launches: int = 5
    most: int = 10
    precision: float = 0.03
    slice_s: float = 0.1
    timeout_s: float = 60.0
    budget_s: float | None = None
    seed: int = 0


def begin(file: ResultsFile, plan: Plan) -> str:
    """Write the record of a run: what it is made with. Return its name.

    Raises:
        InputError: what is there already was measured with something else.
    """
    name = f"{now()} {os.getpid()}"
    versions = {"gdbackends": version_of("gdbackends"), "commit": commit()}
    made_with = {**versions, "environment": environment(), "machine": machine()}
    for run in file.results.runs.values():
        check_same(f"{file.results.path} was measured", run, made_with, "give another --out")
    record = {"record": "run", "schema": SCHEMA, "run": name, "at": now(), **made_with, "plan": asdict(plan)}
    file.write(record)
    return name


def bench(cases: Sequence[Case], file: ResultsFile, plan: Plan, run: str, progress: Progress | None = None) -> None:
    """Time the cases, and append what comes to the file.

    Args:
        cases: what to time; those whose end the file has are left alone, and launches that it has are not repeated.
        file: where to; it holds a record of the run.
        plan: how long.
        run: the name of that record.
        progress: is told before every launch of a case.
    """
    study, deadline = _Study(tuple(cases), file, plan, run, progress), Deadline(plan.budget_s)
    for number in range(plan.most):
        study.round(number, deadline)
        if deadline.passed:
            break
        if number == plan.launches - 1:  # the one look before the last: to stop at the first narrow interval of many
            study.end(precise=True)  # would keep those that are narrow by chance
    study.end(precise=False)


@dataclass(frozen=True)
class _Study:
    cases: tuple[Case, ...]
    file: ResultsFile
    plan: Plan
    run: str
    progress: Progress | None

    def round(self, number: int, deadline: Deadline) -> None:
        """Make a launch of each case that has no end yet, as far as time allows."""
        known = self.file.results
        wanted = [c for c in self.cases if c not in known.ends and number not in known.of(c)]
        with WorkerPool(self.plan.timeout_s) as pool:
            for threads in sorted({case.place.threads for case in wanted}):
                if (self.run, number, threads) not in known.bandwidths:
                    self._bandwidth(number, threads)
            for place, task, works in _groups(wanted, Random(f"{self.plan.seed} {number}")):
                if deadline.passed:
                    return
                self._task(pool, place, task, works, number)

    def _bandwidth(self, number: int, threads: int) -> None:
        """Measure it in a process set up as those of the backends are."""
        try:
            with Worker(affinity()[: threads or None], quiet=True) as worker:
                speed = worker.ask(bandwidth, self.plan.slice_s, timeout=self.plan.timeout_s)
        except Exception:  # without it the shares are not known, and nothing else is lost
            return
        record = {"record": "bandwidth", "run": self.run, "launch": number, "threads": threads}
        self.file.write({**record, "bytes_per_s": speed})

    def _task(self, pool: WorkerPool, place: Place, task: Task, works: list[str], number: int) -> None:
        """Put a task to a backend, and time the works one by one."""
        judged = not all(self._agreement(Case(place, task, work)) for work in works)
        for done, work in enumerate(works):
            case = Case(place, task, work)
            self._tell(case, number)
            try:
                setup = pool.open(place, task, judged)
            except Exception as error:  # every ending has a name, and it is that of all works of the task
                for rest in works[done:]:
                    self._fail(Case(place, task, rest), error)
                break
            try:
                times = pool.time(place, work, self.plan.slice_s)
                if times.hidden_s:
                    raise Unsynchronised(f"its synchronize came {times.hidden_s:.3g} s before the answer was there")
            except Exception as error:
                self._fail(case, error)
            else:
                self._keep(pool, case, number, setup, times)
        with suppress(Exception):  # a process that ends now is replaced for the next task
            pool.close_task(place)

    def _agreement(self, case: Case) -> bool:
        return any(record["agreement"] is not None for record in self.file.results.of(case).values())

    def _keep(self, pool: WorkerPool, case: Case, number: int, setup: TaskSetup, times: LaunchTimes) -> None:
        found = asdict(times)
        record = {"record": "launch", "run": self.run, "case": case.to_dict(), "launch": number}
        info = asdict(pool.worker_info(case.place))
        self.file.write({**record, **info, **asdict(setup), "batches_s": found.pop("batches"), **found})

    def _fail(self, case: Case, error: Exception) -> None:
        status, reason = outcome(error)
        ratio = getattr(error, "ratio", None)
        record = {"record": "case", "run": self.run, "case": case.to_dict(), "status": status, "reason": reason}
        self.file.write({**record, "agreement": ratio})

    def end(self, precise: bool) -> None:
        """Write the end of those cases whose interval is narrow; or else of all that have launches enough."""
        for row in rows(self.file.results):
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
            text = f"{case.place.backend} {case.task.rows:,} x {case.task.features} {case.work}"
            self.progress(done, len(self.cases) * max(number + 1, self.plan.launches), text)


def _groups(cases: Sequence[Case], random: Random) -> Iterator[tuple[Place, Task, list[str]]]:
    """Yield the works of each task and place: tasks in an order drawn, and for each the places in one drawn."""
    tasks = list(dict.fromkeys(case.task for case in cases))
    random.shuffle(tasks)
    for task in tasks:
        places = list(dict.fromkeys(case.place for case in cases if case.task == task))
        random.shuffle(places)
        for place in places:
            yield place, task, [case.work for case in cases if (case.place, case.task) == (place, task)]
