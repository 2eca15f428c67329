"""A descent made ready: the data checked, scaled, rounded once and placed on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdbackends.arrays import checked_arrays, real_array, target_values
from gdbackends.backends import Backend
from gdbackends.descent.streaming_backend import Streaming, check_batches, coded, constant_of, given_rows
from gdbackends.errors import InputError, InputTypeError, whole_number
from gdbackends.objectives import Array, LinearModel, Objective
from gdbackends.scaling import Scaling, identity, standardization
from gdbackends.streaming import Rows, summarised


@dataclass(frozen=True, eq=False)
class Problem:
    """What the driver runs.

    Attributes:
        backend: what runs it.
        objective: what is descended, over `X`.
        scaling: from the data's units to those descended in.
        X: the scaled features (n, d) in NumPy, in the backend's dtype, with what the objective adds to them; or Rows.
        y: (n,); or the Targets of those.
        data: X and y on the backend; or the same Rows and Targets, whose blocks go there.
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
    objective: Objective = LinearModel(),  # noqa: B008 - frozen
    batch_size: int | None = None,
    standardize: bool = True,
    seed: int = 0,
    theta0: Any = None,
) -> Problem:
    """Check, scale, round and place; the arguments are those of `fit`."""
    for given, kind in ((backend, Backend), (objective, Objective)):
        if isinstance(given, type) or not isinstance(given, kind):
            raise InputTypeError(f"{kind.__name__.lower()} must keep the {kind.__name__} protocol, got {given!r}")
    given = given_rows(X, y, objective)
    if given is not None:
        return _over_rows(*given, backend, objective, batch_size, standardize, seed, theta0)
    targets = getattr(getattr(objective, "row_loss", None), "targets", None)
    y, labels = (y, None) if targets is None else targets(target_values(y))
    X, y = checked_arrays(X, y)
    _check_settings(objective, y.size, batch_size, standardize, seed)
    start = _start(objective, X, y) if theta0 is None else real_array(theta0, "theta0")
    _check_start(start, X.shape[1])
    if batch_size is not None and batch_size < y.size:
        backend = getattr(backend, "for_batches", lambda: backend)()
    with np.errstate(all="ignore"):
        scaling = standardization(X) if standardize else identity(X.shape[1])
        X, y = (scaling.apply(X) if standardize else X).astype(backend.dtype), y.astype(backend.dtype)
    _check_parameters(objective, np.dtype(backend.dtype))
    _check_range(X, y, backend.dtype)
    if isinstance(objective, LinearModel):
        objective, X = objective.prepare(X, **getattr(backend, "form", {}))
    data = backend.asarray(X), backend.asarray(y)
    start = scaling.from_data_units(start).astype(backend.dtype)
    return Problem(backend, objective, scaling, X, y, data, start, batch_size, seed, labels)


def _over_rows(
    rows: Rows,
    labels: tuple[str, str] | None,
    backend: Backend,
    objective: Objective,
    batch_size: int | None,
    standardize: bool,
    seed: int,
    theta0: Any,
) -> Problem:
    """Check, scale and round as `prepare` does, in a few passes over rows that lie in a file."""
    _check_settings(objective, rows.shape[0], batch_size, standardize, seed)
    summary = summarised(rows)
    rows, labels = coded(rows, summary, objective, labels)
    start = np.zeros(rows.shape[1] + 1) if theta0 is None else real_array(theta0, "theta0")
    _check_start(start, rows.shape[1])
    if theta0 is None:
        start[-1] = constant_of(rows, objective)
    size = rows.shape[0] if batch_size is None else batch_size
    gathered = size < rows.shape[0]
    if gathered:
        check_batches(rows, size)
        backend = getattr(backend, "for_batches", lambda: backend)()
    with np.errstate(all="ignore"):
        scaling = summary.standardization(rows) if standardize else identity(rows.shape[1])
        ends = np.stack((summary.low, summary.high))
        X, y = (scaling.apply(ends[:, :-1]) if standardize else ends[:, :-1]), ends[:, -1] if labels is None else start
        _check_range(X.astype(backend.dtype), y.astype(backend.dtype), backend.dtype)
    _check_parameters(objective, np.dtype(backend.dtype))
    form: dict[str, bool] = getattr(backend, "form", {})
    ones = isinstance(objective, LinearModel) and form.get("ones", True)
    if isinstance(objective, LinearModel):
        objective = replace(objective.prepare(rows, **{**form, "ones": False})[0], ones=ones)
    lying = getattr(backend, "tuning", "best") == "best"
    rows = replace(rows, dtype=backend.dtype, scaling=scaling if standardize else None, ones=ones, feature_major=lying)
    data, start = (rows, rows.targets), scaling.from_data_units(start).astype(backend.dtype)
    backend = Streaming(backend, rows.block, gathered)
    return Problem(backend, objective, scaling, *data, data, start, batch_size, seed, labels)


def _check_settings(objective: Objective, rows: int, batch_size: Any, standardize: Any, seed: Any) -> None:
    """Refuse what cannot be asked for."""
    if batch_size is not None and not 1 <= whole_number("batch_size", batch_size) <= rows:
        raise InputError(f"batch_size must be from 1 to the number of rows, {rows}, got {batch_size}")
    if whole_number("seed", seed) < 0:
        raise InputError(f"seed must be at least 0, got {seed}")
    if not isinstance(standardize, bool):
        raise InputTypeError(f"standardize must be True or False, got {standardize!r}")
    if isinstance(objective, LinearModel) and objective.ones:
        raise InputError("LinearModel(ones=True) is what fit makes of X itself; give it without ones")


def _check_start(start: Array, features: int) -> None:
    if start.shape != (features + 1,):
        raise InputError(f"theta0 must be {features + 1} numbers, the intercept last, got shape {start.shape}")


def _check_range(X: Array, y: Array, dtype: str) -> None:
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise InputError(f"the data must be within the range of {dtype}, they exceed it; divide them by a constant")


def _start(objective: Objective, X: Array, y: Array) -> Array:
    """Return no weights and, but for squared errors, the intercept that alone costs least, or nearly."""
    start = np.zeros(X.shape[1] + 1)
    constant: Callable[[Array], float] | None = getattr(getattr(objective, "row_loss", None), "constant", None)
    if constant is not None:
        start[-1] = constant(y)
    return start


def _check_parameters(objective: Objective, dtype: np.dtype[Any]) -> None:
    """Refuse a parameter of a linear model that would be 0 or infinite in the dtype."""
    if not isinstance(objective, LinearModel):
        return
    loss = objective.row_loss
    values = {"l2": objective.l2} | {name: getattr(loss, name) for name in ("delta", "q") if hasattr(loss, name)}
    for name, value in values.items():
        with np.errstate(all="ignore"):
            rounded = dtype.type(value)
        if value and not (np.finfo(dtype).smallest_normal <= rounded < np.inf):
            raise InputError(f"{name} must be within the range of {dtype}, got {value}; give one nearer to 1")
