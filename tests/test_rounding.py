"""The bounds: never below what happens, and not so far above that they would see nothing."""

from __future__ import annotations

import numpy as np
import pytest

from gdbackends import LinearRegression, get_backend
from gdbackends.backends import names
from gdbackends.errors import InputTypeError
from gdbackends.objectives import parse_loss
from gdbackends.rounding import evaluate, gamma, unit_roundoff
from gdbackends.rounding.exact import exact_value_and_grad

CONVENTIONS = ("mean", "half", "sum")


def test_unit_roundoff_and_gamma() -> None:
    assert unit_roundoff("float64") == 2.0**-53
    assert unit_roundoff("float32") == 2.0**-24
    assert gamma(1, 0.25) == pytest.approx(1 / 3)
    assert gamma(4, 0.25) == float("inf")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (7, 3), (60, 2), (300, 12)])
def test_numpy_lies_within_the_bound_of_the_exact_values(
    dtype: str, convention: str, l2: float, n: int, d: int
) -> None:
    generator = np.random.default_rng([n, d, len(convention)])
    objective = LinearRegression(convention, l2=l2)
    for k in range(10):
        X = (generator.normal(size=(n, d)) * 10.0 ** generator.integers(-4, 5, size=d)).astype(dtype)
        y = generator.normal(size=n).astype(dtype)
        theta = generator.normal(size=d + 1).astype(dtype)
        if k % 2:  # at the minimum, where no relative tolerance could judge
            theta = np.linalg.lstsq(np.c_[X, np.ones(n)].astype(float), y.astype(float))[0].astype(dtype)
        loss, gradient = objective.value_and_grad(theta, X, y)
        exact_loss, exact = exact_value_and_grad(objective, theta, X, y)
        at = evaluate(objective, theta, X, y, dtype)
        errors = [abs(float(np.float64(g)) - float(e)) for g, e in zip(gradient, exact, strict=True)]
        assert (np.array(errors) <= at.gradient_bound).all()
        assert abs(float(loss) - float(exact_loss)) <= at.loss_bound


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("text", ["absolute", "huber:0.5", "quantile:0.9", "logistic", "poisson"])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (60, 2), (300, 12)])
def test_every_row_loss_lies_within_its_bound_on_every_backend(text: str, dtype: str, n: int, d: int, require) -> None:
    """The reference is the same formula in extended precision; tests of the formulas are elsewhere."""
    generator = np.random.default_rng([n, d])
    objective = LinearRegression(row_loss=parse_loss(text), l2=0.1)
    for name in names():
        require(name)
        backend = get_backend(name, dtype=dtype)
        run = backend.value_and_grad(objective)
        for scale in (0.0, 0.1, 1.0, 5.0):
            X, y = generator.normal(size=(n, d)).astype(dtype), generator.integers(0, 2, n).astype(dtype)
            theta = (scale * generator.normal(size=d + 1)).astype(dtype)
            loss, gradient = map(backend.to_numpy, run(*map(backend.asarray, (theta, X, y))))
            wide = [a.astype(np.longdouble) for a in (theta, X, y)]
            at = evaluate(objective, theta, X, y, dtype)
            assert abs(loss - objective.loss(*wide)) <= at.loss_bound
            assert (np.abs(gradient - objective.gradient(*wide)) <= at.gradient_bound).all()
            assert np.isfinite(at.gradient_bound).all()


def test_a_residual_on_the_kink_widens_the_bound_by_its_jump() -> None:
    objective, X = LinearRegression(row_loss=parse_loss("absolute")), np.array([[1.0], [2.0], [3.0]])
    on = evaluate(objective, np.array([1.0, 0.0]), X, np.array([1.0, 5.0, 5.0]), "float64")
    off = evaluate(objective, np.array([1.0, 0.0]), X, np.array([1.5, 5.0, 5.0]), "float64")
    assert on.gradient_bound == pytest.approx([2 / 3, 2 / 3], rel=0.02)
    assert off.gradient_bound.max() < 1e-14


def test_an_exponential_beyond_the_range_is_said_to_be_unknown() -> None:
    objective, X = LinearRegression(row_loss=parse_loss("poisson")), np.array([[0.0, 1.0], [0.0, 700.0]])
    with np.errstate(all="ignore"):
        at = evaluate(objective, np.array([1.0, 1e14, 0.0]), X, np.array([1.0, 2.0]), "float64")
    assert not np.isnan(at.gradient_bound).any()


def test_an_error_of_1e_9_in_one_component_is_seen_up_to_1000_rows() -> None:
    for n in (15, 200, 1000):
        generator = np.random.default_rng(n)
        X, y, theta = generator.normal(size=(n, 5)), generator.normal(size=n), generator.normal(size=6)
        objective = LinearRegression()
        gradient = objective.gradient(theta, X, y)
        at = evaluate(objective, theta, X, y, "float64")
        for j in range(6):
            wrong = gradient.copy()
            wrong[j] *= 1 + 1e-9
            assert not (np.abs(wrong - gradient) <= 2 * at.gradient_bound).all()


def test_blocks_of_rows_change_nothing() -> None:
    generator = np.random.default_rng(0)
    X, y, theta = generator.normal(size=(50_000, 7)), generator.normal(size=50_000), generator.normal(size=8)
    objective = LinearRegression()
    at = evaluate(objective, theta, X, y, "float64")
    design, r = np.c_[X, np.ones(50_000)], X @ theta[:-1] + theta[-1] - y
    u, g = 2.0**-53, lambda k: gamma(k, 2.0**-53)
    error = g(9) * (np.abs(design) @ np.abs(theta)) + u * np.abs(r)
    bound = (2 * error + g(50_004) * (np.abs(2 * r) + 2 * error)) @ np.abs(design) / 50_000
    np.testing.assert_allclose(at.gradient_bound, 1.01 * bound, rtol=1e-9)
    np.testing.assert_allclose(at.gradient, objective.gradient(theta, X, y), rtol=1e-9)


def test_a_ball_bounds_every_point_in_it() -> None:
    generator = np.random.default_rng(3)
    X, y, theta = generator.normal(size=(50, 4)), generator.normal(size=50), generator.normal(size=5)
    objective = LinearRegression(l2=0.1)
    ball = evaluate(objective, theta, X, y, "float32", radius=2.0).gradient_bound
    for _ in range(200):
        step = generator.normal(size=5)
        inside = theta + 2.0 * generator.random() * step / np.linalg.norm(step)
        assert (evaluate(objective, inside, X, y, "float32").gradient_bound <= ball).all()


def test_a_column_of_zeros_is_exact() -> None:
    X = np.c_[np.arange(5.0), np.zeros(5)]
    at = evaluate(LinearRegression(), np.ones(3), X, np.ones(5), "float64")
    assert at.gradient_bound[1] == 0
    assert (at.gradient_bound[[0, 2]] > 0).all()


def test_unknown_objectives_are_refused() -> None:
    with pytest.raises(InputTypeError, match="no rounding bound is known"):
        evaluate(object(), np.zeros(2), np.zeros((3, 1)), np.zeros(3), "float64")
