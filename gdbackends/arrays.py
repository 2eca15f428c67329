# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Numbers out of what a user passes: arrays of any kind, lists, data frames and series."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives import Array

_ADVICE = {
    "O": "try {}.astype(float)",
    "S": "try {}.astype(float)",
    "U": "try {}.astype(float)",
    "c": "take {}.real if the imaginary parts are 0",
    "M": "turn dates into numbers, such as days since the first",
    "m": "turn durations into numbers, such as seconds",
}
_LIBRARIES = {"narwhals", "pandas", "polars", "pyarrow"}


def is_framed(values: Any) -> bool:
    """Say whether a library of data frames made the values."""
    return type(values).__module__.partition(".")[0] in _LIBRARIES


def series_of(values: Any, name: str) -> list[Any] | None:
    """Return a frame's columns, or a series alone, as narwhals series; None for what is neither.

    Raises:
        InputTypeError: a lazy frame.
        InputError: a frame that cannot be taken apart, such as one with two columns of a name; `name` says which.
    """
    if not is_framed(values):
        return None
    import narwhals.stable.v2 as nw

    try:
        native = nw.from_native(values, allow_series=True, pass_through=True)
        if isinstance(native, nw.Series):
            return [native]
        if isinstance(native, nw.DataFrame):
            return list(native.iter_columns())
    except Exception as error:  # what the frame's own library may raise
        raise InputError(f"{name} cannot be read as a data frame: {' '.join(str(error).split())}") from None
    if isinstance(native, nw.LazyFrame):
        raise InputTypeError(f"{name} is a lazy frame, which holds no data yet; collect() it first")
    return None


def numbers_of(series: Any) -> Array | None:
    """Return a series as float64 (n,), NaN where it is null; None if its type is no number and no boolean."""
    import narwhals.stable.v2 as nw

    null = np.asarray(series.is_null().to_numpy(), bool)
    if null.all():
        return np.full(null.size, np.nan)
    if not (series.dtype.is_numeric() or series.dtype == nw.Boolean):
        return None
    if series.dtype in (nw.Int128, nw.UInt128):  # which has no NumPy equivalent
        series = series.cast(nw.Float64)
    if not null.any():
        return np.asarray(series.to_numpy(), np.float64)
    values = np.full(null.size, np.nan)
    values[~null] = series.drop_nulls().to_numpy()
    return values


def matrix_of(columns: list[Any], name: str) -> Array:
    """Return a frame's columns as one float64 array (n, d), NaN where they are null.

    Raises:
        InputTypeError: a column that holds no numbers; the text names it.
    """
    matrix = np.empty((len(columns[0]) if columns else 0, len(columns)))
    for j, series in enumerate(columns):
        values = numbers_of(series)
        if values is None:
            raise InputTypeError(
                f"{name} must hold real numbers, got column {str(series.name)!r} of dtype {series.dtype}; leave it out"
            )
        matrix[:, j] = values
    return matrix


def checked_arrays(X: Any, y: Any, *, copy: bool = True) -> tuple[Array, Array]:
    """Return X (n, d) and y (n,) as fresh float64 arrays; with copy=False as they are, if they are float64.

    Raises:
        InputTypeError: values that are not real numbers.
        InputError: other shapes, no rows, no features, missing or non-finite values.
    """
    X, y = real_array(X, "X", copy=copy), real_array(y, "y", copy=copy)
    check_shapes(X.shape, y.shape)
    return X, y


def check_shapes(X: tuple[int, ...], y: tuple[int, ...]) -> None:
    """Refuse shapes of X and y other than (n, d) and (n,), n and d at least 1."""
    if len(X) != 2:
        raise InputError(f"X must have shape (rows, features), got {X}; for one feature use X.reshape(-1, 1)")
    if X[0] == 0 or X[1] == 0:
        raise InputError(f"X must have at least one row and one feature, got shape {X}")
    if len(y) != 1:
        raise InputError(f"y must have shape ({X[0]},), a number a row, got {y}; try y.ravel()")
    if y[0] != X[0]:
        raise InputError(f"X and y must have as many rows, got {X[0]} and {y[0]}")


def real_array(values: Any, name: str, *, copy: bool = True) -> Array:
    """Return values as a fresh float64 array of finite numbers; refuse what is not, by that name.

    Every number becomes the float64 nearest to it. Data frames and series give up their columns; what has only
    `__dlpack__` is taken by that.
    """
    columns = series_of(values, name)
    if columns is None:
        array = _native_array(values, name)
        if array.dtype.kind not in "fiub":
            advice = _ADVICE.get(array.dtype.kind, "give numbers").format(name)
            raise InputTypeError(f"{name} must hold real numbers, got dtype {array.dtype}; {advice}")
        with np.errstate(over="ignore"):  # a longdouble may exceed the range, which is said below
            array = np.array(array, np.float64, copy=True if copy else None)
    else:
        array = matrix_of(columns, name)
        array = array[:, 0] if len(getattr(values, "shape", (0,))) == 1 else array  # a series is one column
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), array.shape))
        first = f"{name}[{', '.join(map(str, where))}] = {array[where]}"
        if columns is not None:
            column = columns[where[-1] if array.ndim == 2 else 0].name
            first = f"in {f'column {str(column)!r}, ' if column else ''}row {where[0]} (from 0)"
        raise InputError(
            f"{name} has {finite.size - int(finite.sum())} missing or non-finite values, the first {first}; "
            f"drop or fill those rows"
        )
    return array


def _native_array(values: Any, name: str) -> Array:
    """Return values as a NumPy array of whatever dtype they have."""
    if isinstance(values, np.ma.MaskedArray):
        raise InputTypeError(f"{name} is a masked array, whose mask would be lost; fill or drop the masked values")
    if hasattr(values, "toarray"):
        raise InputTypeError(f"{name} is a sparse matrix; use {name}.toarray()")
    try:
        if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
            return np.from_dlpack(values)
        return np.asarray(values)
    except ValueError:
        raise InputError(f"{name} must be an array of numbers, got rows of different lengths") from None
    except Exception as error:  # what any object's own conversion may raise
        raise InputTypeError(f"{name} cannot be made a NumPy array: {' '.join(str(error).split())}") from None


def target_values(y: Any) -> Array:
    """Return a target's values as numbers, float64, or as text if every one is text; none may be missing.

    Raises:
        InputTypeError: neither numbers nor text, or both.
        InputError: missing or non-finite values.
    """
    series = series_of(y, "y")
    values = y if series is None else series[0].to_numpy() if numbers_of(series[0]) is None else None
    array = None if values is None else _native_array(values, "y")
    if array is None or array.dtype.kind not in "OUT":
        return real_array(y, "y")
    texts = array.ravel().tolist()
    missing = [k for k, text in enumerate(texts) if text is None or text != text]
    if missing:
        raise InputError(f"y has {len(missing)} missing values, the first y[{missing[0]}]; drop or fill those rows")
    if all(isinstance(text, str) for text in texts):
        return np.array(texts, str).reshape(array.shape)
    if all(isinstance(number, Real) for number in texts):
        return real_array(array.astype(np.float64), "y")
    kinds = sorted({type(value).__name__ for value in texts})
    raise InputTypeError(f"y must hold numbers alone or text alone, got {', '.join(kinds[:3])}; choose one")
