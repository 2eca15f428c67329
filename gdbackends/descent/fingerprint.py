"""A fingerprint of the data of a fit, the same however the rows are divided among processes or read from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gdbackends.arrays import check_shapes, real_array, target_values
from gdbackends.descent.streaming_backend import streamed_input
from gdbackends.objectives import Array, LinearModel, as_objective
from gdbackends.ranks import Ranks, all_or_none, exchanged, shared
from gdbackends.streaming import Rows, Targets
from gdbackends.streaming.rows import ELEMENTS

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def describe_data(X: Any, y: Any, objective: Any, ranks: Ranks | None = None) -> dict[str, Any]:
    """Return the numbers of rows and features, and a fingerprint, which are the same however the rows are divided.

    Args:
        X: (n, d), the features given to `fit`.
        y: (n,), the target given to `fit`.
        objective: the objective, which determines whether y may be text.
        ranks: the processes that each hold a part of the rows, in their order.

    Raises:
        InputError: X or y cannot be used.
    """
    with all_or_none(ranks):
        rows, features, blocks = _raw_blocks(X, y, as_objective(objective), ranks)
    share = None if ranks is None else shared(ranks, rows)
    with all_or_none(ranks):
        number = fingerprint(blocks, 0 if share is None else share.start)
    if ranks is not None and share is not None:
        rows, number = share.rows, sum(exchanged(ranks, number)) % (1 << 64)
    return {"rows": rows, "features": features, "fingerprint": f"{number:016x}"}


def _raw_blocks(X: Any, y: Any, objective: Any, ranks: Ranks | None) -> tuple[int, int, Iterator[tuple[Array, Array]]]:
    """Return the numbers of rows and features of this process, and blocks of X (m, d) and y (m,) as they are given."""
    streamed: Rows | None = None
    if ranks is None or isinstance(X, Rows):
        streamed, _ = streamed_input(X, y, objective) or (None, None)
    target: Any = None
    if not isinstance(y, Targets):
        labels = isinstance(objective, LinearModel) and objective.row_loss.target == "label"
        target = _numbered(target_values(y)) if labels else real_array(y, "y", copy=False)
    if streamed is not None:
        return streamed.source.rows, streamed.source.features, _with_target(streamed.blocks(), target)
    X = real_array(X, "X", copy=False)
    check_shapes(X.shape, np.shape(target))
    size = max(1, ELEMENTS // X.shape[1])
    parts = ((X[k : k + size], X[k : k + size, 0]) for k in range(0, X.shape[0], size))
    return *X.shape, _with_target(parts, target)


def _with_target(blocks: Iterable[tuple[Array, Array]], target: Array | None) -> Iterator[tuple[Array, Array]]:
    """Yield the blocks, with the target of the same rows if it is given."""
    start = 0
    for X, y in blocks:
        yield X, y if target is None else target[start : start + len(X)]
        start += len(X)


def _numbered(target: Array) -> Array:
    """Return a target of text as a hash of each, which does not depend on the other rows."""
    if target.dtype.kind != "U":
        return target
    values, at = np.unique(target, return_inverse=True)
    hashes = [int(digest_of(text.encode("utf8", "surrogatepass")), 16) for text in values.tolist()]
    return np.array(hashes, np.uint64)[at]


def fingerprint(blocks: Iterable[tuple[Array, Array]], first_row: int = 0) -> int:
    """Return the sum modulo 2^64 of a hash of each row: of its index, and of the bits of its numbers as float64.

    The fingerprint of all rows is the sum of those of their parts. It is no protection against intent.

    Args:
        blocks: X (m, d) and y (m,) of consecutive rows; y of uint64 is taken as the bits.
        first_row: the index of the first row among all.
    """
    total, row = 0, first_row
    for X, y in blocks:
        keys = _mixed(np.arange(1, X.shape[1] + 2, dtype=np.uint64) * _GOLDEN) | np.uint64(1)
        hashed = (_folded(X) * keys[:-1]).sum(axis=1, dtype=np.uint64) + _folded(y) * keys[-1]
        index = np.arange(row, row + len(X), dtype=np.uint64)
        total += int(_mixed(hashed ^ _mixed(index * _GOLDEN)).sum(dtype=np.uint64))
        row += len(X)
    return total % (1 << 64)


def _folded(numbers: Array) -> Array:
    """Return the bits of float64, with those of the exponent also in the lower half, which small integers leave 0."""
    with np.errstate(over="ignore"):
        floats: Array = numbers if numbers.dtype == np.uint64 else numbers.astype(np.float64)
    bits = floats.view(np.uint64)
    return bits ^ (bits >> np.uint64(32))


def _mixed(x: Array) -> Array:
    """Return the finalizer of SplitMix64, in which every bit of x affects every bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def digest_of(content: bytes) -> str:
    """Return 64 bits of a cryptographic hash, as 16 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()
