"""Descent over the rows of a file: which X and y are streamed, and a backend that computes block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from gdbackends.arrays import target_values
from gdbackends.backends import Backend, Capabilities, StepFunction, capabilities
from gdbackends.blocks import splits
from gdbackends.errors import InputError
from gdbackends.objectives import Array, Labels, LinearModel, Objective
from gdbackends.streaming import (
    STREAMED,
    Rows,
    Summary,
    Targets,
    labels_of,
    mapped_rows,
    over_rows,
    quantile_of,
)

_DRAWN = 1 << 23
"""Most rows whose order is drawn anew for each epoch: 16 bytes a row, 128 MB."""
_BATCH = 1 << 21
"""Most elements of a batch that is gathered from a file: 16 MB, held a few times."""


@dataclass(frozen=True)
class StreamingBackend(Capabilities):
    """A backend for Rows: theta and the sums over blocks are in NumPy, the blocks on the inner backend.

    A step copies theta and all of X to the inner backend, and the gradient back.

    Attributes:
        inner: the backend that computes.
        block: rows of a block.
        gathered: whether steps use batches, which are gathered from the file.
    """

    inner: Backend
    block: int
    gathered: bool = False

    @property
    def name(self) -> str:
        """The framework."""
        return self.inner.name

    @property
    def device(self) -> str:
        """The device of the blocks."""
        return self.inner.device

    @property
    def dtype(self) -> str:
        """The dtype of every floating result."""
        return self.inner.dtype

    def asarray(self, array: Array) -> Array:
        """Copy."""
        return np.array(array, None if array.dtype.kind in "ib" else self.dtype)

    def to_numpy(self, array: Array) -> Array:
        """Copy."""
        return np.array(array)

    def repeat(
        self, step: StepFunction, carry: Array, xs: Sequence[Array], data: Sequence[Array]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Run the steps in a Python loop; each reads the file."""
        outputs: list[tuple[Array, ...]] = []
        for x in zip(*xs, strict=True):
            carry, output = step(carry, x, *data)
            outputs.append(output)
        return carry, tuple(np.array(column) for column in zip(*outputs, strict=True))

    def synchronize(self, array: Array) -> None:
        """Do nothing: the results are NumPy arrays."""

    def value_and_grad(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return f(theta, X, y); for Rows it is the mean over their blocks, summed in float64."""
        inner, place = self.inner.value_and_grad(objective), self.inner.asarray

        def part(at: Array, X: Array, y: Array) -> tuple[Array, ...]:
            return tuple(self.inner.to_numpy(a).astype(np.float64) for a in inner(at, place(X), place(y)))

        def value_and_grad(theta: Array, X: Any, y: Any) -> tuple[Array, Array]:
            value, gradient = over_rows(partial(part, place(theta)), X, y)
            return np.asarray(value).astype(self.dtype), gradient.astype(self.dtype)

        return value_and_grad

    def plan(self, rows: int, features: int) -> str:
        """Return in words how data of that size are walked through."""
        plan = capabilities(self.inner).plan(self.block, features)
        lying = plan and f", {plan.partition(',')[0]}"
        cut = f"streamed in {-(-rows // self.block):,} blocks of {self.block:,} rows"
        return f"{'batches gathered from the file; all rows ' if self.gathered else ''}{cut}{lying}"


def streamed_input(X: Any, y: Any, objective: Objective) -> tuple[Rows, Labels] | None:
    """Return the Rows to be streamed, and the labels of y; None if X fits in memory."""
    labels: Labels = None
    mapped = cast(Any, X) if isinstance(X, np.memmap) else None
    if isinstance(X, Rows):
        if not (isinstance(y, Targets) and y.rows is X):
            raise InputError("X is in a file, so y must belong to the same dataset; give data.X and data.y")
        rows = X
    elif isinstance(y, Targets):
        raise InputError("y is in a file, so X must belong to the same dataset; give data.X and data.y")
    elif mapped is not None and mapped.size > STREAMED:
        plain = isinstance(y, np.ndarray) and not isinstance(y, np.ma.MaskedArray)
        if not plain or getattr(y, "dtype", np.dtype(object)).kind not in "fiub":  # pyright: ignore
            y = target_values(y)
            if isinstance(objective, LinearModel) and objective.row_loss.target != "real":
                y, labels = objective.row_loss.encode(y)
        rows = mapped_rows(mapped, y)
    else:
        return None
    if not (isinstance(objective, LinearModel) or splits(objective)):
        raise InputError(
            "a file is read in blocks, so the objective must be a mean over rows; if it is, declare splits = True"
        )
    return rows, labels


def encode_rows(rows: Rows, summary: Summary, objective: Objective, labels: Labels) -> tuple[Rows, Labels]:
    """Return the rows with the target as the loss needs it, and the labels that 0 and 1 stand for.

    Raises:
        InputError: the target does not suit the loss.
    """
    if labels is not None or not isinstance(objective, LinearModel) or objective.row_loss.target == "real":
        return rows, labels
    loss = objective.row_loss
    if loss.target == "count":  # the extremes suffice to refuse
        loss.encode(np.array([summary.low[-1], summary.high[-1]]))
        return rows, None
    values = labels_of(rows)
    if values.size > 2:
        shown = ", ".join(repr(label) for label in values.tolist())
        raise InputError(
            f"the logistic loss needs a target of two labels, got more ({shown}, ...); choose the rows or the target"
        )
    _, labels = loss.encode(values)
    return replace(rows, code=partial(_is, float(values[1]))), labels


def _is(label: float, y: Array) -> Array:
    return (y.astype(np.float64) == label).astype(np.float64)


def check_batches(rows: Rows, batch_size: int) -> None:
    """Refuse batches that cannot be drawn from a file, or that need more memory than a stream may use."""
    if rows.in_memory:
        return
    if rows.share is not None:
        raise InputError("batches over several processes need the rows in memory; use all rows, or more processes")
    if rows.source.ordered:
        raise InputError("batches need rows by index, which Parquet does not support; use all rows, or save it as NPY")
    if rows.shape[0] > _DRAWN:
        raise InputError(
            f"batches from a file need at most {_DRAWN:,} rows, got {rows.shape[0]:,}; use all rows, or X in memory"
        )
    if batch_size * rows.shape[1] > _BATCH:
        raise InputError(
            f"batch_size must be at most {_BATCH // rows.shape[1]:,} for {rows.shape[1]:,} features in a file, got "
            f"{batch_size:,}; use fewer rows per step, or all rows"
        )


def constant_of_rows(rows: Rows, objective: Objective) -> float:
    """Return the best constant prediction, or nearly; 0 if the loss does not define one."""
    loss = objective.row_loss if isinstance(objective, LinearModel) else None
    if loss is None or loss.statistic is None:
        return 0.0
    if loss.statistic != "mean":
        return loss.constant(quantile_of(rows, loss.statistic))
    targets = replace(rows, source=rows.source.target_only())
    (mean,) = over_rows(lambda X, y: (y.mean(),), targets, targets.targets)
    return loss.constant(float(mean))
