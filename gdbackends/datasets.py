"""A table of features and a target, checked once; bundled tables and synthetic ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import InitVar, dataclass
from typing import Any, cast

import numpy as np

from gdbackends.arrays import checked_arrays, series_of
from gdbackends.errors import InputError, InputTypeError, check_memory, require_package, whole_number
from gdbackends.objectives import Array
from gdbackends.preparation import NOTHING, Preparation


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table; the arrays (or data frame and series) are checked and copied to float64.

    Every number is rounded to the nearest float64: booleans are 0 and 1, and integers above 2**53 may be rounded.

    Attributes:
        X: (n, d) float64.
        y: (n,) float64.
        names: the names of the d features; if empty, those of a data frame, or x1, x2, ...
        target: the name of the target; if empty, that of a series, or y.
        name: the name of the table.
        labels: the texts that 0 and 1 of the target stand for, if it was text.
        preparation: what was made of columns that were not plain numbers.
        notes: what was done to the table and what was left out, a sentence each.
        copy: False keeps float64 arrays without a copy; the caller must then not change them.
    """

    X: Array
    y: Array
    names: tuple[str, ...] = ()
    target: str = ""
    name: str = "data"
    labels: tuple[str, str] | None = None
    preparation: Preparation = NOTHING
    notes: tuple[str, ...] = ()
    copy: InitVar[bool] = True

    def __post_init__(self, copy: bool) -> None:
        """Check the arrays and the names, and copy them."""
        if isinstance(self.names, str) or not isinstance(self.names, Iterable):
            raise InputTypeError(f"names must be a list of strings, one per feature, got {self.names!r}")
        columns, series = series_of(self.X, "X"), series_of(self.y, "y")
        X, y = checked_arrays(self.X, self.y, copy=copy)
        names = tuple(self.names) or tuple(str(column.name) for column in columns or ())
        target = self.target or (str(series[0].name or "") if series else "")
        for field, value in (("X", X), ("y", y), ("target", target or "y")):
            object.__setattr__(self, field, value)
        object.__setattr__(self, "names", names or tuple(f"x{j + 1}" for j in range(X.shape[1])))
        if len(self.names) != X.shape[1]:
            raise InputError(f"names must be {X.shape[1]}, one per feature, got {len(self.names)}")
        seen: set[str] = set()
        for name in (*self.names, self.target):
            if not isinstance(name, str):
                raise InputTypeError(f"names must be strings, got {name!r}")
            if name in seen:
                raise InputError(f"two columns are called {name!r}; rename one")
            seen.add(name)


def women() -> Dataset:
    """Return heights (inches) and weights (pounds) of 15 American women aged 30 to 39.

    Source: The World Almanac and Book of Facts, 1975.
    """
    weights = [115, 117, 120, 123, 126, 129, 132, 135, 139, 142, 146, 150, 154, 159, 164]
    return Dataset(np.arange(58.0, 73.0)[:, None], np.array(weights), ("height",), "weight", "women")


def diabetes() -> Dataset:
    """Return ten measurements of 442 patients, in their own units, and the progression of diabetes a year later.

    Source: Efron, Hastie, Johnstone and Tibshirani, Least Angle Regression, 2004, as scikit-learn bundles it.

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    require_package("'diabetes'", "scikit-learn", "sklearn", module="sklearn")
    from sklearn.datasets import load_diabetes  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    bunch = cast("Any", load_diabetes(scaled=False))
    return Dataset(bunch.data, bunch.target, tuple(bunch.feature_names), "progression", "diabetes")


def synthetic(rows: int, features: int, noise: float = 1.0, condition: float = 1.0, seed: int = 0) -> Dataset:
    """Return a random table whose features have a covariance of known condition, in their own units.

    The covariance (1/n) of the features has eigenvalues from 1 to `condition`, equally spaced on a logarithmic scale;
    if there are more rows than features, it has them exactly, except for rounding. The target is linear in the
    features, plus noise.

    Args:
        rows: n, at least 1.
        features: d, at least 1.
        noise: the standard deviation of the noise.
        condition: the largest eigenvalue over the smallest, at least 1.
        seed: seed of the generator.

    Raises:
        InputError: an argument is out of range, or the table needs more memory than the machine has.
    """
    for name, value, least in (("rows", rows, 1), ("features", features, 1), ("seed", seed, 0)):
        if whole_number(name, value) < least:
            raise InputError(f"{name} must be at least {least}, got {value}")
    for name, value, least in (("noise", noise, 0), ("condition", condition, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputTypeError(f"{name} must be a number, got {value!r}")
        if not least <= value < float("inf"):
            raise InputError(f"{name} must be a finite number of at least {least}, got {value}")
    if features == 1 and condition > 1:
        raise InputError(f"condition must be 1 with one feature, got {condition}; ask for two features or more")
    check_memory(8 * (3 * rows * features + 3 * features**2), f"a table of {rows} x {features}")
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(rows, features))
    X -= X.mean(0)
    if rows > features:  # whiten: orthonormal columns, still of mean 0
        X = np.linalg.qr(X).Q * np.sqrt(rows)
    rotation = np.linalg.qr(generator.normal(size=(features, features))).Q
    X = (X * np.sqrt(np.geomspace(1, condition, features))) @ rotation
    weights, intercept = generator.normal(size=features), generator.normal()
    y = X @ weights + intercept + noise * generator.normal(size=rows)
    return Dataset(X, y, name=f"synthetic {rows}x{features}", copy=False)
