"""The formulas against exact arithmetic, central differences and their own laws."""

from __future__ import annotations

import itertools
from fractions import Fraction

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbackends import LinearRegression
from gdbackends.errors import InputError
from gdbackends.objectives import Objective, SquaredError

CONVENTIONS = ("mean", "half", "sum")
numbers = st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 6))


def fractions(values) -> np.ndarray:
    return np.array([Fraction(v) for v in np.ravel(values)], dtype=object).reshape(np.shape(values))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("l2", [0.0, 0.5])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_over_fractions_the_gradient_is_the_central_difference(convention: str, l2: float, data) -> None:
    """The cost is quadratic, so the central difference is exact at any step, a large one included."""
    n, d = 4, 2
    draw = lambda *shape: fractions(np.reshape([data.draw(numbers) for _ in range(int(np.prod(shape)))], shape))  # noqa: E731
    X, y, theta, ones = draw(n, d), draw(n), draw(d + 1), fractions(np.ones(n))
    objective = LinearRegression(convention, l2=Fraction(l2))
    gradient = objective.gradient(theta, X, y, weights=ones)
    h = Fraction(3)
    for j in range(d + 1):
        e = fractions(np.eye(d + 1)[j])
        up, down = (objective.loss(theta + s * h * e, X, y, weights=ones) for s in (1, -1))
        assert gradient[j] == (up - down) / (2 * h)
        assert isinstance(gradient[j], Fraction)


