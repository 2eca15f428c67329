"""Gradients that are right for other data: weights forgotten, labels coded otherwise, or a column that is broadcast."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np

from gdbackends.errors import InputError
from gdbackends.gradcheck.adapted import ARRAY, Adapted, GradientOf
from gdbackends.gradcheck.checked_function import CheckedFunction, Runner
from gdbackends.gradcheck.evidence import Cause, Evidence, name_factor
from gdbackends.gradcheck.mistakes import fit_terms
from gdbackends.gradcheck.witness import scalar_values
from gdbackends.objectives import Array
from gdbackends.rounding.limit import Values

_MOST_BROADCAST = 2000
"""Number of rows up to which an array becomes a column, since the loss may broadcast it to as many columns."""


def other_data(checked: CheckedFunction, e: Evidence, run: Runner) -> Cause | None:
    """Return a cause if the gradient is that of the loss for other data, perhaps with a factor that has a name."""
    names = names_of_data(checked)
    most = min(1.0, e.unexplained(e.autodiff) / 10)

    def left(data: tuple[Array, ...], points: slice) -> tuple[float, float]:
        try:
            values = run(e.points[points], data)
        except InputError:  # no scalar
            return np.inf, 1.0
        if not isinstance(values, Values) or not np.isfinite(values.gradients).all():
            return np.inf, 1.0
        there = replace(e, points=e.points[points], hand=e.hand[points], allowed=e.allowed[points])
        found = fit_terms(there, there.hand, [values.gradients])
        c = 1.0 if found is None or name_factor(float(found[0]), e) is None else float(found[0])
        return min((there.unexplained(factor * values.gradients, factor), factor) for factor in (1.0, c))

    for k, array in enumerate(checked.data):
        for changed, said in _changes(array, names[k], _has_columns(checked)):
            data, is_broadcast = (*checked.data[:k], changed, *checked.data[k + 1 :]), changed.shape != array.shape
            if left(data, slice(0, 1))[0] > most:
                continue
            unexplained, c = left(data, slice(None))
            if unexplained <= most and (c == 1 or not is_broadcast):
                times = "" if c == 1 else f", times {name_factor(c, e)}"
                return Cause("data", f"{e.subject} is the gradient {said}{times}", {"data": float(k)}, unexplained)
    return None


def _changes(array: Array, name: str, columns: bool) -> Iterator[tuple[Array, str]]:
    """Yield what may have been used in place of a column, in words."""
    n = array.shape[0] if array.ndim else 0
    if n < 2 or array.size != n:
        return
    yield np.ones_like(array), f"with 1 in place of {name}, as if weights were forgotten"
    yield np.zeros_like(array), f"with 0 in place of {name}, as if it were forgotten"
    if _has_only(array, 0, 1):
        yield 2 * array - 1, f"for {name} coded as -1 and 1 in place of 0 and 1"
    if _has_only(array, -1, 1):
        yield (
            (array + 1) / 2 if array.dtype.kind == "f" else (array + 1) // 2,
            (f"for {name} coded as 0 and 1 in place of -1 and 1"),
        )
    if array.dtype.kind == "f":
        if array.min() < 0 < array.max():  # otherwise a negative one may be outside the domain, where loops do not end
            yield -array, f"with the sign of {name} flipped"
        yield array**2, f"with the square of {name} in its place"
        if (array > 0).all():
            yield np.sqrt(array), f"with the square root of {name} in its place"
            yield 1 / array, f"with 1/{name} in its place"
    if array.ndim > 1:
        yield array.reshape(n), f"for {name} of shape {(n,)}; the loss broadcasts that of shape {array.shape}"
    elif columns and n <= _MOST_BROADCAST:
        yield array[:, None], f"for {name} of shape {(n, 1)}; the loss broadcasts that of shape {(n,)}"


def _has_only(array: Array, a: int, b: int) -> bool:
    """Return whether an array consists of two numbers."""
    return bool(((array == a) | (array == b)).all() and array.min() < array.max())


def names_of_data(checked: CheckedFunction) -> list[str]:
    """Return the names of the arrays: their places, with the names of the parameters of the loss."""
    plain = [f"data[{k}]" for k in range(len(checked.data))]
    if checked.weights:
        return ["v", *plain[:-1]]
    loss = next(iter(checked.losses.values()), None)
    place: Any = loss.place if isinstance(loss, Adapted) else 0
    arrays = [v is ARRAY for v in loss.objects] if isinstance(loss, Adapted) else [True] * len(plain)
    try:
        given = list(inspect.signature(loss.function if isinstance(loss, Adapted) else cast(Any, loss)).parameters)
    except (TypeError, ValueError):  # a built-in function
        return plain
    if isinstance(place, str):
        given = [name for name in given if name != place]
    else:
        given = [*given[:place], *given[place + 1 :]]
    found = [name for name, is_array in zip(given, arrays, strict=False) if is_array]
    return (
        [f"{where} ({name})" for where, name in zip(plain, found, strict=True)] if len(found) == len(plain) else plain
    )


def unpaired_rows(checked: CheckedFunction, points: Array, run: Runner) -> str | None:
    """Return a warning if the loss broadcasts a column against the rows of the other data; None if it does not.

    Then exchanging the rows of the column alone does not change the loss, and with another shape it does.
    """
    n = max((a.shape[0] for a in checked.data if a.ndim), default=0)
    if not 3 <= n <= _MOST_BROADCAST or sum(a.ndim > 0 and a.shape[0] == n for a in checked.data) < 2:
        return None
    loss = scalar_values(checked, points[0], run)
    shapes = [a.shape for a in checked.data]
    for k, array in enumerate(checked.data):
        is_column = array.ndim > 1 and shapes.count(array.shape) == 1  # two may be samples, all pairs of which count
        if loss is None or array.size != n or (array == array[0]).all() or not (is_column or _has_columns(checked)):
            continue
        other = array.reshape((n,) if array.ndim > 1 else (n, 1))
        if _is_paired(checked, k, array, points, run) is False and _is_paired(checked, k, other, points, run):
            name = names_of_data(checked)[k]
            return (
                f"warning: the loss is the same in whatever order the rows of {name} are: its shape {array.shape} is "
                f"broadcast to ({n}, {n}); {other.shape} pairs it with the other data"
            )
    return None


def _has_columns(checked: CheckedFunction) -> bool:
    """Return whether theta contains a matrix of one column, whose product with rows is a column."""
    blocks = checked.hand.adapted.layout.blocks if isinstance(checked.hand, GradientOf) else ()
    shapes = [block.shape for block in blocks] or [checked.shape]
    return any(len(shape) == 2 and shape[1] == 1 for shape in shapes)


def _is_paired(checked: CheckedFunction, k: int, array: Array, points: Array, run: Runner) -> bool | None:
    """Return whether exchanging the rows of one array alone changes the loss; None if the loss is not defined."""

    def losses(array: Array) -> Array:
        data = (*checked.data[:k], array, *checked.data[k + 1 :])
        there = replace(checked, data=data)
        try:
            loss: Callable[[Array], float] | None = scalar_values(there, points[0], lambda p, _: run(p, data))
            return np.array([np.nan if loss is None else loss(point) for point in points[:2]])
        except InputError:  # no scalar
            return np.full(2, np.nan)

    usual, generator = losses(array), np.random.default_rng(0)
    others = [losses(array[generator.permutation(len(array))]) for _ in range(2)]
    if not np.isfinite([usual, *others]).all():
        return None
    return bool(max(np.abs(other - usual).max() for other in others) > 1e-10 * np.abs(usual).max())
