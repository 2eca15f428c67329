"""Standardising and back."""

from __future__ import annotations

import numpy as np
import pytest

from gdbackends.scaling import identity, standardization


@pytest.mark.parametrize("factor", [1.0, 1e-160, 1e150, 1e300])
def test_mean_0_and_deviation_1_whatever_the_size(factor: float) -> None:
    X = np.random.default_rng(0).normal(size=(50, 3)) * factor
    scaled = standardization(X).apply(X)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-14)
    np.testing.assert_allclose(scaled.std(0), 1, rtol=1e-12)


@pytest.mark.parametrize("value", [0.1, 0.0, -1e30, 1e-300])
def test_a_constant_column_becomes_exact_zeros(value: float) -> None:
    X = np.c_[np.full(30, value), np.arange(30.0)]
    scaling = standardization(X)
    assert (scaling.apply(X)[:, 0] == 0).all()
    assert scaling.spread[0] == 1


def test_predictions_are_the_same_in_both_units() -> None:
    generator = np.random.default_rng(1)
    X, theta = generator.normal(size=(20, 3)) * 7 + 100, generator.normal(size=4)
    scaling = standardization(X)
    there = scaling.from_data_units(theta)
    np.testing.assert_allclose(scaling.apply(X) @ there[:-1] + there[-1], X @ theta[:-1] + theta[-1], rtol=1e-12)
    np.testing.assert_allclose(scaling.to_data_units(there), theta, rtol=1e-11)
    np.testing.assert_allclose(scaling.to_data_units(np.stack([there, 2 * there]))[1], 2 * theta, rtol=1e-11)
    assert (identity(3).to_data_units(theta) == theta).all()
