"""The formulas against exact arithmetic, central differences and their own laws."""

from __future__ import annotations

import itertools
from fractions import Fraction

import array_api_strict
import mpmath
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbackends import LinearRegression
from gdbackends.arrays import target_values
from gdbackends.backends import Backend
from gdbackends.errors import InputError
from gdbackends.objectives import Objective, SquaredError, format_loss, parse_loss

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
    parts = [objective.value_and_grad(theta, design[a:b], y[a:b]) for a, b in itertools.pairwise(edges)]
    shares = np.diff(edges) / 40
    value, gradient = whole.value_and_grad(theta, X, y)
    assert sum(s * v for s, (v, _) in zip(shares, parts, strict=True)) == pytest.approx(value, rel=1e-12)
    total = sum(s * g for s, (_, g) in zip(shares, parts, strict=True))
    np.testing.assert_allclose(total, gradient, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_weights_that_are_whole_numbers_repeat_rows(convention: str, table) -> None:
    X, y = table
    theta, counts = np.array([1.0, 2.0, -3.0, 4.0]), np.arange(40) % 4
    objective = LinearRegression(convention, l2=0.1)
    repeated = objective.value_and_grad(theta, np.repeat(X, counts, axis=0), np.repeat(y, counts))
    weighted = objective.value_and_grad(theta, X, y, weights=counts.astype(float))
    for a, b in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(k=st.integers(-20, 20), seed=st.integers(0, 1000))
def test_scaling_by_a_power_of_two_changes_no_bit(k: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    X, y, theta = generator.normal(size=(17, 2)), generator.normal(size=17), generator.normal(size=3)
    objective, two = LinearRegression(), 2.0**k
    value, gradient = objective.value_and_grad(theta, X, y)
    scaled, scaled_gradient = objective.value_and_grad(two * theta, X, two * y)
    assert scaled == two * two * value
    assert (scaled_gradient == two * gradient).all()
    value2, gradient2 = objective.value_and_grad(theta * [1 / two, 1 / two, 1], two * X, y)
    assert value2 == value
    assert (gradient2 == gradient * [two, two, 1]).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_three_ways_to_the_same_numbers(weighted: bool, table) -> None:
    X, y = table
    weights = np.linspace(0, 1, 40) if weighted else None
    theta, objective = np.array([1.0, 2.0, -3.0, 4.0]), LinearRegression("half", l2=0.2)
    prepared, design = objective.prepare(X)
    value, gradient = objective.value_and_grad(theta, X, y, weights)
    assert value == objective.loss(theta, X, y, weights)
    assert (gradient == objective.gradient(theta, X, y, weights)).all()
    assert prepared.loss(theta, design, y, weights) == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(prepared.gradient(theta, design, y, weights), gradient, rtol=1e-12)


def test_any_library_of_the_array_api_will_do(table) -> None:
    X, y = table
    theta, objective = np.array([1.0, 2.0, -3.0, 4.0]), LinearRegression(l2=0.1)
    value, gradient = objective.value_and_grad(*map(array_api_strict.asarray, (theta, X, y)))
    expected, expected_gradient = objective.value_and_grad(theta, X, y)
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


TEXTBOOK = {  # of the prediction z, the target y and mpmath's numbers
    "squared": lambda z, y: (z - y) ** 2,
    "absolute": lambda z, y: abs(z - y),
    "huber:0.75": lambda z, y: (z - y) ** 2 if abs(z - y) <= 0.75 else 2 * 0.75 * abs(z - y) - mpmath.mpf(0.75) ** 2,
    "quantile:0.875": lambda z, y: (1 - 0.875) * (z - y) if z > y else 0.875 * (y - z),
    "logistic": lambda z, y: mpmath.log(1 + mpmath.exp((1 - 2 * y) * z)),
    "poisson": lambda z, y: mpmath.exp(z) - y * z,
}


@pytest.mark.parametrize("text", TEXTBOOK)
def test_row_losses_are_the_textbook_ones_and_their_derivatives_are_right(text: str) -> None:
    loss, phi = parse_loss(text), TEXTBOOK[text]
    assert format_loss(loss) == text
    for z in (-740.0, -40.0, -3.0, -0.5, 0.25, 0.7, 2.0, 36.0, 700.0):
        for y in (0.0, 1.0):
            with mpmath.workdps(400):
                value, slope = phi(mpmath.mpf(z), y), mpmath.diff(lambda t, y=y: phi(t, y), z)
            at, target = np.array([z]), np.array([y])
            assert float(loss.value(at, target)[0]) == pytest.approx(float(value), rel=4e-14)
            assert float(loss.derivative(at, target)[0]) == pytest.approx(float(slope), rel=2e-13)


@pytest.mark.parametrize("text", TEXTBOOK)
def test_autodiff_finds_the_derivative_at_a_kink_too(text: str, backend64: Backend) -> None:
    objective = LinearRegression(row_loss=parse_loss(text))
    value_and_grad = backend64.value_and_grad(objective)
    for z in (0.0, 1.0, 0.75, -0.75, 1e-300, 30.0, -30.0):  # at 0, where abs and max differ between frameworks, too
        for y in (0.0, 1.0):
            theta, X, target = np.array([0.0, z]), np.array([[2.0]]), np.array([y])
            place = backend64.asarray
            loss, gradient = map(backend64.to_numpy, value_and_grad(place(theta), place(X), place(target)))
            assert float(loss) == pytest.approx(float(objective.loss(theta, X, target)), rel=1e-13, abs=1e-300)
            np.testing.assert_allclose(gradient, objective.gradient(theta, X, target), rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("text", TEXTBOOK)
def test_the_derivative_changes_by_the_lipschitz_constant_or_jumps(text: str) -> None:
    loss, z = parse_loss(text), np.linspace(-5, 5, 10_001)
    for y in (0.0, 1.0):
        change = np.diff(loss.derivative(z, np.full_like(z, y)))
        if np.isfinite(loss.lipschitz):
            assert np.abs(change / np.diff(z)).max() == pytest.approx(loss.lipschitz, rel=1e-3)
        if loss.jump:
            assert loss.derivative(np.array([y]), np.array([y])) == 0
            assert np.abs(loss.derivative(z, np.full_like(z, y))[[0, -1]]).sum() == pytest.approx(loss.jump)


def test_float32_stays_float32_whatever_the_type_of_a_parameter() -> None:
    z, y = np.ones(3, np.float32), np.zeros(3, np.float32)
    for text in TEXTBOOK:
        loss = parse_loss(text)
        assert loss.value(z, y).dtype == loss.derivative(z, y).dtype == np.float32
    huber = type(parse_loss("huber:1"))(np.float64(2))
    assert huber.value(z, y).dtype == np.float32
    assert isinstance(huber.delta, float)


def test_labels_and_counts() -> None:
    logistic, poisson = parse_loss("logistic"), parse_loss("poisson")
    for y, labels in (
        ([0, 1, 1], ("0", "1")),
        ([-1.0, 1.0, 1.0], ("-1", "1")),
        (["no", "yes", "yes"], ("no", "yes")),
        (np.array(["no", "yes", "yes"], dtype=object), ("no", "yes")),
        (np.array([0, 1, 1], dtype=object), ("0", "1")),
        (np.array([9, 10, 10], dtype=object), ("9", "10")),
        ([False, True, True], ("0", "1")),
        ([2.5, 7.0, 7.0], ("2.5", "7")),
        ([1000001, 1000002, 1000002], ("1000001", "1000002")),
        (pd.Series(["no", "yes", "yes"]), ("no", "yes")),
        (pl.Series(["no", "yes", "yes"]), ("no", "yes")),
    ):
        coded, names = logistic.encode(target_values(y))
        assert coded.tolist() == [0, 1, 1]
        assert names == labels
    with pytest.raises(InputError, match=r"needs a target of two labels, got 4 different values \(1, 2, 3, \.\.\.\)"):
        logistic.encode(np.array([1, 2, 3, 4]))
    with pytest.raises(InputError, match=r"got 1 different values \('yes'\)"):
        logistic.encode(np.array(["yes", "yes"]))
    assert poisson.encode(np.array([0, 3]))[0].tolist() == [0, 3]
    with pytest.raises(InputError, match="counts of at least 0, got -2"):
        poisson.encode(np.array([1, -2]))
    with pytest.raises(InputError, match="got only zeros"):
        poisson.encode(np.array([0, 0]))
    with pytest.raises(InputError, match="needs counts, got 'a'"):
        poisson.encode(np.array(["a"]))
    for y in (
        [0, np.nan, 1],
        ["a", None, "b"],
        pd.Series(["no", None, "yes"]),
        pl.Series(["no", None, "yes"]),
        pl.Series([0, None, 1]),
        pd.Series([True, None, False], dtype="boolean"),
        np.ma.array([0, 1, 1], mask=[1, 0, 0]),
        [0, np.inf, 1],
        [1j, 2j, 1j],
        [1, "a", 2],
    ):
        with pytest.raises(InputError, match=r"missing|masked|real numbers|only numbers or only text|non-finite"):
            target_values(np.array(y, dtype=object) if isinstance(y, list) and "a" in y and 1 in y else y)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cubic",
            "the loss must be one of squared, absolute, huber, quantile, logcosh, logistic, poisson, got 'cubic'",
        ),
        ("", "the loss must be one of"),
        ("huber:", "the huber loss takes a number, got 'huber:'; write huber:0.5"),
        ("huber:wide", "the huber loss takes a number"),
        ("huber:0", "delta of the Huber loss must be a number above 0, got 0.0"),
        ("huber:nan", "delta of the Huber loss must be a number above 0, got nan"),
        ("huber:inf", "delta of the Huber loss must be a number above 0, got inf"),
        ("quantile:1", "q of the Quantile loss must be a number between 0 and 1, got 1.0"),
        ("logistic:2", "the logistic loss takes no parameter, got 'logistic:2'; write logistic"),
    ],
)
def test_wrong_spellings(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_loss(text)
    assert str(caught.value).startswith(message)


class Own:
    """Twice the squared error, of no base class."""

    lipschitz = 4.0

    def value(self, z, y):
        return 2 * (z - y) ** 2

    def derivative(self, z, y):
        return 4 * (z - y)

    def __repr__(self) -> str:
        return "Own()"


def test_the_spelling_of_a_loss_of_ones_own_is_its_repr() -> None:
    assert format_loss(SquaredError()) == "squared"
    own = LinearRegression(row_loss=Own()).row_loss  # pyright: ignore[reportArgumentType]
    assert format_loss(own) == repr(own) == "Own()"


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
