"""check_gradient(): right gradients pass, wrong ones are named, and what cannot be judged is said."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from gdbackends import GradientError, LinearRegression, check_gradient
from gdbackends.errors import InputError, InputTypeError
from gdbackends.measurement.formatting import jsonable
from gdbackends.objectives import parse_loss

GENERATOR = np.random.default_rng(0)
X, Y, THETA = GENERATOR.normal(size=(50, 3)), GENERATOR.normal(size=50), GENERATOR.normal(size=4)
L2 = {"l2": 0.1}


def loss(theta, X, y, l2):
    r = X @ theta[:-1] + theta[-1] - y
    return (r * r).mean() + l2 * (theta[:-1] @ theta[:-1])


def gradient(theta, X, y, l2):
    r = X @ theta[:-1] + theta[-1] - y
    g = 2 * np.append(r @ X, r.sum()) / len(y)
    g[:-1] += 2 * l2 * theta[:-1]
    return g


def check(hand, **options):
    return check_gradient(loss, hand, THETA, X, Y, params=L2, **options)


@pytest.fixture(autouse=True)
def frameworks(require) -> None:
    for name in ("jax", "torch"):
        require(name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("text", ["squared", "absolute", "huber:0.5", "quantile:0.9", "logistic", "poisson"])
def test_bundled_objectives_pass(text: str, dtype: str) -> None:
    objective = LinearRegression(l2=0.1, row_loss=parse_loss(text))
    y = (Y > 0).astype(float) if text in ("logistic", "poisson") else Y
    report = check_gradient(objective.loss, objective.gradient, THETA, X, y, dtype=dtype)
    assert (report.verdict, report.cause, report.bound) == ("pass", None, "closed")
    assert report.dtype == dtype
    assert report.sensitivity < (1e-12 if dtype == "float64" else 1e-3)
    assert report.witness.sides_with == "both"
    report.raise_if_failed()


def rotated(theta, X, y, l2):
    return gradient(theta, X, y, l2) + np.array([theta[1], -theta[0], 0, 0]) * 0.1


def noisy(theta, X, y, l2, generator=np.random.default_rng(1)):  # noqa: B008
    return gradient(theta, X, y, l2) * (1 + 1e-3 * generator.normal(size=4))


def mutating(theta, X, y, l2):
    found = gradient(theta, X, y, l2)
    y -= 1
    return found


MEMORY: dict = {}


def remembering(theta, X, y, l2):
    MEMORY["answer"], answer = gradient(theta, X, y, l2), MEMORY.get("answer")
    return MEMORY["answer"] if answer is None else answer


BUFFER = np.zeros(4)


def one_buffer(theta, X, y, l2):
    BUFFER[:] = gradient(theta, X, y, l2)
    return BUFFER


def in_float32(theta, X, y, l2):
    return gradient(*(a.astype(np.float32) for a in (theta, X, y)), l2).astype(float)


def without_a_row(theta, X, y, l2):
    r = X @ theta[:-1] + theta[-1] - y
    return gradient(theta, X, y, l2) - 2 * r[7] * np.append(X[7], 1) / len(y)


MISTAKES = {
    "half": (lambda *a, **k: 0.5 * gradient(*a, **k), "factor", "a factor 1/2: yours is 0.5 of autodiff in all 4"),
    "n": (lambda *a, **k: 50 * gradient(*a, **k), "factor", "a factor n: yours is 50 of autodiff"),
    "minus": (lambda *a, **k: -gradient(*a, **k), "factor", "all signs are flipped"),
    "sign": (lambda *a, **k: gradient(*a, **k) * [1, -1, 1, 1], "sign", "in 1 of 4 components (theta[1])"),
    "swap": (lambda *a, **k: gradient(*a, **k)[[1, 0, 2, 3]], "permutation", "2 of 4 components"),
    "reversed": (lambda *a, **k: gradient(*a, **k)[::-1], "permutation", "the components are reversed"),
    "no penalty": (
        lambda t, X, y, l2: gradient(t, X, y, 0),
        "missing-term",
        "lacks 0.2 = 2 l2, times theta but the last",
    ),
    "half of it": (
        lambda t, X, y, l2: gradient(t, X, y, l2 / 2),
        "missing-term",
        "lacks 0.1 = l2, times theta but the last",
    ),
    "on the intercept": (
        lambda t, X, y, l2: gradient(t, X, y, l2) + 2 * l2 * np.append(np.zeros(3), t[-1]),
        "extra-term",
        "too much of 0.2 = 2 l2, times the last of theta",
    ),
    "no target": (lambda t, X, y, l2: gradient(t, X, 0 * y, l2), "offset", "0.04 of X^T y"),
    "a row": (without_a_row, "row", "row 7 is left out, and the mean is still over 50 rows"),
    "scaled": (lambda *a, **k: gradient(*a, **k) * [1.5, 2, 0.3, 1], "scaling", "from 0.3 to 2, in 3 of 4 components"),
    "two": (lambda t, X, y, l2: 0.5 * gradient(t, X, y, 0), "compound", "a factor 1/2 and -0.1 = l2, times theta but"),
    "float32": (in_float32, "precision", "the error is that of float32"),
    "column": (lambda *a, **k: gradient(*a, **k)[:, None], "shape", "shape (4, 1) where theta has (4,)"),
    "mutates": (mutating, "mutates-input", "changes data[1] in place"),
    "stale": (remembering, "stale", "changes after a call at another theta"),
    "buffer": (one_buffer, "stale", "a later call changes the result of an earlier one"),
    "noisy": (noisy, "nondeterministic", "different results at the same theta"),
    "rotated": (rotated, "not-a-gradient", "its Jacobian is not symmetric"),
    "quintic": (
        lambda t, X, y, l2: gradient(t, X, y, l2) + 0.1 * t**5,
        "different-function",
        "of a different function",
    ),
    "nan": (
        lambda *a, **k: gradient(*a, **k) * [1, np.nan, 1, 1],
        "unexplained",
        "yours is not finite in 1 of 4 components (theta[1])",
    ),
    "tiny": (lambda *a, **k: gradient(*a, **k) * [1, 1, 1, 1 + 1e-9], "scaling", "from 1 to 1.000000001, in 1 of 4"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake: str) -> None:
    hand, kind, text = MISTAKES[mistake]
    MEMORY.clear()
    kept = X.copy(), Y.copy(), THETA.copy()
    report = check(hand)
    assert report.verdict == "fail"
    assert (report.cause.kind, text in report.cause.text) == (kind, True), report.cause
    assert all((a == b).all() for a, b in zip(kept, (X, Y, THETA), strict=True))
    with pytest.raises(GradientError, match="FAIL") as caught:
        report.raise_if_failed()
    assert caught.value.report is report
    json.dumps(jsonable(report.to_dict()), allow_nan=False)


def test_the_report_reads_in_order() -> None:
    report = check(MISTAKES["half"][0])
    lines = str(report).splitlines()
    assert lines[0] == (
        "FAIL: the gradient differs from jax and torch by more than rounding allows; look for a wrong factor."
    )
    assert lines[1].startswith("jax and torch: agree, ")
    assert lines[1].endswith(" of what rounding allows")
    assert lines[2].startswith("jax and yours: differ in the 1st digit, ")
    assert lines[2].endswith(" times what rounding allows")
    assert lines[4].startswith("consistent with: factor: a factor 1/2: yours is 0.5 of autodiff in all 4 components")
    assert lines[5] == "all 4 components differ"
    assert lines[6].startswith("witness: ")
    assert lines[6].endswith("it sides with autodiff")
    assert lines[-1].startswith("A relative error of ")
    assert [line.split(":")[0] for line in lines[7:11]] == [f"  {c.name}" for c in report.components[:4]]
    for component, line in zip(report.components, lines[7:11], strict=True):
        by = component.values
        assert component.autodiff == by["jax"]
        assert f"yours {component.hand:.10g}, jax {by['jax']:.10g}, torch {by['torch']:.10g}; they differ in " in line
    pairs = report.to_dict()["agreements"]
    assert [row["pair"] for row in pairs[1:]] == [["jax", "yours"], ["torch", "yours"]]
    assert [row["relative"] for row in pairs[1:]] == pytest.approx([0.5, 0.5])
    named = check(MISTAKES["sign"][0], names=["<b>a</b>", "b", "c", "intercept"])
    assert "(b)" in named.cause.text
    assert "<b>a" not in named._repr_html_()
    assert 'style="color: firebrick">FAIL' in named._repr_html_()


@pytest.mark.parametrize("k", [-40, 3, 60])
def test_scaling_by_a_power_of_two_changes_nothing(k: int) -> None:
    two, plain = 2.0**k, {"l2": 0.0}
    for name in ("half", "sign", "no target"):
        hand = MISTAKES[name][0]
        one = check_gradient(loss, hand, THETA, X, Y, params=plain)
        other = check_gradient(loss, hand, THETA * two, X, Y * two, params=plain)
        scaled = THETA * [1 / two, 1 / two, 1 / two, 1]
        features = check_gradient(loss, hand, scaled, X * two, Y, params=plain)
        for report in (other, features):
            assert (report.verdict, report.cause.kind) == (one.verdict, one.cause.kind)
            assert report.components[0].ratio == pytest.approx(one.components[0].ratio, rel=1e-6)


def test_the_order_of_rows_and_features_changes_no_verdict() -> None:
    rows, columns = GENERATOR.permutation(50), [2, 0, 1]
    theta = np.append(THETA[:-1][columns], THETA[-1])
    for name in ("half", "no penalty", "no target"):
        one = check(MISTAKES[name][0])
        other = check_gradient(loss, MISTAKES[name][0], theta, X[rows][:, columns], Y[rows], params=L2)
        assert (other.verdict, other.cause.kind) == (one.verdict, one.cause.kind)
    assert check_gradient(loss, gradient, theta, X[rows][:, columns], Y[rows], params=L2).verdict == "pass"


def test_parameters_of_any_shape_and_integer_data() -> None:
    labels, W = GENERATOR.integers(0, 3, 50), GENERATOR.normal(size=(3, 3))

    def softmax_loss(W, X, labels):
        from array_api_compat import array_namespace

        xp = array_namespace(W)
        z = X @ W.T
        hot = xp.astype(labels[:, None] == xp.asarray([0, 1, 2])[None, :], z.dtype)
        return xp.mean(xp.log(xp.sum(xp.exp(z), axis=1)) - xp.sum(z * hot, axis=1))

    def softmax_gradient(W, X, labels):
        e = np.exp(X @ W.T)
        p = e / e.sum(1, keepdims=True)
        p[np.arange(len(X)), labels] -= 1
        return p.T @ X / len(X)

    assert check_gradient(softmax_loss, softmax_gradient, W, X, labels).verdict == "pass"
    turned = check_gradient(softmax_loss, lambda *a: softmax_gradient(*a).T.copy(), W, X, labels)
    assert (turned.cause.kind, "transposed" in turned.cause.text) == ("permutation", True)
    assert turned.components[0].name.startswith("theta[")
    scalar = check_gradient(lambda t: t * t * t, lambda t: 3 * t * t, 2.0)
    assert scalar.verdict == "pass"


def test_a_hessian_and_its_product_are_checked_too() -> None:
    def hessian(theta, X, y, l2):
        design = np.c_[X, np.ones(len(y))]
        return 2 * design.T @ design / len(y) + np.diag([2 * l2] * 3 + [0])

    def product(theta, v, X, y, l2):
        return hessian(theta, X, y, l2) @ v

    both = check(gradient, hessian=hessian, hvp=product)
    assert (both.verdict, both.of) == ("pass", "gradient and hessian and hvp")
    half = check(gradient, hessian=lambda *a, **k: hessian(*a, **k) / 2)
    assert (half.verdict, half.of, half.cause.kind) == ("fail", "hessian", "factor")
    assert half.sentence == (
        "FAIL: the hessian differs from jax and torch by more than rounding allows; look for a wrong factor."
    )
    bare = check(gradient, hvp=lambda t, v, X, y, l2: product(t, v, X, y, 0))
    assert (bare.of, bare.cause.kind) == ("hvp", "missing-term")
    assert "2 l2" in bare.cause.text
    with pytest.raises(InputError, match=r"the hessian must have theta's shape twice, \(4, 4\), got \(3,\)"):
        check(gradient, hessian=lambda *a, **k: gradient(*a, **k)[:3])
    diagonal = check(gradient, hessian=lambda *a, **k: np.diag(hessian(*a, **k)))
    assert (diagonal.verdict, diagonal.of) == ("pass", "gradient and hessian")
    wrong = check(gradient, hessian=lambda *a, **k: 3 * np.diag(hessian(*a, **k)))
    assert (wrong.verdict, wrong.of, wrong.cause.kind) == ("fail", "hessian", "factor")
    assert (
        check_gradient(lambda t: t.sum(), lambda t: t * 0 + 1, [1.0, 2.0], hessian=lambda t: np.zeros((2, 2))).verdict
        == "pass"
    )


def lasso(theta, X, y):
    return ((X @ theta - y) ** 2).mean() + abs(theta).sum()


@pytest.mark.parametrize("at_zero", [0.0, 1.0, -1.0, 0.3])
def test_a_subgradient_at_a_kink_passes_and_is_called_one(at_zero: float) -> None:
    def hand(theta, X, y):
        return 2 * X.T @ (X @ theta - y) / len(y) + np.where(theta == 0, at_zero, np.sign(theta))

    report = check_gradient(lasso, hand, np.zeros(3), X, Y)
    assert (report.verdict, report.cause.kind) == ("pass", "kink")
    wrong = check_gradient(lasso, lambda *a: hand(*a) + 3 * (a[0] == 0), np.zeros(3), X, Y)
    assert wrong.verdict == "fail"


def test_blindness_is_inconclusive() -> None:
    report = check(gradient, sensitivity=1e-20)
    assert report.verdict == "inconclusive"
    assert report.sentence.startswith(
        "INCONCLUSIVE: no difference from jax and torch was detected, but only errors above"
    )
    with pytest.raises(GradientError):
        report.raise_if_failed()


def test_losses_for_one_framework_and_losses_that_differ() -> None:
    import jax.numpy as jnp

    alone = check_gradient(lambda t: jnp.sum(t**2), lambda t: 2 * t, [1.0, 2.0])
    assert (alone.verdict, list(alone.unsupported)) == ("pass", ["torch"])
    assert alone.sentence == "PASS: the gradient agrees with jax within rounding."
    assert "torch could not run the loss: " in str(alone)
    each = {"jax": lambda t: jnp.sum(t**2), "torch": lambda t: (t**2).sum() * 1.5}
    differ = check_gradient(each, lambda t: 2 * t, [1.0, 2.0])
    assert (differ.verdict, differ.cause.kind) == ("fail", "different-function")
    assert differ.sentence.startswith("FAIL: the losses differ: jax finds ")
    numpy_alone = check_gradient({"numpy": lambda t: t @ t}, lambda t: 2 * t, [1.0], backends=["torch"])
    assert numpy_alone.sentence.startswith("PASS: the gradient agrees with differences of the loss")
    with pytest.raises(InputError, match=r"nothing can run the loss \(.*torch: .*; give one loss"):
        check_gradient({"jax": lambda t: t @ t}, lambda t: 2 * t, [1.0], backends=["torch"])


def raising(theta):
    raise ZeroDivisionError("no\nway")


BAD = {
    "vector": (
        lambda: check_gradient(lambda t: t, lambda t: t, [1.0, 2.0]),
        "must return one real number, got float64 of",
    ),
    "none": (lambda: check_gradient(lambda t: None, lambda t: t, [1.0]), "must return one real number, got NoneType"),
    "complex": (lambda: check_gradient(lambda t: (t * 1j).sum(), lambda t: t, [1.0]), "got complex128 of shape ()"),
    "nan": (
        lambda: check_gradient(lambda t: (t * np.nan).sum(), lambda t: t, [1.0]),
        "the loss is nan at the theta given",
    ),
    "raises": (
        lambda: check_gradient(lambda t: t @ t, raising, [1.0]),
        "the gradient raises ZeroDivisionError: no way, in raising",
    ),
    "text": (
        lambda: check_gradient(lambda t: t @ t, lambda t: "up", [1.0]),
        "the gradient must be real numbers, got str",
    ),
    "no function": (lambda: check_gradient("loss", gradient, [1.0]), "loss must be a function"),
    "no theta": (lambda: check_gradient(loss, gradient, []), "theta must have at least one component"),
    "bad theta": (lambda: check_gradient(loss, gradient, [np.inf]), "theta has 1 missing or non-finite values"),
    "bad data": (lambda: check_gradient(loss, gradient, [1.0], [np.nan]), r"data[0] has 1 missing or non-finite"),
    "dtype": (lambda: check(gradient, dtype="float16"), "dtype must be one of float64, float32"),
    "names": (lambda: check(gradient, names=["a"]), "names must be 4, one a component, got 1"),
    "backends": (lambda: check(gradient, backends="jax"), "backends must be a list of names, got 'jax'"),
    "no backend": (
        lambda: check(gradient, backends=["tf"]),
        "backend must be one of numpy, jax, torch, or module:name, got 'tf'",
    ),
    "seed": (lambda: check(gradient, seed=-1), "seed must be at least 0, got -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str) -> None:
    call, text = BAD[case]
    with pytest.raises(InputError) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_types_are_type_errors() -> None:
    with pytest.raises(InputTypeError):
        check_gradient(None, None, [1.0])


def test_a_missing_framework_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from gdbackends import backends

    found = backends.find_spec
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "jax" else found(name))
    report = check(gradient)
    assert report.verdict == "pass"
    assert "pip install 'gdbackends[jax]'" in report.unsupported["jax"]


def namespace(theta):
    from array_api_compat import array_namespace

    return array_namespace(theta)


def test_a_steep_but_smooth_loss_has_no_kink() -> None:
    """A wrong value at 0 alone was called a subgradient: the step was wider than what the loss bends in."""
    wide, y = GENERATOR.normal(size=(50, 2)) * 1e7, (GENERATOR.normal(size=50) > 0) * 1.0

    def logistic(t, X, y):
        z = X @ t
        return (namespace(t).logaddexp(0 * z, z) - y * z).mean()

    def wrong_at_0(t, X, y):
        return X.T @ (1 / (1 + np.exp(-X @ t)) - y) / len(y) if t.any() else 0 * t

    assert check_gradient(logistic, wrong_at_0, [0.0, 0.0], wide, y).verdict == "fail"
    root = check_gradient(
        lambda t: ((t * t + 1e-14) ** 0.5).sum(), lambda t: np.where(t == 0, 0.5, t / np.sqrt(t * t + 1e-14)), [0.0]
    )
    assert root.verdict == "fail"


def test_between_the_sides_in_each_component_is_not_enough() -> None:
    largest = check_gradient(lambda t: namespace(t).max(t), lambda t: (t == t.max()).astype(float), [0.0, 0.0, 0.0])
    assert largest.verdict == "fail"  # (1, 1, 1): of the maximum all subgradients sum to 1
    one = check_gradient(lambda t: namespace(t).max(t), lambda t: np.eye(3)[t.argmax()], [0.0, 0.0, 0.0])
    assert (one.verdict, one.cause.kind) == ("pass", "kink")


def test_labels_held_as_floats_and_masks_are_no_rounding() -> None:
    y, theta = (Y > 0) * 1.0, THETA[:3]

    def by_label(t, X, y):
        xp, z = namespace(t), X @ t
        return xp.where(y == 1, xp.log1p(xp.exp(-z)), xp.log1p(xp.exp(z))).mean()

    def hand(t, X, y):
        return X.T @ (1 / (1 + np.exp(-X @ t)) - y) / len(y)

    assert check_gradient(by_label, hand, theta, X, y).verdict == "pass"
    mask = Y > 0

    def masked(t, X, m):
        return namespace(t).where(m, X @ t, 0 * (X @ t)).sum()

    assert check_gradient(masked, lambda t, X, m: X[m].sum(0), theta, X, mask).verdict == "pass"


def test_exact_cancellation_is_no_disagreement() -> None:
    rows, y = np.array([[1, 1], [1, -1]] * 3), np.array([3, 3, 5, 5, 4, 4])
    report = check_gradient(
        lambda t, X, y: (((X * t).sum(1) - y) ** 2 / 6).sum(),
        lambda t, X, y: 2 * X.T @ (X @ t - y) / 6,
        [0, 0],
        rows,
        y,
    )
    assert report.verdict == "pass"
    sevenths = check_gradient(
        lambda t, X, y: (((X * t).sum(1) - y / 7) ** 2).sum(),
        lambda t, X, y: 2 * X.T @ (X @ t - y / 7),
        [0, 0],
        rows,
        y,
    )
    assert sevenths.verdict == "pass"  # PyTorch alone divides integers in float32


def test_the_end_of_a_domain_and_autodiff_that_is_not_finite() -> None:
    assert check_gradient(lambda t: (t**1.5).sum(), lambda t: 1.5 * np.sqrt(t), [0.0, 1.0]).verdict == "pass"

    def trap(t):
        return namespace(t).where(t > 0, t**0.5 * t, 0 * t).sum()

    report = check_gradient(trap, lambda t: 1.5 * np.sqrt(np.maximum(t, 0)), [0.0, 1.0, 2.0])
    assert report.verdict == "inconclusive"
    assert report.sentence.startswith("INCONCLUSIVE: autodiff is not finite in ")


def test_data_in_a_closure_are_rounded_too() -> None:
    far, theta = GENERATOR.normal(size=(300, 3)) + 1e4, np.array([1.0, 2.0, 3.0])
    y = far @ theta + GENERATOR.normal(size=300)

    def closed(t):
        xp = namespace(t)
        r = xp.asarray(far) @ t - xp.asarray(y)
        return (r * r).mean()

    assert check_gradient(closed, lambda t: 2 * far.T @ (far @ t - y) / 300, theta).verdict == "pass"


def test_what_else_is_wrong_with_a_function() -> None:
    weights = np.ones(4)

    def greedy(theta, X, y, w):
        w *= 1.5
        return gradient(theta, X, y, 0.0) * w

    report = check_gradient(lambda t, X, y, w: loss(t, X, y, 0.0), greedy, THETA, X, Y, params={"w": weights})
    assert (report.cause.kind, "params['w']" in report.cause.text) == ("mutates-input", True)
    assert (weights == 1).all()
    nothing = check(lambda *a, **k: 0 * gradient(*a, **k))
    assert (nothing.cause.kind, "yours is 0 in all 4 components" in nothing.cause.text) == ("factor", True)
    uneven = check_gradient(
        lambda t: t[0] * t[1], lambda t: t[::-1].copy(), [1.0, 2.0], hessian=lambda t: np.array([[0, 2.0], [0, 0]])
    )
    assert (uneven.cause.kind, "it is not symmetric" in uneven.cause.text) == ("not-a-gradient", True)
    assert "\x1b" not in str(check(MISTAKES["half"][0], names=["\x1b[2J", "b", "c", "d"]))


@pytest.mark.parametrize(
    "wrong",
    [{"params": 5}, {"names": 5}, {"names": [1, 2, 3, 4]}, {"backends": 5}, {"sensitivity": "x"}, {"dtype": [1]}],
)
def test_options_of_the_wrong_type_are_one_line(wrong: dict) -> None:
    with pytest.raises(InputError) as caught:
        check_gradient(loss, gradient, THETA, X, Y, **(({"params": L2}) | wrong))
    assert "\n" not in str(caught.value)


def saturated(t, X, y):
    z = (2 * y - 1) * (X @ t)
    return namespace(t).log1p(namespace(t).exp(-z)).mean()


def cancelling(t, X, y):
    return X.T @ (1 / (1 + np.exp(-X @ t)) - y) / len(y)


@pytest.mark.parametrize(("dtype", "longer"), [("float64", "longdouble"), ("float32", "float64")])
def test_a_right_formula_whose_own_operations_cancel_passes(dtype: str, longer: str) -> None:
    at = np.ones(3), np.random.default_rng(0).uniform(5, 10, size=(50, 3)), np.ones(50)
    report = check_gradient(saturated, cancelling, *at, dtype=dtype)
    assert (report.verdict, report.dtype) == ("pass", dtype), str(report)
    if np.finfo(longer).eps < np.finfo(dtype).eps:
        assert report.bound == f"estimated, its own rounding by {longer}"
    wrong = check_gradient(saturated, lambda *a: cancelling(*a) * (1 + 1e-6), *at, dtype=dtype)
    assert wrong.verdict == "fail"
    for deep in (2.0, 4.0):  # the longer floats lose it too
        assert check_gradient(saturated, cancelling, at[0], deep * at[1], at[2], dtype=dtype).verdict != "fail"
    low = check_gradient(saturated, lambda *a: cancelling(*(b.astype(np.float32) for b in a)).astype(float), *at)
    assert (low.verdict, low.cause.kind) == ("fail", "precision")


def test_what_rounds_at_one_point_excuses_nothing_at_another() -> None:
    """Of a gradient that is 1e40 at a random point, what rounding moves there is more than all of that at theta."""
    generator = np.random.default_rng(1)
    X, y = 40 * generator.normal(size=(60, 3)), generator.poisson(3.0, size=60) * 1.0

    def f(t, X, y):
        z = X @ t
        return (namespace(t).exp(z) - y * z).mean()

    def hand(t, X, y):
        return X.T @ (np.exp(X @ t) - y) / len(y)

    def usual_floats_alone(t, X, y):
        assert t.dtype == np.float64
        return hand(t, X, y) + 0.1

    assert check_gradient(f, hand, np.zeros(3), X, y).verdict == "pass"
    for wrong in (lambda *a: hand(*a) + 0.1, usual_floats_alone):
        report = check_gradient(f, wrong, np.zeros(3), X, y)
        assert (report.verdict, report.cause.kind) == ("fail", "offset"), str(report)
        assert "0.1 is added to all 3 components" in report.cause.text


@pytest.mark.parametrize("step", [1e-4, 1e-6])
@pytest.mark.parametrize("curved", [False, True])
def test_differences_of_the_loss_are_lost_digits(curved: bool, step: float) -> None:
    def f(t, X, y):
        return (((namespace(t).tanh(X @ t) if curved else X @ t) - y) ** 2).mean()

    def hand(t, X, y):
        return np.array([(f(t + e, X, y) - f(t - e, X, y)) / (2 * step) for e in step * np.eye(3)])

    report = check_gradient(f, hand, THETA[:3], X, Y)
    assert (report.verdict, report.cause.kind) == ("fail", "precision")
    assert f"central differences of the loss over steps of {step:.2g}" in report.cause.text


@pytest.mark.parametrize("what", ["v", "theta", "data[0]"])
def test_a_product_that_changes_what_it_is_given_is_named(what: str) -> None:
    def product(theta, v, X, y, l2):
        found = 2 * (np.c_[X, np.ones(50)].T @ (np.c_[X, np.ones(50)] @ v)) / 50 + 2 * l2 * v * [1, 1, 1, 0]
        {"v": v, "theta": theta, "data[0]": X}[what][...] = 1.5
        return found

    report = check(gradient, hvp=product)
    assert (report.verdict, report.of, report.cause.kind) == ("fail", "hvp", "mutates-input")
    assert report.cause.text == f"the hvp function changes {what} in place"


def test_a_row_left_out_of_a_network_is_named() -> None:
    def f(t, X, y):
        return ((namespace(t).tanh(X @ t[:9].reshape((3, 3))) @ t[9:] - y) ** 2).mean()

    def hand(t, X, y):
        a = np.tanh(X @ t[:9].reshape(3, 3))
        r = 2 * (a @ t[9:] - y) / len(y)
        return np.append((X.T @ (r[:, None] * t[9:] * (1 - a * a))).ravel(), a.T @ r)

    start, keep = GENERATOR.normal(size=12), np.arange(50) != 7
    assert check_gradient(f, hand, start, X, Y).verdict == "pass"
    for share in (1.0, 49 / 50):  # of the mean of 49 rows, of the sum over 49 divided by 50
        report = check_gradient(f, lambda t, X, y, c=share: c * hand(t, X[keep], y[keep]), start, X, Y)
        assert (report.cause.kind, "row 7 is left out" in report.cause.text) == ("row", True), report.cause


def test_what_float32_cannot_hold_is_inconclusive_and_what_cannot_run_in_it_is_listed() -> None:
    def tiny(t, X, y):
        return ((X @ t - y) ** 2).mean() * 1e-60

    report = check_gradient(tiny, lambda t, X, y: 2e-60 * X.T @ (X @ t - y) / 50, THETA[:3], X, Y, dtype="float32")
    assert (report.verdict, report.dtype) == ("inconclusive", "float32")
    assert "check it in float64" in report.sentence

    def wide_alone(t, X, y):
        assert "float64" in str(t.dtype)
        return ((X @ t - y) ** 2).mean()

    both = {"jax": lambda t, X, y: ((X @ t - y) ** 2).mean(), "torch": wide_alone}
    report = check_gradient(both, lambda t, X, y: 2 * X.T @ (X @ t - y) / 50, THETA[:3], X, Y, dtype="float32")
    assert (report.verdict, list(report.unsupported)) == ("pass", ["torch"])
    assert report.unsupported["torch"].startswith("in float32: AssertionError")


def test_a_gradient_that_raises_shows_the_frames_of_its_author_alone() -> None:
    with pytest.raises(InputError) as caught:
        check_gradient(lambda t: t @ t, lambda t: raising(t), [1.0])
    (note,) = caught.value.__notes__
    assert note.count("File ") == 2
    assert "in raising" in note
    assert "gdbackends/gradcheck" not in note


VANISHING = """
import numpy as np
from array_api_compat import array_namespace as xp
from gdbackends import check_gradient
X, y, theta = np.arange(12.0).reshape(4, 3) % 5, np.array([1.0, -2.0, 0.5, 3.0]), np.array([0.5, -0.3, 0.8])
at_most_1 = lambda r: np.abs(r) < 1
losses = {
    "abs": (lambda t, X, y: xp(t).sum(xp(t).abs(X @ t - y)), lambda r: np.sign(r), lambda r: 0 * r),
    "sign": (lambda t, X, y: xp(t).sum((X @ t - y) * xp(t).sign(X @ t - y)), lambda r: np.sign(r), lambda r: 0 * r),
    "clip": (lambda t, X, y: xp(t).sum(xp(t).clip(X @ t - y, -1, 1)), lambda r: at_most_1(r) * 1.0, lambda r: 0 * r),
    "floor": (lambda t, X, y: xp(t).sum((X @ t - y) * xp(t).floor(X @ t - y)), lambda r: np.floor(r), lambda r: 0 * r),
    "where": (
        lambda t, X, y: xp(t).sum(xp(t).where(xp(t).abs(X @ t - y) < 1, (X @ t - y) ** 2, 2 * xp(t).abs(X @ t - y))),
        lambda r: np.clip(2 * r, -2, 2),
        lambda r: 2.0 * at_most_1(r),
    ),
}
for name, (loss, slope, curvature) in losses.items():
    gradient = lambda t, X, y, slope=slope: X.T @ slope(X @ t - y)
    hessian = lambda t, X, y, curvature=curvature: (X.T * curvature(X @ t - y)) @ X
    hvp = lambda t, v, X, y, curvature=curvature: X.T @ (curvature(X @ t - y) * (X @ v))
    for second in ({}, {"hessian": hessian}, {"hvp": hvp}):
        print(name, *second, check_gradient(loss, gradient, theta, X, y, **second).verdict)
"""


def test_second_derivatives_that_vanish_do_not_end_the_process() -> None:
    """PyTorch has tensors of zeros without storage there; an operation on one in a dispatch mode was a SIGSEGV."""
    done = subprocess.run([sys.executable, "-c", VANISHING], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    verdicts = [line.split()[-1] for line in done.stdout.splitlines()]
    assert verdicts == ["pass"] * 15, done.stdout
