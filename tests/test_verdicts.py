"""What public reports broke: right gradients refused, wrong ones passed, and mistakes called by a wrong name."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from array_api_compat import array_namespace as namespace

from gdbackends import check_gradient
from gdbackends.errors import InputError
from gdbackends.gradcheck.allowance import estimated_bounds
from gdbackends.rounding.limit import Values

GENERATOR = np.random.default_rng(0)
X, Y, THETA = GENERATOR.normal(size=(20, 3)), GENERATOR.normal(size=20), np.array([0.5, -0.3, 0.8])
Z = np.array([0.3, -1.2, 0.8, 2.1])


@pytest.fixture(autouse=True)
def frameworks(require) -> None:
    for name in ("jax", "torch"):
        require(name)


def squares(t, X, y):
    return np.sum((X @ t - y) ** 2)


def gradient(t, X, y):
    return 2 * X.T @ (X @ t - y)


@pytest.mark.parametrize("noise", [1e-10, 1e-12])
def test_an_ill_conditioned_likelihood_is_not_accused(noise: float) -> None:
    inputs = np.linspace(0, 1, 10)
    target = np.sin(6 * inputs) + 0.01 * np.cos(50 * inputs)

    def nll(p, Z, t, noise):
        xp = namespace(p)
        d = (Z[:, None] - Z[None, :]) / p[0]
        K = p[1] * xp.exp(-0.5 * d * d) + noise * xp.eye(10, dtype=p.dtype)
        return 0.5 * t @ xp.linalg.solve(K, t) + xp.sum(xp.log(xp.linalg.diagonal(xp.linalg.cholesky(K))))

    def hand(p, Z, t, noise):
        E = Z[:, None] - Z[None, :]
        k = np.exp(-0.5 * (E / p[0]) ** 2)
        inverse = np.linalg.inv(p[1] * k + noise * np.eye(10))
        M = np.outer(inverse @ t, inverse @ t) - inverse
        return -0.5 * np.array([np.sum(M * p[1] * k * E**2 / p[0] ** 3), np.sum(M * k)])

    report = check_gradient(nll, hand, [0.3, 1.2], inputs, target, params={"noise": noise})
    assert report.verdict in ("pass", "inconclusive")
    assert report.verdict == "pass" or noise < 1e-10
    wrong = check_gradient(nll, lambda *a, **k: 2 * hand(*a, **k), [0.3, 1.2], inputs, target, params={"noise": noise})
    assert wrong.verdict == "fail"


@pytest.mark.parametrize("radius", [np.inf, 2.0**-40, 0.0])
def test_errors_that_leave_the_domain_are_made_once(radius: float) -> None:
    """Each may take long: an iteration that never ends with errors stops at a limit."""
    start, calls = np.array([[0.5, -0.3, 0.8], [0.4, -0.2, 0.9]]), []

    def evaluate(points, data):
        calls.append(points)
        if np.abs(points / start - 1).max() > radius:
            raise InputError("outside")
        return Values((points**2).sum(1), 2 * points)

    bounds = estimated_bounds(evaluate, start, (), "float64", 0, lambda step, seed: nullcontext())
    assert len(calls) == 2 + {np.inf: 6, 2.0**-40: 1 + 1 + 6, 0.0: 4}[radius]
    assert np.isfinite(bounds.gradients).all() == np.isfinite(bounds.losses).all() == (radius > 0)
    if radius:
        moved = np.max([np.abs(2 * (points - start)) for points in calls[-6:]], axis=0)
        step = 2.0**-30 if radius > 1 else 2.0**-44
        allowed = 16 * 2.0**-53 * 3**0.5 * (moved / step + np.abs(2 * start))
        np.testing.assert_allclose(bounds.gradients, allowed, rtol=1e-6)


def test_a_loss_that_raises_outside_its_domain() -> None:
    import torch

    def nll(t, z):
        return -torch.distributions.Normal(t[0], t[1]).log_prob(z).sum()

    def hand(t, z):
        return np.array([-(z - t[0]).sum() / t[1] ** 2, 4 / t[1] - np.sum((z - t[0]) ** 2) / t[1] ** 3])

    assert check_gradient({"torch": nll}, hand, [0.5, 0.3], Z, backends=("torch",)).verdict == "pass"
    edge = np.array([0.0, 1.0, 0.5, 1.0])  # data on the edge of the domain of a logarithm

    def entropy(t, p):
        xp = namespace(t)
        return xp.sum(t[0] * xp.where(p < 1, xp.log1p(-xp.where(p < 1, p, 0 * p)), 0 * p) + t[1] * p * p)

    def its_gradient(t, p):
        return np.array([np.log1p(-p[p < 1]).sum(), (p * p).sum()])

    assert check_gradient(entropy, its_gradient, [0.3, 0.7], edge).verdict == "pass"


def torch_only(function):
    return {"torch": function, "numpy": squares}


def test_the_values_decide_where_autodiff_contradicts_them() -> None:
    import torch

    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx, r):
            ctx.save_for_backward(r)
            return r @ r

        @staticmethod
        def backward(ctx, d):
            return d * ctx.saved_tensors[0]

    def with_wrong_rule(t, X, y):
        return Half.apply(X @ t - y)

    def detached(t, X, y):
        return ((X @ t - y) * (X @ t - y).detach()).sum()

    def penalty_off_the_graph(t, X, y):
        return ((X @ t - y) ** 2).sum() + 0 * t.detach().sum() + (t.detach() ** 2).sum()

    for function in (with_wrong_rule, detached):
        for losses in (torch_only(function), {"torch": function}):
            wrong = check_gradient(losses, lambda *a: gradient(*a) / 2, THETA, X, Y, backends=("torch",))
            assert (wrong.verdict, wrong.cause.kind) == ("fail", "factor")
            assert "autodiff-differs" in wrong.cause.runner_up
            right = check_gradient(losses, gradient, THETA, X, Y, backends=("torch",))
            assert (right.verdict, right.cause.kind) == ("pass", "autodiff-differs")
            assert "torch is at odds with the values of the loss in 3 of 3 components" in right.cause.text
            assert right.sentence.endswith("; autodiff does not.")
    off = check_gradient({"torch": penalty_off_the_graph}, gradient, THETA, X, Y, backends=("torch",))
    assert off.verdict == "fail"


def test_components_that_are_zero_and_losses_that_are() -> None:
    u = GENERATOR.normal(size=20)

    def batch_norm(p, X, u):
        z = X @ p[:3] + p[3]
        z = (z - np.mean(z)) / np.sqrt(np.mean((z - np.mean(z)) ** 2) + 1e-5)
        return np.mean(u * z**2)

    def hand(p, X, u):
        z = X @ p[:3] + p[3]
        s = 1 / np.sqrt(z.var() + 1e-5)
        h = (z - z.mean()) * s
        d = 2 * u * h / 20
        q = s * (d - d.mean() - h * (d * h).mean())
        return np.append(X.T @ q, q.sum())

    report = check_gradient(batch_norm, hand, [0.5, -0.3, 0.8, 0.2], X, u)
    assert report.verdict == "pass"
    assert "1 of 4 components (theta[3]) is 0 at every theta tried, and was compared only with 0" in str(report)
    constant = check_gradient(lambda t: np.sum(np.exp(t) / np.sum(np.exp(t))), lambda t: np.exp(t), THETA)
    assert (constant.verdict, constant.cause.kind) == ("fail", "different-function")
    assert "is 0 in all 3 components, at every point, and yours is not" in constant.cause.text


def test_kinks_and_ties() -> None:
    A = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    b = np.array([1.0, 0.5, 1.5, 0.0])

    def absolute(t, A, b):
        return namespace(t).sum(namespace(t).abs(A @ t - b))

    end = check_gradient(absolute, lambda t, A, b: A.T @ np.where(A @ t - b >= 0, 1.0, -1.0), [1.0, 0.5], A, b)
    assert (end.verdict, end.cause.kind) == ("pass", "kink")

    def largest(x):
        xp = namespace(x)
        return xp.sum(xp.max(xp.reshape(x, (2, 2)), axis=1))

    def both(x):
        return (x.reshape(2, 2) == x.reshape(2, 2).max(1, keepdims=True)).ravel() * 1.0

    ties = check_gradient(largest, both, [0.0, 0.0, 1.0, 2.0])
    assert (ties.verdict, ties.cause.kind) != ("fail", "precision")
    assert ties.verdict == "fail"


TRANSFORMED = {
    "log scale": (
        lambda t, z: np.sum(0.5 * ((z - t[0]) / np.exp(t[1])) ** 2) + 4 * t[1],
        lambda t, z: np.array(
            [
                -np.sum(z - t[0]) / np.exp(2 * t[1]),
                -np.sum((z - t[0]) ** 2) / np.exp(3 * t[1]) + 4 / np.exp(t[1]),
            ]
        ),
        "yours lacks the factor exp(theta[1]) in 1 of 2 components (theta[1])",
    ),
    "logit": (
        lambda t, z: np.sum((z - t[0]) ** 2) / (1 + np.exp(-t[1])),
        lambda t, z: np.array([-2 * np.sum(z - t[0]) / (1 + np.exp(-t[1])), np.sum((z - t[0]) ** 2)]),
        "yours lacks the factor s (1 - s), s = 1/(1 + exp(-theta[1]))",
    ),
    "square": (
        lambda t, z: np.sum((z - t[0]) ** 2) * (1 + t[1] ** 2),
        lambda t, z: np.array([-2 * np.sum(z - t[0]) * (1 + t[1] ** 2), np.sum((z - t[0]) ** 2)]),
        "yours lacks the factor 2 theta[1]",
    ),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_the_chain_rule_of_a_transformed_parameter(name: str) -> None:
    function, hand, text = TRANSFORMED[name]
    report = check_gradient(function, hand, [0.5, 0.3], Z)
    assert (report.verdict, report.cause.kind) == ("fail", "chain-rule")
    assert text in report.cause.text
    assert "only 1 of 2 components (theta[1]) differ" in report.notes[0]


def in_bfloat16(a):
    import torch

    return torch.tensor(a).bfloat16().double().numpy()


LOWER = {
    "float16": lambda t, X, y: gradient(*(a.astype("f2") for a in (t, X, y))),
    "float32": lambda t, X, y: gradient(*(a.astype("f4") for a in (t, X, y))).astype(float),
    "bfloat16": lambda t, X, y: gradient(*map(in_bfloat16, (t, X, y))),
    "rounded to 6 digits": lambda *a: np.array([float(f"{v:.6g}") for v in gradient(*a)]),
}


@pytest.mark.parametrize("name", LOWER)
def test_the_precision_that_was_lost(name: str) -> None:
    report = check_gradient(squares, LOWER[name], THETA, X, Y)
    assert (report.verdict, report.cause.kind) == ("fail", "precision")
    assert report.cause.text.endswith(name)


def test_a_wrong_hessian_is_located() -> None:
    def f(t):
        return np.sum(t**4) + t[0] * t[1]

    def g(t):
        return 4 * t**3 + np.array([t[1], t[0], 0.0])

    def hessian(t):
        H = np.diag(12 * t**2)
        H[0, 1] = H[1, 0] = 1.0
        return H

    assert check_gradient(f, g, THETA, hessian=hessian).verdict == "pass"

    def wrong(t):
        H = hessian(t)
        H[2, 2] /= 2
        return H

    report = check_gradient(f, g, THETA, hessian=wrong)
    assert (report.verdict, report.of) == ("fail", "hessian")
    assert "only the entries (2, 2) differ, all in the row or the column of theta[2]; yours are 0.5 to 0.5" in str(
        report
    )


def test_a_clipped_loss_is_judged_where_it_is_not() -> None:
    """Random points beyond the clip, where the derivative is 0, accused right gradients of link functions."""

    def logit(p):
        p = np.clip(p, 1e-10, 1 - 1e-10)
        return np.sum(np.log(p / (1 - p)))

    report = check_gradient(logit, lambda p: 1 / (p * (1 - p)), [0.2, 0.5, 0.9])
    assert report.verdict == "pass"
    assert "the random points are close to theta" in str(report)
    wrong = check_gradient(logit, lambda p: 1 / (p * (1 + p)), [0.2, 0.5, 0.9])
    assert wrong.verdict == "fail"
    from scipy.special import jv, jvp

    def clipped(t):
        return jv(1.5, np.minimum(t, 1.0)).sum()

    assert check_gradient(clipped, lambda t: jvp(1.5, t), [0.3, 0.9]).verdict == "pass"
    assert check_gradient(clipped, lambda t: -jvp(1.5, t), [0.3, 0.9]).verdict == "fail"


def test_infinite_bounds_among_the_arguments() -> None:
    upper = np.array([1.0, np.inf, 2.0])
    report = check_gradient(lambda t, u: np.sum(np.minimum(t, u) ** 2), lambda t, u: 2 * t, [0.2, 0.3, 0.4], upper)
    assert report.verdict == "pass"
