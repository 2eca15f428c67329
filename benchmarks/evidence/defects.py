"""Derivatives of released libraries that are not those of their functions, established with 60 digits by mpmath.

`make real` writes them into docs/real-code.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

from gdbackends import GradientReport, check_gradient

mp.mp.dps = 60


@dataclass(frozen=True)
class Defect:
    """A derivative that is wrong.

    Attributes:
        where: the library, its version, and the function.
        what: what is wrong with it.
        report: the report of the check.
        theirs: a component as the library computes it.
        right: the same with 60 digits, from the function's definition.
    """

    where: str
    what: str
    report: GradientReport
    theirs: float
    right: float


def defects() -> Iterator[Defect]:
    """Yield what was found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield tsne()
        yield ols()
        for kind in ("nb1", "nb2"):
            yield negative_binomial(kind)


def tsne() -> Defect:
    """Return the gradient of t-SNE's divergence with two degrees of freedom, as of three components."""
    import sklearn
    from scipy.spatial.distance import squareform
    from sklearn.manifold._t_sne import _kl_divergence

    rng, n, dof = np.random.default_rng(1), 5, 2
    P = rng.uniform(size=(n, n))
    P = P + P.T
    np.fill_diagonal(P, 0)
    P /= P.sum()
    Y = rng.normal(size=2 * n)
    data = (squareform(P), dof, n, 2)

    def divergence(flat: Any) -> Any:
        pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
        squares = {
            (i, j): (flat[2 * i] - flat[2 * j]) ** 2 + (flat[2 * i + 1] - flat[2 * j + 1]) ** 2 for i, j in pairs
        }
        weights = {pair: (1 + s / dof) ** (-mp.mpf(dof + 1) / 2) for pair, s in squares.items()}
        total = sum(weights.values())
        return sum(mp.mpf(P[i, j]) * mp.log(mp.mpf(P[i, j]) / (weights[i, j] / total)) for i, j in pairs)

    report = check_gradient(_kl_divergence, True, Y, *data)
    return Defect(
        f"scikit-learn {sklearn.__version__}, `sklearn.manifold._t_sne._kl_divergence`, degrees_of_freedom=2",
        "The gradient multiplies by (1 + d^2/df)^(-(df + 1)/2) where the derivative has (1 + d^2/df)^(-1). They are "
        "equal for df = 1, as with two components; three components with method='exact' have df = 2.",
        report,
        float(_kl_divergence(Y, *data)[1][0]),
        float(partial(divergence, Y, 0)),
    )


def ols() -> Defect:
    """Return the Hessian of the concentrated log-likelihood of least squares."""
    import statsmodels
    import statsmodels.api as sm

    rng = np.random.default_rng(20)
    X, y, theta = rng.normal(size=(30, 3)), rng.normal(size=30), np.array([0.3, -0.4, 0.7])
    model = sm.OLS(y, X)

    def likelihood(beta: Any) -> Any:
        ssr = sum((mp.mpf(y[i]) - sum(mp.mpf(X[i, j]) * beta[j] for j in range(3))) ** 2 for i in range(30))
        return -mp.mpf(15) * (mp.log(ssr / 30) + mp.log(2 * mp.pi) + 1)

    return Defect(
        f"statsmodels {statsmodels.__version__}, `OLS.hessian(params)`",
        "The Hessian of the concentrated log-likelihood lacks a factor 2 in its first term: it has X'X/ssr where the "
        "derivative of `score` has 2 X'X/ssr.",
        check_gradient(model.loglike, model.score, theta, hessian=model.hessian),
        float(model.hessian(theta)[0, 0]),
        float(second_partial(likelihood, theta, 0)),
    )


def negative_binomial(kind: str) -> Defect:
    """Return the Hessian of the negative binomial model."""
    import statsmodels
    from statsmodels.discrete.discrete_model import NegativeBinomial

    rng = np.random.default_rng(20)
    X = np.column_stack((np.ones(30), rng.normal(size=(30, 2))))
    y = rng.poisson(2.0, 30).astype(float)
    theta = np.array([0.3, -0.4, 0.7, 0.5])
    model = NegativeBinomial(y, X, kind)

    def likelihood(p: Any) -> Any:
        alpha, total = mp.exp(p[3]), mp.mpf(0)
        for i in range(30):
            mu = mp.exp(sum(mp.mpf(X[i, j]) * p[j] for j in range(3)))
            size = 1 / alpha * (mu if kind == "nb1" else 1)
            prob, k = size / (size + mu), mp.mpf(y[i])
            total += mp.loggamma(size + k) - mp.loggamma(k + 1) - mp.loggamma(size)
            total += size * mp.log(prob) + k * mp.log(1 - prob)
        return total

    return Defect(
        f"statsmodels {statsmodels.__version__}, `NegativeBinomial(..., '{kind}').hessian(params)` before a fit",
        "`loglike` and `score` take the logarithm of alpha as the last parameter, but the Hessian is with respect to "
        "alpha: its last row and column lack the factor exp(params[-1]) and, on the diagonal, a term.",
        check_gradient(model.loglike, model.score, theta, hessian=model.hessian),
        float(model.hessian(theta)[3, 3]),
        float(second_partial(likelihood, theta, 3)),
    )


def partial(function: Callable[[Any], Any], theta: Any, j: int, order: int = 1) -> Any:
    """Return a partial derivative with 60 digits."""
    point = [mp.mpf(float(t)) for t in theta]
    return mp.diff(lambda x: function([*point[:j], x, *point[j + 1 :]]), point[j], order)


def second_partial(function: Callable[[Any], Any], theta: Any, j: int) -> Any:
    """Return a second partial derivative with 60 digits."""
    return partial(function, theta, j, 2)
