"""The exact witness against fractions, and the verdicts on right and wrong gradients and trajectories."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from gdbackends import LinearRegression, get_backend
from gdbackends.backends import names
from gdbackends.comparison.referee import error_bound, exact_values, probe_points, values
from gdbackends.comparison.trajectory import run_trajectory, trajectory_check
from gdbackends.descent import ProblemOptions, prepare
from gdbackends.errors import InputError, InputTypeError
from gdbackends.rounding.exact import exact_value_and_grad
from gdbackends.rounding.limit import Values

DTYPES = ("float64", "float32")


@pytest.fixture(autouse=True)
def fewer_fixed_steps() -> None:
    """All 1,000 are made here."""


@pytest.mark.parametrize("convention", ["mean", "half", "sum"])
@pytest.mark.parametrize("ones", [False, True])
def test_exact_equals_fractions_entry_by_entry(convention: str, ones: bool) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        X = generator.normal(size=(9, 2)) * 10.0 ** generator.integers(-12, 13, size=(9, 2))
        X[0, 0], y, theta = 0.0, generator.normal(size=9) * 1e5, generator.normal(size=3) * 1e-7
        objective = LinearRegression(convention, l2=0.375)
        f = [[Fraction(v) for v in row] for row in X]
        w, b = [Fraction(v) for v in theta[:-1]], Fraction(theta[-1])
        r = [sum(a * c for a, c in zip(row, w, strict=True)) + b - Fraction(t) for row, t in zip(f, y, strict=True)]
        factor = {"mean": Fraction(1, 9), "half": Fraction(1, 18), "sum": Fraction(1)}[convention]
        l2 = Fraction(3, 8)
        loss = factor * sum(e * e for e in r) + l2 * sum(v * v for v in w)
        slopes = [factor * 2 * sum(e * row[j] for e, row in zip(r, f, strict=True)) + 2 * l2 * w[j] for j in range(2)]
        used, design = objective.prepare(X) if ones else (objective, X)
        assert exact_value_and_grad(used, theta, design, y) == (loss, (*slopes, factor * 2 * sum(r)))


def test_exact_refuses_what_it_does_not_know() -> None:
    with pytest.raises(InputTypeError, match="no exact reference is known"):
        exact_value_and_grad(object(), np.zeros(2), np.zeros((3, 1)), np.zeros(3))


def case(dtype: str, n: int = 60, d: int = 3):
    generator = np.random.default_rng([n, d])
    X, y = generator.normal(size=(n, d)) * 3 + 10, generator.normal(size=n) * 5
    problem = prepare(X, y, get_backend("numpy", dtype=dtype))
    minimum = problem.objective.minimum(problem.X, problem.y.astype(float), np.zeros(d + 1))
    return problem, minimum, probe_points(problem, minimum)


@pytest.mark.parametrize("dtype", DTYPES)
def test_correct_backends_agree_with_each_other_and_with_the_truth(dtype: str, require) -> None:
    for n, d in ((1, 1), (60, 3), (500, 8)):
        problem, _, points = case(dtype, n, d)
        ruler, exact = error_bound(problem, points, dtype), exact_values(problem, points)
        computed = []
        for name in names():
            require(name)
            computed.append(values(get_backend(name, dtype=dtype), problem, points))
        for a in computed:
            assert ruler.ratio(a, exact, rounded=1) <= 1
            assert all(ruler.ratio(a, b) <= 1 for b in computed)


@pytest.mark.parametrize("wrong", ["component", "loss", "nan", "inf", "sign"])
def test_a_wrong_value_is_seen(wrong: str) -> None:
    problem, _, points = case("float64")
    ruler, right = error_bound(problem, points, "float64"), exact_values(problem, points)
    assert ruler.ratio(right, right) == 0
    losses, gradients = right.losses.copy(), right.gradients.copy()
    if wrong == "component":
        gradients[:, 2] *= 1 + 1e-9
    elif wrong == "loss":
        losses *= 1 + 1e-9
    elif wrong == "sign":
        gradients[:, 0] *= -1
    else:
        gradients[1, 1] = float(wrong)
    assert not ruler.ratio(Values(losses, gradients), right) <= 1
    assert not ruler.ratio(right, Values(losses, gradients)) <= 1


def test_sensitivity_is_what_is_seen() -> None:
    """An error a little above it is seen in every component; one far below passes in some."""
    problem, _, points = case("float64")
    ruler, right = error_bound(problem, points, "float64"), exact_values(problem, points)
    s = ruler.sensitivity()
    for j in range(4):
        gradients = right.gradients.copy()
        gradients[:, j] *= 1 + 1.01 * s
        assert not ruler.ratio(Values(right.losses, gradients), right) <= 1
    hidden = right.gradients * (1 + s / 100)
    assert ruler.ratio(Values(right.losses, hidden), right) <= 1
    assert s < 1e-9


def test_a_column_of_zeros_hides_nothing() -> None:
    X = np.c_[np.full(20, 4.0), np.arange(20.0)]
    problem = prepare(X, np.arange(20.0) ** 2, get_backend("numpy"))
    points = probe_points(problem, np.ones(3))
    assert error_bound(problem, points, "float64").sensitivity() < 1e-9


def test_float32_with_too_many_rows_is_blind() -> None:
    problem = prepare(np.arange(8.0)[:, None], np.arange(8.0), get_backend("numpy"))
    big = dataclasses.replace(problem, y=np.broadcast_to(0.0, (2_000_000,)))
    assert error_bound(problem, problem.theta0[None], "float32").blind is False
    with pytest.raises(ValueError, match="the same number of rows"):
        error_bound(big, problem.theta0[None], "float32")
    X = np.broadcast_to(np.ones((1, 2)), (1_800_000, 2))
    wide = dataclasses.replace(problem, X=X, y=np.zeros(1_800_000))
    assert error_bound(wide, problem.theta0[None], "float32").blind


@pytest.mark.parametrize("batch_size", [None, 7, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_trajectories_agree_and_a_wrong_one_is_seen(dtype: str, batch_size: int | None, require) -> None:
    problem, minimum, _ = case(dtype)
    problem = dataclasses.replace(problem, batch_size=batch_size)
    check = trajectory_check(problem, minimum)
    runs = []
    for name in names():
        require(name)
        runs.append(run_trajectory(dataclasses.replace(problem, **placed(problem, name, dtype)), check.rates))
    assert all(run.path.shape == (1002, 4) for run in runs)
    assert all(check.ratio(a, b) <= 1 for a in runs for b in runs)
    assert all(check.losses_ratio(problem, run) <= 1 for run in runs)
    assert check.ratio(runs[0], runs[1]) < 0.1
    for value in (runs[0].path[-2, 0] + 2 * check.bounds[-1], np.nan):
        wrong = runs[0].path.copy()
        wrong[-2, 0] = value
        assert not check.ratio(dataclasses.replace(runs[0], path=wrong), runs[1]) <= 1
    assert not check.ratio(dataclasses.replace(runs[0], path=runs[0].path[:-1]), runs[1]) <= 1
    for factor, k, kind in ((1.01, 0, 0), (np.nan, 500, 0), (1.01, 999, 1), (np.nan, 0, 1)):
        losses = runs[0].losses.copy()
        losses[kind, k] *= factor
        wrong = dataclasses.replace(runs[0], losses=losses)
        assert not check.losses_ratio(problem, wrong) <= 1
    other = dataclasses.replace(problem, y=problem.y * (1 + 1e-3))
    other = dataclasses.replace(other, data=(problem.data[0], problem.backend.asarray(other.y)))
    assert not check.ratio(run_trajectory(other, check.rates), runs[0]) <= 1


def placed(problem, name: str, dtype: str) -> dict:
    backend = get_backend(name, dtype=dtype)
    return {"backend": backend, "data": (backend.asarray(problem.X), backend.asarray(problem.y))}


@pytest.mark.parametrize("kind", ["wide", "collinear", "ill-conditioned", "sum", "penalty"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_trajectory_bound_holds_against_a_more_precise_run(kind: str, dtype: str) -> None:
    """The reference: the same steps in extended precision, on the same rounded data."""
    generator = np.random.default_rng(4)
    X, y = generator.normal(size=(40, 4)), generator.normal(size=40)
    if kind == "wide":
        X, y = generator.normal(size=(6, 15)), generator.normal(size=6)
    elif kind == "collinear":
        X[:, 3] = X[:, 0] - X[:, 1]
    elif kind == "ill-conditioned":
        X[:, 3] = X[:, 0] + 1e-4 * X[:, 1]
    objective = LinearRegression("sum" if kind == "sum" else "mean", l2=0.5 if kind == "penalty" else 0.0)
    problem = prepare(X, y, get_backend("numpy", dtype=dtype), objective)
    size = X.shape[1] + 1
    minimum = problem.objective.minimum(problem.X, problem.y.astype(float), np.zeros(size))
    check = trajectory_check(problem, minimum)
    path = run_trajectory(problem, check.rates).path
    wide, target = problem.X.astype(np.longdouble), problem.y.astype(np.longdouble)
    theta = np.zeros(size, np.longdouble)
    penalty = np.append(np.full(size - 1, 2 * np.longdouble(objective.l2)), 0)
    for k, rate in enumerate([*check.rates.astype(np.longdouble), 0]):
        assert np.linalg.norm((path[k] - theta).astype(float)) <= check.bounds[k] / 2  # one of the two
        gradient = 2 * wide.T @ (wide @ theta - target) / np.longdouble(problem.objective.divisor(len(y)))
        theta = theta - rate * (gradient + penalty * theta)


@pytest.mark.parametrize("dtype", DTYPES)
def test_data_out_of_range_are_refused_and_infinities_are_no_disagreement(dtype: str) -> None:
    large = 1e200 if dtype == "float64" else 1e30
    problem = prepare(np.arange(5.0)[:, None], np.arange(5.0) * large, get_backend("numpy", dtype=dtype))
    with pytest.raises(InputError, match=f"the cost of these data exceeds the range of {dtype}"):
        error_bound(problem, problem.theta0[None], dtype)
    problem, _, points = case(dtype)
    right = exact_values(problem, points)
    infinite = Values(np.full_like(right.losses, np.inf), right.gradients)
    ruler = error_bound(problem, points, dtype)
    assert ruler.ratio(infinite, infinite) == 0
    assert ruler.ratio(infinite, right) == np.inf


def test_probes_fit_the_data_whatever_their_scale() -> None:
    """Three correct backends were called different in float32, where random probes overflowed."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(30, 2)) * 1e10
    problem = prepare(
        X, X @ [1.0, -2.0], get_backend("numpy", dtype="float32"), options=ProblemOptions(standardize=False)
    )
    minimum = problem.objective.minimum(problem.X, problem.y.astype(float), np.zeros(3))
    points = probe_points(problem, minimum)
    assert np.abs(points[:, :2]).max() < 100
    assert np.abs(points).max() < 1e12  # the intercept makes up for a slope times 1e10
    error_bound(problem, points, "float32")


def test_float32_bounds_wider_than_a_tenth_are_blind() -> None:
    """A gradient wrong by 10 % passed in float32 with a million rows."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(1_000_000, 1))
    problem = prepare(X, X[:, 0], get_backend("numpy", dtype="float32"))
    assert error_bound(problem, np.ones((1, 2), np.float32), "float32").blind
