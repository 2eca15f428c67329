"""The steps between two checks as arrays: the rates, and for batches the rows of each step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
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


def chunks(
    problem: Problem, rates: Rates, order: RowOrder | None = None, done: int = 0
) -> Iterator[tuple[Chunk, bool]]:
    """Yield the chunks in order, each with whether a check follows it.

    Checks follow after 1, 2, 4, 8, ... steps (epochs for batches) and then at equal distances, which depend only on
    the shapes and so are the same on every backend.

    Args:
        problem: the problem.
        rates: the rate of every step.
        order: draws the rows of each epoch; None for a new one. When a chunk that a check follows is yielded, it has
            drawn the epochs up to there and no others.
        done: the number of steps already made, whose chunks are left out; whole epochs.
    """
    order = order or RowOrder(problem)
    for start, stop in _between_checks(problem, len(rates)):
        if stop <= done:
            continue
        part = rates[max(start, done) : stop]
        *most, last = order.up_to(part) if len(problem.batches) > 1 else [(part,)]
        yield from ((chunk, False) for chunk in most)
        yield last, True


def is_check(problem: Problem, step: int) -> bool:
    """Return whether a check follows this step in every fit of more steps."""
    return any(stop == step for _, stop in _between_checks(problem, step + 1))


def _between_checks(problem: Problem, steps: int) -> Iterator[tuple[int, int]]:
    """Yield the first step after each check, and the step that the next check follows."""
    epoch = len(problem.batches)
    every = max(1, min(_CHECK_EVERY, max(50, _CHECK_WORK // (problem.rows * problem.theta0.size))) // epoch)
    start, check = 0, 1
    while start < steps:
        stop = min(check * epoch, steps)
        yield start, stop
        start, check = stop, min(2 * check, check + every)


class RowOrder:
    """The order of rows, drawn anew for each epoch and divided into batches."""

    def __init__(self, problem: Problem) -> None:
        """Begin before the first epoch."""
        self._seed, self._rows, self._size = problem.seed, problem.rows, problem.batch_size or problem.rows

    @cached_property
    def generator(self) -> np.random.Generator:
        """What draws the order; a descent over all rows does not make it, which takes as long as some steps."""
        return np.random.default_rng(self._seed)

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
            orders = [self.generator.permutation(self._rows) for _ in range(0, len(part), epoch)]
            full = np.concatenate([order[: whole * self._size] for order in orders]).reshape(-1, self._size)
            count = min(len(full), len(part))
            yield part[:count], full[:count]
            if len(part) > count:
                yield part[count:], orders[0][None, whole * self._size :]
