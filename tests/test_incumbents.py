"""Where other gradient checkers err, and check_gradient does not: an assertion that breaks here is their repair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from array_api_compat import array_namespace
from scipy.optimize import check_grad

from gdbackends import check_gradient
from gdbackends.gradcheck import GradientReport

Array = np.ndarray
RNG = np.random.default_rng(0)
X, Y, THETA = RNG.normal(size=(20, 3)), RNG.normal(size=20), RNG.normal(size=3)
DATA32 = (X.astype(np.float32), Y.astype(np.float32))


@pytest.fixture(autouse=True)
def frameworks(require) -> None:
    require("jax")
    require("torch")


def loss(theta: Array, X: Array, y: Array, scale: float = 1.0) -> Array:
    return scale * array_namespace(theta).mean((X @ theta - y) ** 2)


def gradient(theta: Array, X: Array, y: Array, scale: float = 1.0) -> Array:
    return scale * 2 * X.T @ (X @ theta - y) / y.size


def checked(hand: Callable[..., Array], dtype: str = "float64", **params: float) -> GradientReport:
    return check_gradient(loss, hand, THETA, X, Y, params=params, dtype=dtype)


def by_scipy(hand: Callable[..., Array], scale: float = 1.0) -> float:
    return check_grad(lambda t: loss(t, X, Y, scale), lambda t: hand(t, X, Y, scale), THETA)


def gradcheck(factor: float, scale: float, dtype: str = "float64") -> bool:
    import torch

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, theta, X, y):
            ctx.save_for_backward(theta, X, y)
            return loss(theta, X, y, scale)

        @staticmethod
        def backward(ctx, ahead):
            theta, X, y = ctx.saved_tensors
            return ahead * factor * scale * 2 * X.T @ (X @ theta - y) / y.numel(), None, None

    theta, *data = (torch.from_numpy(a.astype(dtype)) for a in (THETA, X, Y))
    return torch.autograd.gradcheck(lambda t: Scaled.apply(t, *data), (theta.requires_grad_(),), raise_exception=False)


def test_jax_multiplies_its_tolerance_by_the_size() -> None:
    import jax
    import jax.numpy as jnp
    from jax.test_util import check_grads

    def wrong_by(factor: float) -> Callable[..., Array]:
        @jax.custom_jvp
        def f(x):
            return jnp.sin(x)

        f.defjvp(lambda at, along: (f(*at), factor * jnp.cos(at[0]) * along[0]))
        return f

    def passes(factor: float, size: int) -> bool:
        x = jnp.array(np.random.default_rng(0).normal(size=size), jnp.float32)
        try:
            check_grads(wrong_by(factor), (x,), order=1, modes=["fwd"])
        except AssertionError:
            return False
        return True

    assert not passes(1.75, 3)
    assert passes(1.75, 1000)

    x = np.random.default_rng(0).normal(size=1000)
    for dtype in ("float64", "float32"):
        report = check_gradient(
            lambda x: array_namespace(x).sum(array_namespace(x).sin(x)), lambda x: 1.75 * np.cos(x), x, dtype=dtype
        )
        assert report.verdict == "fail"
        assert report.cause is not None
        assert report.cause.constants["factor"] == pytest.approx(1.75)


def test_torch_passes_a_factor_of_1_5_when_the_loss_is_small() -> None:
    assert not gradcheck(1.5, 1.0)
    assert gradcheck(1.5, 1e-6)
    report = checked(lambda *a, **k: 1.5 * gradient(*a, **k), scale=1e-6)
    assert report.verdict == "fail"
    assert report.cause is not None
    assert report.cause.kind == "factor"


def test_scipy_misjudges_a_column_and_a_small_loss() -> None:
    assert by_scipy(gradient) < 1e-6
    assert by_scipy(lambda *a: gradient(*a)[:, None]) > 1  # every number in it is right
    assert by_scipy(lambda *a: 10 * gradient(*a), 1e-9) < 1e-6
    column = checked(lambda *a: gradient(*a)[:, None])
    assert column.cause is not None
    assert (column.verdict, column.cause.kind) == ("fail", "shape")
    assert "(3, 1)" in column.cause.text
    small = checked(lambda *a, **k: 10 * gradient(*a, **k), scale=1e-9)
    assert small.cause is not None
    assert small.cause.constants["factor"] == pytest.approx(10)


def test_float32_gives_false_alarms() -> None:
    with pytest.warns(UserWarning, match="not a double precision"):
        assert not gradcheck(1.0, 1.0, "float32")
    narrow = THETA.astype(np.float32)
    error = check_grad(lambda t: loss(t.astype(np.float32), *DATA32), lambda t: gradient(t, *DATA32), narrow)
    assert error > 1e-2
    assert checked(gradient, "float32").verdict == "pass"


def test_nan_passes_a_comparison_with_a_tolerance() -> None:
    assert not by_scipy(lambda *a: np.nan * gradient(*a)) > 1e-6
    assert checked(lambda *a: np.nan * gradient(*a)).verdict == "fail"

    def third(*a: Array) -> Array:
        return np.where(np.arange(3) == 2, np.nan, gradient(*a))

    assert checked(third).verdict == "fail"


def test_a_norm_hides_one_small_wrong_component() -> None:
    wide = X * [1e6, 1.0, 1.0]

    def hand(theta: Array, X: Array, y: Array) -> Array:
        return gradient(theta, X, y) * [1.0, 1.0, 1.01]

    right, wrong = gradient(THETA, wide, Y), hand(THETA, wide, Y)
    assert np.linalg.norm(wrong - right) < 1e-6 * np.linalg.norm(right)  # and check_grad knows nothing but the norm
    error = check_grad(lambda t: loss(t, wide, Y), lambda t: hand(t, wide, Y), THETA)
    assert error < 1e-5 * np.linalg.norm(right)
    report = check_gradient(loss, hand, THETA, wide, Y, names=("a", "b", "c"))
    assert report.verdict == "fail"
    assert report.components[0].name == "c"
    assert report.cause is not None
    assert report.cause.kind == "scaling"
