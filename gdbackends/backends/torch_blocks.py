"""How PyTorch walks through large data on the processor: blocks of rows, each thread taking its own."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyTorch's own annotations are partial.

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from os import getpid
from threading import Barrier

import torch

from gdbackends.backends.torch_rounding import in_dispatch_mode
from gdbackends.blocks import BYTES, Parts, add_up, block_rows, over_blocks
from gdbackends.objectives import Array

_LARGE = 4 * BYTES
"""Bytes of X from which blocks in threads pay."""


def worth_blocking(size: int) -> bool:
    """Say whether X of so many bytes is taken by blocks: large, more threads than one, and no mode to see it all."""
    return size >= _LARGE and torch.get_num_threads() > 1 and not in_dispatch_mode()


def over_row_blocks(whole: Callable[..., Parts], theta: Array, X: Array, y: Array) -> Parts:
    """Return the mean over blocks of rows, every thread taking each of its own, one thread to an operation.

    Threads that share an operation pass what one has written to the other: 25 ms against 19 ms at 400,000 x 100.
    """
    workers = torch.get_num_threads()
    pool = _pool(workers, getpid())

    def part(start: int, size: int) -> Parts:
        rows = slice(start, start + size)
        return whole(theta, X[rows], y[rows])

    def in_threads(term: Callable[[int], Parts], count: int) -> Parts:
        sums = list(pool.map(partial(add_up, term, count, step=workers), range(min(workers, count))))
        return add_up(sums.__getitem__, len(sums))

    return over_blocks(part, X.shape[0], block_rows(X.shape[1], X.itemsize), in_threads)


@cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Return threads that use one thread an operation; a process that was forked off has none of its parent's."""
    started = Barrier(workers + 1)
    pool = ThreadPoolExecutor(workers, "gdbackends", lambda: torch.set_num_threads(1))
    for _ in range(workers):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(workers)  # the threads have changed what the next one of the caller's would take
    return pool
