"""Mistakes to inject into a correct gradient: wrong numbers first, then wrong behaviour.

Each function returns the wrong gradient and the names that describe it truly, the intended one first, or None if the
mistake does not exist for the problem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from corpus_problems import Array, Gradient, Problem, Rng

Wrong = tuple[Gradient, tuple[str, ...]]


def factor(p: Problem, g: Rng, right: Gradient) -> Wrong:
    n = p.n
    c = g.choice([-1, 2, 0.5, n, 1 / n, 2 / n, n / (n - 1), n**0.5, g.uniform(1.1, 9) * g.choice([-1, 1])])
    return lambda *a, **k: c * right(*a, **k), ("factor",)


def sign(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if p.size == 1:
        return None  # one component has no proper subset
    signs = np.ones(p.size)
    signs[g.permutation(p.size)[: g.integers(1, p.size)]] = -1
    return lambda *a, **k: signs.reshape(p.shape) * right(*a, **k), ("sign",)


def permutation(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if p.size == 1:
        return None
    order, kind = np.arange(p.size), g.integers(4)
    if kind == 0:
        i, j = g.choice(p.size, 2, replace=False)
        order[[i, j]] = order[[j, i]]
    elif kind == 1 or (kind == 3 and len(p.shape) == 1):
        order = order[::-1]
    elif kind == 2:
        order = np.roll(order, 1)
    else:
        order = order.reshape(p.shape).T.ravel()  # the right numbers in column-major order
    return lambda *a, **k: right(*a, **k).ravel()[order].reshape(p.shape), ("permutation",)


def weights_of(p: Problem, theta: Array) -> Array:
    return np.append(theta[:-1], 0.0) if p.intercept else theta


def missing_term(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if not p.l2:
        return None
    c = g.choice([1.0, 0.5]) * 2 * p.l2  # without the term, or without the 2 of the power rule
    return lambda theta, *a, **k: right(theta, *a, **k) - c * weights_of(p, theta), ("missing-term",)


def extra_term(p: Problem, g: Rng, right: Gradient) -> Wrong:
    c = 2 * p.l2 if p.l2 else g.uniform(0.05, 1)
    terms: list[Callable[[Array], Array]] = [
        lambda theta: weights_of(p, theta),
        np.sign,
        lambda theta: np.append(0 * theta[:-1], theta[-1]) if p.intercept else theta,
    ]
    term = terms[g.integers(3)]
    return lambda theta, *a, **k: right(theta, *a, **k) + c * term(theta), ("extra-term",)


def l1_for_l2(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if not p.l2:
        return None

    def hand(theta: Array, *a: Array, **k: Any) -> Array:
        w = weights_of(p, theta)
        return right(theta, *a, **k) - 2 * p.l2 * w + p.l2 * np.sign(w)

    return hand, ("compound",)  # one term is missing, and another is extra


def offset(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    kind = g.integers(3)
    # With one component, any offset is a multiple of 1, which is one of the terms that the check tries.
    alike = ("missing-term", "extra-term") if p.size == 1 else ()
    if kind == 2:
        c = g.normal(size=p.shape)
        return lambda *a, **k: right(*a, **k) + c, ("offset", *alike)
    if not p.linear_in_y or p.name == "softmax":
        return None
    if kind == 0:  # without the target
        return lambda theta, X, y, **k: right(theta, X, 0 * y, **k), ("offset", *alike)
    return lambda theta, X, y, **k: right(theta, X, y - y.mean(), **k), (
        "offset",
        *alike,
    )  # y is centred in the gradient but not in the loss


def row(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if p.size == 1:
        return None  # every number is a multiple of the gradient of every row
    kind, i = g.integers(3), g.integers(p.n)
    # In a network the contribution of a row is no multiple of x_i, so the check can only name a different function.
    alike = ("different-function",) if p.name.startswith("network") else ()
    if kind == 2:  # the last row is dropped, and the mean is over the others
        return lambda theta, X, y, **k: right(theta, X[:-1], y[:-1], **k), ("row", *alike)
    rows = np.ones(p.n)
    rows[i] = kind * 2.0  # the row is missing or counted twice, but the divisor is still n
    return lambda *a, **k: right(*a, rows=rows, **k), ("row", *alike)


def scaling(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if p.size == 1:
        return None  # it would be a single factor
    c = 10.0 ** g.uniform(-2, 2, size=p.shape)
    # If the gradient is the same at every point, factors of the components are an offset.
    return lambda *a, **k: c * right(*a, **k), ("scaling", *(("offset",) if p.constant else ()))


def small(p: Problem, g: Rng, right: Gradient) -> Wrong:
    c = np.ones(p.size)
    c[g.integers(p.size)] += g.choice([-1, 1]) * 10.0 ** g.uniform(-8, -3)
    kinds = ("factor",) if p.size == 1 else ("scaling", *(("offset",) if p.constant else ()))
    return lambda *a, **k: c.reshape(p.shape) * right(*a, **k), kinds


def compound(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    kind, c, w = g.integers(3), g.choice([2.0, 0.5, -1.0, p.n, g.uniform(1.5, 5)]), g.uniform(0.1, 1)
    if kind == 0:
        return lambda theta, *a, **k: c * right(theta, *a, **k) + w * theta, ("compound",)
    if kind == 1:
        return lambda theta, *a, **k: right(theta, *a, **k) + w * theta - np.sign(theta), ("compound",)
    found = sign(p, g, right)
    return found and ((lambda *a, **k: abs(c + 3) * found[0](*a, **k)), ("compound",))


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
    def change_theta(theta: Array, *data: Array, **k: Any) -> Array:
        found = right(theta, *data, **k)
        theta -= 0.1 * found + 1
        return found

    def change_data(theta: Array, X: Array, y: Array, **k: Any) -> Array:
        found = right(theta, X, y, **k)
        X[:] = X - 2 * X[::-1]
        return found

    return [change_theta, change_data][g.integers(2)], ("mutates-input",)


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
    noise = np.random.default_rng(int(g.integers(2**31)))
    if g.integers(2) or p.n < 20:
        return lambda *a, **k: right(*a, **k) * (1 + 1e-3 * noise.normal(size=p.shape)), ("nondeterministic",)
    return (
        lambda *a, **k: right(*a, rows=(noise.random(p.n) < 0.5) * 2.0, **k),  # a new random batch at each call
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
    if p.name.startswith("network"):  # the derivative of another activation; the result is not a gradient
        slope = [lambda a: a * (1 - a), lambda a: 1 - np.abs(a), lambda a: (a > 0).astype(a.dtype)][g.integers(3)]
        return lambda *a, **k: right(*a, slope=slope, **k), ("not-a-gradient", "different-function")
    if p.name == "softmax":
        return None
    if p.gram or p.name == "lasso":
        cut = float(10.0 ** g.uniform(-1, 0))

        def slope(z: Array, y: Array) -> Array:  # pseudo-Huber, with its transition near the mean |y|
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
        if not size:  # a curl about as large as the gradient, in every component
            per = np.abs(found.ravel()) / (np.abs(theta.ravel()) + (np.abs(theta).mean() or 1.0))
            size.append(np.sqrt(per + 1e-6 * per.max() + 1e-9))
        return found + (size[0] * (A @ (size[0] * theta.ravel()))).reshape(p.shape)

    return hand, ("not-a-gradient",)
