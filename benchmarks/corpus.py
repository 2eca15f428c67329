"""A corpus of mistakes, which judges check_gradient: `python benchmarks/corpus.py --faults N --correct N`.

Gradients with one known mistake each (some with two), and correct ones in many spellings: of least squares, the
bundled losses, logistic, softmax and Poisson regression and a network, over well- and ill-conditioned data. JAX
compiles each loss once, so losses and shapes are few and fixed; data, parameters and mistakes are drawn. Exit 1 where
a correct gradient is refused.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from gdbackends import LinearRegression
from gdbackends.agreement.checking import check_subject
from gdbackends.agreement.preparing import prepare_subject, probe_points_near
from gdbackends.agreement.report import GradientReport
from gdbackends.agreement.subject import Frameworks
from gdbackends.backends import installed
from gdbackends.errors import InputError
from gdbackends.objectives import row_loss

Array = Any
Gradient = Callable[..., Array]
Rng = np.random.Generator


# How a correct gradient may be spelled: X W and X^T S, for W (d,) or (d, k) and S (n,) or (n, k).


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


# The problems.


@dataclass(frozen=True, eq=False)
class Problem:
    """A loss over fixed shapes, the gradient that is right, and what a mistake needs to know of it.

    Attributes:
        name: of the family.
        loss: loss(theta, X, y, **params).
        gradient: gradient(theta, X, y, spelling=, rows=, slope=, **params): `rows` (n,) weighs the rows, `slope`
            changes the derivative of the row loss (of the activation, in a network).
        shape: of theta.
        n: rows.
        d: columns of X.
        targets: targets(rng, z) from predictions.
        params: hyper-parameters passed by name.
        l2: the weight of the penalty, however it is passed.
        intercept: whether the last component is one, which is not penalised.
        linear_in_y: the target shifts the gradient by what does not depend on theta.
        constant: the gradient may be the same at every point.
        units: hidden ones of a network, classes of a softmax.
        gram: least squares, which X^T X theta - X^T y spells too.
        total: what the sum over n rows is divided by.
    """

    name: str
    loss: Callable[..., Array]
    gradient: Gradient
    shape: tuple[int, ...]
    n: int
    d: int
    targets: Callable[[Rng, Array], Array]
    params: Mapping[str, Any] = field(default_factory=dict)
    l2: float = 0.0
    intercept: bool = False
    linear_in_y: bool = False
    constant: bool = False
    units: int = 0
    gram: bool = False
    total: Callable[[int], float] = float

    @property
    def size(self) -> int:
        """The number of parameters."""
        return int(np.prod(self.shape))


def squared_slope(z: Array, y: Array) -> Array:
    return 2 * (z - y)


def logistic_slope(z: Array, y: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z)) - y


def poisson_slope(z: Array, y: Array) -> Array:
    return np.exp(z) - y


def squared_value(z: Array, y: Array) -> Array:
    return (z - y) ** 2


def logistic_value(z: Array, y: Array) -> Array:
    xp = array_namespace(z)
    return xp.logaddexp(xp.zeros_like(z), z) - y * z


def poisson_value(z: Array, y: Array) -> Array:
    return array_namespace(z).exp(z) - y * z


def noisy(g: Rng, z: Array) -> Array:
    return z + 10.0 ** g.uniform(-3, 1) * g.normal(size=z.shape) * (np.abs(z).mean() or 1.0)


def labels(g: Rng, z: Array) -> Array:
    return (g.random(z.shape) < 1 / (1 + np.exp(-np.clip(z, -30, 30)))).astype(float)


def counts(g: Rng, z: Array) -> Array:
    return g.poisson(np.exp(np.clip(z, -5, 5))).astype(float)


ROWS = {
    "squared": (squared_value, squared_slope, noisy),
    "logistic": (logistic_value, logistic_slope, labels),
    "poisson": (poisson_value, poisson_slope, counts),
}


def linear_gradient(slope: Callable[[Array, Array], Array], intercept: bool, l2: float, total: Callable[[int], float]):
    """Return the gradient of a linear model: X^T phi' / total(n), and the penalty's."""
    own = slope

    def gradient(theta: Array, X: Array, y: Array, *, spelling="matmul", rows=None, slope=own, **_: Any) -> Array:
        forward, back = SPELLINGS[spelling]
        z = forward(X, theta[:-1]) + theta[-1] if intercept else forward(X, theta)
        s = slope(z, y)
        s = s if rows is None else (rows * s).astype(s.dtype)
        early = spelling in ("einsum", "rows")  # divided before the sum or after it
        n = total(y.size)
        s = s / n if early else s
        g = np.append(back(X, s), s.sum()) if intercept else back(X, s)
        g = g if early else g / n
        if l2:
            g = g + 2 * l2 * (np.append(theta[:-1], 0).astype(theta.dtype) if intercept else theta)
        return g.astype(theta.dtype)

    return gradient


def own_linear(kind: str, n: int, d: int, intercept: bool, l2: float) -> Problem:
    value, slope, targets = ROWS[kind]

    def loss(theta: Array, X: Array, y: Array, l2: float = 0.0) -> Array:
        w = theta[:-1] if intercept else theta
        z = X @ w + theta[-1] if intercept else X @ w
        return array_namespace(theta).mean(value(z, y)) + l2 * (w @ w)

    return Problem(
        f"{kind}, own",
        loss,
        linear_gradient(slope, intercept, l2, float),
        (d + intercept,),
        n,
        d,
        targets,
        {"l2": l2} if l2 else {},
        l2,
        intercept,
        linear_in_y=True,
        gram=kind == "squared",
    )


def bundled(spelling: str, convention: Any, n: int, d: int, l2: float) -> Problem:
    kind = spelling.split(":")[0]
    objective = LinearRegression(convention, l2=l2, row_loss=row_loss(spelling))
    return Problem(
        f"{kind}, bundled",
        objective.loss,
        linear_gradient(objective.row_loss.derivative, True, l2, objective.divisor),
        (d + 1,),
        n,
        d,
        ROWS.get(kind, ROWS["squared"])[2],
        l2=l2,
        intercept=True,
        linear_in_y=kind in ("squared", "poisson"),  # the logistic one turns z by 1 - 2 y, at labels alone linear
        constant=kind in ("absolute", "quantile", "huber"),
        gram=kind == "squared",
        total=objective.divisor,
    )


def softmax(n: int, d: int, k: int) -> Problem:
    """The mean of log(sum_c exp(z_c)) - z_label over rows, z = X theta^T, theta (k, d)."""

    def loss(theta: Array, X: Array, y: Array) -> Array:
        xp = array_namespace(theta)
        z = X @ theta.T
        top = xp.max(z, axis=1, keepdims=True)
        chosen = xp.sum(xp.where(y[:, None] == xp.arange(k)[None, :], z, xp.zeros_like(z)), axis=1)
        return xp.mean(xp.log(xp.sum(xp.exp(z - top), axis=1)) + top[:, 0] - chosen)

    def own(z: Array, y: Array) -> Array:
        e = np.exp(z - z.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True) - np.eye(k, dtype=z.dtype)[y]

    def gradient(theta: Array, X: Array, y: Array, *, spelling="matmul", rows=None, slope=own) -> Array:
        forward, back = SPELLINGS[spelling]
        s = slope(forward(X, theta.T), y)
        s = s if rows is None else (rows[:, None] * s).astype(s.dtype)
        return (back(X, s) / y.size).T.astype(theta.dtype)

    def targets(g: Rng, z: Array) -> Array:
        return np.argmax(z + g.gumbel(size=z.shape), axis=1)

    return Problem("softmax", loss, gradient, (k, d), n, d, targets, linear_in_y=True, units=k)


def network(n: int, d: int, k: int, flat: bool) -> Problem:
    """Mean (tanh(X W^T) v - y)^2, W (k, d) and v (k,): theta (k, d + 1) holds v as its last column, or flat, behind."""

    def parts(theta: Array) -> tuple[Array, Array]:
        return (theta[: k * d].reshape((k, d)), theta[k * d :]) if flat else (theta[:, :-1], theta[:, -1])

    def loss(theta: Array, X: Array, y: Array) -> Array:
        xp, (W, v) = array_namespace(theta), parts(theta)
        return xp.mean((xp.tanh(X @ W.T) @ v - y) ** 2)

    def own(a: Array) -> Array:
        return 1 - a * a

    def gradient(theta: Array, X: Array, y: Array, *, spelling="matmul", rows=None, slope=own) -> Array:
        (forward, back), (W, v) = SPELLINGS[spelling], parts(theta)
        a = np.tanh(forward(X, W.T))
        r = 2 * (a @ v - y) / y.size
        r = r if rows is None else (rows * r).astype(r.dtype)
        inner, outer = back(X, r[:, None] * v * slope(a)).T, a.T @ r
        g = np.concatenate((inner.ravel(), outer)) if flat else np.concatenate((inner, outer[:, None]), axis=1)
        return g.astype(theta.dtype)

    shape = (k * (d + 1),) if flat else (k, d + 1)
    return Problem(f"network, {'flat' if flat else 'matrix'}", loss, gradient, shape, n, d, noisy, units=k)


def lasso(n: int, d: int) -> Problem:
    """Least squares and 0.1 |theta|_1, whose kinks lie at zeros."""

    def loss(theta: Array, X: Array, y: Array, l1: float) -> Array:
        xp = array_namespace(theta)
        return xp.mean((X @ theta - y) ** 2) + l1 * xp.sum(xp.abs(theta))

    smooth = linear_gradient(squared_slope, False, 0.0, float)

    def gradient(theta: Array, X: Array, y: Array, *, at_zero: float = 0.0, l1: float, **how: Any) -> Array:
        return smooth(theta, X, y, **how) + (l1 * np.where(theta == 0, at_zero, np.sign(theta))).astype(theta.dtype)

    return Problem("lasso", loss, gradient, (d,), n, d, noisy, {"l1": 0.1}, linear_in_y=True)


def problems() -> list[Problem]:
    """Return the fixed losses and shapes."""
    squared = [(5, 1, False, 0.0), (40, 4, False, 0.0), (60, 50, False, 0.0), (30, 3, False, 0.2)]
    squared += [(12, 1, True, 0.0), (300, 5, True, 0.01), (80, 8, True, 0.5)]
    logistic = [(50, 3, True, 0.0), (20, 1, False, 0.0), (100, 10, True, 0.1)]
    poisson = [(40, 2, True, 0.0), (120, 6, True, 0.05)]
    return [
        *(own_linear("squared", *at) for at in squared),
        *(own_linear("logistic", *at) for at in logistic),
        *(own_linear("poisson", *at) for at in poisson),
        bundled("squared", "mean", 15, 2, 0.0),
        bundled("squared", "half", 300, 20, 0.3),
        bundled("squared", "sum", 70, 4, 0.0),
        *(bundled(s, "mean", 60, 4, 0.0) for s in ("absolute", "huber:0.5", "quantile:0.9", "logistic", "poisson")),
        *(bundled(s, "mean", 25, 3, 0.3) for s in ("huber:2", "logistic")),
        softmax(60, 4, 3),
        softmax(40, 3, 3),
        network(50, 3, 4, flat=True),
        network(30, 2, 3, flat=False),
        lasso(30, 5),
    ]


# Data and parameters.


def table(g: Rng, n: int, d: int, tame: bool = False) -> Array:
    X = g.normal(size=(n, d))
    kind = 0 if tame else g.integers(5)
    if kind == 1:
        X = X * 10.0 ** g.uniform(-5, 5, size=d)
    elif kind == 2:
        X = X[:, :1] + 10.0 ** g.uniform(-5, -1) * X
    elif kind == 3:
        X = X + 10.0 ** g.uniform(0, 3, size=d)
    elif kind == 4:
        X = X * 10.0 ** g.uniform(-3, 3)
    return X


def draw(problem: Problem, g: Rng, tame: bool = False) -> tuple[Array, tuple[Array, Array]]:
    """Return theta, and X and y: at 0, random or near the optimum; `tame` is a random theta and normal data."""
    X = table(g, problem.n, problem.d, tame)
    scale = np.sqrt(np.square(X).mean(0))

    def parameters() -> Array:
        """Return parameters with predictions of about 1, some of them tiny."""
        if problem.name.startswith("network"):
            k, inner = problem.units, g.normal(size=(problem.units, problem.d)) / scale / np.sqrt(problem.d)
            both = np.concatenate((inner, g.normal(size=(k, 1))), axis=1)
            return np.append(inner, both[:, -1]) if len(problem.shape) == 1 else both
        theta = g.normal(size=problem.shape)
        theta[..., : problem.d] /= scale * np.sqrt(problem.d)
        if not tame and g.random() < 0.2:
            theta *= 10.0 ** g.uniform(-8, 0, size=problem.shape)
        return theta

    def predict(theta: Array) -> Array:
        if problem.name.startswith("network"):
            W, v = (
                (theta[: -problem.units].reshape(problem.units, -1), theta[-problem.units :])
                if theta.ndim == 1
                else (theta[:, :-1], theta[:, -1])
            )
            return np.tanh(X @ W.T) @ v
        return X @ theta[..., : problem.d].T + (theta[-1] if problem.intercept else 0.0)

    truth = parameters()
    y = problem.targets(g, predict(truth))
    where = 1 if tame else g.integers(3)
    theta = [np.zeros(problem.shape), parameters(), truth][where]
    if where == 2 and problem.gram and g.random() < 0.5:
        design = np.append(X, np.ones((problem.n, 1)), axis=1) if problem.intercept else X
        size = np.sqrt(np.square(design).mean(0))
        theta = np.linalg.lstsq(design / size, y)[0] / size
    return theta, (X, y)


# The mistakes: each returns the wrong gradient and the kinds that are true of it, or None where it cannot be made.


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
                hand = spelled(p, way)
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
    p = (found := [p for p in kept if p.name.split(",")[0] in CANCELLING])[g.integers(len(found))]
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


def spelled(p: Problem, way: str) -> Gradient:
    return lambda *a, **k: p.gradient(*a, spelling=way, **k)


def gram(p: Problem, matrix: bool) -> Gradient:
    """Spell least squares X^T (X theta) - X^T y, or (X^T X) theta - X^T y, the penalty's gradient added."""

    def hand(theta: Array, X: Array, y: Array, **k: Any) -> Array:
        design = np.append(X, np.ones((y.size, 1), X.dtype), axis=1) if p.intercept else X
        both = (design.T @ design) @ theta if matrix else design.T @ (design @ theta)
        return (2 / p.total(y.size) * (both - design.T @ y) + 2 * p.l2 * weights_of(p, theta)).astype(theta.dtype)

    return hand


