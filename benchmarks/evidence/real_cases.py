"""Hand-derived gradients as they stand in SciPy, scikit-learn and statsmodels, each with small data."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import linalg, optimize, special

rng = np.random.default_rng(20)
X, y = rng.normal(size=(30, 3)), rng.normal(size=30)
LABELS, CLASSES = (y > 0).astype(float), rng.integers(0, 3, 30)
COUNTS, POSITIVE = rng.poisson(2.0, 30).astype(float), np.abs(y) + 0.1
DESIGN = np.column_stack((np.ones(30), X[:, :2]))
THETA = np.array([0.3, -0.4, 0.7])


@dataclass(frozen=True)
class RealCase:
    """A function of a released library and its derivative.

    Attributes:
        library: "SciPy", "scikit-learn" or "statsmodels".
        name: which function.
        loss: the function.
        gradient: its derivative; True if `loss` returns both.
        theta: the parameters.
        data: further arguments.
        options: further options of the check.
        jacobian: whether the function returns an array and the derivative is its Jacobian.
        mistake: what spoils the derivative: a function of its value, theta, and the other arguments.
    """

    library: str
    name: str
    loss: Callable[..., Any]
    gradient: Callable[..., Any] | bool
    theta: Any
    data: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    jacobian: bool = False
    mistake: Callable[..., Any] = lambda g, *_: 2 * np.asarray(g)

    def spoiled(self) -> Callable[..., Any] | tuple[Callable[..., Any], bool]:
        """Return the derivative with the mistake; for gradient=True the function that returns both."""
        if self.gradient is True:
            return lambda theta, *data, **kw: (
                (pair := self.loss(theta, *data, **kw))[0],
                self.mistake(pair[1], theta, *data),
            )
        return lambda theta, *data, **kw: self.mistake(self.gradient(theta, *data, **kw), theta, *data)  # type: ignore


def one_flipped(g: Any, *_: Any) -> Any:
    """Flip the sign of the last component."""
    g = np.array(dense(g), float)
    g[..., -1] *= -1
    return g


def chain_rule(g: Any, theta: Any, *_: Any) -> Any:
    """Forget the factor of a logarithmic parameter, the last one."""
    g = np.array(g, float)
    g.ravel()[-1] /= np.exp(np.ravel(theta)[-1])
    return g


def first_forgotten(g: Any, *_: Any) -> Any:
    """Forget the first component."""
    g = np.array(dense(g), float)
    g[..., 0] = 0
    return g


def reversed_order(g: Any, *_: Any) -> Any:
    """Return the components in the wrong order."""
    return np.asarray(g)[..., ::-1].copy()


def dense(g: Any) -> Any:
    """Return a sparse matrix as an array."""
    return g.toarray() if hasattr(g, "toarray") else g


def cases() -> Iterator[RealCase]:
    """Yield all cases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in (scipy_cases, sklearn_cases, statsmodels_cases):
            yield from library()


