"""check_gradient(): whole kinds of mistakes are named, over several losses, sizes and variants."""

from __future__ import annotations

import numpy as np
import pytest

from gdbackends import check_gradient

FEW = {"backends": ("torch",)}
"""One framework is enough to name a mistake."""


@pytest.fixture(autouse=True)
def torch(require) -> None:
    require("torch")


def squared(theta, X, y):
    return np.mean((X @ theta - y) ** 2)


def squared_gradient(theta, X, y):
    return 2 * X.T @ (X @ theta - y) / len(y)


def logistic(theta, X, y):
    return np.mean(np.log1p(np.exp(-np.sign(y) * (X @ theta))))


def logistic_gradient(theta, X, y):
    s = np.sign(y)
    return X.T @ (-s / (1 + np.exp(s * (X @ theta)))) / len(y)


def rosenbrock(theta, X, y):
    return np.sum(100 * (theta[1:] - theta[:-1] ** 2) ** 2) + np.sum((1 - theta) ** 2)


def rosenbrock_gradient(theta, X, y):
    step = theta[1:] - theta[:-1] ** 2
    g = -2 * (1 - theta)
    g[1:] += 200 * step
    g[:-1] -= 400 * theta[:-1] * step
    return g


def entropy(theta, X, y):
    return np.sum(theta * np.log(theta))


def entropy_gradient(theta, X, y):
    return np.log(theta) + 1


LOSSES = {
    "squared": (squared, squared_gradient),
    "logistic": (logistic, logistic_gradient),
    "rosenbrock": (rosenbrock, rosenbrock_gradient),
    "entropy": (entropy, entropy_gradient),
}