# Running, and the table.


@dataclass(frozen=True)
class Outcome:
    """A case and what the check said of it; `hidden`: the mistake is smaller than what the report says it could see."""

    case: Case
    report: GradientReport
    seconds: float
    hidden: bool

    @property
    def said(self) -> str:
        """The kind that was named, or the verdict."""
        return self.report.cause.kind if self.report.cause else self.report.verdict

    @property
    def named(self) -> bool:
        """Whether a name that is true of the mistake was found."""
        return self.said in self.case.kinds

    @property
    def well_judged(self) -> bool:
        """Whether a visible mistake failed and was named, where it was a single one, and a right gradient did not."""
        failed = self.report.verdict == "fail"
        return not failed if self.case.passes else self.hidden or (failed and (self.named or not self.case.single))

    def __str__(self) -> str:
        p, worst = self.case.problem, max(self.report.agreements.values(), default=0)
        told = f"{self.report.verdict}, {worst:.2g} of the bound, sensitivity {self.report.sensitivity:.1e}"
        return f"{self.case.fault} in {p.name} {p.shape} n={p.n} {self.report.dtype}: {told}: {self.report.cause}"


class Runner:
    """Runs cases; each problem's loss is compiled once."""

    def __init__(self, kept: list[Problem], backends: tuple[str, ...] | None = None) -> None:
        self.names = backends or installed_frameworks()
        self.kept = {p: Frameworks(self._subject(p, p.gradient, *self._first(p))[0], self.names) for p in kept}

    def _first(self, p: Problem) -> tuple[Array, tuple[Array, Array]]:
        return draw(p, np.random.default_rng(0), tame=True)

    def _subject(self, p: Problem, hand: Gradient, theta: Array, data: tuple[Array, Array]) -> Any:
        return prepare_subject(p.loss, hand, theta, data, p.params, None, "float64", 0)

    def autodiff(self, p: Problem, name: str) -> Gradient:
        """Return the gradient by a framework, in the dtype of theta."""

        def hand(theta: Array, *data: Array, **_: Any) -> Array:
            found = self.kept[p].run(name, str(theta.dtype))(theta.reshape(1, -1).astype(float), data)
            return found.gradients[0].reshape(theta.shape).astype(theta.dtype)

        return hand

    def run(self, case: Case, dtype: str = "float64") -> Outcome | None:
        """Check one; None where it cannot be asked (the loss overflows)."""
        subject, start, names = self._subject(case.problem, case.hand, case.theta, case.data)
        frameworks = self.kept[case.problem]
        before = perf_counter()
        try:
            report = check_subject(subject, start, frameworks, names, dtype)
        except InputError as error:
            if "finite" in str(error):
                return None
            raise
        seconds = perf_counter() - before
        return Outcome(case, report, seconds, report.verdict != "fail" and self._hidden(case, subject, start, report))

    def _hidden(self, case: Case, subject: Any, start: Array, report: GradientReport) -> bool:
        """Say whether no component is wrong, at every point, by as much as the report says would have been seen."""
        if case.passes:
            return False
        points = probe_points_near(subject, start, self.kept[case.problem], 0)
        with np.errstate(all="ignore"):
            pairs = [
                [f(t.reshape(case.problem.shape), *case.data, **case.problem.params).ravel() for t in points]
                for f in (case.hand, case.problem.gradient)
            ]
            wrong, right = np.abs(np.subtract(*pairs)), np.abs(pairs[1])
            relative = np.where(
                (wrong == 0) & (right == 0), np.inf, wrong / right
            )  # 0 of 0: a point that shows nothing
        least = np.where((wrong == 0).all(0), 0.0, relative.min(0))
        return not least.max() > report.sensitivity


