"""Conversion of arguments to NumPy arrays of numbers: arrays of any library, lists, data frames and series."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from gdbackends.errors import InputError, InputTypeError, check_memory
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
    """Return whether the values belong to a data frame library."""
    return type(values).__module__.partition(".")[0] in _LIBRARIES


def series_of(values: Any, name: str) -> list[Any] | None:
    """Return the columns of a data frame, or a series, as narwhals series; None for anything else.

    Raises:
        InputTypeError: the frame is lazy.
        InputError: the frame cannot be read, for example because two columns have the same name.
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
    except Exception as error:  # any error of the frame's library
        raise InputError(f"{name} cannot be read as a data frame: {' '.join(str(error).split())}") from None
    if isinstance(native, nw.LazyFrame):
        raise InputTypeError(f"{name} is a lazy frame, which holds no data yet; collect() it first")
    return None


def numbers_of(series: Any) -> Array | None:
    """Return a series as float64 (n,), with null as NaN; None if it is neither numeric nor boolean."""
    import narwhals.stable.v2 as nw

    null = np.asarray(series.is_null().to_numpy(), bool)
    if null.all():
        return np.full(null.size, np.nan)
    if not (series.dtype.is_numeric() or series.dtype == nw.Boolean):
        return _numbers_of_objects(series.to_list()) if series.dtype == nw.Object else None
    if series.dtype in (nw.Int128, nw.UInt128):  # without a NumPy equivalent
        series = series.cast(nw.Float64)
    if not null.any():
        return np.asarray(series.to_numpy(), np.float64)
    values = np.full(null.size, np.nan)
    values[~null] = series.drop_nulls().to_numpy()
    return values


def _numbers_of_objects(values: list[Any]) -> Array | None:
    """Return Python objects as float64 with None as NaN; None if one is not a number."""
    present = (value for value in values if value is not None)
    if not all(isinstance(value, (Real, Decimal, np.bool_)) for value in present):
        return None
    return np.array([np.nan if value is None else float(value) for value in values])


def matrix_of(columns: list[Any], name: str) -> Array:
    """Return columns as one float64 array (n, d), with null as NaN.

    Raises:
        InputTypeError: a column is not numeric; the message names it.
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
    """Return X (n, d) and y (n,) as new float64 arrays; with copy=False, float64 arrays are not copied.

    Raises:
        InputTypeError: values are not real numbers.
        InputError: the shapes are wrong, there are no rows or features, or values are missing or non-finite.
    """
    X, y = real_array(X, "X", copy=copy), real_array(y, "y", copy=copy)
    check_shapes(X.shape, y.shape)
    return X, y


def check_shapes(X: tuple[int, ...], y: tuple[int, ...]) -> None:
    """Refuse shapes of X and y other than (n, d) and (n,) with n and d at least 1."""
    if len(X) != 2:
        raise InputError(f"X must have shape (rows, features), got {X}; for one feature use X.reshape(-1, 1)")
    if X[0] == 0 or X[1] == 0:
        raise InputError(f"X must have at least one row and one feature, got shape {X}")
    if len(y) != 1:
        raise InputError(f"y must have shape ({X[0]},), one number per row, got {y}; try y.ravel()")
    if y[0] != X[0]:
        raise InputError(f"X and y must have the same number of rows, got {X[0]} and {y[0]}")


def real_array(values: Any, name: str, *, copy: bool = True) -> Array:
    """Return values as a new float64 array of finite numbers; `name` is used in errors.

    Every number is rounded to the nearest float64. Data frames, series, and arrays that have only `__dlpack__` are
    accepted.
    """
    columns = series_of(values, name)
    if columns is None:
        array = _native_array(values, name)
        if array.dtype.kind not in "fiub":
            advice = _ADVICE.get(array.dtype.kind, "give numbers").format(name)
            raise InputTypeError(f"{name} must hold real numbers, got dtype {array.dtype}; {advice}")
        check_memory(8 * array.size, f"{name} of shape {array.shape}", "give fewer rows")
        try:
            with np.errstate(over="ignore"):  # a longdouble may exceed the range, which is refused below
                array = np.array(array, np.float64, copy=True if copy else None)
        except MemoryError:
            raise InputError(f"{name} of shape {array.shape} does not fit into memory; give fewer rows") from None
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
    """Return values as a NumPy array of their own dtype."""
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
    except Exception as error:  # any error of the object's own conversion
        raise InputTypeError(f"{name} cannot be made a NumPy array: {' '.join(str(error).split())}") from None


def target_values(y: Any) -> Array:
    """Return the values of a target as float64, or as text if all are text.

    Raises:
        InputTypeError: the values are neither numbers nor text, or mixed.
        InputError: values are missing or non-finite.
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
    raise InputTypeError(f"y must hold only numbers or only text, got {', '.join(kinds[:3])}; choose one")
