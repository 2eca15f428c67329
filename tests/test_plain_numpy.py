"""check_gradient() on code as its authors have it: plain NumPy, in any shape, judged by differences if need be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

from gdbackends import check_gradient
from gdbackends.errors import InputError
from gdbackends.gradcheck.finite_differences import derivative, direction_of, noise_of

GENERATOR = np.random.default_rng(0)
X, Y, THETA = GENERATOR.normal(size=(20, 3)), GENERATOR.normal(size=20), np.array([0.5, -0.3, 0.8])


@pytest.fixture(autouse=True)
def frameworks(require) -> None:
    for name in ("jax", "torch"):
        require(name)


def loss(theta, X, y):
    return np.mean(np.square(np.dot(X, theta) - y))


def gradient(theta, X, y):
    return 2 * X.T @ (X @ theta - y) / len(y)


def voters(report) -> list[str]:
    return [a for a, b in report.agreements if b == "yours"]


def in_a_loop(theta, X, y):
    z = np.zeros(len(y))
    for i in range(len(y)):
        z[i] = X[i] @ theta - y[i]
    return float(np.sum(z**2) / len(y))


def in_place(theta, X, y):
    r = X.dot(theta)
    r -= y
    np.multiply(r, r, out=r)
    return r.sum() / len(y)


def from_parts(theta, X, y):
    t = np.array([theta[0], theta[1], 0.0 + theta[2]])
    r = np.concatenate(([X[0] @ t], X[1:] @ t)) - y
    return np.where(r > 0, r, -r) @ np.abs(r) / len(y)


class Model:
    def __init__(self, X, y):
        self.X, self.y = X, y

    @property
    def rows(self):
        return len(self.y)

    def residual(self, theta):
        return self.X @ theta - self.y

    def loss(self, theta):
        return np.sum(self.residual(theta) ** 2) / self.rows


def test_numpy_code_is_run_on_both_frameworks() -> None:
    for function in (loss, in_a_loop, in_place, from_parts):
        report = check_gradient(function, gradient, THETA, X, Y)
        assert (report.verdict, voters(report), dict(report.unsupported)) == ("pass", ["jax", "torch"], {}), function
        assert report.sensitivity < 1e-12
        wrong = check_gradient(function, lambda *a: gradient(*a) / 2, THETA, X, Y)
        assert (wrong.verdict, wrong.cause.kind) == ("fail", "factor")
    model = Model(X, Y)
    before = dict(vars(model))
    report = check_gradient(model.loss, lambda theta: gradient(theta, X, Y), THETA)
    assert (report.verdict, voters(report)) == ("pass", ["jax", "torch"])
    assert vars(model) == before
    assert type(model) is Model


def test_functions_that_no_protocol_sees() -> None:
    import scipy.linalg
    from scipy.special import expit, gammaln, logsumexp

    def special(t, X):
        K = np.eye(3) + np.outer(t, t)
        solved = scipy.linalg.cho_solve(scipy.linalg.cho_factor(K), t)
        return logsumexp(X @ t) + gammaln(t[0]) + math.log(expit(t[1])) + t @ solved + math.exp(t[2])

    def by_hand(t, X):
        from scipy.special import digamma

        s, p = t @ t, np.exp(X @ t - logsumexp(X @ t))
        return X.T @ p + [digamma(t[0]), 1 - expit(t[1]), math.exp(t[2])] + 2 * t / (1 + s) ** 2

    report = check_gradient(special, by_hand, THETA, X)
    assert (report.verdict, voters(report)) == ("pass", ["jax", "torch"]), report


def test_a_part_that_leaves_the_framework_costs_its_vote_and_nothing_else() -> None:
    from scipy.special import jv, jvp

    report = check_gradient(lambda t: jv(1.5, t).sum(), lambda t: jvp(1.5, t), [0.7, 2.0])
    assert (report.verdict, voters(report)) == ("pass", ["differences"])
    assert report.sentence.startswith("PASS: the gradient agrees with differences of the loss, in which errors from ")
    assert report.sensitivity < 1e-8
    assert "has no jv, in <lambda>, line" in report.unsupported["jax"]
    wrong = check_gradient(lambda t: jv(1.5, t).sum(), lambda t: -jvp(1.5, t), [0.7, 2.0])
    assert (wrong.verdict, wrong.cause.kind) == ("fail", "factor")
    assert "of the differences in all 2 components" in wrong.cause.text
    assert "yours" in str(wrong)


def test_a_rewritten_run_with_other_values_does_not_vote() -> None:
    table = {"scale": 3.0}

    def stateful(t):
        table["calls"] = table.get("calls", 0) + 1
        return np.sum(t**2) * (3.0 if isinstance(t, np.ndarray) and t.flags.owndata is not None else 1.0)

    report = check_gradient(stateful, lambda t: 6 * t, THETA)
    assert report.verdict == "pass"

    def by_type(t):
        return np.sum(t**2) * (3.0 if type(t).__name__ == "ndarray" else 1.0)

    report = check_gradient(by_type, lambda t: 6 * t, THETA)
    assert (report.verdict, voters(report)) == ("pass", ["differences"])
    assert report.unsupported["torch"] == "run as NumPy code, the loss has other values than in NumPy"


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_a_rewritten_run_stores_nothing_in_the_users_containers(framework: str) -> None:
    from gdbackends.backends import capabilities, get_backend
    from gdbackends.gradcheck.numpy_code import rewritten

    memory: list = []
    known = {"last": None}

    def remembering(t):
        memory.append(np.sum(t**2))
        known["last"] = memory[-1]
        return memory[-1]

    backend = get_backend(framework)
    with capabilities(backend).default_dtype():
        assert float(rewritten(remembering, framework)(backend.asarray(THETA))) == pytest.approx(THETA @ THETA)
    assert (memory, known) == ([], {"last": None})


def test_loss_and_gradient_from_one_function() -> None:
    def both(theta, X, y):
        return loss(theta, X, y), gradient(theta, X, y)

    assert check_gradient(both, True, THETA, X, Y).verdict == "pass"
    half = check_gradient(lambda *a: (loss(*a), gradient(*a) / 2), True, THETA, args=(X, Y))
    assert (half.verdict, half.cause.kind) == ("fail", "factor")
    with pytest.raises(InputError, match=r"with gradient=True the function must return \(loss, gradient\), got float"):
        check_gradient(loss, True, THETA, X, Y)


def test_arguments_of_any_kind_pass_through() -> None:
    pd, sp = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")

    def of(theta, table, kind, options):
        assert kind == "squares" and options == {"power": 2}
        return np.mean((table[["a", "b", "c"]].to_numpy() @ theta - table["y"].to_numpy()) ** options["power"])

    frame = pd.DataFrame(X, columns=list("abc")).assign(y=Y)
    report = check_gradient(of, lambda t, *_: gradient(t, X, Y), THETA, frame, "squares", {"power": 2})
    assert report.verdict == "pass"
    report = check_gradient(loss_of_sparse, lambda t, A, y: gradient(t, A.toarray(), y), THETA, sp.csr_array(X), Y)
    assert (report.verdict, voters(report)) == ("pass", ["jax", "torch"])


def loss_of_sparse(theta, A, y):
    return np.sum((A @ theta - y) ** 2) / len(y)


def test_theta_may_be_any_argument() -> None:
    def data_first(X, y, w):
        return loss(w, X, y)

    def its_gradient(X, y, w):
        return gradient(w, X, y)

    assert check_gradient(data_first, its_gradient, THETA, X, Y, argnum=2).verdict == "pass"
    named = check_gradient(data_first, lambda X, y, w: -its_gradient(X, y, w), THETA, X, Y, argument="w")
    assert (named.verdict, named.components[0].name[:2]) == ("fail", "w[")

    def by_keyword(X, y, *, w):
        return loss(w, X, y)

    assert check_gradient(by_keyword, its_gradient, THETA, X, Y, argument="w").verdict == "pass"
    with pytest.raises(InputError, match="has no parameter 'v' to be the theta; it has X, y, w"):
        check_gradient(data_first, its_gradient, THETA, X, Y, argument="v")
    with pytest.raises(InputError, match="argnum must be from 0 to 2"):
        check_gradient(data_first, its_gradient, THETA, X, Y, argnum=3)


@dataclass
class Weights:
    W: np.ndarray
    b: np.ndarray


class Named(NamedTuple):
    W: np.ndarray
    b: np.ndarray


W, B = GENERATOR.normal(size=(3, 2)), GENERATOR.normal(size=2)


def network(W, b, X, y):
    return np.mean((np.tanh(X @ W + b).sum(1) - y) ** 2)


def its_parts(W, b, X, y):
    h = np.tanh(X @ W + b)
    inner = (1 - h * h) * (2 * (h.sum(1) - y) / len(y))[:, None]
    return X.T @ inner, inner.sum(0)


STRUCTURES = {
    "dict": ({"W": W, "b": B}, lambda p: (p["W"], p["b"]), lambda dW, db: {"W": dW, "b": db}),
    "prefix": ({"W": W, "b": B}, lambda p: (p["W"], p["b"]), lambda dW, db: {"dW": dW, "db": db}),
    "list": ([W, B], tuple, lambda dW, db: [dW, db]),
    "tuple": ((W, B), tuple, lambda dW, db: (dW, db)),
    "gradient as a tuple": ({"W": W, "b": B}, lambda p: (p["W"], p["b"]), lambda dW, db: (dW, db)),
    "flat gradient": ({"W": W, "b": B}, lambda p: tuple(p.values()), lambda dW, db: np.append(dW.ravel(), db)),
    "dataclass": (Weights(W, B), lambda p: (p.W, p.b), Weights),
    "named tuple": (Named(W, B), tuple, Named),
    "nested": (
        {"layers": [{"W": W, "b": B}]},
        lambda p: tuple(p["layers"][0].values()),
        lambda dW, db: {"layers": [{"W": dW, "b": db}]},
    ),
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_parameters_in_a_structure(structure: str) -> None:
    theta, parts, back = STRUCTURES[structure]

    def f(p, X, y):
        return network(*parts(p), X, y)

    def hand(p, X, y):
        return back(*its_parts(*parts(p), X, y))

    report = check_gradient(f, hand, theta, X, Y)
    assert (report.verdict, voters(report)) == ("pass", ["jax", "torch"])

    def block_wrong(p, X, y):
        dW, db = its_parts(*parts(p), X, y)
        return back(2 * dW, db)

    wrong = check_gradient(f, block_wrong, theta, X, Y)
    assert wrong.verdict == "fail"
    assert "[" in wrong.components[0].name
    if structure == "dict":
        assert {c.name for c in wrong.components[:6]} == {f"W[{i},{j}]" for i in range(3) for j in range(2)}
        assert "only 6 of 8 components (W[0,0], W[0,1], W[1,0], W[1,1] and 2 more) differ" in " ".join(wrong.notes)


def test_a_missing_block_is_said() -> None:
    with pytest.raises(InputError, match="the gradient has no entry for b; it has dW"):
        check_gradient(
            lambda p, X, y: network(p["W"], p["b"], X, y),
            lambda p, X, y: {"dW": its_parts(p["W"], p["b"], X, y)[0]},
            {"W": W, "b": B},
            X,
            Y,
        )


def test_points_stay_where_the_function_lives() -> None:
    seen = []

    def positive(t):
        seen.append(t.copy())
        if (t <= 0).any():
            raise ValueError("outside")
        return np.sum(np.log(t)) + np.sum(np.sqrt(1 - t))

    report = check_gradient(positive, lambda t: 1 / t - 0.5 / np.sqrt(1 - t), [0.2, 0.9])
    assert report.verdict == "pass"
    signs = []
    check_gradient(lambda t: np.sum(t**2), lambda t: signs.append(np.sign(t)) or 2 * t, [1.0, -2.0])
    assert all((s == [1, -1]).all() for s in signs)
    points = []
    bounds = [(0.1, 0.3), (None, -1)]
    check_gradient(lambda t: np.sum(t**2), lambda t: points.append(t.copy()) or 2 * t, [0.2, -2.0], bounds=bounds)
    assert all(0.1 < a < 0.3 and b < -1 for a, b in points)
    with pytest.raises(InputError, match="theta is outside its bounds in component 1"):
        check_gradient(lambda t: np.sum(t**2), lambda t: 2 * t, [0.2, 0.0], bounds=bounds)
    given = []
    check_gradient(
        lambda t: np.sum(t**2), lambda t: given.append(t.copy()) or 2 * t, [1.0, 2.0], points=[[3.0, 4.0], [5.0, 6.0]]
    )
    assert {tuple(t) for t in given} == {(1, 2), (3, 4), (5, 6)}


def test_a_symmetric_matrix_stays_symmetric() -> None:
    S = np.array([[2.0, 0.3], [0.3, 1.0]])
    seen = []

    def logdet(S):
        return np.log(np.linalg.det(S))

    def hand(S):
        seen.append(S)
        return np.linalg.inv(S)

    assert check_gradient(logdet, hand, S).verdict == "pass"
    assert all((A == A.T).all() for A in seen)
    general = check_gradient(logdet, np.linalg.inv, S, symmetric=False)
    assert (general.verdict, general.cause.kind) == ("fail", "permutation")


def test_a_random_loss_is_said() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"the loss is random: numpy finds .* at the same theta; fix its seed"):
        check_gradient(lambda t: np.sum(t**2) + generator.normal(), lambda t: 2 * t, THETA)


def test_many_parameters() -> None:
    d = 2000
    c, theta = GENERATOR.uniform(1, 2, d), GENERATOR.normal(size=d)

    def f(t, c):
        return np.sum(c * np.tanh(t) ** 2)

    def hand(t, c):
        return 2 * c * np.tanh(t) * (1 - np.tanh(t) ** 2)

    assert check_gradient(f, hand, theta, c).verdict == "pass"
    wrong = check_gradient(f, lambda t, c: np.where(np.arange(d) == 777, 1.01, 1) * hand(t, c), theta, c)
    assert wrong.components[0].name == "theta[777]"
    assert "only 1 of 2000 components (theta[777]) differ" in wrong.notes[0]
    from scipy.special import jv, jvp

    theta = GENERATOR.uniform(0.5, 2, d)
    alone = check_gradient(lambda t: np.sum(jv(1.5, t * t + 0.1)), lambda t: jvp(1.5, t * t + 0.1) * 2 * t, theta)
    assert (alone.verdict, voters(alone)) == ("pass", ["differences"])
    assert alone.notes[0].startswith("checked in 32 of 2000 components and 16 random directions")
    turned = check_gradient(lambda t: np.sum(jv(1.5, t * t + 0.1)), lambda t: -jvp(1.5, t * t + 0.1) * 2 * t, theta)
    assert (turned.verdict, turned.cause.kind) == ("fail", "factor")


def test_a_program_too_long_to_compile_is_judged_by_others() -> None:
    rows, target = GENERATOR.normal(size=(900, 3)), GENERATOR.normal(size=900)

    def looped(t, X, y):
        total = 0.0
        for x, value in zip(X, y, strict=True):
            total = total + (x @ t - value) ** 2
        return total / len(y)

    report = check_gradient(looped, gradient, THETA, rows, target, backends=("jax",))
    assert (report.verdict, voters(report)) == ("pass", ["differences"])
    assert "takes" in report.unsupported["jax"]


def square_root(t):
    """Newton's iteration, which never reaches its tolerance if every operation errs."""
    x = np.ones(1)
    while abs(x[0] * x[0] - t[0]) > 1e-14:
        x = 0.5 * (x + t / x)
    return x[0]