def run(
    cases: Iterator[Case], count: int, runner: Runner, dtypes: tuple[str, ...] = ("float64",), told: int = 0
) -> list[Outcome]:
    """Run that many cases, the dtypes in turn; fewer if interrupted. After every `told` ones a line of progress."""
    done: list[Outcome] = []
    try:
        while len(done) < count:
            outcome = runner.run(next(cases), dtypes[len(done) % len(dtypes)])
            if outcome is None:
                continue
            done.append(outcome)
            if told and not outcome.well_judged:
                print(outcome, file=sys.stderr, flush=True)
            if told and len(done) % told == 0:
                seconds, bad = sum(o.seconds for o in done), sum(not o.well_judged for o in done)
                print(f"{len(done)} of {count}: {seconds:.0f} s, {bad} judged wrongly", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"interrupted after {len(done)} of {count}", file=sys.stderr)
    return done


@dataclass(frozen=True)
class Summary:
    """The figures: shares in per cent, counts."""

    wrong: list[Outcome]
    right: list[Outcome]

    @property
    def flagged(self) -> float:
        """Per cent of the visible mistakes that failed."""
        seen = [o for o in self.wrong if not o.case.passes and not o.hidden]
        return 100 * sum(o.report.verdict == "fail" for o in seen) / max(1, len(seen))

    @property
    def named(self) -> float:
        """Per cent of the single mistakes that failed, or valid subgradients, with a true name."""
        asked = [o for o in self.wrong if o.case.single and (o.report.verdict == "fail" or o.case.passes)]
        return 100 * sum(o.named for o in asked) / max(1, len(asked))

    @property
    def alarms(self) -> list[Outcome]:
        """Right gradients that failed, and valid subgradients."""
        return [o for o in (*self.right, *self.wrong) if o.case.passes and o.report.verdict == "fail"]


