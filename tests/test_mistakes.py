"""check_gradient(): whole kinds of mistakes are named, over several losses, sizes and variants."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from gdbackends import check_gradient
from gdbackends.errors import InputError

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


CONSTANTS = (0.001, -0.5, 7.0)


@pytest.mark.parametrize(
    ("signs", "name", "d", "c"),
    [
        (signs, name, d, CONSTANTS[(j + k + m) % 3])
        for j, signs in enumerate(("one", "both"))
        for k, name in enumerate(LOSSES)
        for m, d in enumerate((1, 2, 6))
    ],
)
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


MEANS = [(40, "others"), (1000, "all"), (40, "all"), (1000, "others")]


@pytest.mark.parametrize(
    ("n", "name", "which", "over"),
    [
        (n, name, which, over)
        for j, name in enumerate(models(3))
        for k, which in enumerate(ROWS)
        for n, over in [MEANS[(j + k) % 4]]
    ],
)
def test_rows_left_out_are_named_whatever_the_loss(n: int, name: str, which: str, over: str) -> None:
    loss, gradient, theta, *data = models(n)[name]
    rows = np.arange(n)[list(ROWS[which][0])]
    report = check_gradient(loss, without(gradient, rows, over), theta, *data, **FEW)
    assert (report.verdict, report.cause.kind) == ("fail", "row"), str(report)
    assert report.cause.text.startswith(ROWS[which][1].format(rows[0], rows[-1]))
    said = f"over the other {n - rows.size} rows" if over == "others" else f"the mean is still over {n} rows"
    assert said in report.cause.text


@pytest.mark.parametrize(("name", "n"), [("squared", 100_000), ("softmax", 20_000), ("curve", 20_000)])
def test_a_row_is_left_out_of_very_many(name: str, n: int) -> None:
    loss, gradient, theta, *data = models(n)[name]
    report = check_gradient(loss, without(gradient, [n // 3], "others"), theta, *data, **FEW)
    assert report.cause.text.startswith(f"row {n // 3} is left out")


@pytest.mark.parametrize(
    ("n", "name", "row"),
    [
        (n, name, (0, -1)[(j + k) % 2])
        for j, n in enumerate((3, 4, 40, 1000))
        for k, name in enumerate(("squared", "softmax", "network"))
        if n < 1000 or name == "squared"
    ],
)
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

    def first(theta, X, y):
        r = X @ theta - y
        r[0] *= r[1]
        return 2 * X.T @ r / len(y)

    report = check_gradient(squared, first, theta, X, y, **FEW)
    assert report.cause.text.startswith("a row counts unlike the others, as if left out or counted twice")
    assert "a multiple of row 0" in report.cause.text
    for loss, hand in ((squared, clipped), (squared, shifted), (walk, halved_walk)):
        report = check_gradient(loss, hand, theta, X, y, **FEW)
        assert report.verdict == "fail"
        assert report.cause.kind != "row", str(report)


def linear(theta, X, y):
    return np.mean((X @ theta["W"] @ theta["v"] + theta["b"] - y) ** 2) + 0.1 * np.sum(theta["W"] ** 2)


def linear_gradient(theta, X, y):
    r = 2 * (X @ theta["W"] @ theta["v"] + theta["b"] - y) / len(y)
    return {"W": np.outer(X.T @ r, theta["v"]) + 0.2 * theta["W"], "b": r.sum(), "v": theta["W"].T @ (X.T @ r)}


def blocks(name: str):
    """Return a loss of several arrays, its gradient and arguments."""
    theta, X, y = numbers(40, 3)
    W = np.random.default_rng(5).normal(size=(3, 3))
    if name == "linear":
        return linear, linear_gradient, {"W": W, "b": 0.3, "v": theta}, X, y
    return network, network_gradient, {"W": W, "b": theta / 2, "v": theta}, X, y


ALONE = {
    "half": (lambda g, t: g / 2, "factor", "a factor 1/2: yours is 0.5 of autodiff in {all}"),
    "minus": (lambda g, t: -g, "factor", "all signs are flipped"),
    "constant": (lambda g, t: g + 0.3, "offset", "0.3 is added to {all}"),
    "penalty": (lambda g, t: g + 0.4 * t, "extra-term", "yours has too much of 0.4 times {block}"),
    "zero": (lambda g, t: 0 * g, "factor", "yours is 0 in {all}, at every point"),
}


@pytest.mark.parametrize(
    ("name", "mistake", "block"),
    [
        (("linear", "network")[(j + k) % 2], mistake, block)
        for j, mistake in enumerate(ALONE)
        for k, block in enumerate(("W", "b", "v"))
    ],
)
def test_one_block_that_is_wrong_alone(name: str, mistake: str, block: str) -> None:
    loss, gradient, theta, *data = blocks(name)
    change, kind, text = ALONE[mistake]

    def hand(theta, *data):
        right = gradient(theta, *data)
        return right | {block: change(right[block], theta[block])}

    report = check_gradient(loss, hand, theta, *data, **FEW)
    size = np.size(theta[block])
    said = text.format(all=f"all {size} components" if size > 1 else "the one component", block=block)
    assert (report.verdict, report.cause.kind) == ("fail", kind), str(report)
    assert report.cause.text.startswith(f"in the block {block}, ")
    assert said in report.cause.text
    rest = sum(np.size(v) for v in theta.values()) - size
    verbs = "differs" if size == 1 else "differ", "agrees" if rest == 1 else "agree"
    assert report.notes[0].startswith(f"only {size} of {size + rest} components ({block}")
    assert f"{verbs[0]}, all in the block {block}; the other {rest} {verbs[1]} within rounding" in report.notes[0]


@pytest.mark.parametrize("block", ["W", "b", "v"])
def test_one_block_of_a_list_that_is_wrong_alone(block: str) -> None:
    loss, gradient, theta, *data = blocks("network")

    def hand(theta, *data):
        right = gradient(theta, *data)
        return right | {block: right[block] / 2}

    as_lists = check_gradient(
        lambda t, *a: loss(dict(zip(theta, t, strict=True)), *a),
        lambda t, *a: list(hand(dict(zip(theta, t, strict=True)), *a).values()),
        [np.asarray(v) for v in theta.values()],
        *data,
        **FEW,
    )
    assert (as_lists.cause.kind, "in the block theta[" in as_lists.cause.text) == ("factor", True), str(as_lists)


def test_blocks_that_are_wrong_together_or_each_in_its_way() -> None:
    loss, gradient, theta, *data = blocks("network")

    def together(theta, *data):
        right = gradient(theta, *data)
        return right | {"W": 40 * right["W"], "b": 40 * right["b"]}

    def apart(theta, *data):
        right = gradient(theta, *data)
        return right | {"W": right["W"].T, "v": right["v"] + 2}

    def every(theta, *data):
        right = gradient(theta, *data)
        return {"W": right["W"].T, "b": -right["b"], "v": right["v"] / 2}

    both = check_gradient(loss, together, theta, *data, **FEW)
    assert both.cause.text.startswith("in the blocks W and b, a factor n: yours is 40 of autodiff in all 12 components")
    each = check_gradient(loss, apart, theta, *data, **FEW)
    assert each.cause.kind == "compound"
    assert "in W, the components are transposed" in each.cause.text
    assert "in v, an offset that does not depend on theta: 2 is added" in each.cause.text
    all_of_them = check_gradient(loss, every, theta, *data, **FEW)
    assert [part[:5] for part in all_of_them.cause.text.split("; ")] == ["in W,", "in b,", "in v,"]


@pytest.mark.parametrize("block", ["W", "b"])
def test_one_block_of_many_parameters(block: str) -> None:
    generator = np.random.default_rng(3)
    X, y = generator.normal(size=(5, 150)), generator.normal(size=5)
    theta = {"W": generator.normal(size=(150, 140)) / 12, "b": generator.normal(size=140), "v": np.ones(140) / 12}

    def hand(theta, X, y):
        right = network_gradient(theta, X, y)
        return right | {block: right[block] / 2}

    report = check_gradient(network, hand, theta, X, y, **FEW)
    assert report.cause.kind == "factor", str(report)
    assert report.cause.text.startswith(f"in the block {block}, a factor 1/2: yours is 0.5 of autodiff")
    assert report.sentence.endswith(f"; look for a wrong factor in the block {block}.")


@pytest.mark.parametrize("name", ["linear", "network"])
def test_a_square_block_that_is_transposed(name: str) -> None:
    loss, gradient, theta, *data = blocks(name)
    report = check_gradient(loss, lambda *a: gradient(*a) | {"W": gradient(*a)["W"].T}, theta, *data, **FEW)
    assert report.cause.kind == "permutation"
    assert report.cause.text.startswith("in the block W, the components are transposed: 6 of 9 components")
    with pytest.raises(InputError, match=r"gradient of V has shape \(2, 3\), it must have \(3, 2\); it is transposed"):
        check_gradient(lambda t: np.sum(t["V"] ** 2), lambda t: {"V": 2 * t["V"].T}, {"V": np.ones((3, 2))}, **FEW)


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_a_matrix_inside_a_flat_theta_that_is_transposed(rows: int) -> None:
    _, X, y = numbers(40, 3)
    flat = np.random.default_rng(2).normal(size=rows * 3 + 4)

    def loss(t, X, y):
        h = np.tanh(X @ t[2 : 2 + rows * 3].reshape(rows, 3).T)
        return np.mean((h @ np.ones(rows) + t[0] - y) ** 2) + t[1] ** 2 + np.sum(t[-2:] ** 2)

    def hand(t, X, y):
        h = np.tanh(X @ t[2 : 2 + rows * 3].reshape(rows, 3).T)
        r = 2 * (h @ np.ones(rows) + t[0] - y) / len(y)
        inner = X.T @ (r[:, None] * (1 - h * h))  # (3, rows), which should be (rows, 3)
        return np.concatenate(([r.sum(), 2 * t[1]], inner.ravel(), 2 * t[-2:]))

    report = check_gradient(loss, hand, flat, X, y, **FEW)
    assert report.cause.kind == "permutation"
    assert f"transposed, as a matrix of {rows} x 3 is" in report.cause.text or f"3 x {rows}" in report.cause.text


def weighted(theta, X, y, w):
    return np.sum(w * (X @ theta - y) ** 2) / np.sum(w)


def weighted_gradient(theta, X, y, w):
    return 2 * X.T @ (w * (X @ theta - y)) / np.sum(w)


def weighted_curve(theta, x, y, w):
    return np.mean(w * (theta[0] * np.exp(-theta[1] * x) - y) ** 2)


def weighted_curve_gradient(theta, x, y, w):
    e = np.exp(-theta[1] * x)
    r = 2 * w * (theta[0] * e - y) / len(y)
    return np.array([r @ e, -theta[0] * (r * x) @ e])


def rates(theta, X, y, exposure):
    z = X @ theta + np.log(exposure)
    return np.mean(np.exp(z) - y * z)


def rates_gradient(theta, X, y, exposure):
    return X.T @ (np.exp(X @ theta) * exposure - y) / len(y)


WEIGHTED = {
    "regression": (weighted, weighted_gradient, 3),
    "one feature": (weighted, weighted_gradient, 1),
    "curve": (weighted_curve, weighted_curve_gradient, 0),
    "rates": (rates, rates_gradient, 2),
}


@pytest.mark.parametrize(
    ("name", "n", "whole"),
    [(name, n, (j + k) % 2 == 0) for j, name in enumerate(WEIGHTED) for k, n in enumerate((10, 100))],
)
def test_forgotten_weights_are_named(name: str, n: int, whole: bool) -> None:
    loss, gradient, d = WEIGHTED[name]
    theta, X, y = numbers(n, max(d, 1))
    y, x = np.abs(y), np.random.default_rng(1).uniform(0, 2, n)
    w = np.random.default_rng(n).integers(1, 4, n) if whole else np.random.default_rng(n).uniform(0.2, 3, n)
    start, data = (np.array([1.0, 0.7]), (x, y)) if name == "curve" else (theta, (X, y))
    said = list(inspect.signature(loss).parameters)[3]
    assert check_gradient(loss, gradient, start, *data, w, **FEW).verdict == "pass"
    for used, text in (
        (np.ones(n), f"with 1 in place of data[2] ({said}), as if weights were forgotten"),
        (w**2, f"with the square of data[2] ({said})"),
    ):
        if whole and text.startswith("with the square"):
            continue
        report = check_gradient(loss, lambda *a, u=used: gradient(*a[:-1], u), start, *data, w, **FEW)
        assert (report.verdict, report.cause.kind) == ("fail", "data"), str(report)
        assert f"yours is the gradient {text}" in report.cause.text


def entropy_of_labels(theta, X, y):
    return np.mean(np.log1p(np.exp(X @ theta)) - y * (X @ theta))


def entropy_of_labels_gradient(theta, X, y):
    return X.T @ (1 / (1 + np.exp(-X @ theta)) - y) / len(y)


def margin(theta, X, y):
    return np.mean(np.log1p(np.exp(-y * (X @ theta))))


def margin_gradient(theta, X, y):
    return X.T @ (-y / (1 + np.exp(y * (X @ theta)))) / len(y)


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("whole", [True, False])
def test_labels_of_another_code_are_named(whole: bool, d: int) -> None:
    theta, X, y = numbers(60, d)
    zero_one, signs = (y > 0).astype(float), np.sign(y)
    if whole:
        zero_one, signs = zero_one.astype(int), signs.astype(int)
    for loss, gradient, labels, text in (
        (margin, lambda t, X, y: margin_gradient(t, X, (y + 1) / 2), signs, "coded as 0 and 1 in place of -1 and 1"),
        (margin, lambda t, X, y: margin_gradient(t, X, 2 * y - 1), zero_one, "coded as -1 and 1 in place of 0 and 1"),
        (
            entropy_of_labels,
            lambda t, X, y: entropy_of_labels_gradient(t, X, 2 * y - 1),
            zero_one,
            "coded as -1 and 1 in place of 0 and 1",
        ),
    ):
        report = check_gradient(loss, gradient, theta, X, labels, **FEW)
        if d == 1 and loss is entropy_of_labels:  # one constant explains it too
            assert report.cause.kind == "offset"
            continue
        assert (report.cause.kind, text in report.cause.text) == ("data", True), str(report)


def test_other_mistakes_with_weights_are_not_taken_for_other_data() -> None:
    theta, X, y = numbers(60, 3)
    w = np.random.default_rng(1).uniform(0.5, 2, 60)

    def rolled(theta, X, y, w):
        return weighted_gradient(theta, X, y, np.roll(w, 1))

    def fifth(theta, X, y, w):
        return weighted_gradient(theta, X, y, w) + 0.1 * theta**5

    for hand in (rolled, fifth):
        report = check_gradient(weighted, hand, theta, X, y, w, **FEW)
        assert report.verdict == "fail"
        assert report.cause.kind not in ("data", "row"), str(report)
    half = check_gradient(weighted, lambda *a: weighted_gradient(*a) / 2, theta, X, y, w, **FEW)
    assert half.cause.kind == "factor"


@pytest.mark.parametrize("n", [5, 50])
@pytest.mark.parametrize("backends", [("torch",), ("jax", "torch")])
def test_a_column_that_is_broadcast(n: int, backends: tuple[str, ...], require) -> None:
    for name in backends:
        require(name)
    theta, X, y = numbers(n, 3)
    column = y[:, None]
    name = f"data[1] (y) are: its shape ({n}, 1) is broadcast to ({n}, {n}); ({n},) pairs it"

    def gradient(theta, X, y):
        return 2 * X.T @ (X @ theta - y.ravel()) / len(y)

    report = check_gradient(squared, gradient, theta, X, column, backends=backends)
    assert (report.verdict, report.cause.kind) == ("fail", "data"), str(report)
    assert f"for data[1] (y) of shape ({n},); the loss broadcasts that of shape ({n}, 1)" in report.cause.text
    assert name in report.notes[0]

    def broadcast_too(theta, X, y):
        r = X @ theta - y
        return 2 * X.T @ r.sum(0) / r.size

    both = check_gradient(squared, broadcast_too, theta, X, column, backends=backends)
    assert both.sentence.endswith("within rounding, but see the warning.")
    assert both.verdict == "pass"
    assert both.notes[0].startswith("warning: the loss is the same in whatever order the rows of ")
    assert name in both.notes[0]
    matrix = check_gradient(
        squared, lambda t, X, y: 2 * X.T @ ((X @ t).sum(1, keepdims=True) * n - y.sum()) / n**2, theta[:, None], X, y
    )
    assert (matrix.verdict, "pairs it with the other data" in matrix.notes[0]) == ("pass", True), str(matrix)


def test_no_warning_where_rows_are_paired_or_need_not_be() -> None:
    theta, X, y = numbers(30, 3)
    plain = check_gradient(squared, squared_gradient, theta, X, y, **FEW)
    columns = check_gradient(squared, squared_gradient, theta[:, None], X, y[:, None], **FEW)

    def moments(theta, x, y):
        return (np.mean(theta * x) - np.mean(y)) ** 2

    def distance(theta, X, Z):
        return np.mean((X[:, None] * theta - Z[None]) ** 2)

    def moments_gradient(theta, x, y):
        return 2 * (np.mean(theta * x) - np.mean(y)) * np.mean(x)

    def distance_gradient(theta, X, Z):
        return np.array([np.mean(2 * (X[:, None] * theta - Z[None]) * X[:, None])])

    apart = check_gradient(moments, moments_gradient, 0.5, X[:, :1], y[:, None], **FEW)
    pairs = check_gradient(distance, distance_gradient, [0.5], X[:, :1], y[:, None], **FEW)
    for report in (plain, columns, apart, pairs):
        assert report.verdict == "pass", str(report)
        assert not any("warning" in note for note in report.notes)


def curve_jacobian(theta, x):
    e = np.exp(-theta[1] * x)
    return np.stack([e, -theta[0] * x * e, np.ones_like(x)], axis=1)


def curve_hessian(theta, x, y):
    e = np.exp(-theta[1] * x)
    r = 2 * (theta[0] * e + theta[2] - y) / len(y)
    second = np.zeros((3, 3))
    second[0, 1] = second[1, 0] = -r @ (x * e)
    second[1, 1] = theta[0] * r @ (x * x * e)
    return gauss_newton_of_the_curve(theta, x, y) + second


def gauss_newton_of_the_curve(theta, x, y):
    J = curve_jacobian(theta, x)
    return 2 * J.T @ J / len(y)


@pytest.mark.parametrize(("n", "how"), [(4, "hessian"), (30, "hvp"), (200, "hessian")])
def test_a_hessian_without_its_second_derivatives(n: int, how: str) -> None:
    _, _, theta, x, y = models(n)["curve"]

    def hand(of):
        return {how: of if how == "hessian" else lambda t, v, x, y: of(t, x, y) @ v}

    right = check_gradient(curve, curve_gradient, theta, x, y, **hand(curve_hessian), **FEW)
    assert right.verdict == "pass"
    report = check_gradient(curve, curve_gradient, theta, x, y, **hand(gauss_newton_of_the_curve), **FEW)
    assert (report.of, report.cause.kind) == (how, "missing-term"), str(report)
    assert "yours is J^T J, as in the method of Gauss and Newton" in report.cause.text
    assert "fits data[1] (y) exactly" in report.cause.text
    for other in (
        lambda t, x, y: 1.3 * gauss_newton_of_the_curve(t, x, y),
        lambda t, x, y: curve_hessian(t, x, 2 * y),
        lambda t, x, y: curve_hessian(t, x, y) + np.diag(t**2),
    ):
        report = check_gradient(curve, curve_gradient, theta, x, y, **hand(other), **FEW)
        assert (report.verdict, "J^T J" in str(report)) == ("fail", False), str(report)
