"""The PyTorch backend: differentiates the loss by reverse-mode autograd, eagerly, on the CPU or a GPU."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyTorch's own annotations are partial.

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import array_api_compat.torch  # noqa: F401  # pyright: ignore[reportUnusedImport] - imported before a fit is timed
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gdbackends.backends import Step, Surroundings, check_place
from gdbackends.objectives import Array, Objective


@dataclass(frozen=True)
class TorchBackend:
    """PyTorch, eager.

    Attributes:
        device: "cpu"; "cuda" or "gpu"; "cuda:0", "cuda:1", ...
        dtype: "float64" or "float32".
    """

    device: str = "cpu"
    dtype: str = "float64"
    name: str = "torch"

    def __post_init__(self) -> None:
        """Refuse a device that is not there, or another dtype."""
        gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        check_place(self, devices=("cpu", *(["cuda", "gpu"] if gpus else []), *gpus))

    def asarray(self, array: Array) -> Array:
        """Copy; a matrix of numbers is laid feature-major."""
        with torch.inference_mode(False):
            if array.dtype.kind in "ib":
                return torch.from_numpy(np.array(array)).to(self.device.replace("gpu", "cuda"))
            stored = np.array(array.T if array.ndim == 2 else array, self.dtype, order="C")
            placed = torch.from_numpy(stored).to(self.device.replace("gpu", "cuda"))
            return placed.T if array.ndim == 2 else placed

    def to_numpy(self, array: Array) -> Array:
        """Copy."""
        return np.array(array.detach().cpu().numpy())

    def value_and_grad(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return a function that runs the loss and then autograd's backward pass."""

        def value_and_grad(theta: Array, *data: Array) -> tuple[Array, Array]:
            if not torch.is_grad_enabled() or torch.get_float32_matmul_precision() != "highest":  # the caller's modes
                with _autograd_in_full_precision():
                    return value_and_grad(theta, *data)
            leaf = theta.detach().requires_grad_()
            value = objective.loss(leaf, *data)
            (gradient,) = torch.autograd.grad(value, leaf)
            return value.detach(), gradient

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
        return _Rounding(step, seed)

    def surroundings(self) -> Surroundings:
        """Look for GPUs, and count the threads of an operation on the processor."""
        gpus: list[Any] = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        devices = (("cpu", "", None), *((f"cuda:{i}", gpu.name, gpu.total_memory) for i, gpu in enumerate(gpus)))
        return Surroundings(devices, threads=torch.get_num_threads())


_EXACT = (
    *("abs", "amax", "amin", "cat", "clamp", "clone", "eq", "expand", "gather", "index", "index_put", "index_select"),
    *("max", "maximum", "min", "minimum", "neg", "ones_like", "relu", "scatter", "select_backward", "sgn", "sign"),
    *("slice_backward", "sort", "stack", "where", "zeros_like", "_to_copy"),
)
"""Operations that copy and choose: they round nothing, and a maximum must stay equal to what it was chosen from."""


class _Rounding(TorchDispatchMode):
    """Every result of an operation that rounds is multiplied by 1 + step times a normal number."""

    def __init__(self, step: float, seed: int) -> None:
        super().__init__()
        self._step, self._random = step, np.random.default_rng(seed)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that this may not be wrapped for torch.compile: the wrapper imports its compiler, 1.2 s at the first."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not _rounds(func) or not isinstance(result, torch.Tensor) or not result.is_floating_point():
            return result
        errors = self._random.normal(size=tuple(result.shape))
        errors *= self._step  # in place, as results may be large
        errors += 1
        return result * torch.as_tensor(errors).to(result)


@cache
def _rounds(func: Any) -> bool:
    """Say whether an operation may round: it returns no view of its argument, and is none of the exact ones."""
    aliases = any(returned.alias_info is not None for returned in func._schema.returns)
    return not aliases and func._schema.name.removeprefix("aten::") not in _EXACT


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
