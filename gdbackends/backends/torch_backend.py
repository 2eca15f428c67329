"""The PyTorch backend: differentiates the loss by reverse-mode autograd, eagerly, on the CPU or a GPU."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyTorch's own annotations are partial.

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from os import getpid
from threading import Barrier
from typing import Any, cast

import array_api_compat.torch  # noqa: F401  # pyright: ignore[reportUnusedImport] - imported before a fit is timed
import numpy as np
import torch

from gdbackends.backends import Step, Surroundings, check_place
from gdbackends.backends.torch_rounding import Rounding, is_watched
from gdbackends.blocks import BYTES, Parts, add_up, block_rows, over_blocks, said, splits
from gdbackends.objectives import Array, Objective

_LARGE = 4 * BYTES
"""Bytes of X from which blocks in threads pay."""


@dataclass(frozen=True)
class TorchBackend:
    """PyTorch, eager.

    Attributes:
        device: "cpu"; "cuda" or "gpu"; "cuda:0", "cuda:1", ...
        dtype: "float64" or "float32".
        tuning: "best", "idiomatic" or "batches".
    """

    device: str = "cpu"
    dtype: str = "float64"
    tuning: str = "best"
    name: str = "torch"

    def __post_init__(self) -> None:
        """Refuse a device that is not there, or another dtype."""
        gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        check_place(self, devices=("cpu", *(["cuda", "gpu"] if gpus else []), *gpus))

    def asarray(self, array: Array) -> Array:
        """Copy; a matrix of numbers is laid feature-major, or row-major if not "best"."""
        with torch.inference_mode(False):
            if array.dtype.kind in "ib":
                return torch.from_numpy(np.array(array)).to(self.device.replace("gpu", "cuda"))
            turned = array.ndim == 2 and self.tuning == "best"
            stored = np.array(array.T if turned else array, self.dtype, order="C")
            placed = torch.from_numpy(stored).to(self.device.replace("gpu", "cuda"))
            return placed.T if turned else placed

    def to_numpy(self, array: Array) -> Array:
        """Copy."""
        return np.array(array.detach().cpu().numpy())

    def value_and_grad(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return a function that runs the loss and then autograd's backward pass; large data by blocks, in threads."""
        idiomatic = self.tuning == "idiomatic"

        def whole(theta: Array, *data: Array) -> tuple[Array, Array]:
            leaf = theta.detach().requires_grad_()
            value = objective.loss(leaf, *data)
            if idiomatic:
                value.backward()
                return value.detach(), leaf.grad
            (gradient,) = torch.autograd.grad(value, leaf)
            return value.detach(), gradient

        by_blocks = self.tuning == "best" and self.device == "cpu" and splits(objective)

        def value_and_grad(theta: Array, *data: Array) -> tuple[Array, Array]:
            if not torch.is_grad_enabled() or torch.get_float32_matmul_precision() != "highest":  # the caller's modes
                with _autograd_in_full_precision():
                    return value_and_grad(theta, *data)
            if by_blocks and data[0].nbytes >= _LARGE and torch.get_num_threads() > 1 and not is_watched():
                return _over_blocks(whole, theta, *data)  # pyright: ignore[reportReturnType]
            return whole(theta, *data)

        return value_and_grad

    def value(self, objective: Objective) -> Callable[..., Array]:
        """Return a function that runs the loss, and records nothing to differentiate."""

        def value(theta: Array, *data: Array) -> Array:
            if torch.get_float32_matmul_precision() != "highest":
                with _autograd_in_full_precision():
                    return value(theta, *data)
            with torch.no_grad():
                return objective.loss(theta, *data)

        return value

    def hessian_product(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return f(theta, v, *data) -> (loss, H v): autograd of the gradient along v."""

        def hessian_product(theta: Array, v: Array, *data: Array) -> tuple[Array, Array]:
            with _autograd_in_full_precision():
                leaf = theta.detach().requires_grad_()
                value = objective.loss(leaf, *data)
                (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
                if not gradient.requires_grad:  # the loss is linear
                    return value.detach(), torch.zeros_like(theta)
                slopes = cast(Any, gradient)
                (product,) = torch.autograd.grad((slopes * v).sum(), leaf, materialize_grads=True)
            return value.detach(), product

        return hessian_product

    def repeat(
        self, step: Step, carry: Array, xs: Sequence[Array], data: Sequence[Array]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Loop; the outputs stay on the device until the end, so that no step waits for the one before."""
        outputs: list[tuple[Array, ...]] = []
        with _autograd_in_full_precision():
            for x in zip(
                *(torch.from_numpy(np.array(column)).to(self.device.replace("gpu", "cuda")).unbind() for column in xs),
                strict=True,
            ):
                carry, output = step(carry, x, *data)
                outputs.append(output)
            return carry, tuple(self.to_numpy(torch.stack(column)) for column in zip(*outputs, strict=True))

    @property
    def form(self) -> dict[str, bool]:
        """How a linear model is best spelled: arguments of its `prepare`."""
        return {"ones": self.tuning != "idiomatic", "rows_first": self.tuning != "best"}

    def for_batches(self) -> TorchBackend:
        """Return what gathers rows fastest: row-major data."""
        return replace(self, tuning="batches") if self.tuning == "best" else self

    def plan(self, rows: int, features: int) -> str:
        """Say how so many rows and features are stored and walked through."""
        if self.tuning != "best":
            return "row-major"
        threads, itemsize = torch.get_num_threads(), np.dtype(self.dtype).itemsize
        if self.device != "cpu" or rows * features * itemsize < _LARGE or threads == 1:
            return "feature-major, whole"
        return f"feature-major, {said(rows, block_rows(features, itemsize))}, {threads} threads"

    def synchronize(self, array: Array) -> None:
        """Wait for the device's queue."""
        if array.is_cuda:
            torch.cuda.synchronize(array.device)

    @contextmanager
    def defaults(self) -> Generator[None]:
        """Make `dtype` what an integer divided by another becomes, which is float32 otherwise, and restore."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, self.dtype))
        try:
            yield
        finally:
            torch.set_default_dtype(before)

    def rounding(self, step: float, seed: int) -> AbstractContextManager[Any]:
        """Return a context in which every operation, backward ones too, errs at random by `step` of its result."""
        return Rounding(step, seed)

    def peak_bytes(self) -> int | None:
        """Return the most memory that PyTorch has held on a GPU; None on the processor."""
        return None if self.device == "cpu" else torch.cuda.max_memory_allocated(self.device.replace("gpu", "cuda"))

    def surroundings(self) -> Surroundings:
        """Look for GPUs, and count the threads of an operation on the processor."""
        gpus: list[Any] = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        devices = (("cpu", "", None), *((f"cuda:{i}", gpu.name, gpu.total_memory) for i, gpu in enumerate(gpus)))
        return Surroundings(devices, threads=torch.get_num_threads())


def _over_blocks(whole: Callable[..., Parts], theta: Array, X: Array, y: Array) -> Parts:
    """Return the mean over blocks of rows, every thread taking each of its own, one thread to an operation.

    Threads that share an operation pass what one has written to the other: 25 ms against 19 ms at 400,000 x 100.
    """
    workers = torch.get_num_threads()
    pool = _pool(workers, getpid())

    def part(start: int, size: int) -> Parts:
        rows = slice(start, start + size)
        return whole(theta, X[rows], y[rows])

    def in_threads(term: Callable[[int], Parts], count: int) -> Parts:
        sums = list(pool.map(partial(add_up, term, count, step=workers), range(min(workers, count))))
        return add_up(sums.__getitem__, len(sums))

    return over_blocks(part, X.shape[0], block_rows(X.shape[1], X.itemsize), in_threads)


@cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Return threads that use one thread an operation; a process that was forked off has none of its parent's."""
    started = Barrier(workers + 1)
    pool = ThreadPoolExecutor(workers, "gdbackends", lambda: torch.set_num_threads(1))
    for _ in range(workers):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(workers)  # the threads have changed what the next one of the caller's would take
    return pool


@contextmanager
def _autograd_in_full_precision() -> Generator[None]:
    """Record gradients whatever the caller's mode, multiply float32 as float32 (no TF32, no bfloat16), and restore."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
