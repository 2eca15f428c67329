"""One launch of the workloads of a problem: set up, timed in turn, judged, and written to the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from random import Random, SystemRandom
from statistics import median
from typing import Any, TypeAlias

import numpy as np

from gdbackends.benchmarking.answers import expected_ratio
from gdbackends.benchmarking.case import EVALUATED, WORKS, BackendConfig, Case, ProblemSpec
from gdbackends.benchmarking.judges import Judges
from gdbackends.benchmarking.results import ResultsFile
from gdbackends.benchmarking.slices import Answer, Slice, fastest
from gdbackends.benchmarking.worker_tasks import TaskSetup, WorkEnd, needs_expected
from gdbackends.benchmarking.workers import Disagrees, Implausible, WorkerPool, outcome
from gdbackends.benchmarking.workloads import NEAR
from gdbackends.measurement.formatting import duration
from gdbackends.measurement.subprocess_worker import Checkout
from gdbackends.objectives import Array

_LEAST_TURNS = 6
"""The least turns of workloads of which a call takes longer than two slices."""
_ALONE = 2
"""The launches in which the backends are set up one after the other."""
_WAITS = 0.25
"""The share of launches after the first in which calls are tested for waiting for their results, which takes time."""


@dataclass(frozen=True)
class Plan:
    """How long to time, and when to stop.

    Attributes:
        launches: minimum number of launches of each case.
        most: maximum number of launches of each case.
        precision: relative half width of a 99 % interval at which to stop: of the ratio to the fastest backend, or of
            the time if only one backend is timed.
        slice_s: approximate seconds to time a case before the next backend has its turn.
        turns: how many slices of a case are timed in a launch; fewer if calls take longer than two slices.
        timeout_s: seconds after which a case is abandoned and its process ended.
        budget_s: seconds for the whole run, or None for no limit; the current case is always finished.
        seed: the seed of the random order.
    """

    launches: int = 5
    most: int = 10
    precision: float = 0.03
    slice_s: float = 0.004
    turns: int = 24
    timeout_s: float = 60.0
    budget_s: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Side:
    """A version of the package that takes part: the file of its results, and its checkout (None for this one)."""

    file: ResultsFile
    checkout: Checkout | None = None


Runner: TypeAlias = tuple[Side, BackendConfig]
"""A backend of a version of the package."""


class _HiddenByNoise(Exception):
    """A longer descent took no longer than a shorter one."""


@dataclass
class _Timed:
    """What a runner has measured of a workload in this launch."""

    first_call_s: float
    call_s: float = 0.0
    turn: int = 0
    slices: list[Slice] = field(default_factory=list[Slice])
    end: WorkEnd | None = None
    agreement: float | None = None


@dataclass(eq=False)
class Launch:
    """One launch of the workloads of a problem, on the runners whose data fit in memory together.

    Attributes:
        plan: how long to time.
        judges: what the results are judged by.
        name: the name of the run.
        number: the number of the launch, from 0.
        spec: the problem.
        works: the workloads of each runner.
        pools: the worker processes of each side.
        threads: what sets up several runners at the same time; a process that a thread starts ends with it.
        progress: called with the next workload and the last times.
    """

    plan: Plan
    judges: Judges
    name: str
    number: int
    spec: ProblemSpec
    works: dict[Runner, list[str]]
    pools: Mapping[Side, WorkerPool]
    threads: ThreadPoolExecutor
    progress: Callable[[str], None]
    setups: dict[Runner, TaskSetup] = field(default_factory=dict[Runner, TaskSetup])
    timed: dict[tuple[Runner, str], _Timed] = field(default_factory=dict[tuple[Runner, str], _Timed])
    points: dict[str, tuple[int, Array | None]] = field(default_factory=dict[str, tuple[int, Array | None]])

    def run(self, random: Random) -> None:
        """Set up the problem on every runner, time the workloads one by one, and judge and write the results."""
        runners, every = list(self.works), {work for works in self.works.values() for work in works}
        for work in (name for name in WORKS if name in every):
            random.shuffle(runners)
            self.progress(f"{self.spec.rows:,} x {self.spec.features} {work}{self._last()}")
            self._time(work, [runner for runner in runners if work in self.works[runner]], random)
        for runner in runners:
            with suppress(Exception):  # a process that ends here is replaced for the next problem
                self._pool(runner).close_task(runner[1])
        self._judge()
        for (runner, work), timed in self.timed.items():
            self._keep(runner, work, timed)

    def _pool(self, runner: Runner) -> WorkerPool:
        return self.pools[runner[0]]

    def _case(self, runner: Runner, work: str) -> Case:
        return Case(runner[1], self.spec, work)

    def _fail(self, runner: Runner, work: str, error: Exception) -> None:
        self.timed.pop((runner, work), None)
        (side, _), case = runner, self._case(runner, work)
        if case in side.file.results.ends:
            return
        status, reason = outcome(error)
        record = {"record": "case", "run": self.name, "case": case.to_dict(), "status": status, "reason": reason}
        side.file.write({**record, "agreement": getattr(error, "ratio", None)})

    def _time(self, work: str, runners: list[Runner], random: Random) -> None:
        """Time a workload on the runners in turn, in a new order in every turn."""
        ready = [
            runner
            for runner in self._started(work, runners)
            if self._attempt(runner, work, partial(self._calibrate, runner, work))
        ]
        if not ready:
            return
        slowest, plan = max(self.timed[runner, work].call_s for runner in ready), self.plan
        turns = max(min(_LEAST_TURNS, plan.turns), min(plan.turns, round(2 * plan.turns * plan.slice_s / slowest)))
        unforeseen = SystemRandom()
        chosen = self._choose(work, self.setups[ready[0]].start, unforeseen)
        for runner in ready:
            self.timed[runner, work].turn = unforeseen.randrange(turns)
        for turn in range(turns):
            random.shuffle(ready)
            seed = random.getrandbits(32)
            for runner in [runner for runner in ready if (runner, work) in self.timed]:
                self._attempt(runner, work, partial(self._slice, runner, work, seed, turn, chosen))
        waits = self.number == 0 or random.random() < _WAITS
        for runner in [runner for runner in ready if (runner, work) in self.timed]:
            self._attempt(runner, work, partial(self._end, runner, work, waits))

    def _attempt(self, runner: Runner, work: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except _HiddenByNoise:  # another launch may find it
            self.timed.pop((runner, work), None)
            return False
        except Exception as error:
            self._fail(runner, work, error)
            return False
        return True

    def _started(self, work: str, runners: list[Runner]) -> list[Runner]:
        """Return the runners that are ready; after the first launches they compile at the same time."""
        if self._alone:
            return [runner for runner in runners if self._start(work, runner)]
        ready = list(self.threads.map(partial(self._start, work), runners))
        return [runner for runner, is_ready in zip(runners, ready, strict=True) if is_ready]

    @property
    def _alone(self) -> bool:
        """Whether nothing runs beside an import, a transfer, or a first call, so that their times count."""
        return self.number < _ALONE

    def _start(self, work: str, runner: Runner) -> bool:
        """Set up the problem if it is not set up yet, and compile the workload."""
        pool, (side, config), works = self._pool(runner), runner, self.works[runner]
        judged = not all(_agreement(side, self._case(runner, name)) for name in works)
        try:
            expected = self.judges.expect(self.spec) if needs_expected(self.spec, works) else None
            self.setups[runner] = pool.open(config, self.spec, works, judged, expected)
        except Exception as error:  # the failure applies to all remaining workloads of the problem
            for rest in works[works.index(work) :]:
                self._fail(runner, rest, error)
            return False

        def start() -> None:
            self.timed[runner, work] = _Timed(pool.start(config, work))

        return self._attempt(runner, work, start)

    def _calibrate(self, runner: Runner, work: str) -> None:
        self.timed[runner, work].call_s = self._pool(runner).calibrate(runner[1], self.plan.slice_s)

    def _choose(self, work: str, start: Array, random: Random) -> Array | None:
        """Draw the point at which one timed call is judged, which does not follow from the seed of the run."""
        generator: Any = np.random.default_rng(random.getrandbits(64))
        index, point = 0, None
        if work in EVALUATED and needs_expected(self.spec, [work]):
            points = self.judges.expect(self.spec).points
            index = random.randrange(len(points))
            point = points[index]
        elif not self.spec.is_function:
            spread = 1.0 if work in EVALUATED else NEAR
            point = start.astype(np.float64) + generator.normal(scale=spread * start.size**-0.5, size=start.size)
            point = point.astype(self.spec.dtype).astype(np.float64)
        self.points[work] = index, point
        return point

    def _slice(self, runner: Runner, work: str, seed: int, turn: int, chosen: Array | None) -> None:
        timed, pool = self.timed[runner, work], self._pool(runner)
        timed.slices.append(pool.slice(runner[1], seed, chosen if turn == timed.turn else None))
        if turn == timed.turn and chosen is None and work in ("step", "batch", "fit"):
            timed.agreement = pool.judge_descent(runner[1], work)

    def _end(self, runner: Runner, work: str, waits: bool) -> None:
        timed = self.timed[runner, work]
        for seed in range(3 * len(timed.slices)):  # noise may hide that a longer descent takes longer
            if fastest(timed.slices) > 0:
                break
            timed.slices.append(self._pool(runner).slice(runner[1], seed, None))
        timed.end = self._pool(runner).end(runner[1], waits)
        if not fastest(timed.slices) > 0:
            raise _HiddenByNoise
        speed = timed.end.passes * self.spec.bytes / fastest(timed.slices)
        limit = self.judges.limit(self._case(runner, work), speed)
        if not speed <= limit:
            raise Implausible(
                f"it would read X at {speed / 1e9:.3g} GB/s, but no more than {limit / 1e9:.3g} GB/s are possible here"
                "; it keeps results, or leaves out rows"
            )

    def _judge(self) -> None:
        """Judge the answers of timed calls."""
        claims: list[tuple[Runner, str, Answer]] = []
        for (runner, work), timed in list(self.timed.items()):
            answers = [each.answer for each in timed.slices if each.answer is not None]
            if answers and needs_expected(self.spec, [work]):
                by_hand = self.spec.is_function and runner[1].backend == "numpy"
                expected = self.judges.expect(self.spec)
                timed.agreement = expected_ratio(work, self.points[work][0], answers[0], expected, by_hand)
            elif answers:
                claims.append((runner, work, answers[0]))
        points = {work: point for work, (_, point) in self.points.items() if point is not None}
        try:
            found = self.judges.judge(self.spec, points, [(work, answer) for _, work, answer in claims])
        except Exception as error:  # what cannot be judged gets no time
            for runner, work, _ in claims:
                self._fail(runner, work, error)
            found, claims = [], []
        for (runner, work, _), ratio in zip(claims, found, strict=True):
            self.timed[runner, work].agreement = ratio
        for (runner, work), timed in list(self.timed.items()):
            if timed.agreement is not None and not timed.agreement <= 1:
                what = f"launch {self.number + 1}: the answer of a timed call differs by {timed.agreement:.3g} times"
                self._fail(runner, work, Disagrees(f"in {what} what rounding allows", timed.agreement))

    def _keep(self, runner: Runner, work: str, timed: _Timed) -> None:
        """Write the record of a launch."""
        (side, config), setup, end = runner, self.setups[runner], timed.end
        assert end is not None
        record = {"record": "launch", "run": self.name, "case": self._case(runner, work).to_dict()}
        record |= {"launch": self.number, **asdict(self._pool(runner).worker_info(config)), **asdict(end)}
        record |= {"transfer_s": setup.transfer_s, "plan": setup.plan, "worst": setup.worst}
        record |= {"agreement": setup.agreement, "answer": timed.agreement}
        record |= {"first_call_s": timed.first_call_s, "alone": self._alone}
        seconds = fastest(timed.slices)
        record |= {"batches_s": [each.seconds for each in timed.slices if each.seconds > 0] or [seconds]}
        record |= {"fastest_s": seconds}
        record |= {"cpu_s": median(each.cpu_s for each in timed.slices)}
        side.file.write({**record, "calls": sum(each.calls for each in timed.slices)})

    def _last(self) -> str:
        """Return the last times in words."""
        works = [work for _, work in self.timed]
        times = [
            f"{runner[1].label} {duration(fastest(timed.slices))}"
            for (runner, work), timed in self.timed.items()
            if work == works[-1] and timed.slices
        ]
        return f" (before: {', '.join(times)})" if times else ""


def _agreement(side: Side, case: Case) -> bool:
    return any(record["agreement"] is not None for record in side.file.results.of(case).values())
