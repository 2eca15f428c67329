"""How a correct gradient may be spelled: X W and X^T S, for W (d,) or (d, k) and S (n,) or (n, k)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
Gradient = Callable[..., Array]
Rng = np.random.Generator


def by_rows(X: Array, S: Array) -> Array:
    total = np.zeros((X.shape[1], *S.shape[1:]), S.dtype)
    for x, s in zip(X, S, strict=True):
        total += np.multiply.outer(x, s)
    return total


def by_cumsum(X: Array, S: Array) -> Array:
    products = X.reshape(*X.shape, *(1,) * (S.ndim - 1)) * S[:, None]
    return np.cumsum(products, axis=0, dtype=np.float64)[-1].astype(S.dtype)


def by_blocks(X: Array, S: Array) -> Array:
    return sum(X[i : i + 7].T @ S[i : i + 7] for i in range(0, X.shape[0], 7))


SPELLINGS: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]] = {
    "matmul": (lambda X, W: X @ W, lambda X, S: X.T @ S),
    "vector first": (lambda X, W: (W.T @ X.T).T, lambda X, S: (S.T @ X).T),
    "einsum": (lambda X, W: np.einsum("ij,j...->i...", X, W), lambda X, S: np.einsum("ij,i...->j...", X, S)),
    "rows": (lambda X, W: np.array([x @ W for x in X]), by_rows),
    "cumsum": (lambda X, W: X @ W, by_cumsum),
    "blocks": (lambda X, W: X @ W, by_blocks),
    "reversed": (lambda X, W: X @ W, lambda X, S: X[::-1].T @ S[::-1]),
    "features": (
        lambda X, W: sum(np.multiply.outer(X[:, j], W[j]) for j in range(W.shape[0])),
        lambda X, S: np.array([(X[:, j] * S.T).sum(-1) for j in range(X.shape[1])]),
    ),
}