def scipy_cases() -> Iterator[RealCase]:
    """Yield functions of SciPy."""
    for d in (2, 6):
        theta = np.linspace(0.6, 1.4, d)
        second = {"hessian": optimize.rosen_hess, "hvp": optimize.rosen_hess_prod}
        yield RealCase(
            "SciPy", f"rosen, {d}", optimize.rosen, optimize.rosen_der, theta, (), second, mistake=one_flipped
        )
    least_squares = __import__("scipy.optimize._lsq.least_squares", fromlist=["huber"])
    z = np.array([0.3, 2.5, 0.7, 4.0])
    for name in ("huber", "soft_l1", "cauchy", "arctan"):
        function = getattr(least_squares, name)

        def rho(z: Any, function: Any = function, part: int = 0) -> Any:
            out = np.empty((3, z.size))
            function(z, out, False)
            return out[part].sum() if part == 0 else out[part]

        yield RealCase(
            "SciPy", f"least_squares {name}", rho, lambda z, rho=rho: rho(z, part=1), z, mistake=first_forgotten
        )
    A, E = rng.normal(size=(3, 3)), rng.normal(size=(3, 3))

    def along(t: Any, A: Any, E: Any) -> Any:
        return linalg.expm(A + t[0] * E).sum()

    def frechet(t: Any, A: Any, E: Any) -> Any:
        return np.array([linalg.expm_frechet(A + t[0] * E, E, compute_expm=False).sum()])

    yield RealCase("SciPy", "expm, expm_frechet", along, frechet, [0.2], (A, E))
    pairs: list[tuple[str, Any, Any, Any]] = [
        ("jv, jvp", lambda x: special.jv(1.5, x).sum(), lambda x: special.jvp(1.5, x), [0.7, 2.0]),
        ("iv, ivp", lambda x: special.iv(0.5, x).sum(), lambda x: special.ivp(0.5, x), [0.7, 2.0]),
        ("kv, kvp", lambda x: special.kv(0.5, x).sum(), lambda x: special.kvp(0.5, x), [0.7, 2.0]),
        ("yv, yvp", lambda x: special.yv(1.0, x).sum(), lambda x: special.yvp(1.0, x), [0.7, 2.0]),
        ("gammaln, digamma", lambda x: special.gammaln(x).sum(), special.digamma, [0.7, 3.0]),
        ("ellipk", lambda x: special.ellipk(x).sum(), ellipk_derivative, [0.3, 0.6]),
        (
            "spherical_jn",
            lambda x: special.spherical_jn(2, x).sum(),
            lambda x: special.spherical_jn(2, x, derivative=True),
            [0.7, 2.0],
        ),
        ("airy", lambda x: special.airy(x)[0].sum(), lambda x: special.airy(x)[1], [0.7, -1.0]),
    ]
    for name, f, g, theta in pairs:
        yield RealCase("SciPy", name, f, g, theta, mistake=lambda g, *_: -np.asarray(g))
    from scipy.interpolate import BSpline, CubicSpline

    for name, spline in (
        ("CubicSpline", CubicSpline(np.arange(6.0), rng.normal(size=6))),
        ("BSpline", BSpline(np.arange(10.0), rng.normal(size=6), 3)),
    ):
        yield RealCase(
            "SciPy", name, lambda x, s=spline: s(x).sum(), lambda x, s=spline: s.derivative()(x), [3.3, 4.4, 4.8]
        )
    t = np.linspace(0.1, 2, 8)

    def residuals(p: Any, t: Any, y: Any) -> Any:
        return p[0] * np.exp(-p[1] * t) + p[2] - y

    def jacobian(p: Any, t: Any, y: Any) -> Any:
        return np.column_stack((np.exp(-p[1] * t), -p[0] * t * np.exp(-p[1] * t), np.ones_like(t)))

    yield RealCase(
        "SciPy", "least_squares residuals", residuals, jacobian, [2.0, 1.3, 0.4], (t, y[:8]), {}, True, one_flipped
    )


def ellipk_derivative(m: Any) -> Any:
    """Return the derivative of the complete elliptic integral by its formula, DLMF 19.4.1."""
    return (special.ellipe(m) - (1 - m) * special.ellipk(m)) / (2 * m * (1 - m))


