"""How JAX stores the data, and how a compiled function walks through them block by block."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# JAX's own annotations are partial.

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import local
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdbackends.blocks import BYTES, Parts, block_rows, over_blocks
from gdbackends.objectives import Array

_LARGE = 9 * BYTES
"""Bytes of X from which blocks are faster than the whole."""
_WIDE = 500
"""Number of features from which blocks are not faster: with 1,000 they took as long as the whole, or longer."""


class FeatureMajor(NamedTuple):
    """A matrix X stored as its transpose; in a compiled loop `stored.T` is free, and X is read in one pass."""

    stored: Array


class Blocks(NamedTuple):
    """A matrix X (n, d) cut into blocks of b rows, each stored as its transpose.

    A slice of a transpose would be copied before use, which takes as long as it saves; a block is not copied.

    Attributes:
        stored: (n // b, d, b).
        rest: (d, n % b).
    """

    stored: Array
    rest: Array


Laid: TypeAlias = FeatureMajor | Blocks


def to_layout(X: Array, dtype: str, blocks: bool) -> Laid:
    """Return X (NumPy) as it is stored: in blocks if they are allowed and faster."""
    itemsize = np.dtype(dtype).itemsize
    if not (blocks and in_blocks(X.shape[0], X.shape[1], itemsize)):
        return FeatureMajor(np.array(X.T, dtype, order="C"))
    block = block_rows(X.shape[1], itemsize)
    count = X.shape[0] // block
    whole = X[: count * block].reshape(count, block, X.shape[1]).transpose(0, 2, 1)
    return Blocks(np.array(whole, dtype, order="C"), np.array(X[count * block :].T, dtype, order="C"))


def as_matrix(array: Any) -> Array:
    """Return the matrix (n, d) that the objective sees, traced or in NumPy."""
    if isinstance(array, Blocks):
        parts = [array.stored.transpose(0, 2, 1).reshape(-1, array.stored.shape[1]), array.rest.T]
        return (np if isinstance(array.rest, np.ndarray) else jnp).concatenate(parts)
    return array.stored.T if isinstance(array, FeatureMajor) else array


def in_blocks(rows: int, features: int, itemsize: int) -> bool:
    """Return whether X of that size is stored in blocks."""
    return rows * features * itemsize >= _LARGE and features < _WIDE


def over_stored_rows(whole: Callable[..., Parts], data: tuple[Any, ...], splits: bool) -> Parts:
    """Return whole(*data), traced; for Blocks, if the objective splits, the mean over them in one loop."""
    if not (splits and len(data) == 2 and isinstance(data[0], Blocks)):
        return whole(*map(as_matrix, data))
    X, y = data
    block = X.stored.shape[2]
    if getattr(y, "shape", None) != (X.stored.shape[0] * block + X.rest.shape[1],):  # not a number for each row
        return whole(*map(as_matrix, data))

    def part(start: Array, size: int) -> Parts:
        stored = X.stored[start // block] if size == block else X.rest
        return whole(stored.T, lax.dynamic_slice_in_dim(y, start, size, 0))

    def add_up(term: Callable[[Any], Parts], count: int) -> Parts:
        zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(term, 0))
        return lax.fori_loop(0, count, lambda k, total: jax.tree.map(jnp.add, total, term(k)), zero)

    return over_blocks(part, y.shape[0], block, add_up)


class _Traced(local):
    """The Blocks of a step that this thread is tracing, with the matrices that the step sees."""

    pairs: tuple[tuple[Array, Blocks], ...] = ()


_TRACED = _Traced()


@contextmanager
def as_matrices(data: tuple[Any, ...]) -> Generator[tuple[Array, ...]]:
    """Give a step that is being traced its data as matrices; `as_stored` finds the Blocks of those in the context.

    The concatenation of Blocks that only the functions of the backend read is unused, and the compiler removes it.
    """
    matrices, before = tuple(map(as_matrix, data)), _TRACED.pairs
    _TRACED.pairs = tuple((m, a) for m, a in zip(matrices, data, strict=True) if isinstance(a, Blocks))
    try:
        yield matrices
    finally:
        _TRACED.pairs = before


def as_stored(data: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the data, with the Blocks in place of the matrices that stand for them in `as_matrices`."""
    for matrix, blocks in _TRACED.pairs:
        data = tuple(blocks if array is matrix else array for array in data)
    return data