def markdown(summary: Summary, command: str) -> str:
    """Return the page."""
    wrong, right = summary.wrong, summary.right
    families = [*FAULTS, "kink"]
    said = Counter((o.case.fault, o.said) for o in wrong)
    heads = sorted({kind for _, kind in said})
    lines = [
        f"| injected | cases | named right | {' | '.join(heads)} |",
        f"|---|--:|--:|{'--:|' * len(heads)}",
    ]
    for name in families:
        own = [o for o in wrong if o.case.fault == name]
        share = 100 * sum(o.named for o in own) / max(1, len(own))
        cells = " | ".join(str(said[name, head] or "") for head in heads)
        lines.append(f"| {name} | {len(own)} | {share:.1f} % | {cells} |")
    times = 1e3 * np.array([o.seconds for o in (*wrong, *right)])
    hidden = sum(o.hidden for o in wrong)
    figures = [
        f"- mistakes flagged: {summary.flagged:.2f} % ({hidden} more are smaller than the report says it would see)",
        f"- single mistakes named right: {summary.named:.1f} %",
        f"- false alarms: {len(summary.alarms)} among {len(right):,} right gradients",
        f"- inconclusive: {sum(o.report.verdict == 'inconclusive' for o in wrong)} of the wrong, "
        f"{sum(o.report.verdict == 'inconclusive' for o in right)} of the right ones",
        f"- one check: median {np.median(times):.0f} ms, longest {times.max():.0f} ms, compilation included",
    ]
    return PAGE.format(command=command, versions=versions(), figures="\n".join(figures), table="\n".join(lines))


