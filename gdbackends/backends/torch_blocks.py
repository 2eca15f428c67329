"""How PyTorch walks through large data on the CPU: in blocks of rows, which the threads share out."""

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
"""Bytes of X from which blocks in threads are faster than the whole."""


def worth_blocking(size: int) -> bool:
    """Return whether X of so many bytes is processed in blocks: large, with several threads and no dispatch mode."""
    return size >= _LARGE and torch.get_num_threads() > 1 and not in_dispatch_mode()


def over_row_blocks(whole: Callable[..., Parts], theta: Array, X: Array, y: Array) -> Parts:
    """Return the mean over blocks of rows; each thread processes blocks of its own, with one thread per operation.

    Threads that share an operation exchange what they have written: 25 ms against 19 ms at 400,000 x 100.
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
    """Return a pool of threads with one thread per operation; `process` is a key because fork keeps no threads."""
    started = Barrier(workers + 1)
    pool = ThreadPoolExecutor(workers, "gdbackends", lambda: torch.set_num_threads(1))
    for _ in range(workers):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(workers)  # the pool has changed the default of the caller's next thread
    return pool
