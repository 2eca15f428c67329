"""The NumPy backend: runs the gradient that was derived by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import array_api_compat.numpy  # noqa: F401  # pyright: ignore[reportUnusedImport] - imported before a fit is timed
import numpy as np

from gdbackends.backends import Step, Surroundings, check_place
from gdbackends.objectives import Array, Objective


@dataclass(frozen=True)
class NumpyBackend:
    """NumPy, on the CPU.

    Attributes:
        device: "cpu".
        dtype: "float64" or "float32".
    """

    device: str = "cpu"
    dtype: str = "float64"
    name: str = "numpy"

    def __post_init__(self) -> None:
        """Refuse another device or dtype."""
        check_place(self, devices=("cpu",))

    def asarray(self, array: Array) -> Array:
        """Copy; a matrix of numbers is laid feature-major, so that w @ X.T reads it once, in order."""
        return np.array(array) if array.dtype.kind in "ib" else np.array(array.T, self.dtype, order="C").T

    def to_numpy(self, array: Array) -> Array:
        """Copy."""
        return np.array(array)

    def value_and_grad(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return the objective's fused function if it has one, else its loss and its gradient."""

        def separately(theta: Array, *data: Array) -> tuple[Array, Array]:
            return objective.loss(theta, *data), objective.gradient(theta, *data)

        return getattr(objective, "value_and_gradient", separately)

    def value(self, objective: Objective) -> Callable[..., Array]:
        """Return the objective's loss."""
        return objective.loss

    def repeat(
        self, step: Step, carry: Array, xs: Sequence[Array], data: Sequence[Array]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Loop."""
        outputs: list[tuple[Array, ...]] = []
        for x in zip(*xs, strict=True):
            carry, output = step(carry, x, *data)
            outputs.append(output)
        return carry, tuple(np.array(column) for column in zip(*outputs, strict=True))

    def synchronize(self, array: Array) -> None:
        """Return: NumPy has computed before it returns."""

    def surroundings(self) -> Surroundings:
        """Name the BLAS; how many threads it uses only threadpoolctl can tell, which scikit-learn brings."""
        config: Any = np.show_config(mode="dicts")
        blas = config.get("Build Dependencies", {}).get("blas", {})
        library = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
        if find_spec("threadpoolctl") is None:
            return Surroundings(library=library)
        pools = [p for p in import_module("threadpoolctl").threadpool_info() if p["user_api"] == "blas"]
        return Surroundings(threads=pools[0]["num_threads"] if pools else None, library=library)
