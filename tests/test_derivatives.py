"""check_jacobian(), check_vjp(), check_jvp(), check_rule() and compare_ports()."""

from __future__ import annotations

import numpy as np
import pytest

from gdbackends import check_jacobian, check_jvp, check_rule, check_vjp, compare_ports
from gdbackends.errors import InputError, InputTypeError

GENERATOR = np.random.default_rng(0)
T, Y, P = np.linspace(0, 1, 12), GENERATOR.normal(size=12), [2.0, 1.3, 0.4]
X, Z, THETA = GENERATOR.normal(size=(20, 3)), GENERATOR.normal(size=20), [0.5, -1.2, 0.8]


@pytest.fixture(autouse=True)
def frameworks(require) -> None:
    for name in ("jax", "torch"):
        require(name)


def curve(p, t, y):
    return p[0] * np.exp(-p[1] * t) + p[2] - y


def jacobian(p, t, y):
    return np.stack([np.exp(-p[1] * t), -t * p[0] * np.exp(-p[1] * t), np.ones_like(t)], 1)


def test_jacobians() -> None:
    sp = pytest.importorskip("scipy.sparse")
    for hand in (jacobian, lambda *a: sp.csr_array(jacobian(*a))):
        report = check_jacobian(curve, hand, P, T, Y)
        assert (report.verdict, report.sentence) == (
            "pass",
            "PASS: the jacobian agrees with jax and torch within rounding.",
        )
        assert report.sensitivity < 1e-11
    flipped = check_jacobian(curve, lambda *a: jacobian(*a) * [1, -1, 1], P, T, Y)
    assert (flipped.verdict, flipped.cause.kind) == ("fail", "sign")
    row = check_jacobian(curve, lambda *a: np.where(np.arange(12)[:, None] == 5, 0, jacobian(*a)), P, T, Y)
    assert "only 3 of 36 components (J[5,0], J[5,1], J[5,2]) differ" in row.notes[0]
    A = GENERATOR.normal(size=(4, 4))
    turned = check_jacobian(
        lambda x: np.tanh(A @ x), lambda x: ((1 - np.tanh(A @ x) ** 2)[:, None] * A).T, GENERATOR.normal(size=4)
    )
    assert (turned.verdict, turned.cause.kind) == ("fail", "permutation")
    assert "transposed" in turned.cause.text
    with pytest.raises(InputError, match=r"must have shape \(12, 3\), got \(3, 12\), the transpose of it"):
        check_jacobian(curve, lambda *a: jacobian(*a).T, P, T, Y)
    with pytest.raises(InputTypeError, match="no argument 'speed'"):
        check_jacobian(curve, jacobian, P, T, Y, speed=3)


def test_jacobians_of_compiled_and_of_long_functions() -> None:
    from scipy.special import jv, jvp

    bessel = check_jacobian(lambda x: jv(1.5, x), lambda x: np.diag(jvp(1.5, x)), [0.7, 2.0, 3.0])
    assert (bessel.verdict, [a for a, b in bessel.agreements]) == ("pass", ["differences"])
    wrong = check_jacobian(lambda x: jv(1.5, x), lambda x: 2 * np.diag(jvp(1.5, x)), [0.7, 2.0, 3.0])
    assert (wrong.verdict, wrong.cause.kind) == ("fail", "factor")
    B = GENERATOR.normal(size=(200, 3))
    many = check_jacobian(lambda x: B @ x**2, lambda x: 2 * B * x, THETA)
    assert (many.verdict, many.notes) == ("pass", ("checked in 16 random combinations of the 200 outputs",))
    one = check_jacobian(
        lambda x: B @ x**2, lambda x: 2 * np.where(np.arange(200)[:, None] == 7, 1.01, 1) * B * x, THETA
    )
    assert one.verdict == "fail"


def test_products_with_vectors() -> None:
    assert check_vjp(curve, lambda p, v, t, y: v @ jacobian(p, t, y), P, T, Y).verdict == "pass"
    assert check_jvp(curve, lambda p, u, t, y: jacobian(p, t, y) @ u, P, T, Y).verdict == "pass"
    backward = check_vjp(curve, lambda p, v, t, y: 2 * v @ jacobian(p, t, y), P, T, Y)
    assert (backward.verdict, backward.cause.kind) == ("fail", "factor")
    forward = check_jvp(curve, lambda p, u, t, y: -jacobian(p, t, y) @ u, P, T, Y)
    assert (forward.verdict, forward.cause.kind, forward.components[0].name[:7]) == ("fail", "factor", "output[")


def torch_rules():
    import torch

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, d):
            return 3 * ctx.saved_tensors[0] ** 2 * d

    class Wrong(Cube):
        @staticmethod
        def backward(ctx, d):
            return 2 * ctx.saved_tensors[0] ** 2 * d

    class Detached(Cube):
        @staticmethod
        def backward(ctx, d):
            return 3 * ctx.saved_tensors[0].detach() ** 2 * d

    return Cube.apply, Wrong.apply, Detached.apply


