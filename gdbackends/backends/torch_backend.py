"""The PyTorch backend: differentiates the loss by reverse-mode autograd, on the CPU or a GPU."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyTorch's own annotations are partial.

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from threading import Lock, RLock
from typing import Any, cast
from warnings import catch_warnings, simplefilter

import array_api_compat.torch  # noqa: F401  # pyright: ignore[reportUnusedImport] - imported before a fit is timed
import numpy as np
import torch

from gdbackends.backends import (
    Capabilities,
    StepFunction,
    SystemInfo,
    check_mode,
    is_cacheable,
    is_table,
    tunings,
    validate_settings,
)
from gdbackends.backends.torch_blocks import over_row_blocks, worth_blocking
from gdbackends.backends.torch_rounding import Rounding
from gdbackends.blocks import Parts, block_rows, describe_blocks, splits
from gdbackends.objectives import Array, Objective


@dataclass(frozen=True)
class TorchBackend(Capabilities):
    """PyTorch.

    Attributes:
        device: "cpu"; "cuda" or "gpu"; "cuda:0", "gpu:0", "cuda:1", ...
        dtype: "float64" or "float32".
        tuning: "best", "idiomatic", "functional" (torch.func), "compiled" (torch.compile, which takes seconds for a
            function and tens of seconds for steps the first time) or "batches".
    """

    device: str = "cpu"
    dtype: str = "float64"
    tuning: str = "best"
    name: str = "torch"

    def __post_init__(self) -> None:
        """Refuse an unavailable device, and an unknown dtype or tuning."""
        devices = ["cpu"]
        if self.device != "cpu" and (count := torch.cuda.device_count()):
            for kind in ("gpu", "cuda"):
                devices += [kind, *(f"{kind}:{i}" for i in range(count))]
        validate_settings(self, devices, tunings=tunings("torch"))

    def asarray(self, array: Array) -> Array:
        """Copy; a matrix of numbers is stored feature-major, or row-major if not "best"."""
        with torch.inference_mode(False):
            if array.dtype.kind in "ib":
                return torch.from_numpy(np.array(array)).to(self.device.replace("gpu", "cuda"))
            turned = array.ndim == 2 and self._feature_major
            stored = np.array(array.T if turned else array, self.dtype, order="C")
            placed = torch.from_numpy(stored).to(self.device.replace("gpu", "cuda"))
            return placed.T if turned else placed

    def adopted(self, array: Array) -> Array | None:
        """Return a tensor of the same memory if it is on the CPU and stored as `asarray` stores it."""
        turned = array.ndim == 2 and self._feature_major
        stored = array.T if turned else array
        if self.device != "cpu" or array.dtype != self.dtype or not stored.flags.c_contiguous:
            return None
        with torch.inference_mode(False):
            placed = torch.from_numpy(stored)
        return placed.T if turned else placed

    def to_numpy(self, array: Array) -> Array:
        """Copy."""
        return np.array(array.detach().cpu().numpy())

    def value_and_grad(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return a function that runs the loss and autograd's backward pass; large data in blocks, by several threads.

        "functional" and "compiled" use torch.func, which the compiler accepts. Compiled functions are cached for equal
        objectives if those are immutable.
        """
        if self.tuning in _BY_FUNC:
            return self._function(_value_and_grad, objective)
        differentiate = _by_backward if self.tuning == "idiomatic" else _by_grad

        def whole(theta: Array, *data: Array) -> tuple[Array, Array]:
            leaf = theta.detach().requires_grad_()
            value = objective.loss(leaf, *data)
            return value.detach(), differentiate(value, leaf)

        return self._over_rows(objective, whole)  # pyright: ignore[reportReturnType]

    def gradient(self, objective: Objective) -> Callable[..., Array]:
        """Return the same without the loss."""
        if self.tuning in _BY_FUNC:
            return self._function(_gradient, objective)
        differentiate = _by_backward if self.tuning == "idiomatic" else _by_grad

        def whole(theta: Array, *data: Array) -> Parts:
            leaf = theta.detach().requires_grad_()
            return (differentiate(objective.loss(leaf, *data), leaf),)

        run = self._over_rows(objective, whole)

        def gradient(theta: Array, *data: Array) -> Array:
            return run(theta, *data)[0]

        return gradient

    def value(self, objective: Objective) -> Callable[..., Array]:
        """Return a function that runs the loss without recording it for autograd."""
        if self.tuning == "compiled":
            return self._function(_value, objective)

        def value(theta: Array, *data: Array) -> Array:
            if _float32_precision() != "highest":
                with _autograd_in_full_precision():
                    return value(theta, *data)
            with torch.no_grad():
                return objective.loss(theta, *data)

        return value

    def hvp(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return f(theta, v, *data) -> (loss, H v), by autograd of the gradient along v."""
        if self.tuning in _BY_FUNC:
            return self._function(_hvp, objective)

        def hvp(theta: Array, v: Array, *data: Array) -> tuple[Array, Array]:
            leaf = theta.detach().requires_grad_()
            value = objective.loss(leaf, *data)
            (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
            if not gradient.requires_grad:  # the loss is linear
                return value.detach(), torch.zeros_like(theta)
            slopes = cast(Any, gradient)
            (product,) = torch.autograd.grad((slopes * v).sum(), leaf, materialize_grads=True)
            return value.detach(), product

        return _in_modes(hvp)

    def jacobian(self, function: Callable[..., Array], mode: str) -> Callable[..., Array]:
        """Return torch.func.jacfwd or torch.func.jacrev of a function."""
        check_mode(mode)
        if mode == "forward":
            _load_forward_mode()
        jacobian: Any = (torch.func.jacfwd if mode == "forward" else torch.func.jacrev)(function)
        if self.tuning != "compiled":
            return _in_modes(jacobian)
        from gdbackends.backends.torch_compiled import compiled_function

        return _in_modes(compiled_function(jacobian))

    def _over_rows(self, objective: Objective, whole: Callable[..., Parts]) -> Callable[..., Parts]:
        """Return `whole` in autograd's modes, or in blocks of rows where those are allowed and faster."""
        by_blocks = self.tuning == "best" and self.device == "cpu" and splits(objective)

        def run(theta: Array, *data: Array) -> Parts:
            if by_blocks and is_table(data) and worth_blocking(data[0].nbytes):
                return over_row_blocks(whole, theta, *data)
            return whole(theta, *data)

        return _in_modes(run)

    def _function(self, transform: Callable[..., Any], objective: Objective) -> Callable[..., Any]:
        """Return the loss as torch.func transforms it, compiled if the tuning says so."""
        if self.tuning == "functional":
            return _in_modes(transform(objective.loss))
        return (_compiled if is_cacheable(objective) else _compiled.__wrapped__)(transform, objective)

    def repeat(
        self, step: StepFunction, carry: Array, xs: Sequence[Array], data: Sequence[Array]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Run the steps in a Python loop; the outputs stay on the device until the end, so that no step waits."""
        columns = [torch.from_numpy(np.array(column)).to(self.device.replace("gpu", "cuda")) for column in xs]
        pieces: list[tuple[Array, ...]] = []
        start = 0
        with ExitStack() as stack:
            stack.enter_context(_autograd_in_full_precision())
            if self.tuning == "compiled":
                from gdbackends.backends.torch_compiled import compiled_steps, uncompiled  # takes seconds to import

                carry, pieces, start = compiled_steps(step, carry, columns, data)
                stack.enter_context(uncompiled())
            outputs: list[tuple[Array, ...]] = []
            for x in zip(*(column[start:].unbind() for column in columns), strict=True):
                carry, output = step(carry, x, *data)
                outputs.append(output)
            if outputs:
                pieces.append(tuple(torch.stack(column) for column in zip(*outputs, strict=True)))
            return carry, tuple(self.to_numpy(torch.cat(column)) for column in zip(*pieces, strict=True))

    @property
    def _feature_major(self) -> bool:
        """Whether X is stored feature by feature."""
        return self.tuning in ("best", "compiled")

    def layout_options(self) -> dict[str, bool]:
        """Return the arguments of `LinearModel.prepare` that are fastest."""
        return {"ones": self.tuning not in ("idiomatic", "functional"), "rows_first": not self._feature_major}

    def for_batches(self) -> TorchBackend:
        """Return the backend with row-major data, which gathers rows fastest."""
        return replace(self, tuning="batches") if self.tuning == "best" else self

    def plan(self, rows: int, features: int) -> str:
        """Return in words how data of that size are stored and walked through."""
        if not self._feature_major:
            return "row-major"
        if self.tuning == "compiled":
            return "feature-major, whole, compiled"
        itemsize = np.dtype(self.dtype).itemsize
        if self.device != "cpu" or not worth_blocking(rows * features * itemsize):
            return "feature-major, whole"
        return (
            f"feature-major, {describe_blocks(rows, block_rows(features, itemsize))}, {torch.get_num_threads()} threads"
        )

    def clear_cache(self) -> None:
        """Drop all compiled code, so that a first call compiles again."""
        if self.tuning == "compiled":
            from gdbackends.backends.torch_compiled import drop_code

            _compiled.cache_clear()
            drop_code()

    def synchronize(self, array: Array) -> None:
        """Wait for the device's queue."""
        if array.is_cuda:
            torch.cuda.synchronize(array.device)

    @contextmanager
    def default_dtype(self) -> Generator[None]:
        """Make `dtype` the default, which is the dtype of a quotient of integers, and restore it afterwards.

        The default belongs to the process, so one thread at a time changes it.
        """
        with _DEFAULT_DTYPE:
            before = torch.get_default_dtype()
            torch.set_default_dtype(getattr(torch, self.dtype))
            try:
                yield
            finally:
                torch.set_default_dtype(before)

    def perturb_rounding(self, step: float, seed: int, most: float = float("inf")) -> AbstractContextManager[Any]:
        """Return a context in which every operation, also backward, errs at random by `step` of its result."""
        return Rounding(step, seed, most)

    def peak_bytes(self) -> int | None:
        """Return the most memory that PyTorch has held on a GPU; None on the CPU."""
        return None if self.device == "cpu" else torch.cuda.max_memory_allocated(self.device.replace("gpu", "cuda"))

    def system_info(self) -> SystemInfo:
        """Return the devices, and the number of threads of an operation on the CPU."""
        gpus: list[Any] = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        devices = (("cpu", "", None), *((f"cuda:{i}", gpu.name, gpu.total_memory) for i, gpu in enumerate(gpus)))
        return SystemInfo(devices, threads=torch.get_num_threads())


_BY_FUNC = ("functional", "compiled")
"""The tunings that differentiate by torch.func."""


def _by_grad(value: Any, leaf: Any) -> Array:
    (gradient,) = torch.autograd.grad(value, leaf)
    return gradient


def _by_backward(value: Any, leaf: Any) -> Array:
    value.backward()
    return leaf.grad


def _value_and_grad(loss: Callable[..., Array]) -> Callable[..., tuple[Array, Array]]:
    both: Any = torch.func.grad_and_value(loss)

    def value_and_grad(theta: Array, *data: Array) -> tuple[Array, Array]:
        gradient, value = both(theta.detach(), *data)
        return value, gradient

    return value_and_grad


def _gradient(loss: Callable[..., Array]) -> Callable[..., Array]:
    differentiate: Any = torch.func.grad(loss)

    def gradient(theta: Array, *data: Array) -> Array:
        return differentiate(theta.detach(), *data)

    return gradient


def _value(loss: Callable[..., Array]) -> Callable[..., Array]:
    def value(theta: Array, *data: Array) -> Array:
        return loss(theta.detach(), *data)

    return value


def _hvp(loss: Callable[..., Array]) -> Callable[..., tuple[Array, Array]]:
    """Return the gradient of the gradient along v: of all operations, some have no forward mode."""

    def hvp(theta: Array, v: Array, *data: Array) -> tuple[Array, Array]:
        def along(at: Array) -> Any:
            gradient, value = cast(Any, torch.func.grad_and_value(loss))(at, *data)
            return (gradient * v).sum(), value

        product, (_, value) = cast(Any, torch.func.grad_and_value(along, has_aux=True))(theta.detach())
        return value, product

    return hvp


@lru_cache(maxsize=64)
def _compiled(transform: Callable[..., Any], objective: Objective) -> Callable[..., Any]:
    from gdbackends.backends.torch_compiled import compiled_function  # takes seconds to import

    return _in_modes(compiled_function(transform(objective.loss)))


@cache
def _load_forward_mode() -> None:
    """Load PyTorch's forward mode, which warns of its own use of a deprecated function."""
    with catch_warnings():
        simplefilter("ignore")
        cast(Any, torch.func.jvp)(torch.sin, (torch.zeros(1),), (torch.zeros(1),))


def _in_modes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs with autograd and in full precision, whatever the modes of the caller."""

    def call(*arrays: Any) -> Any:
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and _float32_precision() == "highest"):
            return function(*arrays)
        with _autograd_in_full_precision():
            return function(*(a.clone() if a.is_inference() else a for a in arrays))  # else autograd refuses them

    return call


@contextmanager
def _autograd_in_full_precision() -> Generator[None]:
    """Enable autograd and full-precision float32 products (no TF32, no bfloat16), and restore the modes afterwards."""
    with _FULL_PRECISION.held(), torch.inference_mode(False), torch.enable_grad():
        yield


def _float32_precision() -> str | None:
    """Return the precision of float32 products; None if the caller has set it by `torch.backends` alone.

    PyTorch then raises an error when it is asked.
    """
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


class _FullPrecision:
    """The precision of float32 products, which belongs to the process: the last thread to leave restores it."""

    def __init__(self) -> None:
        self._lock, self._holders = Lock(), 0
        self._before: str | None = None
        self._libraries: list[tuple[Any, str]] = []

    @contextmanager
    def held(self) -> Generator[None]:
        """Make the precision "highest"."""
        with self._lock:
            if not self._holders:
                self._before = _float32_precision()
                libraries = [cast(Any, module).matmul for module in (torch.backends.cuda, torch.backends.mkldnn)]
                self._libraries = [(library, library.fp32_precision) for library in libraries]
            self._holders += 1
            torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            torch.set_float32_matmul_precision(self._before)
        for library, precision in self._libraries:
            library.fp32_precision = precision


_FULL_PRECISION = _FullPrecision()
_DEFAULT_DTYPE = RLock()
