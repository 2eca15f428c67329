"""A table of features and a target, checked once and here; and the bundled one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives import Array


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table: the arrays are checked and copied to float64.

    Attributes:
        X: (n, d) float64.
        y: (n,) float64.
        names: the d features' names; x1, x2, ... when empty.
        target: the target's name.
        name: what to call the table.
    """

    X: Array
    y: Array
    names: tuple[str, ...] = ()
    target: str = "y"
    name: str = "data"

    def __post_init__(self) -> None:
        """Check the arrays and the names, and copy them."""
        X, y = checked_arrays(self.X, self.y)
        object.__setattr__(self, "X", X)
        object.__setattr__(self, "y", y)
        if isinstance(self.names, str) or not isinstance(self.names, Iterable):
            raise InputTypeError(f"names must be a list of text, one a feature, got {self.names!r}")
        object.__setattr__(self, "names", tuple(self.names) or tuple(f"x{j + 1}" for j in range(X.shape[1])))
        if len(self.names) != X.shape[1]:
            raise InputError(f"names must be {X.shape[1]}, one a feature, got {len(self.names)}")
        for name in (*self.names, self.target):
            if not isinstance(name, str):
                raise InputTypeError(f"names must be text, got {name!r}")
            if (*self.names, self.target).count(name) > 1:
                raise InputError(f"two columns are called {name!r}; each needs a name of its own")


def women() -> Dataset:
    """Return heights (inches) and weights (pounds) of 15 American women aged 30 to 39.

    Source: The World Almanac and Book of Facts, 1975.
    """
    weights = [115, 117, 120, 123, 126, 129, 132, 135, 139, 142, 146, 150, 154, 159, 164]
    return Dataset(np.arange(58.0, 73.0)[:, None], np.array(weights), ("height",), "weight", "women")


def checked_arrays(X: Any, y: Any) -> tuple[Array, Array]:
    """Return X (n, d) and y (n,) as fresh float64 arrays.

    Raises:
        InputTypeError: values that are not real numbers.
        InputError: other shapes, no rows, no features, missing or non-finite values.
    """
    X, y = real_array(X, "X"), real_array(y, "y")
    if X.ndim != 2:
        raise InputError(f"X must have shape (rows, features), got {X.shape}; for one feature use X.reshape(-1, 1)")
    if X.shape[0] == 0 or X.shape[1] == 0:
        raise InputError(f"X must have at least one row and one feature, got shape {X.shape}")
    if y.ndim != 1:
        raise InputError(f"y must have shape ({X.shape[0]},), a number a row, got {y.shape}; try y.ravel()")
    if y.shape[0] != X.shape[0]:
        raise InputError(f"X and y must have as many rows, got {X.shape[0]} and {y.shape[0]}")
    return X, y


def real_array(values: Any, name: str) -> Array:
    """Return values as a fresh float64 array of finite numbers; refuse what is not, by that name."""
    if isinstance(values, np.ma.MaskedArray):
        raise InputTypeError(f"{name} is a masked array, whose mask would be lost; fill or drop the masked values")
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name} must be an array of numbers, got rows of different lengths") from None
    except Exception as error:  # what any object's own conversion may raise
        raise InputTypeError(f"{name} cannot be made a NumPy array: {' '.join(str(error).split())}") from None
    if array.dtype.kind not in "fiub":
        raise InputTypeError(f"{name} must hold real numbers, got dtype {array.dtype}; try {name}.astype(float)")
    array = np.array(array, np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        where = np.unravel_index(int(np.argmin(finite)), array.shape)
        place = f"{name}[{', '.join(str(int(i)) for i in where)}]"
        raise InputError(
            f"{name} has {finite.size - int(finite.sum())} missing or non-finite values, the first "
            f"{place} = {array[where]}; drop or fill those rows"
        )
    return array
