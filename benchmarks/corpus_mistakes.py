"""Mistakes in the numbers: each returns the wrong gradient and the kinds that are true of it.

None where the mistake cannot be made. The first kind is the one meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from corpus_linear import Problem
from corpus_spellings import Array, Gradient, Rng

Wrong = tuple[Gradient, tuple[str, ...]]


def factor(p: Problem, g: Rng, right: Gradient) -> Wrong:
    n = p.n
    c = g.choice([-1, 2, 0.5, n, 1 / n, 2 / n, n / (n - 1), n**0.5, g.uniform(1.1, 9) * g.choice([-1, 1])])
    return lambda *a, **k: c * right(*a, **k), ("factor",)


def sign(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if p.size == 1:
        return None  # of one component there is no proper subset
    turned = np.ones(p.size)
    turned[g.permutation(p.size)[: g.integers(1, p.size)]] = -1
    return lambda *a, **k: turned.reshape(p.shape) * right(*a, **k), ("sign",)


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
        order = order.reshape(p.shape).T.ravel()  # the right numbers, laid out column by column
    return lambda *a, **k: right(*a, **k).ravel()[order].reshape(p.shape), ("permutation",)


def weights_of(p: Problem, theta: Array) -> Array:
    return np.append(theta[:-1], 0.0) if p.intercept else theta


def missing_term(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if not p.l2:
        return None
    c = g.choice([1.0, 0.5]) * 2 * p.l2  # forgotten, or without the 2 of the power rule
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

    return hand, ("compound",)  # one term is missing and another one extra


def offset(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    kind = g.integers(3)
    # Of one component, any offset is a multiple of 1, which is looked for as a term.
    alike = ("missing-term", "extra-term") if p.size == 1 else ()
    if kind == 2:
        c = g.normal(size=p.shape)
        return lambda *a, **k: right(*a, **k) + c, ("offset", *alike)
    if not p.linear_in_y or p.name == "softmax":
        return None
    if kind == 0:  # the target forgotten
        return lambda theta, X, y, **k: right(theta, X, 0 * y, **k), ("offset", *alike)
    return lambda theta, X, y, **k: right(theta, X, y - y.mean(), **k), ("offset", *alike)  # centred, the loss not


def row(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if p.size == 1:
        return None  # every number is a multiple of every row's
    kind, i = g.integers(3), g.integers(p.n)
    # In a network a row adds no multiple of itself: there it is seen only that another function is differentiated.
    alike = ("different-function",) if p.name.startswith("network") else ()
    if kind == 2:  # the last one dropped, and the mean taken of those that remain
        return lambda theta, X, y, **k: right(theta, X[:-1], y[:-1], **k), ("row", *alike)
    rows = np.ones(p.n)
    rows[i] = kind * 2.0  # missing, or counted twice, and the sum divided by n still
    return lambda *a, **k: right(*a, rows=rows, **k), ("row", *alike)


def scaling(p: Problem, g: Rng, right: Gradient) -> Wrong | None:
    if p.size == 1:
        return None  # that is one factor
    c = 10.0 ** g.uniform(-2, 2, size=p.shape)
    # Of a gradient that is the same at every point, factors of its own are an offset.
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
