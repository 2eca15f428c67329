"""The problems of the corpus: losses with their gradients in equivalent formulations, and random data for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from gdbackends import LinearRegression
from gdbackends.objectives import parse_loss

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


FORMULATIONS: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]] = {
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


@dataclass(frozen=True, eq=False)
class Problem:
    """A loss for fixed shapes, its correct gradient, and the facts that the mistakes need.

    Attributes:
        name: the name of the family.
        loss: loss(theta, X, y, **params).
        gradient: gradient(theta, X, y, formulation=, rows=, slope=, **params), where `rows` (n,) are weights of the
            rows and `slope` replaces the derivative of the row loss (in a network, of the activation).
        shape: the shape of theta.
        n: the number of rows.
        d: the number of columns of X.
        targets: targets(rng, z) draws y from the predictions z.
        params: hyper-parameters that are passed by name.
        l2: the weight of the penalty, whether or not it is a parameter.
        intercept: whether the last component is an intercept, which is not penalised.
        linear_in_y: whether a change of y changes the gradient by an amount that does not depend on theta.
        constant: whether the gradient can be the same at every point.
        units: the number of hidden units of a network, or of classes of a softmax.
        gram: whether the problem is least squares, so that X^T X theta - X^T y is a formulation too.
        divisor: divisor(n), by which the sum over the rows is divided.
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
    divisor: Callable[[int], float] = float

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


def linear_gradient(
    slope: Callable[[Array, Array], Array], intercept: bool, l2: float, divisor: Callable[[int], float]
):
    """Return the gradient of a linear model: X^T phi' / divisor(n), plus the penalty's."""
    right_slope = slope

    def gradient(
        theta: Array, X: Array, y: Array, *, formulation="matmul", rows=None, slope=right_slope, **_: Any
    ) -> Array:
        forward, back = FORMULATIONS[formulation]
        z = forward(X, theta[:-1]) + theta[-1] if intercept else forward(X, theta)
        s = slope(z, y)
        s = s if rows is None else (rows * s).astype(s.dtype)
        early = formulation in ("einsum", "rows")  # divide before the sum, otherwise after it
        n = divisor(y.size)
        s = s / n if early else s
        g = np.append(back(X, s), s.sum()) if intercept else back(X, s)
        g = g if early else g / n
        if l2:
            g = g + 2 * l2 * (np.append(theta[:-1], 0).astype(theta.dtype) if intercept else theta)
        return g.astype(theta.dtype)

    return gradient


def linear_problem(kind: str, n: int, d: int, intercept: bool, l2: float) -> Problem:
    value, slope, targets = ROWS[kind]

    def loss(theta: Array, X: Array, y: Array, l2: float = 0.0) -> Array:
        w = theta[:-1] if intercept else theta
        z = X @ w + theta[-1] if intercept else X @ w
        return array_namespace(theta).mean(value(z, y)) + l2 * (w @ w)

    return Problem(
        kind,
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


def bundled(loss: str, convention: Any, n: int, d: int, l2: float) -> Problem:
    kind = loss.split(":")[0]
    objective = LinearRegression(convention, l2=l2, row_loss=parse_loss(loss))
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
        linear_in_y=kind in ("squared", "poisson"),  # the logistic loss is linear in y at labels only
        constant=kind in ("absolute", "quantile", "huber"),
        gram=kind == "squared",
        divisor=objective.divisor,
    )


def softmax(n: int, d: int, k: int) -> Problem:
    """The mean of log(sum_c exp(z_c)) - z_label over rows, z = X theta^T, theta (k, d)."""

    def loss(theta: Array, X: Array, y: Array) -> Array:
        xp = array_namespace(theta)
        z = X @ theta.T
        top = xp.max(z, axis=1, keepdims=True)
        chosen = xp.sum(xp.where(y[:, None] == xp.arange(k)[None, :], z, xp.zeros_like(z)), axis=1)
        return xp.mean(xp.log(xp.sum(xp.exp(z - top), axis=1)) + top[:, 0] - chosen)

    def softmax_slope(z: Array, y: Array) -> Array:
        e = np.exp(z - z.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True) - np.eye(k, dtype=z.dtype)[y]

    def gradient(theta: Array, X: Array, y: Array, *, formulation="matmul", rows=None, slope=softmax_slope) -> Array:
        forward, back = FORMULATIONS[formulation]
        s = slope(forward(X, theta.T), y)
        s = s if rows is None else (rows[:, None] * s).astype(s.dtype)
        return (back(X, s) / y.size).T.astype(theta.dtype)

    def targets(g: Rng, z: Array) -> Array:
        return np.argmax(z + g.gumbel(size=z.shape), axis=1)

    return Problem("softmax", loss, gradient, (k, d), n, d, targets, linear_in_y=True, units=k)


