"""Statistics of all rows that a descent needs before it starts, block by block: extremes, means, quantiles, labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdbackends.objectives import Array
from gdbackends.ranks import RelayedError
from gdbackends.scaling import Scaling, scaling_of
from gdbackends.streaming.rows import Rows, over_ranks, over_rows, row_blocks

_DIGIT = 16
"""Bits of a number that one pass of a quantile determines."""


@dataclass(frozen=True, eq=False)
class Summary:
    """Extremes and means, float64.

    Attributes:
        low: (d + 1,), the minima of the features and, last, of the target.
        high: (d + 1,), the maxima.
        mean: (d + 1,), the means.
    """

    low: Array
    high: Array
    mean: Array

    def standardization(self, rows: Rows) -> Scaling:
        """Return the scaling to mean 0 and standard deviation 1, by another pass over the rows."""

        def squares(center: Array, largest: Array) -> Array:
            def part(X: Array, y: Array) -> tuple[Array, ...]:
                return (np.square((X - center) / largest).mean(0),)

            return over_rows(part, rows, rows.targets)[0]

        return scaling_of(self.low[:-1], self.high[:-1], self.mean[:-1], squares)


def summarised(rows: Rows) -> Summary:
    """Return the summary of rows without scaling and ones.

    Raises:
        InputError: there are non-finite numbers; the message says how many, and where the first is.
    """
    ends: list[tuple[Array, Array]] = []

    def part(X: Array, y: Array) -> tuple[Array, ...]:
        table = (X, y[:, None])
        low, high, mean = (np.concatenate([f(a, axis=0) for a in table]) for f in (np.min, np.max, np.mean))
        ends[:] = [(low, high) if not ends else (np.minimum(ends[0][0], low), np.maximum(ends[0][1], high))]
        return (mean,)

    with np.errstate(all="ignore"):
        (mean,) = over_rows(part, rows, rows.targets)
    low, high = over_ranks(rows, ends[0][0]).min(0), over_ranks(rows, ends[0][1]).max(0)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        _refuse(rows)
    return Summary(low, high, mean)


def _refuse(rows: Rows) -> None:
    """Count the non-finite numbers and raise; for arrays only those of X, if there are any, as for arrays in memory."""
    unnamed, count = not getattr(rows.source, "names", ()), [0, 0]
    start = 0 if rows.share is None else rows.share.start
    first: list[Any] = [None, None]
    for X, y in row_blocks(rows, rows.targets):
        for part, values in enumerate((X, y[:, None])):
            bad = ~np.isfinite(values)
            count[part] += int(bad.sum())
            if first[part] is None and bad.any():
                row, column = (int(i) for i in np.argwhere(bad)[0])
                first[part] = (start + row, column if part == 0 else -1, float(values[row, column]))
        start += y.size
    if not any(count):
        raise RelayedError("another process has missing or non-finite values, and says where; drop or fill those rows")
    places = [where for where in first if where is not None]
    least = places[0] if unnamed else min(places, key=lambda where: where[0])
    raise rows.source.not_finite(count[0 if first[0] else 1] if unnamed else sum(count), *least)


def labels_of(rows: Rows) -> Array:
    """Return the distinct values of the target, sorted; at most three."""
    rows, labels = replace(rows, source=rows.source.target_only()), np.zeros(0)
    for _, y in row_blocks(rows, rows.targets):
        labels = np.union1d(labels, y)[:3]
        if labels.size > 2:
            break
    every = over_ranks(rows, np.concatenate((labels, np.full(3 - labels.size, np.nan))))
    return np.unique(every[np.isfinite(every)])[:3]


def quantile_of(rows: Rows, q: float) -> float:
    """Return the quantile q of the target like np.quantile, without holding or sorting it.

    Numbers of one sign are ordered by their bits, so each pass counts the next 16 bits of those numbers that share the
    bits found so far (radix selection).
    """
    rows = replace(rows, source=rows.source.target_only())
    place = q * (rows.shape[0] - 1)
    rank, prefix, digit = int(place), 0, 0
    counts = np.zeros(1 << _DIGIT, np.int64)
    for shift in range(64 - _DIGIT, -1, -_DIGIT):
        counts[:] = 0
        for _, y in row_blocks(rows, rows.targets):
            key = _ordered(y) >> np.uint64(shift)
            own = key[key >> np.uint64(_DIGIT) == prefix] if shift < 64 - _DIGIT else key
            counts += np.bincount((own & np.uint64((1 << _DIGIT) - 1)).astype(np.intp), minlength=1 << _DIGIT)
        counts[:] = over_ranks(rows, counts).sum(0)
        below = np.cumsum(counts)
        digit = int(np.searchsorted(below, rank, side="right"))
        rank -= int(below[digit - 1]) if digit else 0
        prefix = prefix << _DIGIT | digit
    value = float(_unordered(prefix))
    above = [float(y[y > value].min(initial=np.inf)) for _, y in row_blocks(rows, rows.targets)]
    least = float(over_ranks(rows, min(above)).min())
    follower = value if rank + 1 < counts[digit] or not np.isfinite(least) else least
    return float(np.quantile([value, follower], place - int(place)))


def _ordered(y: Array) -> Array:
    """Return float64 as unsigned integers in the same order, with -0.0 as 0.0."""
    bits: Array = (y + 0.0).view(np.uint64)
    top = np.uint64(1 << 63)
    return bits ^ (-(bits >> np.uint64(63)) | top)  # flip all bits of a negative number, else only the sign


def _unordered(key: int) -> Any:
    bits = key ^ (1 << 63) if key >> 63 else ~key & ((1 << 64) - 1)
    return np.array([bits], np.uint64).view(np.float64)[0]