def sklearn_cases() -> Iterator[RealCase]:
    """Yield functions of scikit-learn."""
    from sklearn.linear_model._huber import _huber_loss_and_gradient

    theta = np.append(THETA, 0.8)
    yield RealCase(
        "scikit-learn",
        "_huber_loss_and_gradient",
        _huber_loss_and_gradient,
        True,
        theta,
        (X, y, 1.35, 0.1, np.ones(30)),
    )
    theta = np.array([*THETA, 0.2, 0.8])
    yield RealCase(
        "scikit-learn", "the same, intercept", _huber_loss_and_gradient, True, theta, (X, y, 1.35, 0.1, np.ones(30))
    )
    yield from multilayer_perceptrons()
    from sklearn.neighbors import NeighborhoodComponentsAnalysis

    nca = NeighborhoodComponentsAnalysis(n_components=2)
    nca.n_iter_ = 0
    same = CLASSES[:, None] == CLASSES[None, :]
    yield RealCase("scikit-learn", "NCA", nca._loss_grad_lbfgs, True, rng.normal(size=6) * 0.5, (X, same, -1.0))
    yield from gaussian_processes()
    from scipy.spatial.distance import squareform
    from sklearn.manifold._t_sne import _kl_divergence

    P = rng.uniform(size=(8, 8))
    P = P + P.T
    np.fill_diagonal(P, 0)
    data = (squareform(P / P.sum()), 1, 8, 2)  # with two degrees of freedom it is wrong: defects.py
    yield RealCase("scikit-learn", "t-SNE _kl_divergence", _kl_divergence, True, rng.normal(size=16), data)
    from sklearn._loss import loss as losses
    from sklearn.linear_model._linear_loss import LinearModelLoss

    for name, target, given in (
        ("HalfSquaredError", y, {}),
        ("HalfBinomialLoss", LABELS, {}),
        ("HalfPoissonLoss", COUNTS, {}),
        ("HalfGammaLoss", POSITIVE, {}),
        ("HalfTweedieLoss", POSITIVE, {"power": 1.5}),
        ("HalfMultinomialLoss", CLASSES.astype(float), {"n_classes": 3}),
        ("HuberLoss", y, {"delta": 0.7}),
        ("PinballLoss", y, {"quantile": 0.3}),
        ("AbsoluteError", y, {}),
    ):
        base = getattr(losses, name)(**given)
        model = LinearModelLoss(base, fit_intercept=True)
        start = rng.normal(size=(3, 4)) if name == "HalfMultinomialLoss" else rng.normal(size=4)
        yield RealCase(
            "scikit-learn",
            f"LinearModelLoss {name}",
            model.loss_gradient,
            True,
            np.asfortranarray(start),
            (X, target, None, 0.1),
            mistake=lambda g, theta, *_: g + 0.1 * theta,
        )


