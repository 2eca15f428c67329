"""Datasets: copies, names, and the bundled one."""

from __future__ import annotations

import numpy as np
import pytest

from gdbackends import Dataset
from gdbackends.datasets import women
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
    with pytest.raises(InputError, match="names must be 2, one a feature, got 1"):
        Dataset(np.zeros((3, 2)), np.zeros(3), ("a",))


def test_names_are_text_and_each_its_own() -> None:
    X, y = np.zeros((3, 2)), np.zeros(3)
    for names in (("a", "a"), ("a", "y")):
        with pytest.raises(InputError, match="two columns are called"):
            Dataset(X, y, names)
    for names in ("ab", 5, (1, 2)):
        with pytest.raises(InputError, match="names must be"):
            Dataset(X, y, names)