def network(n: int, d: int, k: int, flat: bool) -> Problem:
    """Mean (tanh(X W^T) v - y)^2, W (k, d) and v (k,): theta is (k, d + 1) with v as its last column, or flat."""

    def parts(theta: Array) -> tuple[Array, Array]:
        return (theta[: k * d].reshape((k, d)), theta[k * d :]) if flat else (theta[:, :-1], theta[:, -1])

    def loss(theta: Array, X: Array, y: Array) -> Array:
        xp, (W, v) = array_namespace(theta), parts(theta)
        return xp.mean((xp.tanh(X @ W.T) @ v - y) ** 2)

    def tanh_slope(a: Array) -> Array:
        return 1 - a * a

    def gradient(theta: Array, X: Array, y: Array, *, formulation="matmul", rows=None, slope=tanh_slope) -> Array:
        (forward, back), (W, v) = FORMULATIONS[formulation], parts(theta)
        a = np.tanh(forward(X, W.T))
        r = 2 * (a @ v - y) / y.size
        r = r if rows is None else (rows * r).astype(r.dtype)
        inner, outer = back(X, r[:, None] * v * slope(a)).T, a.T @ r
        g = np.concatenate((inner.ravel(), outer)) if flat else np.concatenate((inner, outer[:, None]), axis=1)
        return g.astype(theta.dtype)

    shape = (k * (d + 1),) if flat else (k, d + 1)
    return Problem(f"network, {'flat' if flat else 'matrix'}", loss, gradient, shape, n, d, noisy, units=k)


def lasso(n: int, d: int) -> Problem:
    """Least squares with the penalty 0.1 |theta|_1, which has kinks at zeros of theta."""

    def loss(theta: Array, X: Array, y: Array, l1: float) -> Array:
        xp = array_namespace(theta)
        return xp.mean((X @ theta - y) ** 2) + l1 * xp.sum(xp.abs(theta))

    smooth = linear_gradient(squared_slope, False, 0.0, float)

    def gradient(theta: Array, X: Array, y: Array, *, at_zero: float = 0.0, l1: float, **how: Any) -> Array:
        return smooth(theta, X, y, **how) + (l1 * np.where(theta == 0, at_zero, np.sign(theta))).astype(theta.dtype)

    return Problem("lasso", loss, gradient, (d,), n, d, noisy, {"l1": 0.1}, linear_in_y=True)


def problems() -> list[Problem]:
    """Return the problems, whose losses and shapes are fixed."""
    squared = [(5, 1, False, 0.0), (40, 4, False, 0.0), (60, 50, False, 0.0), (30, 3, False, 0.2)]
    squared += [(12, 1, True, 0.0), (300, 5, True, 0.01), (80, 8, True, 0.5)]
    logistic = [(50, 3, True, 0.0), (20, 1, False, 0.0), (100, 10, True, 0.1)]
    poisson = [(40, 2, True, 0.0), (120, 6, True, 0.05)]
    return [
        *(linear_problem("squared", *at) for at in squared),
        *(linear_problem("logistic", *at) for at in logistic),
        *(linear_problem("poisson", *at) for at in poisson),
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


def stable_logistic(n: int, d: int, intercept: bool) -> Problem:
    """Logistic regression as log(1 + e^((1 - 2 y) z)), whose derivative by autodiff involves no cancellation."""

    def loss(theta: Array, X: Array, y: Array) -> Array:
        xp = array_namespace(theta)
        z = X @ theta[:-1] + theta[-1] if intercept else X @ theta
        return xp.mean(xp.logaddexp(xp.zeros_like(z), (1 - 2 * y) * z))

    right = linear_gradient(logistic_slope, intercept, 0.0, float)
    return Problem("logistic, stable", loss, right, (d + intercept,), n, d, labels, intercept=intercept)


STABLE_LOGISTIC = (stable_logistic(50, 3, True), stable_logistic(20, 1, False), stable_logistic(60, 8, False))
"""Additional problems, for correct gradients that lose digits to cancellation where autodiff does not."""


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
    """Return theta and (X, y): theta is 0, random or near the optimum; `tame` means a random theta and normal data."""
    X = table(g, problem.n, problem.d, tame)
    scale = np.sqrt(np.square(X).mean(0))

    def parameters() -> Array:
        """Return parameters whose predictions are of order 1; some parameters are tiny."""
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
