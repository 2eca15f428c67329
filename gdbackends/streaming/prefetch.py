"""Reading ahead: the next blocks are made ready in threads while one is computed with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_SPARE = 1
"""Blocks that lie ready beside those being read: one evens out what takes longer."""


def ahead(load: Callable[[int, int], T], count: int, workers: int) -> Generator[T]:
    """Yield load(0, place), ..., load(count - 1, place) in order, the next ones being made in threads meanwhile.

    One thread loads in order. What a load raises is raised here. However this ends, closed early included, no thread is
    left.

    Args:
        load: load(k, place) makes the k-th; `place`, from 0 to places(workers) - 1, is taken by no other one that is
            being made or was yielded last: memory may be kept for each.
        count: how many there are.
        workers: threads.
    """
    with ThreadPoolExecutor(workers, "gdbackends-reader") as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for k in range(count + workers + _SPARE):
                if k < count:
                    waiting.append(pool.submit(load, k, k % places(workers)))
                if k >= workers + _SPARE:
                    yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def places(workers: int) -> int:
    """Return how many are being made, lie ready, or are used, at most."""
    return workers + _SPARE + 1