def multilayer_perceptrons() -> Iterator[RealCase]:
    """Yield scikit-learn's multilayer perceptrons, whose buffers are arguments."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    for kind, target in ((MLPRegressor, y), (MLPClassifier, CLASSES)):
        for activation in ("tanh", "logistic", "relu", "identity"):
            model = kind(
                hidden_layer_sizes=(4,), activation=activation, max_iter=1, solver="lbfgs", alpha=0.1, random_state=0
            ).fit(X, target)
            outputs = 3 if kind is MLPClassifier else 1
            one_hot = np.eye(3)[CLASSES] if outputs == 3 else y.reshape(-1, 1)
            units = [3, 4, outputs]
            buffers = (
                [X] + [None] * 2,
                [None] * 2,
                [np.empty(shape) for shape in pairwise(units)],
                [np.empty(n) for n in units[1:]],
            )
            names = inspect.signature(model._loss_grad_lbfgs).parameters
            weights = (None,) if "sample_weight" in names else ()
            packed = np.concatenate([a.ravel() for a in (*model.coefs_, *model.intercepts_)])
            yield RealCase(
                "scikit-learn",
                f"{kind.__name__} {activation}",
                model._loss_grad_lbfgs,
                True,
                packed + 0.1 * rng.normal(size=packed.size),
                (X, one_hot, *weights, *buffers),
                mistake=lambda g, *_: np.append(g[:-1], -g[-1]),
            )


def gaussian_processes() -> Iterator[RealCase]:
    """Yield the marginal likelihoods of scikit-learn's Gaussian processes, and gradients of kernels."""
    from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
    from sklearn.gaussian_process import kernels as k

    kernels = {
        "RBF": k.RBF(0.8) + k.WhiteKernel(0.1),
        "anisotropic RBF": k.RBF([0.8, 1.2, 0.5]) + k.WhiteKernel(0.1),
        "Constant * RBF": k.ConstantKernel(2.0) * k.RBF(0.7) + k.WhiteKernel(0.1),
        "Matern 1.5": k.Matern(nu=1.5) + k.WhiteKernel(0.1),
        "Matern 2.5": k.Matern(nu=2.5) + k.WhiteKernel(0.1),
        "RationalQuadratic": k.RationalQuadratic(0.8, 1.1) + k.WhiteKernel(0.1),
        "ExpSineSquared": k.ExpSineSquared(0.8, 9.1) + k.WhiteKernel(0.3),
        "DotProduct": k.DotProduct(0.5) + k.WhiteKernel(0.1),
        "RBF, noise 1e-10": k.RBF(0.3),
    }
    for name, kernel in kernels.items():
        model = GaussianProcessRegressor(kernel, optimizer=None).fit(X, y)
        yield RealCase(
            "scikit-learn",
            f"GaussianProcessRegressor {name}",
            model.log_marginal_likelihood,
            True,
            model.kernel_.theta + 0.1,
            (True,),
            mistake=chain_rule,
        )
    model = GaussianProcessClassifier(k.RBF(0.8), optimizer=None).fit(X, LABELS)
    model = model.base_estimator_
    yield RealCase(
        "scikit-learn",
        "GaussianProcessClassifier",
        model.log_marginal_likelihood,
        True,
        model.kernel_.theta + 0.1,
        (True,),
    )
    weights = rng.normal(size=(8, 8))
    for name in ("RBF", "Matern 1.5", "RationalQuadratic", "DotProduct"):
        kernel = kernels[name]

        def loss(theta: Any, Z: Any, kernel: Any = kernel) -> Any:
            return (weights * kernel.clone_with_theta(theta)(Z)).sum()

        def gradient(theta: Any, Z: Any, kernel: Any = kernel) -> Any:
            return np.einsum("ij,ijk->k", weights, kernel.clone_with_theta(theta)(Z, eval_gradient=True)[1])

        yield RealCase(
            "scikit-learn", f"kernel {name}", loss, gradient, kernel.theta + 0.1, (X[:8],), mistake=chain_rule
        )


