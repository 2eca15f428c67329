"""The only clock of the package. What it times ends in the backend's `synchronize`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from math import log
from statistics import median
from time import gmtime, perf_counter, strftime

from gdbackends.errors import InputError, InputTypeError
from gdbackends.measurement.statistics import Estimate, estimate, middle

_BATCH = 1e-3
"""Seconds of a batch of calls at least: reading the clock, 0.1 us, and the loop, 0.05 us a call, vanish in it."""


class Stopped(Enum):
    """Why no more calls were timed; the value is the sentence."""

    PRECISE = "The interval is as narrow as was asked for."
    BUDGET = "The time budget is spent."


@dataclass(frozen=True)
class Timing:
    """What a call takes.

    Attributes:
        launches: for each process the seconds of a call, one number a batch of calls.
        calls: calls timed, in all.
        stopped: why no more were.
    """

    launches: Sequence[Sequence[float]]
    calls: int
    stopped: Stopped

    @cached_property
    def estimate(self) -> Estimate:
        """Seconds of a call with the 99 % interval over launches; of one launch over its batches, for that process."""
        return estimate(self.logs) if len(self.launches) > 1 else middle(self.launches[0])

    @property
    def median(self) -> float:
        """Seconds: the median call of a launch, and of these the geometric mean."""
        return self.estimate.value

    @property
    def interval(self) -> tuple[float, float]:
        """Seconds: the ends of the 99 % interval."""
        return self.estimate.low, self.estimate.high

    @property
    def logs(self) -> list[float]:
        """The logarithm of each launch's median."""
        return [log(median(batches)) for batches in self.launches]


def measure(closure: Callable[[], object], *, precision: float = 0.01, budget: float = 1.0) -> Timing:
    """Time a function of no arguments in this process: first a call untimed, which compiles and warms.

    Another process may differ by more than the interval, which is over this one's batches of calls alone; `gdbackends
    bench` starts several.

    Args:
        closure: waits for what it computes: ends in `backend.synchronize`.
        precision: stop when the half width of the 99 % interval is at most this part of the time.
        budget: or after so many seconds, and three batches.

    Raises:
        InputError: precision or budget is not positive.
    """
    if not callable(closure):
        raise InputTypeError(f"measure takes a function of no arguments, got {closure!r}; write lambda: ...")
    for name, value in (("precision", precision), ("budget", budget)):
        if not 0 < value < float("inf"):
            raise InputError(f"{name} must be a positive number, got {value}")
    started, (size, batch) = perf_counter(), _calibrated(closure, budget)
    batches: list[float] = []
    while True:
        batches.append(batch())
        if len(batches) < 3:
            continue
        timing = Timing((tuple(batches),), size * len(batches), Stopped.PRECISE)
        if len(batches) >= 10 and timing.estimate.spread <= precision:
            return timing
        if perf_counter() - started >= budget:
            return Timing(timing.launches, timing.calls, Stopped.BUDGET)


def batches(closure: Callable[[], object], budget: float) -> tuple[list[float], int]:
    """Return the seconds of a call in each of the batches that the budget allows, three at least, and the calls."""
    size, batch = _calibrated(closure, budget)
    count = max(3, min(200, int(budget / (size * batch()))))
    return [batch() for _ in range(count)], size * count


def _calibrated(closure: Callable[[], object], budget: float) -> tuple[int, Callable[[], float]]:
    """Return how many calls a batch has, and a function that runs one and returns the seconds of a call.

    The call that compiles is not among those that decide.
    """
    closure()
    size = 1

    def batch() -> float:
        start = perf_counter()
        for _ in range(size):
            closure()
        return (perf_counter() - start) / size

    while size * batch() < max(_BATCH, budget / 100):
        size *= 2
    return size, batch


def seconds(closure: Callable[[], object]) -> float:
    """Return the wall time of one call, in seconds."""
    start = perf_counter()
    closure()
    return perf_counter() - start


def marginal_step(run: Callable[[int], object], *, least: float = 0.04, rounds: int = 5) -> float:
    """Return the seconds that one more step takes: the median of `marginal_steps`."""
    return median(marginal_steps(run, least, rounds)[0])


def marginal_steps(
    run: Callable[[int], object], least: float = 0.04, rounds: int = 5, *, most: int = 1 << 22
) -> tuple[list[float], int]:
    """Return the seconds that one more step takes, (t(3k) - t(k)) / 2k in each round, and the steps made.

    What is paid once, compiling and placing included, is in both and falls out; its noise does not, so k is doubled
    until the difference is large.

    Args:
        run: makes that many steps and waits for the last.
        least: seconds that 2k steps take at least.
        rounds: pairs of runs, whose order alternates.
        most: the most steps k.

    Raises:
        ArithmeticError: not even so many steps can be told from noise.
    """

    def timed(steps: int) -> float:
        return seconds(lambda: run(steps))

    k, taken = 1, [0.0]
    run(k)  # compiles
    while 2 * k * _marginal(timed, k) < least and k < most:
        k *= 2
    run(3 * k)
    while k <= most:
        taken = [_marginal(timed, k, longer_first=r % 2 == 1) for r in range(rounds)]
        if min(taken) > 0 and 2 * k * median(taken) >= least / 2:
            return taken, 4 * k * rounds
        k *= 2
    raise ArithmeticError(f"{3 * k:,} steps took no longer than {k:,}, got {min(taken)} s a step")


def _marginal(timed: Callable[[int], float], k: int, longer_first: bool = False) -> float:
    times = {steps: timed(steps) for steps in ((3 * k, k) if longer_first else (k, 3 * k))}
    return (times[3 * k] - times[k]) / (2 * k)


def now() -> str:
    """Return the time of day in UTC, to the second."""
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())


class Deadline:
    """So many seconds from now; None is never."""

    def __init__(self, budget: float | None) -> None:
        """Start."""
        self._start, self._budget = perf_counter(), budget

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self._start

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self._budget is not None and self.spent >= self._budget
