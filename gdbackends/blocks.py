"""The row-weighted mean: an objective over all rows from its values over blocks of rows.

An objective is a mean over rows, so for any partition of the rows its value and its gradient are the means of those of
the parts, weighted by their numbers of rows. Cache blocks, threads, and files larger than memory use this one function;
the classic mistake is to omit the weights when the last part is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from gdbackends.objectives import Array

BYTES = 8 << 20
"""Bytes of X in a block: the result of one product is still in the cache when the next one reads it. Smaller blocks are
slower, since every product has its own call on all cores (benchmarks/NOTES.md)."""


def splits(objective: object) -> bool:
    """Return whether the mean over parts is the value of the whole; False for a sum over rows without a `total`."""
    return bool(getattr(objective, "splits", False))


Parts: TypeAlias = tuple[Array, ...]
"""The values that are averaged: (value,), or (value, gradient)."""


def block_rows(features: int, itemsize: int = 8) -> int:
    """Return the number of rows of a block, at least 1."""
    return max(1, BYTES // (itemsize * features))


def spans(rows: int, block: int) -> Iterator[slice]:
    """Yield the slices of the blocks, in order; the last may be short."""
    for start in range(0, rows, block):
        yield slice(start, min(start + block, rows))


def describe_blocks(rows: int, block: int) -> str:
    """Return in words how the rows are divided into blocks."""
    return f"{-(-rows // block):,} blocks of {block:,} rows"


def over_blocks(
    part: Callable[[int, int], Parts], rows: int, block: int, add_up: Callable[[Callable[[int], Parts], int], Parts]
) -> Parts:
    """Return the row-weighted mean of the parts over all rows.

    Args:
        part: part(start, size) evaluates the objective over the rows from `start`.
        rows: the number of rows, at least `block`.
        block: rows of each part except the last, which holds the rest.
        add_up: add_up(term, count) returns term(0) + ... + term(count - 1) in a way that suits the framework.
    """
    whole, short = divmod(rows, block)
    total = add_up(lambda k: part(k * block, block), whole)
    if not short:
        return tuple(a * (1 / whole) for a in total)
    last = part(whole * block, short)
    return tuple(a * (block / rows) + b * (short / rows) for a, b in zip(total, last, strict=True))


def add_up(term: Callable[[int], Parts], count: int, start: int = 0, step: int = 1) -> Parts:
    """Return term(start) + term(start + step) + ... for indices below `count`, in order."""
    total = term(start)
    for k in range(start + step, count, step):
        total = tuple(a + b for a, b in zip(total, term(k), strict=True))
    return total
