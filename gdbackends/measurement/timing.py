"""The only clock of the package; what it times ends in the backend's `synchronize`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from math import log
from statistics import median
from time import gmtime, perf_counter, process_time, strftime

from gdbackends.errors import InputError, InputTypeError
from gdbackends.measurement.statistics import Estimate, estimate, middle

_BATCH = 1e-3
"""Least seconds of a batch of calls, compared with which the clock (0.1 us) and the loop (0.05 us a call) vanish."""


clock = perf_counter
"""Seconds of wall time; on Linux, macOS and Windows the same clock in all processes."""
cpu_clock = process_time
"""Seconds of CPU time of all threads of this process."""


class Stopped(Enum):
    """Why no more calls were timed; the value is the sentence."""

    PRECISE = "The interval is as narrow as was asked for."
    BUDGET = "The time budget is spent."


@dataclass(frozen=True)
class Timing:
    """The time of a call.

    Attributes:
        launches: for each process, the seconds of a call in each batch of calls.
        calls: the total number of timed calls.
        stopped: why the timing stopped.
    """

    launches: Sequence[Sequence[float]]
    calls: int
    stopped: Stopped

    @cached_property
    def estimate(self) -> Estimate:
        """Seconds of a call with the 99 % interval over launches; for one launch, over its batches."""
        return estimate(self.logs) if len(self.launches) > 1 else middle(self.launches[0])

    @property
    def median(self) -> float:
        """The geometric mean of the median calls of the launches, in seconds."""
        return self.estimate.value

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 99 % interval, in seconds."""
        return self.estimate.low, self.estimate.high

    @property
    def logs(self) -> list[float]:
        """The logarithm of the median of each launch."""
        return [log(median(batches)) for batches in self.launches]


class Deadline:
    """A deadline that many seconds from now; None means never."""

    def __init__(self, budget: float | None) -> None:
        """Start."""
        self._start, self._budget = perf_counter(), budget

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self._start

    @property
    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return self._budget is not None and self.spent >= self._budget


def measure(closure: Callable[[], object], *, precision: float = 0.01, budget: float = 1.0) -> Timing:
    """Time a function of no arguments in this process, after an untimed call that compiles and warms up.

    Another process may differ by more than the interval, which covers only the batches of this one; `gdbackends bench`
    starts several.

    Args:
        closure: the function, which waits for its result, for example by `backend.synchronize`.
        precision: stop when the relative half width of the 99 % interval is at most this.
        budget: or stop after this many seconds, with at least one call timed. With fewer than three batches the
            interval is unknown, from 0 to infinity.

    Raises:
        InputError: precision or budget is not positive.
    """
    if not callable(closure):
        raise InputTypeError(f"measure takes a function of no arguments, got {closure!r}; write lambda: ...")
    for name, value in (("precision", precision), ("budget", budget)):
        if not 0 < value < float("inf"):
            raise InputError(f"{name} must be a positive number, got {value}")
    deadline = Deadline(budget)
    size, batch, first = _calibrated(closure, budget, deadline)
    batches = [first]
    while not deadline.passed:
        batches.append(batch())
        if len(batches) >= 10 and middle(batches).spread <= precision:
            return Timing((tuple(batches),), size * len(batches), Stopped.PRECISE)
    return Timing((tuple(batches),), size * len(batches), Stopped.BUDGET)


def batches(closure: Callable[[], object], budget: float) -> tuple[list[float], int]:
    """Return the seconds of a call in each batch within the budget, at least three, and the number of calls."""
    size, batch, first = _calibrated(closure, budget, Deadline(None))
    count = max(3, min(200, int(budget / (size * first))))
    return [batch() for _ in range(count)], size * count


def _calibrated(
    closure: Callable[[], object], budget: float, deadline: Deadline
) -> tuple[int, Callable[[], float], float]:
    """Return the calls of a batch, a function that runs a batch and returns the seconds of a call, and its last result.

    The call that compiles does not affect the number.
    """
    closure()
    size = 1

    def batch() -> float:
        start = perf_counter()
        for _ in range(size):
            closure()
        return (perf_counter() - start) / size

    while size * (last := batch()) < max(_BATCH, budget / 100) and not deadline.passed:
        size *= 2
    return size, batch, last


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

    Fixed costs, such as compilation and placement, cancel in the difference; their noise does not, so k is doubled
    until the difference is large.

    Args:
        run: a function that makes a given number of steps and waits for the last.
        least: the least seconds of 2k steps.
        rounds: the number of pairs of runs, whose order alternates.
        most: the largest k.

    Raises:
        ArithmeticError: even that many steps cannot be distinguished from noise.
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
    """Return the current time in UTC, to the second."""
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