PAGE = """# How the check is checked

Mistakes are put into right gradients on purpose, one at a time (`compound` and `l1-for-l2`: two), of least squares,
the bundled losses, logistic, softmax and Poisson regression and a small network, over well- and ill-conditioned data;
and right gradients are spelled in many ways, in both precisions. Written by `{command}`
({versions}).

{figures}

A row for each mistake injected, a column for what was said of it. A few mistakes have two true names, which
`benchmarks/corpus.py` gives with the reason; either counts as right. `kink` is no mistake: another valid subgradient.

{table}
"""


def versions() -> str:
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "jax", "torch"))
    return f"Python {platform.python_version()}, {packages}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=5_000)
    parser.add_argument("--correct", type=int, default=20_000)
    parser.add_argument("--dtype", choices=("float64", "float32", "both"), default="both", help="of right gradients")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    o = parser.parse_args(arguments)
    kept = problems()
    runner = Runner(kept)
    dtypes = ("float64", "float32") if o.dtype == "both" else (o.dtype,)
    summary = Summary(
        run(faults(o.seed, kept), o.faults, runner, told=250),
        run(correct(o.seed, kept, runner.autodiff), o.correct, runner, dtypes, told=1_000),
    )
    counts = f"--faults {len(summary.wrong)} --correct {len(summary.right)}"
    page = markdown(summary, f"python benchmarks/corpus.py {counts} --seed {o.seed}")
    if o.out:
        o.out.parent.mkdir(exist_ok=True)
        o.out.write_text(page)
    print(page)
    return int(bool(summary.alarms))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