def test_rules_of_torch() -> None:
    right, wrong, detached = torch_rules()
    report = check_rule(right, lambda x: x**3, THETA)
    assert report.verdict == "pass"
    assert report.notes[:2] == (
        "the first derivative is that of the function's own values and that of the reference",
        "the second derivative is that of the reference",
    )
    report = check_rule(wrong, lambda x: x**3, THETA)
    assert (report.verdict, report.cause.kind) == ("fail", "factor")
    assert (
        report.notes[0] == "the first derivative is not that of the function's own values and not that of the reference"
    )
    report = check_rule(detached, lambda x: x**3, THETA)
    assert (report.verdict, report.of) == ("fail", "second derivative of the rule")
    report = check_rule(right, lambda x: x**3 + 1, THETA)
    assert report.sentence.startswith("FAIL: the values differ from those of the reference")


def test_rules_of_jax() -> None:
    import jax
    import jax.numpy as jnp

    @jax.custom_jvp
    def softplus(x):
        return jnp.log1p(jnp.exp(x))

    softplus.defjvp(lambda p, t: (softplus(p[0]), t[0] / (1 + jnp.exp(-p[0]))))
    assert check_rule(softplus, lambda x: np.logaddexp(0, x), THETA).verdict == "pass"

    @jax.custom_vjp
    def sine(x):
        return jnp.sin(x)

    sine.defvjp(lambda x: (sine(x), x), lambda x, g: (g * jnp.sin(x),))
    assert check_rule(sine, jnp.sin, THETA).verdict == "fail"
    with pytest.raises(InputError, match="no framework can run the function"):
        check_rule(lambda x: 1 / 0, lambda x: x, THETA)


def in_jax(t, X, y):
    import jax.numpy as jnp

    return jnp.mean((X @ t - y) ** 2)


def in_torch(t, X, y):
    return ((X @ t - y) ** 2).mean()


def in_numpy(t, X, y):
    return np.mean((X @ t - y) ** 2)


def test_ports() -> None:
    report = compare_ports({"jax": in_jax, "torch": in_torch, "numpy": in_numpy}, THETA, X, Z)
    assert (report.verdict, report.cause) == ("pass", None)
    assert report.sentence.startswith("PASS: jax and torch and numpy agree in values and gradients within rounding")
    assert "jax float64, torch float64, numpy float64" in report.notes[0]
    summed = compare_ports(
        {"jax": in_jax, "torch": lambda t, X, y: ((X @ t - y) ** 2).sum(), "numpy": in_numpy}, THETA, X, Z
    )
    assert summed.sentence == (
        "FAIL: torch differs from jax in values and gradients by more than rounding allows, while jax and numpy agree."
    )
    assert (summed.cause.kind, "a factor n: torch is 20 of jax" in summed.cause.text) == ("factor", True)
    with pytest.raises(AssertionError, match="FAIL"):
        summed.raise_if_failed()
    single = compare_ports(
        {"jax": in_jax, "torch": lambda t, X, y: ((X.float() @ t.float() - y.float()) ** 2).mean()}, THETA, X, Z
    )
    assert (single.cause.kind, "float32" in single.cause.text) == ("precision", True)
    shifted = compare_ports({"jax": in_jax, "numpy": lambda *a: in_numpy(*a) + 3}, THETA, X, Z)
    assert (shifted.cause.kind, "plus 3 at every theta" in shifted.cause.text) == ("offset", True)


def test_ports_in_stages_and_with_a_transposed_block() -> None:
    W = GENERATOR.normal(size=(3, 3))
    theta = {"W": W, "b": np.array(THETA)}

    def first(p, X):
        return X @ p["W"] + p["b"]

    def second(z):
        return (z * z).sum()

    stages = {"jax": [first, second], "torch": [lambda p, X: X @ p["W"].T + p["b"], second]}
    report = compare_ports(stages, theta, X)
    assert (report.verdict, report.stage, report.cause.kind) == ("fail", 0, "permutation")
    assert report.cause.text.startswith("W enters transposed")
    assert any(note.startswith("they part at stage 0") for note in report.notes)
    later = compare_ports({"jax": [first, second], "torch": [first, lambda z: (z * z).mean()]}, theta, X)
    assert (later.stage, later.cause.kind) == (1, "factor")
    vector = compare_ports({"jax": lambda p, X: first(p, X)[0], "torch": lambda p, X: first(p, X)[0]}, theta, X)
    assert vector.verdict == "pass"


def test_bad_ports_are_one_line() -> None:
    with pytest.raises(InputTypeError, match="at least two functions"):
        compare_ports({"jax": in_jax}, THETA, X, Z)
    with pytest.raises(InputError, match="a port must be for jax, torch or numpy, got 'tf'"):
        compare_ports({"jax": in_jax, "tf": in_torch}, THETA, X, Z)
    with pytest.raises(InputError, match="the port for torch fails: RuntimeError"):
        compare_ports({"jax": in_jax, "torch": lambda t, X, y: t @ X}, THETA, X, Z)