def test_iterations_end_and_approximations_are_not_accused() -> None:
    from scipy.integrate import solve_ivp

    assert check_gradient(square_root, lambda t: 1 / (2 * np.sqrt(t)), [2.0]).verdict == "pass"
    assert check_gradient(square_root, lambda t: 1 / np.sqrt(t), [2.0]).verdict == "fail"

    def decayed(t):
        return solve_ivp(lambda _, u: -t[0] * u, (0, 1), [1.0], rtol=1e-10, atol=1e-12).y[0, -1]

    def both_verdicts(factor):
        return check_gradient(decayed, lambda t: -factor * np.exp(-t), [0.7], backends=("torch",)).verdict

    assert both_verdicts(1) in ("pass", "inconclusive")
    assert both_verdicts(2) == "fail"


def test_products_with_the_hessian_of_a_structure() -> None:
    theta = {"a": np.array([0.5, -0.3]), "b": 0.8}

    def f(p):
        return np.sum(p["a"] ** 3) * p["b"]

    def hand(p):
        return {"a": 3 * p["a"] ** 2 * p["b"], "b": np.sum(p["a"] ** 3)}

    def product(p, v):
        da = 6 * p["a"] * p["b"] * v["a"] + 3 * p["a"] ** 2 * v["b"]
        return {"a": da, "b": np.sum(3 * p["a"] ** 2 * v["a"])}

    report = check_gradient(f, hand, theta, hvp=product)
    assert (report.verdict, report.of) == ("pass", "gradient and hvp")
    wrong = check_gradient(f, hand, theta, hvp=lambda p, v: {**product(p, v), "b": 0.0})
    assert (wrong.verdict, wrong.of) == ("fail", "hvp")


