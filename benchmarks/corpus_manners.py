"""Mistakes in what a gradient does: its precision, its arguments, its memory, its shape, its function.

As in corpus_mistakes, each returns the wrong gradient and the kinds that are true of it, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from corpus_linear import Problem
from corpus_mistakes import Wrong
from corpus_spellings import Array, Gradient, Rng


def precision(p: Problem, g: Rng, right: Gradient) -> Wrong:
    name = g.choice(["float32", "float32", "float16"])

    def hand(*arrays: Array, **k: Any) -> Array:
        low = [a.astype(name) if a.dtype.kind == "f" else a for a in arrays]
        if not all(np.isfinite(a).all() for a in low):
            low = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]
        found = right(*low, **k).astype(np.float64)
        return found if np.isfinite(found).all() else right(*arrays, **k).astype(np.float32).astype(np.float64)

    return hand, ("precision",)


def mutates(p: Problem, g: Rng, right: Gradient) -> Wrong:
    def theta_too(theta: Array, *data: Array, **k: Any) -> Array:
        found = right(theta, *data, **k)
        theta -= 0.1 * found + 1
        return found

    def data_too(theta: Array, X: Array, y: Array, **k: Any) -> Array:
        found = right(theta, X, y, **k)
        X[:] = X - 2 * X[::-1]
        return found

    return [theta_too, data_too][g.integers(2)], ("mutates-input",)


def stale(p: Problem, g: Rng, right: Gradient) -> Wrong:
    kept: list[Array] = []

    def previous(*a: Array, **k: Any) -> Array:
        kept.append(right(*a, **k))
        return kept[-2] if len(kept) > 1 else kept[-1]

    def first(*a: Array, **k: Any) -> Array:
        if not kept:
            kept.append(right(*a, **k))
        return kept[0].copy()

    def buffer(*a: Array, **k: Any) -> Array:
        found = right(*a, **k)
        if not kept:
            kept.append(found)
        kept[0][...] = found
        return kept[0]

    kind = g.integers(2 if p.constant else 3)
    return [previous, buffer, first][kind], ("stale",)


def nondeterministic(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    own = np.random.default_rng(int(g.integers(2**31)))
    if g.integers(2) or p.n < 20:
        return lambda *a, **k: right(*a, **k) * (1 + 1e-3 * own.normal(size=p.shape)), ("nondeterministic",)
    return (
        lambda *a, **k: right(*a, rows=(own.random(p.n) < 0.5) * 2.0, **k),  # a batch of its own at each call
        ("nondeterministic",),
    )


def shape(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    changes: list[Callable[[Array], Array]] = [
        lambda h: h.reshape(-1, 1) if h.ndim == 1 else h.ravel(),
        lambda h: h[None],
        lambda h: np.append(h, 0.0),
        lambda h: h.sum(),
        lambda h: h.T if h.ndim == 2 and h.shape[0] != h.shape[1] else h[..., None],
    ]
    change = changes[g.integers(5)]
    return lambda *a, **k: change(right(*a, **k)), ("shape",)


def different_function(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if p.name.startswith("network"):  # the derivative of another activation: no function has all these derivatives
        slope = [lambda a: a * (1 - a), lambda a: 1 - np.abs(a), lambda a: (a > 0).astype(a.dtype)][g.integers(3)]
        return lambda *a, **k: right(*a, slope=slope, **k), ("not-a-gradient", "different-function")
    if p.name == "softmax":
        return None
    if p.gram or p.name == "lasso":
        cut = float(10.0 ** g.uniform(-1, 0))

        def slope(z: Array, y: Array) -> Array:  # a smooth relative of Huber's, cut off near the mean residual
            r, near = z - y, cut * float(np.abs(y).mean())
            return 2 * r / np.sqrt(1 + (r / near) ** 2)
    else:
        c = g.choice([0.5, 2.0, 1.7])

        def slope(z: Array, y: Array) -> Array:
            return np.tanh(c * (z - y)) + 0.3 * z

    return lambda *a, **k: right(*a, slope=slope, **k), ("different-function",)


def not_a_gradient(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if p.size == 1:
        return None
    A = g.normal(size=(p.size, p.size)) / p.size**0.5
    A, size = A - A.T, []

    def hand(theta: Array, *a: Array, **k: Any) -> Array:
        found = right(theta, *a, **k)
        if not size:  # a curl about as large as the gradient itself, in every component
            per = np.abs(found.ravel()) / (np.abs(theta.ravel()) + (np.abs(theta).mean() or 1.0))
            size.append(np.sqrt(per + 1e-6 * per.max() + 1e-9))
        return found + (size[0] * (A @ (size[0] * theta.ravel()))).reshape(p.shape)

    return hand, ("not-a-gradient",)
