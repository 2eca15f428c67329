"""The NumPy backend: runs the hand-derived gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import array_api_compat.numpy  # noqa: F401  # pyright: ignore[reportUnusedImport] - imported before a fit is timed
import numpy as np

from gdbackends.backends import Capabilities, StepFunction, SystemInfo, is_table, validate_settings
from gdbackends.blocks import BYTES, Parts, add_up, block_rows, describe_blocks, over_blocks, splits
from gdbackends.objectives import Array, Objective

_LARGE = 2 * BYTES
"""Bytes of X from which blocks are faster than the whole."""


@dataclass(frozen=True)
class NumpyBackend(Capabilities):
    """NumPy, on the CPU.

    Attributes:
        device: "cpu".
        dtype: "float64" or "float32".
        tuning: "best", "idiomatic" or "batches".
    """

    device: str = "cpu"
    dtype: str = "float64"
    tuning: str = "best"
    name: str = "numpy"

    def __post_init__(self) -> None:
        """Refuse another device, and an unknown dtype or tuning."""
        validate_settings(self, devices=("cpu",))

    def asarray(self, array: Array) -> Array:
        """Copy; a matrix of numbers is stored feature-major, which BLAS reads in order, or row-major if not "best"."""
        if array.dtype.kind in "ib":
            return np.array(array)
        return np.array(array, self.dtype, order="F" if self.tuning == "best" else "C")

    def adopted(self, array: Array) -> Array | None:
        """Return the array itself if it is stored as `asarray` stores it."""
        order = "F" if self.tuning == "best" else "C"
        return array if array.dtype == self.dtype and array.flags[f"{order}_CONTIGUOUS"] else None

    def to_numpy(self, array: Array) -> Array:
        """Copy."""
        return np.array(array)

    def value_and_grad(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return the objective's fused function if it has one, else its loss and its gradient.

        Large data are processed in blocks, so that the result of one product is still in the cache for the next.
        """

        def separately(theta: Array, *data: Array) -> tuple[Array, Array]:
            return objective.loss(theta, *data), objective.gradient(theta, *data)

        whole: Callable[..., tuple[Array, Array]] = getattr(objective, "value_and_grad", separately)

        return _over_rows(self.tuning, objective, whole)  # pyright: ignore[reportReturnType]

    def gradient(self, objective: Objective) -> Callable[..., Array]:
        """Return the objective's gradient, in blocks as in `value_and_grad`."""
        if not (self.tuning == "best" and splits(objective)):
            return objective.gradient

        def whole(theta: Array, *data: Array) -> Parts:
            return (objective.gradient(theta, *data),)

        run = _over_rows(self.tuning, objective, whole)

        def gradient(theta: Array, *data: Array) -> Array:
            return run(theta, *data)[0]

        return gradient

    def value(self, objective: Objective) -> Callable[..., Array]:
        """Return the objective's loss."""
        return objective.loss

    def repeat(
        self, step: StepFunction, carry: Array, xs: Sequence[Array], data: Sequence[Array]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Run the steps in a Python loop."""
        outputs: list[tuple[Array, ...]] = []
        for x in zip(*xs, strict=True):
            carry, output = step(carry, x, *data)
            outputs.append(output)
        return carry, tuple(np.array(column) for column in zip(*outputs, strict=True))

    def layout_options(self) -> dict[str, bool]:
        """Return the arguments of `LinearModel.prepare` that are fastest."""
        return {"ones": self.tuning != "idiomatic", "rows_first": self.tuning != "best"}

    def for_batches(self) -> NumpyBackend:
        """Return the backend with row-major data, which gathers rows fastest."""
        return replace(self, tuning="batches") if self.tuning == "best" else self

    def plan(self, rows: int, features: int) -> str:
        """Return in words how data of that size are stored and walked through."""
        if self.tuning != "best":
            return "row-major"
        itemsize = np.dtype(self.dtype).itemsize
        if rows * features * itemsize < _LARGE:
            return "feature-major, whole"
        return f"feature-major, {describe_blocks(rows, block_rows(features, itemsize))}"

    def synchronize(self, array: Array) -> None:
        """Do nothing: NumPy computes before it returns."""

    def system_info(self) -> SystemInfo:
        """Return the BLAS library, and its number of threads if threadpoolctl is installed."""
        config: Any = np.show_config(mode="dicts")
        blas = config.get("Build Dependencies", {}).get("blas", {})
        library = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
        if find_spec("threadpoolctl") is None:
            return SystemInfo(library=library)
        pools = [p for p in import_module("threadpoolctl").threadpool_info() if p["user_api"] == "blas"]
        return SystemInfo(threads=pools[0]["num_threads"] if pools else None, library=library)


def _over_rows(tuning: str, objective: Objective, whole: Callable[..., Parts]) -> Callable[..., Parts]:
    """Return `whole`, or for "best" and an objective that splits, a function that cuts a large X into blocks."""

    def by_blocks(theta: Array, *data: Array) -> Parts:
        if not is_table(data) or data[0].nbytes < _LARGE:
            return whole(theta, *data)
        X, y = data

        def part(start: int, size: int) -> Parts:
            rows = slice(start, start + size)
            return whole(theta, X[rows], y[rows])

        return over_blocks(part, X.shape[0], block_rows(X.shape[1], X.itemsize), add_up)

    return by_blocks if tuning == "best" and splits(objective) else whole