FUNCTIONS = {
    "quadratic": (lambda t: t @ t, lambda t: 2 * t, [0.5, -0.3, 0.8], 1e-13),
    "logarithm": (lambda t: np.sum(np.log(t)), lambda t: 1 / t, [0.5, 0.3, 1e-4], 1e-10),
    "oscillating": (lambda t: np.sum(np.sin(30 * t)), lambda t: 30 * np.cos(30 * t), [0.5, -0.3, 0.8], 1e-10),
    "large offset": (lambda t: 1e6 + t @ t, lambda t: 2 * t, [0.5, -0.3, 0.8], 1e-7),
    "far away": (lambda t: np.sum(np.cos(t - 1e5)), lambda t: -np.sin(t - 1e5), [1e5 + 0.3, 1e5 - 2], 1e-4),
    "in float32": (lambda t: float(np.sum(np.float32(t) ** 2)), lambda t: 2 * t, [0.5, -0.3, 0.8], 1e-4),
    "kink beside": (lambda t: np.sum(np.abs(t)), np.sign, [0.5, -0.003], 1e-11),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_differences_are_as_exact_as_they_say(name: str) -> None:
    f, g, theta, visible = FUNCTIONS[name]
    theta = np.array(theta)
    noise = 2 * noise_of(f, theta, direction_of(theta))
    for j, right in enumerate(g(theta)):
        along = direction_of(theta, j)
        with np.errstate(all="ignore"):
            found = derivative(f, theta, along, noise)
        assert abs(found.value / along[j] - right) <= 2 * found.error / abs(along[j])
        assert found.error / abs(along[j]) <= visible * max(1.0, abs(right))


def real_cases():
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    path = Path(__file__).parents[1] / "benchmarks/evidence/real_cases.py"
    spec = spec_from_file_location("real_cases", path)
    module = module_from_spec(spec)
    import sys

    sys.modules["real_cases"] = module
    spec.loader.exec_module(module)
    return module


SAMPLED = {
    "scipy_cases": ("rosen, 6", "least_squares cauchy", "expm, expm_frechet", "jv, jvp", "CubicSpline"),
    "sklearn_cases": (
        *("_huber_loss_and_gradient", "MLPRegressor relu", "MLPClassifier tanh", "NCA", "t-SNE _kl_divergence"),
        *("GaussianProcessRegressor Matern 1.5", "GaussianProcessRegressor RBF, noise 1e-10"),
        *("kernel RBF", "LinearModelLoss HalfPoissonLoss"),
    ),
    "statsmodels_cases": (
        *("OLS", "MNLogit", "NegativeBinomial nb2", "ZeroInflatedPoisson", "ConditionalPoisson", "BetaModel"),
        *("GLM Binomial probit", "link CLogLog", "norm HuberT"),
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", SAMPLED)
def test_gradients_of_released_libraries(library: str) -> None:
    """A sample of what `make real` judges, each right and with a mistake."""
    pytest.importorskip("statsmodels")
    cases = {case.name: case for case in getattr(real_cases(), library)()}
    by_framework = 0
    for name in SAMPLED[library]:
        case = cases[name]
        report = check_gradient(case.loss, case.gradient, case.theta, *case.data, **case.options)
        assert report.verdict == "pass", (name, report)
        by_framework += voters(report) != ["differences"]
        loss_, hand = (case.spoiled(), True) if case.gradient is True else (case.loss, case.spoiled())
        wrong = check_gradient(loss_, hand, case.theta, *case.data)
        assert wrong.verdict == "fail", (name, wrong)
    assert by_framework >= 0.6 * len(SAMPLED[library])
