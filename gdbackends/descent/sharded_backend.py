"""Descent over several processes: arrays of which each holds its own rows, and a backend that adds up their means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from gdbackends import __version__
from gdbackends.arrays import check_shapes, real_array, series_of, target_values
from gdbackends.backends import Backend, Capabilities, StepFunction, capabilities
from gdbackends.blocks import splits
from gdbackends.errors import InputError
from gdbackends.objectives import Array, Labels, LinearModel, Objective
from gdbackends.ranks import Ranks, Share, all_or_none, check_same, exchanged, shared, take_rows
from gdbackends.streaming import Rows, Targets, mapped_rows


@dataclass(frozen=True, eq=False)
class Sharded:
    """An array of all rows, or of a batch of them, of which a process holds its own.

    Attributes:
        own: the rows of this process, on its backend.
        share: the part of all rows that it holds.
        weight: the fraction of the rows of this array that it holds.
    """

    own: Array
    share: Share
    weight: float

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array of all processes."""
        return (self.share.rows, *self.own.shape[1:])

    def __getitem__(self, rows: Any) -> Sharded:
        """Return the batch of the rows with these indices among all, in an array of the backend."""
        at = rows - self.share.start
        at = at[(at >= 0) & (at < self.share.own)]
        return Sharded(take_rows(self.own, at), self.share, at.shape[0] / rows.shape[0])


@dataclass(frozen=True)
class ShardedBackend(Capabilities):
    """A backend whose value and gradient are the row-weighted means over the processes; theta is the same in all.

    Attributes:
        inner: the backend that computes with the rows of this process.
        share: the part of all rows that it holds.
    """

    inner: Backend
    share: Share

    @property
    def name(self) -> str:
        """The framework."""
        return self.inner.name

    @property
    def device(self) -> str:
        """The device of this process."""
        return self.inner.device

    @property
    def dtype(self) -> str:
        """The dtype of every floating result."""
        return self.inner.dtype

    def placed(self, X: Array, y: Array) -> tuple[Any, Any]:
        """Return the own rows, in NumPy, as the data of a descent; where that is possible, the arrays themselves."""
        weight, offered = self.share.own / self.share.rows, capabilities(self.inner)
        adopted = [(offered.adopted(array), array) for array in (X, y)]
        placed = [self.inner.asarray(array) if own is None else own for own, array in adopted]
        return Sharded(placed[0], self.share, weight), Sharded(placed[1], self.share, weight)

    def asarray(self, array: Array) -> Array:
        """Copy to the device of this process."""
        return self.inner.asarray(array)

    def to_numpy(self, array: Array) -> Array:
        """Copy."""
        return self.inner.to_numpy(array)

    def value_and_grad(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return f(theta, X, y) for Sharded X and y."""
        own = self.inner.value_and_grad(objective)

        def value_and_grad(theta: Any, X: Sharded, y: Sharded) -> tuple[Array, Array]:
            parts = own(theta, X.own, y.own) if X.weight else (theta.sum() * 0, theta * 0)  # none of the batch
            return cast("tuple[Array, Array]", self.share.ranks.mean(parts, X.weight))

        return value_and_grad

    def repeat(
        self, step: StepFunction, carry: Array, xs: Sequence[Array], data: Sequence[Array]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Run the steps as the inner backend does."""
        return self.inner.repeat(step, carry, xs, data)

    def synchronize(self, array: Array) -> None:
        """Wait for the array."""
        self.inner.synchronize(array)

    def plan(self, rows: int, features: int) -> str:
        """Return in words how data of that size are divided and walked through."""
        return plan_of_processes(self.share, capabilities(self.inner).plan(self.share.own, features))


def plan_of_processes(share: Share, inner: str) -> str:
    """Return in words how rows are divided, and how a process walks through its own."""
    least, most = min(share.counts), max(share.counts)
    rows = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    words = f"{share.ranks.size} processes of {rows} rows"
    return f"{words}, {inner}" if inner else words


def sharded_input(
    X: Any, y: Any, backend: Backend, objective: Objective, settings: Mapping[str, Any], ranks: Ranks
) -> tuple[Rows, Labels, tuple[str, ...]]:
    """Return the rows of this process with their share of all, the labels of y, and the names of the features.

    Args:
        X: (n, d), the rows of this process, or the Rows of a file.
        y: (n,), their target.
        backend: the backend of this process.
        objective: a mean over rows.
        settings: other settings that must be the same on all processes.
        ranks: the processes.

    Raises:
        InputError: the rows of a process cannot be used, or the processes were given different settings.
    """
    labels: Labels = None
    with all_or_none(ranks):
        _check_kind(backend, objective, ranks)
        names = tuple(str(column.name) for column in series_of(X, "X") or ())
        X, target = _checked(X, y, objective)
    texts = target if target is not None and target.dtype.kind == "U" else None
    same: dict[str, Any] = {"backend": backend.name, "dtype": backend.dtype, "tuning": capabilities(backend).tuning}
    same |= {"objective": objective if isinstance(objective, LinearModel) else type(objective).__name__}
    same |= {"number of features": X.shape[1], "names of features": names, "target of text": texts is not None}
    check_same(ranks, {**same, "version": __version__, **settings})
    if texts is not None and isinstance(objective, LinearModel):
        own: list[str] = sorted(set(texts.tolist()))[:3]
        values = np.array(sorted({label for labels in exchanged(ranks, own) for label in labels}))
        _, labels = objective.row_loss.encode(values)  # refuses one label, and three
        target = (texts == values[1]).astype(np.float64)
    rows = X if target is None else replace(mapped_rows(X, target), in_memory=True)
    share = shared(ranks, rows.source.rows)
    if not all(share.counts):
        raise InputError(f"every process needs at least one row, got {', '.join(map(str, share.counts))}; use fewer")
    return replace(rows, share=share), labels, names


def _check_kind(backend: Backend, objective: Objective, ranks: Ranks) -> None:
    ranks.check(backend)
    if capabilities(backend).tuning not in ("best", "idiomatic"):
        raise InputError(
            f"tuning must be best or idiomatic over several processes, got {capabilities(backend).tuning!r}"
        )
    if not (isinstance(objective, LinearModel) or splits(objective)):
        raise InputError(
            "several processes hold the rows, so the objective must be a mean over rows; if it is, declare splits = "
            "True"
        )


def _checked(X: Any, y: Any, objective: Objective) -> tuple[Any, Array | None]:
    """Return X and y as arrays; or the Rows of a file, and None."""
    if isinstance(X, Rows):
        if not (isinstance(y, Targets) and y.rows is X):
            raise InputError("X is in a file, so y must belong to the same dataset; give data.X and data.y")
        return X, None
    X = real_array(X, "X", copy=False)
    needs_labels = isinstance(objective, LinearModel) and objective.row_loss.target == "label"
    target = target_values(y) if needs_labels else real_array(y, "y", copy=False)
    check_shapes(X.shape, target.shape)
    return X, target
