"""The problems of the corpus, and what is drawn for them: data and parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace
from corpus_linear import Problem, bundled, labels, linear_gradient, logistic_slope, noisy, own_linear, squared_slope
from corpus_spellings import SPELLINGS, Array, Rng


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


def turned(n: int, d: int, intercept: bool) -> Problem:
    """Logistic regression by log(1 + e^-z), z turned by its label: nothing of its autodiff cancels."""

    def loss(theta: Array, X: Array, y: Array) -> Array:
        xp = array_namespace(theta)
        z = X @ theta[:-1] + theta[-1] if intercept else X @ theta
        return xp.mean(xp.logaddexp(xp.zeros_like(z), (1 - 2 * y) * z))

    right = linear_gradient(logistic_slope, intercept, 0.0, float)
    return Problem("logistic, turned", loss, right, (d + intercept,), n, d, labels, intercept=intercept)


TURNED = (turned(50, 3, True), turned(20, 1, False), turned(60, 8, False))
"""Beside the others, for right gradients that cancel where autodiff does not."""


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