def test_conventions_are_multiples_of_the_mean(table) -> None:
    X, y = table
    theta = np.array([1.0, 2.0, -3.0, 4.0])
    mean, half, whole = (LinearRegression(c) for c in CONVENTIONS)
    assert half.loss(theta, X, y) == pytest.approx(mean.loss(theta, X, y) / 2, rel=1e-14)
    assert whole.loss(theta, X, y) == pytest.approx(mean.loss(theta, X, y) * 40, rel=1e-14)
    np.testing.assert_allclose(whole.gradient(theta, X, y), mean.gradient(theta, X, y) * 40, rtol=1e-13)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_penalty_is_the_same_in_every_convention_and_spares_the_intercept(convention: str, table) -> None:
    X, y = table
    theta = np.array([1.0, 2.0, -3.0, 4.0])
    plain, penalised = LinearRegression(convention), LinearRegression(convention, l2=0.5)
    assert penalised.loss(theta, X, y) - plain.loss(theta, X, y) == pytest.approx(0.5 * (1 + 4 + 9), abs=1e-9)
    added = penalised.gradient(theta, X, y) - plain.gradient(theta, X, y)
    np.testing.assert_allclose(added, [1.0, 2.0, -3.0, 0.0], atol=1e-9)


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(1, 39), unique=True, max_size=6), seed=st.integers(0, 1000))
def test_the_whole_is_the_row_weighted_mean_of_uneven_parts(convention: str, cuts: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    X, y, theta = generator.normal(size=(40, 3)), generator.normal(size=40), generator.normal(size=4)
    whole = LinearRegression(convention, l2=0.3)
    objective, design = whole.prepare(X)
    edges = [0, *sorted(cuts), 40]
    parts = [objective.value_and_gradient(theta, design[a:b], y[a:b]) for a, b in itertools.pairwise(edges)]
    shares = np.diff(edges) / 40
    value, gradient = whole.value_and_gradient(theta, X, y)
    assert sum(s * v for s, (v, _) in zip(shares, parts, strict=True)) == pytest.approx(value, rel=1e-12)
    total = sum(s * g for s, (_, g) in zip(shares, parts, strict=True))
    np.testing.assert_allclose(total, gradient, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_weights_that_are_whole_numbers_repeat_rows(convention: str, table) -> None:
    X, y = table
    theta, counts = np.array([1.0, 2.0, -3.0, 4.0]), np.arange(40) % 4
    objective = LinearRegression(convention, l2=0.1)
    repeated = objective.value_and_gradient(theta, np.repeat(X, counts, axis=0), np.repeat(y, counts))
    weighted = objective.value_and_gradient(theta, X, y, weights=counts.astype(float))
    for a, b in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(k=st.integers(-20, 20), seed=st.integers(0, 1000))
def test_scaling_by_a_power_of_two_changes_no_bit(k: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    X, y, theta = generator.normal(size=(17, 2)), generator.normal(size=17), generator.normal(size=3)
    objective, two = LinearRegression(), 2.0**k
    value, gradient = objective.value_and_gradient(theta, X, y)
    scaled, scaled_gradient = objective.value_and_gradient(two * theta, X, two * y)
    assert scaled == two * two * value
    assert (scaled_gradient == two * gradient).all()
    value2, gradient2 = objective.value_and_gradient(theta * [1 / two, 1 / two, 1], two * X, y)
    assert value2 == value
    assert (gradient2 == gradient * [two, two, 1]).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_three_ways_to_the_same_numbers(weighted: bool, table) -> None:
    X, y = table
    weights = np.linspace(0, 1, 40) if weighted else None
    theta, objective = np.array([1.0, 2.0, -3.0, 4.0]), LinearRegression("half", l2=0.2)
    prepared, design = objective.prepare(X)
    value, gradient = objective.value_and_gradient(theta, X, y, weights)
    assert value == objective.loss(theta, X, y, weights)
    assert (gradient == objective.gradient(theta, X, y, weights)).all()
    assert prepared.loss(theta, design, y, weights) == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(prepared.gradient(theta, design, y, weights), gradient, rtol=1e-12)


def test_any_library_of_the_array_api_will_do(table) -> None:
    X, y = table
    theta, objective = np.array([1.0, 2.0, -3.0, 4.0]), LinearRegression(l2=0.1)
    value, gradient = objective.value_and_gradient(*map(array_api_strict.asarray, (theta, X, y)))
    expected, expected_gradient = objective.value_and_gradient(theta, X, y)
    assert float(value) == pytest.approx(float(expected), rel=1e-14)
    np.testing.assert_allclose(np.asarray(gradient), expected_gradient, rtol=1e-13)


def test_curvature_is_the_derivative_of_the_gradient(table) -> None:
    X, y = table
    for convention in CONVENTIONS:
        objective = LinearRegression(convention, l2=0.7)
        hessian = objective.curvature(np.eye(4), X)
        zero = objective.gradient(np.zeros(4), X, y)
        columns = [objective.gradient(e, X, y) - zero for e in np.eye(4)]
        np.testing.assert_allclose(hessian, np.transpose(columns), rtol=1e-9, atol=1e-9)
        prepared, design = objective.prepare(X)
        largest = [np.linalg.eigvalsh(prepared.curvature(np.eye(4), design[i : i + 1]))[-1] for i in range(40)]
        assert (prepared.row_curvature(design) >= np.array(largest) * (1 - 1e-12)).all()


def test_the_closed_minimum_has_no_gradient(table) -> None:
    X, y = table
    for l2 in (0.0, 0.4):
        for convention in CONVENTIONS:
            objective = LinearRegression(convention, l2=l2)
            at = objective.minimum(X, y, np.zeros(4))
            assert (
                np.abs(objective.gradient(at, X, y)).max() < 1e-8 * np.abs(objective.gradient(np.zeros(4), X, y)).max()
            )


def test_squared_error_is_lipschitz_with_its_constant() -> None:
    loss, z = SquaredError(), np.linspace(-5, 5, 101)
    slopes = np.diff(loss.derivative(z, 1.0)) / np.diff(z)
    assert np.abs(slopes).max() == pytest.approx(loss.lipschitz)


def test_wrong_shapes_and_settings_are_refused(table) -> None:
    X, y = table
    with pytest.raises(InputError, match=r"y must have shape \(40,\)"):
        LinearRegression().loss(np.zeros(4), X, y[:, None])
    with pytest.raises(ValueError, match="convention"):
        LinearRegression("median")  # pyright: ignore[reportArgumentType]
    for l2 in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="l2"):
            LinearRegression(l2=l2)
    assert isinstance(LinearRegression(), Objective)
