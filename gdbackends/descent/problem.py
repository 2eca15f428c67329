"""A descent made ready: the data checked, scaled, rounded once and placed on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdbackends.arrays import checked_arrays, real_array, target_values
from gdbackends.backends import Backend
from gdbackends.errors import InputError, InputTypeError, whole_number
from gdbackends.objectives import Array, LinearRegression, Objective
from gdbackends.scaling import Scaling, identity, standardization


@dataclass(frozen=True, eq=False)
class Problem:
    """What the driver runs.

    Attributes:
        backend: what runs it.
        objective: what is descended, over `X`.
        scaling: from the data's units to those descended in.
        X: the scaled features (n, d) in NumPy, in the backend's dtype, with what the objective adds to them.
        y: (n,).
        data: X and y on the backend.
        theta0: (d + 1,), the start, scaled.
        batch_size: rows a step, or None for all.
        seed: of the order of rows.
        labels: what 0 and 1 stand for, where the target holds two labels.
    """

    backend: Backend
    objective: Objective
    scaling: Scaling
    X: Array
    y: Array
    data: tuple[Array, Array]
    theta0: Array
    batch_size: int | None = None
    seed: int = 0
    labels: tuple[str, str] | None = None

    @property
    def plan(self) -> str:
        """How the backend goes about it, in words; "" if it does not say."""
        said: Callable[[int, int], str] | None = getattr(self.backend, "plan", None)
        return "" if said is None else said(*self.X.shape)

    @property
    def batches(self) -> list[int]:
        """The sizes of an epoch's batches; the last may be short."""
        rows, size = self.y.size, self.batch_size or self.y.size
        return [size] * (rows // size) + [rows % size] * (rows % size > 0)


def prepare(
    X: Any,
    y: Any,
    backend: Backend,
    objective: Objective = LinearRegression(),  # noqa: B008 - frozen
    batch_size: int | None = None,
    standardize: bool = True,
    seed: int = 0,
    theta0: Any = None,
) -> Problem:
    """Check, scale, round and place; the arguments are those of `fit`."""
    for given, kind in ((backend, Backend), (objective, Objective)):
        if isinstance(given, type) or not isinstance(given, kind):
            raise InputTypeError(f"{kind.__name__.lower()} must keep the {kind.__name__} protocol, got {given!r}")
    targets = getattr(getattr(objective, "row_loss", None), "targets", None)
    y, labels = (y, None) if targets is None else targets(target_values(y))
    X, y = checked_arrays(X, y)
    if batch_size is not None and not 1 <= whole_number("batch_size", batch_size) <= y.size:
        raise InputError(f"batch_size must be from 1 to the number of rows, {y.size}, got {batch_size}")
    if whole_number("seed", seed) < 0:
        raise InputError(f"seed must be at least 0, got {seed}")
    start = _start(objective, X, y) if theta0 is None else real_array(theta0, "theta0")
    if start.shape != (X.shape[1] + 1,):
        raise InputError(f"theta0 must be {X.shape[1] + 1} numbers, the intercept last, got shape {start.shape}")
    if not isinstance(standardize, bool):
        raise InputTypeError(f"standardize must be True or False, got {standardize!r}")
    if isinstance(objective, LinearRegression) and objective.ones:
        raise InputError("LinearRegression(ones=True) is what fit makes of X itself; give it without ones")
    if batch_size is not None and batch_size < y.size:
        backend = getattr(backend, "for_batches", lambda: backend)()
    with np.errstate(all="ignore"):
        scaling = standardization(X) if standardize else identity(X.shape[1])
        X, y = (scaling.apply(X) if standardize else X).astype(backend.dtype), y.astype(backend.dtype)
    _check_parameters(objective, np.dtype(backend.dtype))
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise InputError(
            f"the data must be within the range of {backend.dtype}, they exceed it; divide them by a constant"
        )
    if isinstance(objective, LinearRegression):
        objective, X = objective.prepare(X, **getattr(backend, "form", {}))
    data = backend.asarray(X), backend.asarray(y)
    start = scaling.from_data_units(start).astype(backend.dtype)
    return Problem(backend, objective, scaling, X, y, data, start, batch_size, seed, labels)


def _start(objective: Objective, X: Array, y: Array) -> Array:
    """Return no weights and, but for squared errors, the intercept that alone costs least, or nearly."""
    start = np.zeros(X.shape[1] + 1)
    constant: Callable[[Array], float] | None = getattr(getattr(objective, "row_loss", None), "constant", None)
    if constant is not None:
        start[-1] = constant(y)
    return start


def _check_parameters(objective: Objective, dtype: np.dtype[Any]) -> None:
    """Refuse a parameter of a linear model that would be 0 or infinite in the dtype."""
    if not isinstance(objective, LinearRegression):
        return
    loss = objective.row_loss
    values = {"l2": objective.l2} | {name: getattr(loss, name) for name in ("delta", "q") if hasattr(loss, name)}
    for name, value in values.items():
        with np.errstate(all="ignore"):
            rounded = dtype.type(value)
        if value and not (np.finfo(dtype).smallest_normal <= rounded < np.inf):
            raise InputError(f"{name} must be within the range of {dtype}, got {value}; give one nearer to 1")
