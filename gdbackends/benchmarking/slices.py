"""Time a workload in slices of some milliseconds, in a worker process: the parent lets the backends take turns.

Every call starts from another random point. One call of a slice, drawn at random by the parent, may get a point of the
parent's choice; its answer is judged after the clock has stopped, so that what is timed is what is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import sleep
from typing import Any, Protocol

import numpy as np

from gdbackends.benchmarking.workloads import Workload
from gdbackends.descent import Fit
from gdbackends.measurement.timing import clock, cpu_clock, seconds
from gdbackends.objectives import Array

_BATCH = 256
"""Most calls between two readings of the clock; their points are made beforehand."""
_MOST_STEPS = 1 << 15
"""Most steps of the shorter of two descents: the answers of longer ones would take the judge too long."""
_TRIES = 5
"""The largest number of calls, or pairs of descents, that calibrate."""
_READS = 5
"""How many results are read to see whether calls wait for them."""
_LONG = 0.01
"""Seconds from which a call needs no warm-up after the other backends had their turns."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a timed call returned.

    Attributes:
        value: the loss (), the gradient or another derivative, or the parameters (p,) at the end of a descent.
        steps: the number of steps of a descent.
        finished: whether the descent ended before the number of steps it was given.
    """

    value: Array
    steps: int = 0
    finished: bool = False


@dataclass(frozen=True, eq=False)
class Slice:
    """The times of a slice.

    Attributes:
        seconds: wall time of a call, in the fastest batch of calls, since other load only adds time; or of one more
            step, in the median pair of descents, which noise may make negative.
        cpu_s: CPU time of all threads in the same calls, per call or step; above `seconds` if several cores worked.
        calls: the number of timed calls, or of steps.
        descents: the steps and the seconds of the fastest short and long descent; empty for calls.
        started: the clock at the start of the slice, which the parent compares with its own.
        ended: the clock at its end.
        answer: what the call at the chosen point returned, if there was one.
    """

    seconds: float
    cpu_s: float
    calls: int
    descents: tuple[tuple[int, float], ...]
    started: float
    ended: float
    answer: Answer | None


class Timer(Protocol):
    """How the calls of a workload are timed."""

    call_s: float

    def slice(self, generator: Any, chosen: Array | None) -> Slice:
        """Time a slice; `chosen` (p,) is the point of one of its calls."""
        ...


def timer(workload: Workload, slice_s: float, steps: bool, most: int = _MOST_STEPS) -> Timer:
    """Return the calibrated timer of a workload, which has been called once.

    Args:
        workload: what to time.
        slice_s: seconds of a slice; at least one call is timed.
        steps: whether one more step of a descent is timed, and not a call.
        most: the largest number of steps of the shorter descent.
    """
    return _StepTimer(workload, slice_s, most) if steps else _CallTimer(workload, slice_s)


class _CallTimer:
    """Times calls in batches."""

    def __init__(self, workload: Workload, slice_s: float) -> None:
        self._workload, generator, size = workload, np.random.default_rng(0), 1
        while True:
            times: list[float] = []
            while len(times) < _TRIES and sum(times) < slice_s:
                points = workload.points(generator, size)
                times.append(seconds(lambda points=points: _each(workload.call, points)))
            self.call_s = min(times) / size
            if size * self.call_s >= min(1e-3, slice_s / 10) or size >= _BATCH:
                break
            size *= 2
        self._calls = max(1, round(slice_s / self.call_s))
        self._warm = 0 if self.call_s > _LONG else min(_BATCH, max(1, round(slice_s / 4 / self.call_s)))

    def slice(self, generator: Any, chosen: Array | None) -> Slice:
        """Time a slice."""
        workload, started = self._workload, clock()
        _each(workload.call, workload.points(generator, self._warm))
        place = int(generator.integers(self._calls))
        walls: list[float] = []
        cpu_s, answer = 0.0, None
        for first in range(0, self._calls, _BATCH):
            points = workload.points(generator, min(_BATCH, self._calls - first))
            k = place - first if first <= place < first + len(points) else 0
            if chosen is not None and k == place - first:
                points[k] = workload.place(chosen)
            cpu, begun = cpu_clock(), clock()
            _each(workload.call, points[:k])
            result = workload.call(points[k])
            _each(workload.call, points[k + 1 :])
            walls.append((clock() - begun) / len(points))
            cpu_s += cpu_clock() - cpu
            if k == place - first:
                answer = _answer(workload, result)
        answer = None if chosen is None else answer
        return Slice(min(walls), cpu_s / self._calls, self._calls, (), started, clock(), answer)


class _StepTimer:
    """Times one more step: the difference of two descents over the difference of their steps.

    Fixed costs, such as placement and the check of the start, cancel in the difference.
    """

    def __init__(self, workload: Workload, slice_s: float, most: int) -> None:
        self._workload, generator, k = workload, np.random.default_rng(0), 1
        while True:
            self._short, self._long = k, 3 * k
            pairs: list[_Pair] = []
            while len(pairs) < 3 or (len(pairs) < _TRIES and sum(pair.long.wall for pair in pairs) < slice_s):
                pairs.append(self._pair(workload.points(generator, 2), self._long))
            short, long = min(pair.short.wall for pair in pairs), min(pair.long.wall for pair in pairs)
            if long - short >= slice_s / 2 or short >= 4 * slice_s or k >= most:
                break
            k *= 2
        self.call_s = short + long
        self._pairs = max(1, round(slice_s / self.call_s))

    def _pair(self, points: Sequence[Any], first: int) -> _Pair:
        """Time the short descent from one point and the long one from the other; `first` steps are made first."""
        one, other = points
        times: dict[int, _Time] = {}
        for steps in sorted((self._short, self._long), reverse=first == self._long):
            at, cpu, begun = one if steps == self._short else other, cpu_clock(), clock()
            result = self._workload.call(at, steps)
            times[steps] = _Time(clock() - begun, cpu_clock() - cpu, result)
        return _Pair(times[self._short], times[self._long])

    def slice(self, generator: Any, chosen: Array | None) -> Slice:
        """Time a slice."""
        workload, started, answer = self._workload, clock(), None
        if self.call_s <= _LONG:
            workload.call(workload.points(generator, 1)[0], self._short)
        place, pairs = int(generator.integers(self._pairs)), list[_Pair]()
        while len(pairs) < self._pairs:
            points = workload.points(generator, 2)
            if chosen is not None and len(pairs) == place:
                points[1] = workload.place(chosen)
            pairs.append(self._pair(points, int(generator.choice((self._short, self._long)))))
        more, wall = self._long - self._short, median(p.long.wall - p.short.wall for p in pairs)
        if chosen is not None:
            answer = _answer(workload, pairs[place].long.result, self._long)
        cpu_s = max(0.0, median(pair.long.cpu - pair.short.cpu for pair in pairs)) / more
        best = (self._short, min(p.short.wall for p in pairs)), (self._long, min(p.long.wall for p in pairs))
        steps = len(pairs) * (self._short + self._long)
        return Slice(wall / more, cpu_s, steps, best, started, clock(), answer)


@dataclass(frozen=True)
class _Time:
    wall: float
    cpu: float
    result: Any


@dataclass(frozen=True)
class _Pair:
    short: _Time
    long: _Time


def fastest(slices: Sequence[Slice]) -> float:
    """Return the seconds of a call, or of one more step, by the fastest slices, since other load only adds time."""
    if not slices[0].descents:
        return min(each.seconds for each in slices)
    (short, low), (long, high) = (min(column, key=_wall) for column in zip(*(s.descents for s in slices), strict=True))
    return (high - low) / (long - short)


def _wall(descent: tuple[int, float]) -> float:
    return descent[1]


def _each(call: Callable[..., Any], points: Sequence[Any]) -> None:
    for point in points:
        call(point)


def _answer(workload: Workload, result: Any, steps: int | None = None) -> Answer:
    if isinstance(result, Fit):
        return Answer(result.theta.astype(np.float64), result.steps, steps is None or result.steps < steps)
    assert workload.read is not None
    return Answer(np.asarray(workload.read(result), np.float64))


def hidden_seconds(workload: Workload, plain: Callable[[Array], Any]) -> float:
    """Return the seconds of computation that a call did not wait for: 0, or the time to read its result immediately.

    A result counts as unfinished if reading it takes longer than half of the call plus 3 times the reading of an
    ordinary array of its shape, plus 5 us of noise: immediately, or, for lazy evaluation, after a pause. The
    measurements alternate, and their minima are compared, since noise only adds time.

    Args:
        workload: a workload whose result is to be read.
        plain: plain(array) returns an array of the backend that is read like the result.
    """
    read, generator = workload.read, np.random.default_rng(1)
    assert read is not None
    waits, at_once, rested, ordinary = list[float](), list[float](), list[float](), list[float]()
    for _ in range(_READS):
        one, other = workload.points(generator, 2)
        answers: list[Any] = []
        waits.append(seconds(lambda one=one, answers=answers: answers.append(workload.call(one))))
        at_once.append(seconds(lambda answers=answers: answers.append(read(answers[0]))))
        answer = workload.call(other)
        sleep(max(1e-3, 2 * (waits[-1] + at_once[-1])))
        rested.append(seconds(lambda answer=answer: read(answer)))
        usual = plain(np.asarray(answers[1]))
        ordinary.append(seconds(lambda usual=usual: read(usual)))
    allowed = 0.5 * min(waits) + 3 * min(ordinary) + 5e-6
    slowest = max(min(at_once), min(rested))
    return slowest if slowest > allowed else 0.0
