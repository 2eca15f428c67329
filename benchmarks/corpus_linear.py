"""The linear models of the corpus: their losses, and their gradients in every spelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from corpus_spellings import SPELLINGS, Array, Gradient, Rng

from gdbackends import LinearRegression
from gdbackends.objectives import parse_loss


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
    objective = LinearRegression(convention, l2=l2, row_loss=parse_loss(spelling))
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
