"""The JAX backend: differentiates the loss with jax.value_and_grad and compiles the whole loop of steps."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# JAX's own annotations are partial.

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdbackends.backends import (
    Capabilities,
    StepFunction,
    SystemInfo,
    check_mode,
    is_cacheable,
    tunings,
    validate_settings,
)
from gdbackends.backends.jax_blocks import (
    Blocks,
    FeatureMajor,
    as_matrices,
    as_matrix,
    as_stored,
    in_blocks,
    over_stored_rows,
    to_layout,
)
from gdbackends.blocks import Parts, block_rows, describe_blocks, splits
from gdbackends.errors import BackendError
from gdbackends.objectives import Array, Objective

_BLOCK = 8192
"""Steps, or row numbers, of one compiled call; shorter calls are padded to it, since the count is an argument."""
_ELEMENTS = 1 << 20
"""Elements of a recorded path that one compiled call returns."""
_GROUP = 16
"""Steps on a GPU before the CPU is asked whether there are more: at 1,000 x 10 a step took 21 us with 1, 8 with 16."""


@dataclass(frozen=True)
class JaxBackend(Capabilities):
    """JAX.

    Attributes:
        device: "cpu", or "gpu" (also "cuda", "gpu:0", "cuda:0", ...).
        dtype: "float64" or "float32"; the global switch jax_enable_x64 is neither read nor changed.
        tuning: "best", "idiomatic", "eager", which compiles no function of the user, or "batches".
    """

    device: str = "cpu"
    dtype: str = "float64"
    tuning: str = "best"
    name: str = "jax"

    def __post_init__(self) -> None:
        """Refuse an unavailable device, an unknown dtype or tuning, and a tuning that compiles if JAX must not."""
        if self.tuning != "eager" and cast(Any, jax.config).jax_disable_jit:
            raise BackendError("backend 'jax' compiles, but JAX_DISABLE_JIT is set; unset JAX_DISABLE_JIT")
        validate_settings(self, devices=tuple(_devices()), tunings=tunings("jax"))

    def asarray(self, array: Array) -> Array:
        """Copy; a matrix of numbers becomes a FeatureMajor or Blocks, or stays row-major if not "best"."""
        with precision(self.dtype):
            device = _devices()[self.device]
            if array.dtype.kind in "ib":
                return jax.device_put(np.array(array), device)
            if array.ndim != 2 or self.tuning != "best":
                return jax.device_put(np.array(array, self.dtype), device)
            return jax.device_put(to_layout(array, self.dtype, blocks=self.device == "cpu"), device)

    def to_numpy(self, array: Array) -> Array:
        """Copy."""
        if isinstance(array, Blocks | FeatureMajor):
            return np.array(as_matrix(jax.tree.map(np.array, array)))
        return np.array(array)

    def value_and_grad(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return the compiled jax.value_and_grad of the loss, cached for equal objectives if they are immutable."""
        return self._function(_value_and_grad, objective)

    def value(self, objective: Objective) -> Callable[..., Array]:
        """Return the compiled loss, cached likewise."""
        return self._function(_value, objective)

    def gradient(self, objective: Objective) -> Callable[..., Array]:
        """Return the compiled jax.grad of the loss, cached likewise."""
        return self._function(_gradient, objective)

    def hvp(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return f(theta, v, *data) -> (loss, H v), compiled, cached likewise: the derivative of jax.grad along v."""
        return self._function(_hvp, objective)

    def jacobian(self, function: Callable[..., Array], mode: str) -> Callable[..., Array]:
        """Return the compiled jax.jacfwd or jax.jacrev of a function."""
        check_mode(mode)
        jacobian: Any = (jax.jacfwd if mode == "forward" else jax.jacrev)(function)
        if self.tuning == "eager":
            return _in_settings(jacobian, self.dtype)
        compiled = jax.jit(lambda theta, *data: jacobian(theta, *map(as_matrix, data)))
        return _in_settings(lambda theta, *data: compiled(theta, *as_stored(data)), self.dtype)

    def _function(self, transform: Callable[..., Any], objective: Objective) -> Callable[..., Any]:
        """Return a transformed loss, compiled unless the tuning is "eager"."""
        if self.tuning == "eager":
            return _in_settings(transform(objective.loss), self.dtype)
        make = _compiled if is_cacheable(objective) else _compiled.__wrapped__
        return make(transform, objective, self.dtype)

    def clear_cache(self) -> None:
        """Drop all compiled code, so that a first call compiles again."""
        _compiled.cache_clear()
        _loop.cache_clear()
        jax.clear_caches()

    def repeat(
        self, step: StepFunction, carry: Array, xs: Sequence[Array], data: Sequence[Array]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Run the steps in compiled loops whose shapes do not depend on the number of steps, or eagerly in Python."""
        if self.tuning == "eager":
            with precision(self.dtype):
                return _python_loop(
                    step, carry, jax.device_put([np.array(x) for x in xs], _devices()[self.device]), data
                )
        wide = max(column[0].size for column in xs)
        block = max(1, min(_BLOCK, _ELEMENTS // max(1, carry.size), max(1, _BLOCK // wide)))
        group = 1 if self.device == "cpu" else _GROUP
        pieces: list[list[Array]] = []
        with precision(self.dtype):
            for start in range(0, len(xs[0]), block):
                part = [column[start : start + block] for column in xs]
                count = len(part[0])
                padded = [np.concatenate((p, np.zeros((block - count, *p.shape[1:]), p.dtype))) for p in part]
                carry, outputs = _loop(step, group)(carry, padded, tuple(data), count)
                pieces.append([np.array(output)[:count] for output in outputs])
        return carry, tuple(np.concatenate(column) for column in zip(*pieces, strict=True))

    def layout_options(self) -> dict[str, bool]:
        """Return no column of ones, which makes 1,000,000 x 1 take 1.8 times as long."""
        return {"ones": False, "rows_first": self.tuning != "best"}

    def for_batches(self) -> JaxBackend:
        """Return the backend with row-major data, which gathers rows fastest."""
        return replace(self, tuning="batches") if self.tuning == "best" else self

    def plan(self, rows: int, features: int) -> str:
        """Return in words how data of that size are stored and walked through."""
        if self.tuning != "best":
            return f"row-major, {'not compiled' if self.tuning == 'eager' else 'compiled loop'}"
        itemsize = np.dtype(self.dtype).itemsize
        blocks = self.device == "cpu" and in_blocks(rows, features, itemsize)
        cut = describe_blocks(rows, block_rows(features, itemsize)) if blocks else "whole"
        return f"feature-major, {cut}, compiled loop"

    def program_size(self, function: Callable[..., Any], *arguments: Array) -> int:
        """Return the number of operations in a function's program, those inside loops and calls counted once."""
        if self.tuning == "eager":
            return 0
        with precision(self.dtype):
            return _count(jax.make_jaxpr(function)(*arguments).jaxpr)

    def default_dtype(self) -> AbstractContextManager[None]:
        """Return a context in which numbers have 64 bits if the backend's dtype does."""
        return precision(self.dtype)

    def synchronize(self, array: Array) -> None:
        """Wait for the array."""
        jax.block_until_ready(array)

    def peak_bytes(self) -> int | None:
        """Return the most memory that JAX has held on a GPU; None on the CPU or if unknown."""
        return (_devices()[self.device].memory_stats() or {}).get("peak_bytes_in_use")

    def system_info(self) -> SystemInfo:
        """Return the devices, with the memory that JAX may use; the number of threads is unknown."""
        gpus = {name: gpu for name, gpu in _devices().items() if name.startswith("cuda:")}
        memory = {name: (gpu.memory_stats() or {}).get("bytes_limit") for name, gpu in gpus.items()}
        return SystemInfo((("cpu", "", None), *((name, gpus[name].device_kind, memory[name]) for name in gpus)))


def _devices() -> dict[str, Any]:
    """Return the devices of this process by name: "gpu" and "cuda" mean the same."""
    try:
        devices = {"cpu": jax.local_devices(backend="cpu")[0]}
    except (RuntimeError, AssertionError) as error:  # JAX_PLATFORMS without the CPU
        platforms = cast(Any, jax.config).jax_platforms
        raise BackendError(
            f"backend 'jax' needs the CPU to prepare data, and JAX_PLATFORMS is {platforms!r}; unset JAX_PLATFORMS"
        ) from error
    try:
        gpus = jax.local_devices(backend="gpu")
    except RuntimeError:  # raised when there is no GPU
        return devices
    for name in ("gpu", "cuda"):
        devices |= {name: gpus[0]} | {f"{name}:{i}": gpu for i, gpu in enumerate(gpus)}
    return devices


@contextmanager
def precision(dtype: str) -> Generator[None]:
    """Enable 64-bit numbers as needed, and full-precision products (a GPU's default is TF32), in this thread only."""
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        yield


def _count(program: Any) -> int:
    """Return the number of operations in a program."""
    inner = (getattr(v, "jaxpr", v) for e in program.eqns for v in e.params.values() if hasattr(v, "eqns"))
    nested = (v.jaxpr for e in program.eqns for v in e.params.values() if hasattr(getattr(v, "jaxpr", None), "eqns"))
    return len(program.eqns) + sum(map(_count, inner)) + sum(map(_count, nested))


def _in_settings(function: Callable[..., Any], dtype: str) -> Callable[..., Any]:
    """Return a function that runs in full precision."""

    def call(*args: Any) -> Any:
        with precision(dtype):
            return function(*args)

    return call


def _value_and_grad(loss: Callable[..., Array]) -> Callable[..., Any]:
    return jax.value_and_grad(loss)


def _value(loss: Callable[..., Array]) -> Callable[..., Any]:
    return loss


def _gradient(loss: Callable[..., Array]) -> Callable[..., Any]:
    return jax.grad(loss)


def _hvp(loss: Callable[..., Array]) -> Callable[..., Any]:
    both: Any = jax.value_and_grad(loss)

    def hvp(theta: Array, v: Array, *data: Array) -> tuple[Array, Array]:
        (value, _), (_, product) = jax.jvp(lambda at: both(at, *data), (theta,), (v,))
        return value, product

    return hvp


@lru_cache(maxsize=64)
def _compiled(transform: Callable[..., Any], objective: Objective, dtype: str) -> Callable[..., Any]:
    """Return a transformed loss as a compiled function of points (theta, or theta and v) and the stored data."""
    whole, points = transform(objective.loss), 2 if transform is _hvp else 1

    def parts(*arrays: Array) -> Parts:
        result = whole(*arrays)
        return result if isinstance(result, tuple) else (result,)

    @jax.jit
    def compiled(at: tuple[Array, ...], data: tuple[Any, ...]) -> Any:
        result: Any = over_stored_rows(partial(parts, *at), data, splits(objective))
        return result if len(result) > 1 else result[0]

    def call(*arrays: Any) -> Any:
        with precision(dtype):
            return compiled(arrays[:points], as_stored(arrays[points:]))

    return call


def _python_loop(
    step: StepFunction, carry: Array, xs: Sequence[Array], data: Sequence[Array]
) -> tuple[Array, tuple[Array, ...]]:
    """Make the steps one by one; the outputs are copied at the end, so that no step waits."""
    outputs: list[tuple[Array, ...]] = []
    for x in zip(*xs, strict=True):
        carry, output = step(carry, x, *data)
        outputs.append(output)
    return carry, tuple(np.stack([np.asarray(o) for o in column]) for column in zip(*outputs, strict=True))


@lru_cache(maxsize=16)
def _loop(step: StepFunction, group: int = 1) -> Callable[..., tuple[Array, tuple[Array, ...]]]:
    """Return the compiled loop of a step, like `lax.scan`, but with the number of steps as an argument.

    The steps are made in inner loops of `group` steps, and the rest one by one.
    """

    @jax.jit
    def loop(carry: Array, xs: list[Array], data: tuple[Array, ...], count: int) -> tuple[Array, tuple[Array, ...]]:
        def at(k: Array | int, carry: Array) -> tuple[Array, tuple[Array, ...]]:
            with as_matrices(data) as matrices:
                return step(carry, tuple(x[k] for x in xs), *matrices)

        def body(k: Array, state: tuple[Array, tuple[Array, ...]]) -> tuple[Array, tuple[Array, ...]]:
            carry, columns = state
            carry, output = at(k, carry)
            return carry, tuple(column.at[k].set(o) for column, o in zip(columns, output, strict=True))

        columns = tuple(jnp.zeros((len(xs[0]), *o.shape), o.dtype) for o in jax.eval_shape(at, 0, carry)[1])
        state, made = (carry, columns), 0
        if group > 1:
            made = count // group * group

            def inner(j: Array, state: Any) -> Any:
                return lax.fori_loop(0, group, lambda k, state: body(j * group + k, state), state)

            state = lax.fori_loop(0, count // group, inner, state)
        return lax.fori_loop(made, count, body, state)

    return loop
