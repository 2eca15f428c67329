"""Datasets: copies, names, and the bundled one."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from gdbackends import Dataset
from gdbackends.datasets import synthetic, women
from gdbackends.errors import InputError


def test_the_bundled_data() -> None:
    data = women()
    assert data.X.shape == (15, 1)
    assert (data.X[[0, -1], 0] == [58, 72]).all()
    assert data.y.sum() == 2051
    assert (data.names, data.target) == (("height",), "weight")


def test_it_copies_and_converts() -> None:
    X, y = np.arange(6, dtype=np.int8).reshape(3, 2), np.array([True, False, True])
    data = Dataset(X, y)
    assert data.X.dtype == data.y.dtype == np.float64
    assert data.names == ("x1", "x2")
    X[0, 0] = 9
    assert data.X[0, 0] == 0


def test_names_must_match() -> None:
    with pytest.raises(InputError, match="names must be 2, one per feature, got 1"):
        Dataset(np.zeros((3, 2)), np.zeros(3), ("a",))


def test_names_are_text_and_each_its_own() -> None:
    X, y = np.zeros((3, 2)), np.zeros(3)
    for names in (("a", "a"), ("a", "y")):
        with pytest.raises(InputError, match="two columns are called"):
            Dataset(X, y, names)
    for names in ("ab", 5, (1, 2)):
        with pytest.raises(InputError, match="names must be"):
            Dataset(X, y, names)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_names_come_from_a_frame_and_a_series(frame) -> None:
    table = frame({"a": [1, 2], "b": [3, 4]})
    data = Dataset(table, pd.Series([1, 2], name="price"))
    assert (data.names, data.target) == (("a", "b"), "price")
    data = Dataset(table, [1, 2], ("p", "q"), "r")
    assert (data.names, data.target) == (("p", "q"), "r")


@pytest.mark.parametrize(("features", "condition"), [(1, 1.0), (6, 1.0), (6, 1e6)])
def test_synthetic_has_its_condition(features: int, condition: float) -> None:
    data = synthetic(50, features, 0.5, condition, seed=3)
    spread = np.linalg.eigvalsh(np.atleast_2d(np.cov(data.X.T, ddof=0)))
    assert np.allclose(spread, np.geomspace(1, condition, features), rtol=1e-9)
    assert np.allclose(data.X.mean(0), 0, atol=1e-12 * condition)
    assert data.name == f"synthetic 50x{features}"
    assert np.array_equal(data.X, synthetic(50, features, 0.5, condition, seed=3).X)
    assert synthetic(5, 6).X.shape == (5, 6)


def test_synthetic_is_linear_but_for_its_noise() -> None:
    data = synthetic(100, 3, noise=0)
    table = np.c_[data.X, np.ones(100)]
    assert np.allclose(table @ np.linalg.lstsq(table, data.y)[0], data.y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2), "rows must be at least 1, got 0"),
        ((2, -1), "features must be at least 1, got -1"),
        ((2.5, 2), "rows must be a whole number, got 2.5"),
        ((9, 2, -1), "noise must be a finite number of at least 0, got -1"),
        ((9, 2, float("nan")), "noise must be a finite number of at least 0, got nan"),
        ((9, 2, True), "noise must be a number, got True"),
        ((9, 2, 1, 0.5), "condition must be a finite number of at least 1, got 0.5"),
        ((9, 1, 1, 2), "condition must be 1 with one feature, got 2"),
        ((9, 2, 1, 1, -1), "seed must be at least 0, got -1"),
        ((10**6, 10**6), "a table of 1000000 x 1000000 needs 48 TB of memory, and this machine has"),
        ((10**18, 10**18), "needs 4.8e+25 TB of memory"),
    ],
)
def test_synthetic_refuses(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        synthetic(*arguments)
