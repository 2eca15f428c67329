"""How JAX's data lie, and how a compiled function walks through them block by block."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# JAX's own annotations are partial.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdbackends.blocks import Parts, block_rows, over_blocks
from gdbackends.objectives import Array

_LARGE = 72 << 20
"""Bytes of X from which blocks pay: a slice is copied, which a cache that holds X makes superfluous."""
_WIDE = 500
"""Features from which blocks do not pay: their slices are short."""


class FeatureMajor(NamedTuple):
    """A matrix X stored as its transpose: inside a compiled loop `stored.T` is free, and X is read in one pass."""

    stored: Array


def rows_of(array: Array) -> Array:
    """Return the matrix (n, d) as the objective sees it."""
    return array.stored.T if isinstance(array, FeatureMajor) else array


def in_blocks(rows: int, features: int, itemsize: int) -> bool:
    """Say whether X of that size is taken by blocks."""
    return rows * features * itemsize >= _LARGE and features < _WIDE


def value_over_blocks(whole: Callable[..., Parts], theta: Array, X: Array, y: Array) -> Parts:
    """Return the mean over blocks of rows, traced: one loop, however many."""
    if not in_blocks(X.shape[0], X.shape[1], X.dtype.itemsize):
        return whole(theta, X, y)
    stored = X.T  # undoes that of `rows_of`: the slices are of what lies in memory

    def part(start: Array, size: int) -> Parts:
        rows = lax.dynamic_slice_in_dim(stored, start, size, 1).T
        return whole(theta, rows, lax.dynamic_slice_in_dim(y, start, size, 0))

    def add_up(term: Callable[[Any], Parts], count: int) -> Parts:
        zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(term, 0))
        return lax.fori_loop(0, count, lambda k, total: jax.tree.map(jnp.add, total, term(k)), zero)

    return over_blocks(part, X.shape[0], block_rows(X.shape[1]), add_up)
