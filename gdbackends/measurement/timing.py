"""The only clock of the package. What it times ends in the backend's `synchronize`."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter


def seconds(closure: Callable[[], object]) -> float:
    """Return the wall time of one call, in seconds."""
    start = perf_counter()
    closure()
    return perf_counter() - start


def marginal_step(run: Callable[[int], object], *, least: float = 0.02, rounds: int = 5, most: int = 1 << 20) -> float:
    """Return the seconds that one more step takes: the median over rounds of (t(3k) - t(k)) / 2k.

    What is paid once, compiling and placing included, is in both and falls out.

    Args:
        run: makes that many steps and waits for the last.
        least: k is doubled until k steps take this long, seconds.
        rounds: pairs of runs.
        most: the most steps k.
    """

    def timed(steps: int) -> float:
        return seconds(lambda: run(steps))

    k = 1
    run(k)  # compiles
    while timed(k) < least and k < most:
        k *= 2
    run(3 * k)
    return median((timed(3 * k) - timed(k)) / (2 * k) for _ in range(rounds))
