"""The law of the row-weighted mean: what an objective is over all rows follows from what it is over blocks of them.

An objective is a mean over rows, so over any partition of them its value, and its gradient, is the mean of the parts'
weighted by their rows. Caches, threads, and files larger than memory rest on this one function; the classic mistake is
to leave out the weights where the last part is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from gdbackends.objectives import Array

BYTES = 8 << 20
"""Of X in a block: what a product makes of it is in the cache when the next reads it. Smaller ones lose: a product is
given to all cores, and each has its call (benchmarks/NOTES.md)."""


def splits(objective: object) -> bool:
    """Say whether the law holds for the objective: a sum over rows that was not told of the whole keeps it not."""
    return bool(getattr(objective, "splits", False))


Parts: TypeAlias = tuple[Array, ...]
"""What is averaged: (value,), or (value, gradient)."""


def block_rows(features: int, itemsize: int = 8) -> int:
    """Return how many rows of so many features a block has, at least 1."""
    return max(1, BYTES // (itemsize * features))


def spans(rows: int, block: int) -> Iterator[slice]:
    """Yield the slices of the blocks, in order; the last may be short."""
    for start in range(0, rows, block):
        yield slice(start, min(start + block, rows))


def describe_blocks(rows: int, block: int) -> str:
    """Say how the rows are cut."""
    return f"{-(-rows // block):,} blocks of {block:,} rows"


def over_blocks(
    part: Callable[[int, int], Parts], rows: int, block: int, add_up: Callable[[Callable[[int], Parts], int], Parts]
) -> Parts:
    """Return the row-weighted mean of the parts over all rows.

    Args:
        part: part(start, size) evaluates the objective over the rows from `start`.
        rows: in all, at least `block`.
        block: rows of each part but the last, which holds the rest.
        add_up: add_up(term, count) returns term(0) + ... + term(count - 1), in the way that suits a framework.
    """
    whole, short = divmod(rows, block)
    total = add_up(lambda k: part(k * block, block), whole)
    if not short:
        return tuple(a * (1 / whole) for a in total)
    last = part(whole * block, short)
    return tuple(a * (block / rows) + b * (short / rows) for a, b in zip(total, last, strict=True))


def add_up(term: Callable[[int], Parts], count: int, start: int = 0, step: int = 1) -> Parts:
    """Return term(start) + term(start + step) + ..., below `count`, one after the other."""
    total = term(start)
    for k in range(start + step, count, step):
        total = tuple(a + b for a, b in zip(total, term(k), strict=True))
    return total
