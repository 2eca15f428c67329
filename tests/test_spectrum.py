"""The spectrum against known matrices, and the two rates against what descents really do."""

from __future__ import annotations

import numpy as np
import pytest

from gdbackends import LinearRegression, fit
from gdbackends.descent import Stop
from gdbackends.descent.spectrum import batch_curvature, quadratic, spectrum


def test_a_known_hessian() -> None:
    X = np.array([[-1.0], [1.0]]) * 3  # H = 2 diag(9, 1)
    ends = spectrum(LinearRegression(), X, 2)
    assert (ends.smallest, ends.largest) == pytest.approx((2, 18))
    assert ends.best_rate == pytest.approx(2 / 20)
    assert ends.largest_stable_rate == pytest.approx(2 / 18)
    assert ends.condition == pytest.approx(9)
    assert not ends.singular
    assert spectrum(LinearRegression(l2=4.0), X, 2).largest == pytest.approx(26)
    assert spectrum(LinearRegression("sum"), X, 2).largest == pytest.approx(36)


@pytest.mark.parametrize("kind", ["wide", "collinear", "constant"])
def test_zero_eigenvalues_do_not_count(kind: str) -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(8, 12) if kind == "wide" else (50, 3))
    if kind == "collinear":
        X = np.c_[X, X @ [1.0, -2.0, 0.5]]
    if kind == "constant":
        X = np.c_[X, np.zeros(50)]
    ends = spectrum(LinearRegression(), X, X.shape[1] + 1)
    values = np.linalg.svd(np.c_[X, np.ones(len(X))], compute_uv=False) ** 2 * 2 / len(X)
    rank = np.linalg.matrix_rank(np.c_[X, np.ones(len(X))])
    assert ends.singular
    assert ends.smallest == pytest.approx(values[rank - 1], rel=1e-6)


def test_the_rate_decides_between_convergence_and_divergence(table) -> None:
    X, y = (table[0] - table[0].mean(0)) / table[0].std(0), table[1]
    ends = spectrum(LinearRegression(), X, 4)
    run = dict(backend="numpy", standardize=False, steps=20_000)
    assert fit(X, y, learning_rate=1.02 * ends.largest_stable_rate, **run).stop is Stop.DIVERGED
    assert fit(X, y, learning_rate=0.98 * ends.largest_stable_rate, **run).stop is not Stop.DIVERGED
    run["steps"] = 20
    best = fit(X, y, learning_rate=ends.best_rate, **run).gradient_norm
    for other in (0.8, 0.9, 0.97):
        assert fit(X, y, learning_rate=other * ends.best_rate, **run).gradient_norm > best


def test_many_parameters_by_power_iteration() -> None:
    generator = np.random.default_rng(1)
    X = generator.normal(size=(40, 2100))
    X[:, 0] *= 40
    ends = spectrum(LinearRegression(), X, 2101)
    expected = np.linalg.svd(np.c_[X, np.ones(40)], compute_uv=False)[0] ** 2 * 2 / 40
    assert ends.largest == pytest.approx(expected, rel=1e-4)
    assert ends.smallest is None
    assert ends.condition is None
    assert ends.best_rate == 1 / ends.largest


def test_batch_curvature_bounds_every_batch() -> None:
    generator = np.random.default_rng(2)
    X = generator.normal(size=(12, 2))
    objective, design = LinearRegression(l2=0.3).prepare(X)
    bound = batch_curvature(objective, design, 3)
    for _ in range(200):
        rows = generator.choice(12, 3, replace=False)
        assert np.linalg.eigvalsh(objective.curvature(np.eye(3), design[rows]))[-1] <= bound * (1 + 1e-12)


def test_a_quadratic_is_its_cost_and_its_descent_in_closed_form(table) -> None:
    X, y = table
    objective, start = LinearRegression(l2=0.3), np.arange(4.0)
    cost = quadratic(objective, X, y, start)
    assert np.isclose(cost.cost(start), objective.loss(start, X, y), rtol=1e-12)
    assert np.isclose(cost.cost(cost.minimum), cost.least)
    assert np.allclose(cost.gradient(start), objective.gradient(start, X, y), rtol=1e-11)
    theta, rate = start, 1.2 / cost.values[-1]
    for _ in range(30):
        theta = theta - rate * objective.gradient(theta, X, y)
    assert np.allclose(cost.after(start, rate, 30), theta, rtol=1e-9)
    assert (cost.values[0], cost.values[-1]) == pytest.approx(
        (spectrum(objective, X, 4).smallest, spectrum(objective, X, 4).largest)
    )
