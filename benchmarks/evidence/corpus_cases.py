"""The cases of the corpus: wrong gradients, and correct ones in many formulations, some of which lose digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from corpus_mistakes import (
    Wrong,
    compound,
    different_function,
    extra_term,
    factor,
    l1_for_l2,
    missing_term,
    mutates,
    nondeterministic,
    not_a_gradient,
    offset,
    permutation,
    precision,
    row,
    scaling,
    shape,
    sign,
    small,
    stale,
    weights_of,
)
from corpus_problems import FORMULATIONS, STABLE_LOGISTIC, Array, Gradient, Problem, Rng, draw, logistic_slope

from gdbackends.backends import installed


@dataclass(frozen=True, eq=False)
class Case:
    """A problem with data, a gradient, and the expected result of the check.

    Attributes:
        problem: the problem.
        theta: the parameters at which to check.
        data: X and y.
        hand: the gradient to check.
        fault: the name of the mistake in FAULTS, "kink", or "correct".
        kinds: the names that describe the mistake truly, the intended one first.
        single: whether there is one mistake rather than two.
        passes: whether the check must not fail.
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
    """Return a valid subgradient that differs from the frameworks' at zeros; it must pass with the reason given."""
    theta, data = draw(p, g, tame=True)
    theta[g.permutation(p.d)[: g.integers(1, p.d + 1)]] = 0.0
    at_zero = g.uniform(-0.99, 0.99)
    hand = lambda *a, **k: p.gradient(*a, at_zero=at_zero, **k)  # noqa: E731
    return Case(p, theta, data, hand, "kink", ("kink",), passes=True)


def faults(seed: int, chosen: list[Problem]) -> Iterator[Case]:
    """Yield wrong gradients indefinitely: every mistake in turn, each on a random problem."""
    g = np.random.default_rng([seed, 1])
    while True:
        for name, fault in FAULTS.items():
            found = None
            while found is None:  # not every mistake exists for every problem
                p = chosen[g.integers(len(chosen))]
                found = fault(p, g, p.gradient)
            theta, data = draw(p, g, tame=p.name == "lasso")
            yield Case(p, theta, data, found[0], name, found[1], single=name not in ("compound", "l1-for-l2"))
        yield kink(next(p for p in chosen if p.name == "lasso"), g)


def correct(seed: int, chosen: list[Problem], autodiff: Callable[[Problem, str], Gradient]) -> Iterator[Case]:
    """Yield correct gradients indefinitely, in all formulations and by autodiff; one in nine loses digits."""
    g, other = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 3])
    while True:
        for _ in range(8):
            p = chosen[g.integers(len(chosen))]
            theta, data = draw(p, g, tame=p.name == "lasso")
            ways = [*FORMULATIONS, *(["gram", "gram matrix"] if p.gram else []), *installed_frameworks()]
            way = ways[g.integers(len(ways))]
            if way.startswith("gram"):
                hand = gram(p, way == "gram matrix")
            elif way in FORMULATIONS:
                hand = formulated(p, way)
            else:
                hand = autodiff(p, way)
            yield Case(p, theta, data, hand, "correct", (), passes=True)
        yield cancelling(chosen, other)


def by_logarithm(z: Array) -> Array:
    """Return the softmax as e^(z - log sum e^z)."""
    top = z - z.max(1, keepdims=True)
    return np.exp(top - np.log(np.exp(top).sum(1, keepdims=True)))


CANCELLING: dict[str, tuple[Callable[..., Array], ...]] = {
    "logistic": (
        logistic_slope,  # cancels if z is large and y is 1
        lambda z, y: 0.5 * (1 + np.tanh(0.5 * z)) - y,  # and if -z is large and y is 0
        lambda z, y: np.where(y == 1, 1 / (1 + np.exp(-z)) - 1, 1 - 1 / (1 + np.exp(z))),
    ),
    "softmax": (lambda z, y: by_logarithm(z) - np.eye(z.shape[1], dtype=z.dtype)[y],),
    "network": (lambda a: 1 - a * a, lambda a: 1 - a**2, lambda a: (1 - a) * (1 + a)),
}


def cancelling(chosen: list[Problem], g: Rng) -> Case:
    """Return a correct gradient that subtracts nearly equal numbers: a saturated sigmoid, softmax or tanh.

    The rows of X are scaled to predictions of 15 to 30 (5 to 25 for a tanh). In half of the cases all labels are
    predicted correctly, so that the whole gradient is the result of cancellation.
    """
    candidates = STABLE_LOGISTIC if g.integers(2) else [p for p in chosen if p.name.split(",")[0] in CANCELLING]
    p = candidates[g.integers(len(candidates))]
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
        spread = np.abs(z) if z.ndim == 1 else np.ptp(z, axis=1)
        X = X * (g.uniform(15, 30, size=p.n) / spread)[:, None]
        right = z > 0 if z.ndim == 1 else np.argmax(z, 1)
        drawn = g.integers(p.units or 2, size=p.n) if g.integers(2) else right
        targets = drawn.astype(np.int64 if p.name == "softmax" else np.float64)
    slope = slopes[g.integers(len(slopes))]
    return Case(p, theta, (X, targets), with_slope(p, slope), "correct", (), passes=True)


def with_slope(p: Problem, slope: Callable[..., Array]) -> Gradient:
    return lambda *a, **k: p.gradient(*a, slope=slope, **k)


def installed_frameworks() -> tuple[str, ...]:
    return tuple(name for name in installed() if name != "numpy")


def formulated(p: Problem, formulation: str) -> Gradient:
    return lambda *a, **k: p.gradient(*a, formulation=formulation, **k)


def gram(p: Problem, matrix: bool) -> Gradient:
    """Return least squares as X^T (X theta) - X^T y or (X^T X) theta - X^T y, plus the gradient of the penalty."""

    def hand(theta: Array, X: Array, y: Array, **k: Any) -> Array:
        design = np.append(X, np.ones((y.size, 1), X.dtype), axis=1) if p.intercept else X
        both = (design.T @ design) @ theta if matrix else design.T @ (design @ theta)
        return (2 / p.divisor(y.size) * (both - design.T @ y) + 2 * p.l2 * weights_of(p, theta)).astype(theta.dtype)

    return hand
