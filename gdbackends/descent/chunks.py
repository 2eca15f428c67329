"""The steps between two checks as arrays: the rates, and for batches the rows of each step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from gdbackends.descent.problem import Problem
from gdbackends.descent.rates import Rates
from gdbackends.objectives import Array

Chunk: TypeAlias = tuple[Array, ...]
"""(rates,) or (rates, rows): NumPy arrays of shapes (k,) and (k, batch) for k steps."""

_CHECK_EVERY = 8192
_CHECK_WORK = 1 << 31
"""Elements of X read between two checks, about a second. A check took 4 steps at 400,000 x 100, hence at least 50."""
_ROW_NUMBERS = 8192
"""Number of row indices in a chunk of several epochs."""


def chunks(problem: Problem, rates: Rates) -> Iterator[tuple[Chunk, bool]]:
    """Yield the chunks in order, each with whether a check follows it.

    Checks follow after 1, 2, 4, 8, ... steps (epochs for batches) and then at equal distances, which depend only on
    the shapes and so are the same on every backend.
    """
    epoch = len(problem.batches)
    every = max(1, min(_CHECK_EVERY, max(50, _CHECK_WORK // (problem.rows * problem.theta0.size))) // epoch)
    batches = _Batches(problem) if epoch > 1 else None
    start, check = 0, 1
    while start < len(rates):
        stop = min(check * epoch, len(rates))
        *most, last = batches.up_to(rates[start:stop]) if batches else [(rates[start:stop],)]
        yield from ((chunk, False) for chunk in most)
        yield last, True
        start, check = stop, min(2 * check, check + every)


class _Batches:
    """The order of rows, drawn anew for each epoch and divided into batches."""

    def __init__(self, problem: Problem) -> None:
        self._generator = np.random.default_rng(problem.seed)
        self._rows, self._size = problem.rows, problem.batch_size or problem.rows

    def up_to(self, rates: Array) -> Iterator[Chunk]:
        """Yield the chunks of these steps, which begin an epoch.

        Epochs of equal batches are combined, since a compiled loop is called once for each chunk. A short last batch
        is a chunk of its own, and so are the full batches before it.
        """
        whole, short = divmod(self._rows, self._size)
        epoch = whole + (short > 0)
        at_once = epoch if short else epoch * max(1, _ROW_NUMBERS // self._rows)
        for start in range(0, len(rates), at_once):
            part = rates[start : start + at_once]
            orders = [self._generator.permutation(self._rows) for _ in range(0, len(part), epoch)]
            full = np.concatenate([order[: whole * self._size] for order in orders]).reshape(-1, self._size)
            count = min(len(full), len(part))
            yield part[:count], full[:count]
            if len(part) > count:
                yield part[count:], orders[0][None, whole * self._size :]
