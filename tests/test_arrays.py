"""Numbers out of arrays, lists, data frames and series: what is taken, and what is refused by which name."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

from gdbackends.arrays import checked_arrays, real_array
from gdbackends.errors import InputError


class OnlyDlpack:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


@pytest.mark.parametrize(
    "X",
    [
        [[1, 0], [2, 1]],
        np.array([[1, 0], [2, 1]], np.uint8),
        np.array([[1, 0], [2, 1]], np.longdouble),
        OnlyDlpack(np.array([[1.0, 0.0], [2.0, 1.0]])),
        pd.DataFrame({"a": pd.array([1, 2], "Int64"), "b": pd.array([False, True], "boolean")}),
        pl.DataFrame({"a": [1, 2], "b": [False, True]}),
        pa.table({"a": [1, 2], "b": [False, True]}),
    ],
    ids=lambda X: type(X).__name__,
)
def test_tables(X: Any) -> None:
    for y in ([1, 2], pd.Series([1, 2]), pl.Series([1, 2]), pa.chunked_array([[1], [2]]), pa.array([1, 2])):
        found = checked_arrays(X, y)
        assert (found[0].tolist(), found[1].tolist()) == ([[1, 0], [2, 1]], [1, 2])
        assert found[0].dtype == found[1].dtype == np.float64


def test_a_copy_only_where_it_is_wanted() -> None:
    values = np.ones(3)
    assert real_array(values, "y") is not values
    assert real_array(values, "y", copy=False) is values
    series = pl.Series([1.0, 2.0])
    real_array(series, "y")[0] = 9
    assert series[0] == 1


day = datetime.date(2024, 1, 1)
BAD: dict[str, tuple[Any, str]] = {
    "complex": (np.ones((2, 2)) * 1j, "X must hold real numbers, got dtype complex128; take X.real"),
    "object": (np.array([[object()]]), "X must hold real numbers, got dtype object; try X.astype(float)"),
    "text": ([["1"]], "X must hold real numbers, got dtype <U1; try X.astype(float)"),
    "dates": (np.array([["2024-01-01"]], "M8[D]"), "got dtype datetime64[D]; turn dates into numbers"),
    "durations": (np.array([[1]], "m8[s]"), "got dtype timedelta64[s]; turn durations into numbers"),
    "terabytes": (
        np.broadcast_to(1.0, (10**15, 1)),
        "X of shape (1000000000000000, 1) needs 8e+03 TB of memory",
    ),
    "masked": (np.ma.array([[1.0]], mask=[[True]]), "X is a masked array, whose mask would be lost"),
    "sparse": (scipy.sparse.csr_matrix(np.eye(2)), "X is a sparse matrix; use X.toarray()"),
    "one number": (3.0, "X must have shape (rows, features), got ()"),
    "one dimension": ([1.0, 2.0], "got (2,); for one feature use X.reshape(-1, 1)"),
    "three dimensions": (np.ones((2, 2, 2)), "X must have shape (rows, features), got (2, 2, 2)"),
    "ragged": ([[1, 2], [3]], "X must be an array of numbers, got rows of different lengths"),
    "no rows": (np.ones((0, 2)), "X must have at least one row and one feature, got shape (0, 2)"),
    "NaN": ([[1.0], [np.nan]], "X has 1 missing or non-finite values, the first X[1, 0] = nan; drop or fill"),
    "pandas NA": (pd.DataFrame({"a": pd.array([1, None], "Int64")}), "the first in column 'a', row 1 (from 0)"),
    "polars null": (pl.DataFrame({"b": [0, 0], "a": [1, None]}), "the first in column 'a', row 1 (from 0)"),
    "pyarrow null": (pa.table({"a": [1, None]}), "the first in column 'a', row 1 (from 0)"),
    "pandas text": (pd.DataFrame({"a": [1], "t": ["x"]}), "X must hold real numbers, got column 't' of dtype String"),
    "polars date": (pl.DataFrame({"t": [day]}), "got column 't' of dtype Date; leave it out"),
    "pyarrow date": (pa.table({"t": [day]}), "got column 't' of dtype Date; leave it out"),
    "no columns": (pd.DataFrame(), "X must have at least one row and one feature, got shape (0, 0)"),
    "lazy": (pl.LazyFrame({"a": [1]}), "X is a lazy frame, which holds no data yet; collect() it first"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case: str) -> None:
    X, message = BAD[case]
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        checked_arrays(X, [1.0, 2.0])
    assert "\n" not in str(caught.value)


def test_a_target_is_refused_by_its_name() -> None:
    for y, message in (
        (pl.Series("q", [1, None]), "y has 1 missing or non-finite values, the first in column 'q', row 1 (from 0)"),
        (pa.chunked_array([[1, None]]), "y has 1 missing or non-finite values, the first in row 1 (from 0)"),
        (pd.DataFrame({"a": [1, 2]}), "y must have shape (2,), one number per row, got (2, 1)"),
        ([1.0], "X and y must have the same number of rows, got 2 and 1"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            checked_arrays(np.eye(2), y)
