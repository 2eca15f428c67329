"""A prepared descent: the data are checked, scaled, rounded once and placed on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any, Self

import numpy as np

from gdbackends.arrays import checked_arrays, real_array, series_of, target_values
from gdbackends.backends import Backend, capabilities
from gdbackends.descent.sharded_backend import ShardedBackend, sharded_input
from gdbackends.descent.spectrum import Spectrum, has_hessian_bound, spectrum
from gdbackends.descent.streaming_backend import (
    StreamingBackend,
    check_batches,
    constant_of_rows,
    encode_rows,
    streamed_input,
)
from gdbackends.errors import InputError, InputTypeError, whole_number
from gdbackends.objectives import Array, Labels, LinearModel, Objective, as_objective
from gdbackends.ranks import Ranks
from gdbackends.scaling import Scaling, identity, standardization
from gdbackends.streaming import Rows, summarised


@dataclass(frozen=True, eq=False)
class ProblemOptions:
    """How the data are descended over: arguments of `fit`."""

    batch_size: int | None = None
    standardize: bool = True
    seed: int = 0
    theta0: Any = None
    ranks: Ranks | None = None
    scaling: Scaling | None = None
    """The scaling to descend in, as from a checkpoint; None computes that of the data."""

    @property
    def order(self) -> dict[str, Any]:
        """The fields of a problem that determine the order of rows."""
        return {"batch_size": self.batch_size, "seed": self.seed}

    @property
    def described(self) -> dict[str, Any]:
        """The options that must be the same on all processes."""
        start = None if self.theta0 is None else np.asarray(self.theta0).tolist()
        return self.order | {"standardize": self.standardize, "theta0": start}

    def scaled(self, features: int, standard: Callable[[], Scaling]) -> Scaling:
        """Return the scaling handed over, or `standard` of the data; without standardize, the identity."""
        if not self.standardize:
            return identity(features)
        return standard() if self.scaling is None else self.scaling

    def check(self, shape: tuple[int, int], free: bool = False) -> Array | None:
        """Refuse options that do not suit X of that shape; return theta0 as an array (d + 1,), or None.

        If `free`, theta0 may have any length.
        """
        rows, features = shape
        if self.batch_size is not None and not 1 <= whole_number("batch_size", self.batch_size) <= rows:
            raise InputError(f"batch_size must be from 1 to the number of rows, {rows}, got {self.batch_size}")
        if whole_number("seed", self.seed) < 0:
            raise InputError(f"seed must be at least 0, got {self.seed}")
        if not isinstance(self.standardize, bool):
            raise InputTypeError(f"standardize must be True or False, got {self.standardize!r}")
        start = None if self.theta0 is None else real_array(self.theta0, "theta0")
        if start is not None and free and start.ndim == 1 and start.size:
            return start
        if start is not None and start.shape != (features + 1,):
            raise InputError(f"theta0 must be {features + 1} numbers with the intercept last, got shape {start.shape}")
        return start


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """What the driver runs.

    Attributes:
        backend: the backend that runs it.
        objective: what is minimised.
        data: the arguments of the objective after theta, on the backend.
        theta0: (p,), the start.
        rows: the number of rows of the data; arrays with as many are divided into batches.
        batch_size: rows per step, or None for all.
        seed: seed of the order of rows.
    """

    backend: Backend
    objective: Objective
    data: tuple[Array, ...]
    theta0: Array
    rows: int
    batch_size: int | None = None
    seed: int = 0

    @cached_property
    def value_and_grad(self) -> Callable[..., tuple[Array, Array]]:
        """The function that the backend makes of the objective, once, so that several descents compile once."""
        return self.backend.value_and_grad(self.objective)

    def started_at(self, theta0: Array) -> Self:
        """Return the same problem with another start (p,), for which nothing is compiled or computed again."""
        moved = replace(self, theta0=theta0)
        found = {"value_and_grad": self.value_and_grad, **vars(self)}  # with the other cached properties
        vars(moved).update({name: value for name, value in found.items() if name not in vars(moved)})
        return moved

    @property
    def plan(self) -> str:
        """How the backend stores the data and walks through them, in words; "" if unknown."""
        return ""

    def standardized(self, gradient: Array) -> Array:
        """Return a gradient (p,) as it is measured to see whether it has fallen."""
        return gradient

    @property
    def batches(self) -> list[int]:
        """The sizes of the batches of an epoch; the last may be smaller."""
        rows, size = self.rows, self.batch_size or self.rows
        return [size] * (rows // size) + [rows % size] * (rows % size > 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class TableProblem(Problem):
    """A problem whose data are features X and a target y.

    Attributes:
        scaling: the scaling from the data's units to those descended in.
        X: the scaled features (n, d) in NumPy, in the backend's dtype, with the columns that the objective adds; or
            Rows of a file.
        y: (n,), or the Targets of those Rows.
        data: X and y on the backend; or the same Rows and Targets, whose blocks are placed one at a time.
        theta0: (d + 1,), the start, scaled; of any length for an objective that is no linear model.
        labels: the labels that 0 and 1 stand for, if the target holds two labels.
        names: the names of the features, if X was a data frame.
        measure: the standardisation in which the gradient is measured to see whether it has fallen; None if the
            features are standardised already, or the objective is not a linear model.
    """

    scaling: Scaling
    X: Array
    y: Array
    labels: Labels = None
    names: tuple[str, ...] = ()
    measure: Scaling | None = None

    @property
    def plan(self) -> str:
        """How the backend stores the data and walks through them, in words; "" if unknown."""
        return capabilities(self.backend).plan(*self.X.shape)

    def standardized(self, gradient: Array) -> Array:
        """Return a gradient (d + 1,) as that of standardised features."""
        return gradient if self.measure is None else self.measure.gradient(gradient)

    @cached_property
    def spectrum(self) -> Spectrum | None:
        """The spectrum of the Hessian over all rows, or of a bound on it; None if the objective knows no bound."""
        if not has_hessian_bound(self.objective):
            return None
        return spectrum(self.objective, self.X, self.theta0.size)


def prepare(
    X: Any,
    y: Any,
    backend: Backend,
    objective: Objective = LinearModel(),  # noqa: B008 - frozen
    options: ProblemOptions = ProblemOptions(),
) -> TableProblem:
    """Check, scale, round and place the data; X, y and objective are those of `fit`.

    Raises:
        InputError: an argument cannot be used.
    """
    objective = as_objective(objective)
    check_protocols(backend, objective)
    if options.ranks is not None:
        return _prepare_sharded(X, y, backend, objective, options, options.ranks)
    streamed = streamed_input(X, y, objective)
    if streamed is not None:
        return _prepare_rows(*streamed, backend, objective, options)
    y, labels = _encoded(y, objective)
    names = tuple(str(column.name) for column in series_of(X, "X") or ())
    X, y = checked_arrays(X, y)
    start = options.check(X.shape, free=not (isinstance(objective, LinearModel) or options.standardize))
    start = _default_start(X, y, objective) if start is None else start
    if options.batch_size is not None and options.batch_size < y.size:
        backend = capabilities(backend).for_batches() or backend
    with np.errstate(all="ignore"):
        scaling = options.scaled(start.size - 1, lambda: standardization(X))
        X, y = (scaling.apply(X) if options.standardize else X).astype(backend.dtype), y.astype(backend.dtype)
        measure = _measure(objective, options, X.min(0) == X.max(0), lambda: standardization(X.astype(np.float64)))
    _check_range(objective, X, y, backend.dtype)
    if isinstance(objective, LinearModel):
        objective, X = objective.prepare(X, **capabilities(backend).layout_options())
    data = backend.asarray(X), backend.asarray(y)
    return TableProblem(
        backend=backend,
        objective=objective,
        data=data,
        theta0=scaling.from_data_units(start).astype(backend.dtype),
        rows=y.size,
        **options.order,
        scaling=scaling,
        X=X,
        y=y,
        labels=labels,
        names=names,
        measure=measure,
    )


def check_protocols(backend: object, objective: object) -> None:
    """Refuse a backend or an objective without what its protocol asks for."""
    for given, kind in ((backend, Backend), (objective, Objective)):
        if isinstance(given, type) or not isinstance(given, kind):
            raise InputTypeError(f"{kind.__name__.lower()} must implement the {kind.__name__} protocol, got {given!r}")


def _encoded(y: Any, objective: Objective) -> tuple[Any, Labels]:
    """Return the target as the loss needs it, and the labels that 0 and 1 stand for."""
    if not isinstance(objective, LinearModel) or objective.row_loss.target == "real":
        return y, None
    return objective.row_loss.encode(target_values(y))


def _default_start(X: Array, y: Array, objective: Objective) -> Array:
    """Return 0, with the best constant prediction as the intercept for a row loss that has one."""
    start = np.zeros(X.shape[1] + 1)
    if isinstance(objective, LinearModel) and objective.row_loss.statistic is not None:
        start[-1] = objective.row_loss.best_constant(y)
    return start


def prepare_function(
    objective: Objective, theta0: Array, data: tuple[Array, ...], backend: Backend, options: ProblemOptions
) -> Problem:
    """Round and place the data of any objective, row-major and neither scaled nor checked.

    Args:
        objective: a function of a flat theta (p,) and of as many arrays as `data` has.
        theta0: (p,), the start.
        data: arrays of numbers, of any shapes.
        backend: the backend that runs it.
        options: the batch size and the seed.
    """
    backend = capabilities(backend).for_batches() or backend
    placed = tuple(backend.asarray(a.astype(backend.dtype) if a.dtype.kind == "f" else a) for a in data)
    return Problem(
        backend=backend,
        objective=objective,
        data=placed,
        theta0=theta0.astype(backend.dtype),
        rows=data[0].shape[0] if data and data[0].ndim else 1,
        **options.order,
    )


def _prepare_rows(
    rows: Rows, labels: Labels, backend: Backend, objective: Objective, options: ProblemOptions
) -> TableProblem:
    """Do the same in a few passes over the rows of a file."""
    start = options.check(rows.shape)
    summary = summarised(rows)
    rows, labels = encode_rows(rows, summary, objective, labels)
    if start is None:
        start = np.append(np.zeros(rows.shape[1]), constant_of_rows(rows, objective))
    size = rows.shape[0] if options.batch_size is None else options.batch_size
    batches = size < rows.shape[0]
    if batches:
        check_batches(rows, size)
        backend = capabilities(backend).for_batches() or backend
    with np.errstate(all="ignore"):
        constant = summary.low[:-1] == summary.high[:-1]
        measure = _measure(objective, options, constant, lambda: summary.standardization(rows))
        scaling = options.scaled(rows.shape[1], lambda: summary.standardization(rows))
        extremes = np.stack((summary.low, summary.high))
        X = scaling.apply(extremes[:, :-1]) if options.standardize else extremes[:, :-1]
        y = extremes[:, -1] if labels is None else start
        _check_range(objective, X.astype(backend.dtype), y.astype(backend.dtype), backend.dtype)
    offered = capabilities(backend)
    ones = isinstance(objective, LinearModel) and offered.layout_options().get("ones", True)
    if isinstance(objective, LinearModel):
        objective = objective.prepare_rows(rows.shape[0], **{**offered.layout_options(), "ones": ones})
    rows = replace(
        rows,
        dtype=backend.dtype,
        scaling=scaling if options.standardize else None,
        ones=ones,
        feature_major=offered.tuning == "best",
    )
    backend, data = _run_on(rows, backend, batches)
    return TableProblem(
        backend=backend,
        objective=objective,
        data=data,
        theta0=scaling.from_data_units(start).astype(backend.dtype),
        rows=rows.shape[0],
        **options.order,
        scaling=scaling,
        X=rows,
        y=rows.targets,
        labels=labels,
        measure=measure,
    )


def _prepare_sharded(
    X: Any, y: Any, backend: Backend, objective: Objective, options: ProblemOptions, ranks: Ranks
) -> TableProblem:
    """Do the same with the rows of this process, and sums over all processes."""
    rows, labels, names = sharded_input(X, y, backend, objective, options.described, ranks)
    return replace(_prepare_rows(rows, labels, backend, objective, options), names=names)


def _run_on(rows: Rows, backend: Backend, batches: bool) -> tuple[Backend, tuple[Any, Any]]:
    """Return the backend that descends over the rows, and its data: the rows themselves, or loaded."""
    if rows.share is None or not rows.in_memory:
        return StreamingBackend(backend, rows.block, batches), (rows, rows.targets)
    over: Any = rows.share.ranks.sharded(backend, rows.share) or ShardedBackend(backend, rows.share)
    return over, over.placed(*rows.loaded())


def _measure(
    objective: Objective, options: ProblemOptions, constant: Array, standard: Callable[[], Scaling]
) -> Scaling | None:
    """Return `measure`; the derivatives of constant features, which are multiples of another, are left out."""
    if options.standardize or not isinstance(objective, LinearModel):
        return None
    scaling = standard()
    return replace(scaling, spread=np.where(constant | (scaling.spread == 0), np.inf, scaling.spread))


def _check_range(objective: Objective, X: Array, y: Array, dtype: str) -> None:
    """Refuse data, or parameters of a linear model, that would be 0 or infinite in the dtype."""
    if isinstance(objective, LinearModel):
        for name, value in ({"l2": objective.l2} | objective.row_loss.parameters).items():
            with np.errstate(all="ignore"):
                rounded = np.dtype(dtype).type(value) if isinstance(value, Real) else 1.0
            if value and not (np.finfo(dtype).smallest_normal <= rounded < np.inf):
                raise InputError(f"{name} must be within the range of {dtype}, got {value}; give one nearer to 1")
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise InputError(f"the data exceed the range of {dtype}; divide them by a constant")
