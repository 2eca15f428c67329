"""What is stepped over between two checks: rates, and for batches the rows of each step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from gdbackends.descent.problem import Problem
from gdbackends.objectives import Array

Piece: TypeAlias = tuple[Array, ...]
"""(rates,), each (k,), or (rates, rows), rows (k, batch): arrays of NumPy with as many entries as steps."""

_CHECK_EVERY = 8192
_CHECK_WORK = 1 << 31
"""Elements of X read between two checks: about a second. A check costs a step, and 50 steps hide it."""


def pieces(problem: Problem, rates: Array) -> Iterator[tuple[Piece, bool]]:
    """Yield the pieces in order, each with whether a check comes after it.

    Checks come after 1, 2, 4, 8, ... steps (epochs, for batches) and then at even distances, which depend on the
    shapes alone: they are the same on every backend.
    """
    epoch = len(problem.batches)
    every = max(1, min(_CHECK_EVERY, max(50, _CHECK_WORK // problem.X.size)) // epoch)
    generator = np.random.default_rng(problem.seed)
    start, check = 0, 1
    while start < len(rates):
        stop = min(check * epoch, len(rates))
        if epoch == 1:
            yield (rates[start:stop],), True
        else:
            for first in range(start, stop, epoch):
                *most, last = _epoch(
                    generator.permutation(problem.y.size), rates[first : min(first + epoch, stop)], problem
                )
                yield from ((piece, False) for piece in most)
                yield last, first + epoch >= stop
        start, check = stop, min(2 * check, check + every)


def _epoch(order: Array, rates: Array, problem: Problem) -> list[Piece]:
    """Return an epoch's pieces: its whole batches, and the short one that may be left; cut to the rates."""
    size = problem.batch_size or order.size
    whole = order.size // size
    cut = [
        (rates[:whole], order[: whole * size].reshape(-1, size)[: len(rates)]),
        (rates[whole:], order[None, whole * size :]),
    ]
    return [piece for piece in cut if piece[0].size]
