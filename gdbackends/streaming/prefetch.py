"""Prefetching: threads load the next blocks while the current one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_SPARE = 1
"""Loaded blocks in reserve; one compensates for loads that take longer."""


def prefetched(load: Callable[[int, int], T], count: int, workers: int) -> Generator[T]:
    """Yield load(0, slot), ..., load(count - 1, slot) in order, while threads load the next ones.

    A single thread loads in order. An exception of a load is raised here. No thread is left behind, however this ends.

    Args:
        load: load(k, slot) loads the k-th block; no other block that is being loaded or was yielded last has the same
            `slot`, from 0 to slots(workers) - 1, so that a buffer may be kept for each.
        count: the number of blocks.
        workers: the number of threads.
    """
    with ThreadPoolExecutor(workers, "gdbackends-reader") as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for k in range(count + workers + _SPARE):
                if k < count:
                    waiting.append(pool.submit(load, k, k % slots(workers)))
                if k >= workers + _SPARE:
                    yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def slots(workers: int) -> int:
    """Return the largest number of blocks that are being loaded, in reserve, or in use."""
    return workers + _SPARE + 1
