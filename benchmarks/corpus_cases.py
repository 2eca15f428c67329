"""The cases of the corpus: wrong gradients, right ones in many spellings, and right ones that cancel digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from corpus_linear import Problem, logistic_slope
from corpus_manners import different_function, mutates, nondeterministic, not_a_gradient, precision, shape, stale
from corpus_mistakes import (
    Wrong,
    compound,
    extra_term,
    factor,
    l1_for_l2,
    missing_term,
    offset,
    permutation,
    row,
    scaling,
    sign,
    small,
    weights_of,
)
from corpus_problems import TURNED, draw
from corpus_spellings import SPELLINGS, Array, Gradient, Rng

from gdbackends.backends import installed


@dataclass(frozen=True, eq=False)
class Case:
    """A problem with data, a gradient, and what a check should say of it.

    Attributes:
        fault: the family of the mistake; "correct" for none.
        kinds: the names that are true of it, the first the one meant.
        single: one mistake, not two together.
    """

    problem: Problem
    theta: Array
    data: tuple[Array, Array]
    hand: Gradient
    fault: str
    kinds: tuple[str, ...]
    single: bool = True
    passes: bool = False


FAULTS: dict[str, Callable[[Problem, Rng, Gradient], Wrong | None]] = {
    "factor": factor,
    "sign": sign,
    "permutation": permutation,
    "missing-term": missing_term,
    "extra-term": extra_term,
    "l1-for-l2": l1_for_l2,
    "offset": offset,
    "row": row,
    "scaling": scaling,
    "small": small,
    "compound": compound,
    "precision": precision,
    "mutates-input": mutates,
    "stale": stale,
    "nondeterministic": nondeterministic,
    "shape": shape,
    "different-function": different_function,
    "not-a-gradient": not_a_gradient,
}


def kink(p: Problem, g: Rng) -> Case:
    """Another subgradient at zeros than the frameworks': it must pass, and its reason be said."""
    theta, data = draw(p, g, tame=True)
    theta[g.permutation(p.d)[: g.integers(1, p.d + 1)]] = 0.0
    at_zero = g.uniform(-0.99, 0.99)
    hand = lambda *a, **k: p.gradient(*a, at_zero=at_zero, **k)  # noqa: E731
    return Case(p, theta, data, hand, "kink", ("kink",), passes=True)


def faults(seed: int, kept: list[Problem]) -> Iterator[Case]:
    """Yield wrong gradients without end: the kinds in turn, over problems at random."""
    g = np.random.default_rng([seed, 1])
    while True:
        for name, fault in FAULTS.items():
            found = None
            while found is None:  # not every mistake can be made everywhere
                p = kept[g.integers(len(kept))]
                found = fault(p, g, p.gradient)
            theta, data = draw(p, g, tame=p.name == "lasso")
            yield Case(p, theta, data, found[0], name, found[1], single=name not in ("compound", "l1-for-l2"))
        yield kink(next(p for p in kept if p.name == "lasso"), g)


def correct(seed: int, kept: list[Problem], autodiff: Callable[[Problem, str], Gradient]) -> Iterator[Case]:
    """Yield right gradients without end, in all spellings and by autodiff itself; one in nine cancels digits."""
    g, own = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 3])
    while True:
        for _ in range(8):
            p = kept[g.integers(len(kept))]
            theta, data = draw(p, g, tame=p.name == "lasso")
            ways = [*SPELLINGS, *(["gram", "gram matrix"] if p.gram else []), *installed_frameworks()]
            way = ways[g.integers(len(ways))]
            if way.startswith("gram"):
                hand = gram(p, way == "gram matrix")
            elif way in SPELLINGS:
                hand = spell_gradient(p, way)
            else:
                hand = autodiff(p, way)
            yield Case(p, theta, data, hand, "correct", (), passes=True)
        yield cancelling(kept, own)


def by_logarithm(z: Array) -> Array:
    """Spell softmax e^(z - log sum e^z)."""
    top = z - z.max(1, keepdims=True)
    return np.exp(top - np.log(np.exp(top).sum(1, keepdims=True)))


CANCELLING: dict[str, tuple[Callable[..., Array], ...]] = {
    "logistic": (
        logistic_slope,  # 1 - 1 where z is large and y is 1
        lambda z, y: 0.5 * (1 + np.tanh(0.5 * z)) - y,  # and where it is as far below 0, and y is 0
        lambda z, y: np.where(y == 1, 1 / (1 + np.exp(-z)) - 1, 1 - 1 / (1 + np.exp(z))),
    ),
    "softmax": (lambda z, y: by_logarithm(z) - np.eye(z.shape[1], dtype=z.dtype)[y],),
    "network": (lambda a: 1 - a * a, lambda a: 1 - a**2, lambda a: (1 - a) * (1 + a)),
}


def cancelling(kept: list[Problem], g: Rng) -> Case:
    """A right gradient that subtracts nearly equal numbers: a sigmoid, a softmax or a tanh at 15 to 30, and labels.

    Each row is as long as it takes; every second time all labels are right, so that nothing but the cancelled is left.
    """
    found = TURNED if g.integers(2) else [p for p in kept if p.name.split(",")[0] in CANCELLING]
    p = found[g.integers(len(found))]
    slopes = CANCELLING[p.name.split(",")[0]]
    theta, (X, _) = draw(p, g, tame=True)
    if p.intercept:
        theta[-1] = 0.0
    if p.name.startswith("network"):
        inner = theta[: -p.units].reshape(p.units, p.d) if theta.ndim == 1 else theta[:, :-1]
        X = X * (g.uniform(5, 25, size=p.n) / np.abs(X @ inner.T).max(1))[:, None]
        targets = g.normal(size=p.n)
    else:
        z = X @ (theta[: p.d] if theta.ndim == 1 else theta.T)
        apart = np.abs(z) if z.ndim == 1 else np.ptp(z, axis=1)
        X = X * (g.uniform(15, 30, size=p.n) / apart)[:, None]
        right = z > 0 if z.ndim == 1 else np.argmax(z, 1)
        drawn = g.integers(p.units or 2, size=p.n) if g.integers(2) else right
        targets = drawn.astype(np.int64 if p.name == "softmax" else np.float64)
    slope = slopes[g.integers(len(slopes))]
    return Case(p, theta, (X, targets), with_slope(p, slope), "correct", (), passes=True)


def with_slope(p: Problem, slope: Callable[..., Array]) -> Gradient:
    return lambda *a, **k: p.gradient(*a, slope=slope, **k)


def installed_frameworks() -> tuple[str, ...]:
    return tuple(name for name in installed() if name != "numpy")


def spell_gradient(p: Problem, way: str) -> Gradient:
    return lambda *a, **k: p.gradient(*a, spelling=way, **k)


def gram(p: Problem, matrix: bool) -> Gradient:
    """Spell least squares X^T (X theta) - X^T y, or (X^T X) theta - X^T y, the penalty's gradient added."""

    def hand(theta: Array, X: Array, y: Array, **k: Any) -> Array:
        design = np.append(X, np.ones((y.size, 1), X.dtype), axis=1) if p.intercept else X
        both = (design.T @ design) @ theta if matrix else design.T @ (design @ theta)
        return (2 / p.total(y.size) * (both - design.T @ y) + 2 * p.l2 * weights_of(p, theta)).astype(theta.dtype)

    return hand