def numbers(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a theta of either sign, X and y."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, d))
    theta = generator.uniform(0.3, 1.5, d) * np.where(np.arange(d) % 2, -1, 1)
    return theta, X, X @ generator.normal(size=d) + generator.normal(size=n)


@pytest.mark.parametrize("c", [0.001, -0.5, 7.0])
@pytest.mark.parametrize("d", [1, 2, 6])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("signs", ["one", "both"])
def test_a_constant_added_to_all_components_is_an_offset(signs: str, name: str, d: int, c: float) -> None:
    loss, gradient = LOSSES[name]
    theta, X, y = numbers(40, d)
    theta = np.abs(theta) if signs == "one" or name == "entropy" else theta
    report = check_gradient(loss, lambda *a: gradient(*a) + c, theta, X, y, **FEW)
    assert (report.verdict, report.cause.kind) == ("fail", "offset"), str(report)
    assert f"{c:.6g} is added to " in report.cause.text
    assert "times 1" not in str(report)
    assert check_gradient(loss, gradient, theta, X, y, **FEW).verdict == "pass"


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("signs", ["one", "both"])
def test_a_lasso_penalty_is_no_offset(signs: str, d: int, last: bool) -> None:
    """Also where all components have one sign, if a hyper-parameter has the constant of its derivative."""

    def lasso(theta, X, y, lam):
        return squared(theta, X, y) + lam * np.sum(np.abs(theta if last else theta[:-1]))

    theta, X, y = numbers(40, d)
    theta = np.abs(theta) if signs == "one" else theta
    report = check_gradient(lasso, lambda t, X, y, lam: squared_gradient(t, X, y), theta, X, y, params={"lam": 0.3})
    assert report.cause.kind == "missing-term", str(report)
    assert "0.3 = lam, times sign" in report.cause.text


def softmax(W, X, y):
    z = X @ W
    return np.mean(np.log(np.sum(np.exp(z), 1)) - np.sum(z * np.eye(3)[y.astype(int)], 1))


def softmax_gradient(W, X, y):
    p = np.exp(X @ W)
    p /= p.sum(1, keepdims=True)
    return X.T @ (p - np.eye(3)[y.astype(int)]) / len(y)


def network(theta, X, y):
    return np.mean((np.tanh(X @ theta["W"] + theta["b"]) @ theta["v"] - y) ** 2)


def network_gradient(theta, X, y):
    h = np.tanh(X @ theta["W"] + theta["b"])
    r = 2 * (h @ theta["v"] - y) / len(y)
    inner = np.outer(r, theta["v"]) * (1 - h * h)
    return {"W": X.T @ inner, "b": inner.sum(0), "v": h.T @ r}


def curve(theta, x, y):
    return np.mean((theta[0] * np.exp(-theta[1] * x) + theta[2] - y) ** 2)


def curve_gradient(theta, x, y):
    e = np.exp(-theta[1] * x)
    r = 2 * (theta[0] * e + theta[2] - y) / len(y)
    return np.array([r @ e, -theta[0] * (r * x) @ e, r.sum()])


def deviance(theta, x, y):
    return np.mean(np.exp(theta * x) - y * theta * x)


def deviance_gradient(theta, x, y):
    return np.mean(x * (np.exp(theta * x) - y))


def ridge(theta, X, y):
    return squared(theta, X, y) + 0.1 * theta @ theta


def ridge_gradient(theta, X, y):
    return squared_gradient(theta, X, y) + 0.2 * theta


def models(n: int) -> dict:
    """Return losses that are means over rows, their gradients, a theta and data."""
    generator = np.random.default_rng(n)
    theta, X, y = numbers(n, 3, n)
    x, labels = generator.uniform(0, 2, n), generator.integers(0, 3, n)
    layers = {"W": generator.normal(size=(3, 2)), "b": np.array([0.3, -0.2]), "v": np.array([1.0, -0.7])}
    return {
        "squared": (squared, squared_gradient, theta, X, y),
        "ridge": (ridge, ridge_gradient, theta, X, y),
        "softmax": (softmax, softmax_gradient, generator.normal(size=(3, 3)), X, labels),
        "network": (network, network_gradient, layers, X, y),
        "curve": (curve, curve_gradient, np.array([1.0, 0.7, 0.2]), x, y),
        "one parameter": (deviance, deviance_gradient, 0.4, x, labels),
    }


def without(gradient, rows, over):
    """Return a gradient that leaves rows out, divided by the number of the others or by that of all."""

    def hand(theta, *data):
        kept = gradient(theta, *(np.delete(a, rows, 0) for a in data))
        if over == "others":
            return kept
        if gradient is ridge_gradient:
            return kept + (squared_gradient(theta, *(np.delete(a, rows, 0) for a in data))) * (
                -np.size(rows) / len(data[0])
            )
        c = 1 - np.size(rows) / len(data[0])
        return {name: c * v for name, v in kept.items()} if isinstance(kept, dict) else c * kept

    return hand


ROWS = {
    "first": ([0], "row 0 is left out"),
    "middle": ([17], "row 17 is left out"),
    "last": ([-1], "row {} is left out"),
    "two": ([11, 30], "rows 11 and 30 are left out"),
    "batch": (range(-8, 0), "the 8 rows from {} to {} are left out"),
}


@pytest.mark.parametrize("over", ["others", "all"])
@pytest.mark.parametrize("which", ROWS)
@pytest.mark.parametrize("name", models(3))
@pytest.mark.parametrize("n", [40, 1000])
def test_rows_left_out_are_named_whatever_the_loss(n: int, name: str, which: str, over: str) -> None:
    loss, gradient, theta, *data = models(n)[name]
    rows = np.arange(n)[list(ROWS[which][0])]
    report = check_gradient(loss, without(gradient, rows, over), theta, *data, **FEW)
    assert (report.verdict, report.cause.kind) == ("fail", "row"), str(report)
    assert report.cause.text.startswith(ROWS[which][1].format(rows[0], rows[-1]))
    said = f"over the other {n - rows.size} rows" if over == "others" else f"the mean is still over {n} rows"
    assert said in report.cause.text


@pytest.mark.parametrize("name", ["squared", "softmax", "curve"])
def test_a_row_is_left_out_of_a_hundred_thousand(name: str) -> None:
    n = 100_000
    loss, gradient, theta, *data = models(n)[name]
    report = check_gradient(loss, without(gradient, [n // 3], "others"), theta, *data, **FEW)
    assert report.cause.text.startswith("row 33333 is left out")


@pytest.mark.parametrize("n", [3, 4, 7, 40, 1000])
@pytest.mark.parametrize("name", ["squared", "softmax", "network"])
@pytest.mark.parametrize("row", [0, 1, -1])
def test_a_row_that_counts_twice_or_half(n: int, name: str, row: int) -> None:
    loss, gradient, theta, *data = models(n)[name]

    def counted(c, over):
        def hand(theta, *data):
            every, alone = gradient(theta, *data), gradient(theta, *(a[[row]] for a in data))
            if isinstance(every, dict):
                return {key: (v * n + c * alone[key]) / over for key, v in every.items()}
            return (every * n + c * alone) / over

        return hand

    for hand, text in (
        (counted(1, n + 1), f"row {row % n} is counted twice: yours is the gradient over {n + 1} rows"),
        (counted(1, n), f"row {row % n} is counted twice, and the mean is still over {n} rows"),
        (counted(-0.5, n), f"row {row % n} counts unlike the others: the difference is {-0.5 / n:.6g} times its own"),
    ):
        report = check_gradient(loss, hand, theta, *data, **FEW)
        assert (report.cause.kind, text in report.cause.text) == ("row", True), str(report)


def test_other_mistakes_in_rows_are_not_taken_for_one_left_out() -> None:
    theta, X, y = numbers(60, 3)

    def clipped(theta, X, y):
        r = X @ theta - y
        return 2 * X.T @ np.clip(r, -1, 1) / len(y)

    def shifted(theta, X, y):
        return 2 * X.T @ (X @ theta - np.roll(y, 1)) / len(y)

    def walk(theta, X, y):
        return np.mean(np.diff(X @ theta - y) ** 2)

    def halved_walk(theta, X, y):
        steps = np.diff(X, axis=0)
        return 2 * steps[1:].T @ (steps @ theta - np.diff(y))[1:] / len(steps)

    for loss, hand in ((squared, clipped), (squared, shifted), (walk, halved_walk)):
        report = check_gradient(loss, hand, theta, X, y, **FEW)
        assert report.verdict == "fail"
        assert report.cause.kind != "row", str(report)