def statsmodels_cases() -> Iterator[RealCase]:
    """Yield the log-likelihoods of statsmodels and their scores, with the Hessians where there are some."""
    import statsmodels.api as sm
    from statsmodels.discrete import conditional_models as conditional
    from statsmodels.discrete import count_model, discrete_model, truncated_model
    from statsmodels.duration.hazard_regression import PHReg
    from statsmodels.othermod.betareg import BetaModel

    groups = np.repeat(np.arange(10), 3)
    positive = COUNTS + 1
    models: list[tuple[str, Any, Any]] = [
        ("OLS", sm.OLS(y, DESIGN), THETA),
        ("Logit", discrete_model.Logit(LABELS, DESIGN), THETA),
        ("Probit", discrete_model.Probit(LABELS, DESIGN), THETA),
        ("Poisson", discrete_model.Poisson(COUNTS, DESIGN), THETA),
        ("MNLogit", discrete_model.MNLogit(CLASSES, DESIGN), rng.normal(size=6)),
        ("NegativeBinomial nb2", discrete_model.NegativeBinomial(COUNTS, DESIGN), np.append(THETA, 0.5)),
        ("NegativeBinomial nb1", discrete_model.NegativeBinomial(COUNTS, DESIGN, "nb1"), np.append(THETA, 0.5)),
        ("NegativeBinomial geometric", discrete_model.NegativeBinomial(COUNTS, DESIGN, "geometric"), THETA),
        ("NegativeBinomialP", discrete_model.NegativeBinomialP(COUNTS, DESIGN, p=2), np.append(THETA, 0.5)),
        ("GeneralizedPoisson", discrete_model.GeneralizedPoisson(COUNTS, DESIGN), np.append(THETA, 0.2)),
        ("ZeroInflatedPoisson", count_model.ZeroInflatedPoisson(COUNTS, DESIGN), np.append(0.3, THETA)),
        (
            "ZeroInflatedNegativeBinomialP",
            count_model.ZeroInflatedNegativeBinomialP(COUNTS, DESIGN),
            np.array([0.3, *THETA, 0.5]),
        ),
        (
            "ZeroInflatedGeneralizedPoisson",
            count_model.ZeroInflatedGeneralizedPoisson(COUNTS, DESIGN),
            np.array([0.3, *THETA, 0.2]),
        ),
        ("TruncatedLFPoisson", truncated_model.TruncatedLFPoisson(positive, DESIGN), THETA),
        (
            "TruncatedLFNegativeBinomialP",
            truncated_model.TruncatedLFNegativeBinomialP(positive, DESIGN),
            np.append(THETA, 0.5),
        ),
        ("ConditionalLogit", conditional.ConditionalLogit(LABELS, X, groups=groups), THETA),
        ("ConditionalPoisson", conditional.ConditionalPoisson(COUNTS, X, groups=groups), THETA),
        ("ConditionalMNLogit", conditional.ConditionalMNLogit(CLASSES, X, groups=groups), rng.normal(size=6)),
        ("PHReg breslow", PHReg(POSITIVE, X, ties="breslow"), THETA),
        ("PHReg efron", PHReg(np.round(POSITIVE, 1), X, ties="efron"), THETA),
        ("BetaModel", BetaModel(special.expit(y), DESIGN), np.append(THETA, 0.5)),
    ]
    families = sm.families
    for name, family, target, theta in (
        ("Gaussian", families.Gaussian(), y, THETA),
        ("Binomial", families.Binomial(), LABELS, THETA),
        ("Binomial probit", families.Binomial(families.links.Probit()), LABELS, THETA),
        ("Binomial cloglog", families.Binomial(families.links.CLogLog()), LABELS, THETA),
        ("Poisson", families.Poisson(), COUNTS, THETA),
        ("Gamma log", families.Gamma(families.links.Log()), POSITIVE, THETA),
        ("InverseGaussian log", families.InverseGaussian(families.links.Log()), POSITIVE, THETA),
        ("NegativeBinomial", families.NegativeBinomial(alpha=0.7), COUNTS, THETA),
    ):
        models.append((f"GLM {name}", sm.GLM(target, DESIGN, family=family), theta))
    scaled = ("GLM Gaussian", "GLM Gamma log", "GLM InverseGaussian log")
    for name, model, theta in models:
        score = model.score
        loss: Callable[..., Any] = model.loglike
        if name in scaled:  # the scale is estimated from theta unless it is given

            def loss(theta: Any, model: Any = model) -> Any:
                return model.loglike(theta, scale=1.0)

            def score(theta: Any, model: Any = model) -> Any:
                return model.score(theta, scale=1.0)

        if name == "MNLogit" or name == "ConditionalMNLogit":
            score = lambda theta, model=model: np.ravel(model.score(theta))  # noqa: E731
        yield RealCase("statsmodels", name, loss, score, theta, mistake=one_flipped)
    links = families.links
    for link in (links.Logit(), links.Probit(), links.CLogLog(), links.LogLog(), links.Cauchy(), links.Power(0.4)):
        yield RealCase(
            "statsmodels",
            f"link {type(link).__name__}",
            lambda p, link=link: link(p).sum(),
            lambda p, link=link: link.deriv(p),
            [0.2, 0.5, 0.7],
            (),
            {"bounds": [(0, 1)] * 3},
        )
    from statsmodels.robust import norms

    z = np.array([-0.4, 1.9, 3.1, -2.3])
    for norm in (
        norms.HuberT(),
        norms.TukeyBiweight(),
        norms.AndrewWave(),
        norms.Hampel(),
        norms.RamsayE(),
        norms.StudentT(),
    ):
        yield RealCase(
            "statsmodels",
            f"norm {type(norm).__name__}",
            lambda z, norm=norm: norm.rho(z).sum(),
            lambda z, norm=norm: norm.psi(z),
            z,
            mistake=first_forgotten,
        )
