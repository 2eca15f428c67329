"""The processes and devices of JAX: rows sharded over a mesh, and one psum for each step inside the compiled loop."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# JAX's own annotations are partial.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from gdbackends.backends.jax_backend import JaxBackend, precision
from gdbackends.backends.jax_blocks import over_stored_rows, to_layout
from gdbackends.blocks import Parts, splits
from gdbackends.errors import BackendError, InputError
from gdbackends.objectives import Array, LinearModel, Objective
from gdbackends.ranks import Share, divided, flat, split

_AXIS = "rows"


class JaxRanks:
    """All processes of JAX's multi-process runtime, or one process alone, with all their devices of one kind."""

    def __init__(self, device: str = "cpu") -> None:
        """Take the devices: "cpu", or "gpu"."""
        kind = "cpu" if device == "cpu" else "gpu"
        self.rank: int = jax.process_index()
        self.size: int = jax.process_count()
        self.devices: list[Any] = sorted(jax.devices(kind), key=lambda d: (d.process_index, d.id))
        self.mesh = Mesh(np.array(self.devices), (_AXIS,))

    @property
    def local_devices(self) -> list[Any]:
        """The devices of this process."""
        return [device for device in self.devices if device.process_index == self.rank]

    def gathered(self, array: Array) -> Array:
        """Return the arrays of all processes."""
        if self.size == 1:
            return np.array(array)[None]
        with precision("float64"):  # else 64-bit numbers are rounded
            return np.asarray(multihost_utils.process_allgather(np.array(array)))

    def mean(self, parts: Parts, share: float) -> Parts:
        """Return the sum of share times each part, in NumPy."""
        return split(self.gathered(flat(parts) * share).sum(0), parts)

    def check(self, backend: Any) -> None:
        """Refuse the other frameworks."""
        if backend.name != "jax":
            raise BackendError(
                f"backend {backend.name!r} does not run over JAX's processes; use jax, or start it with "
                f"{'torchrun' if backend.name == 'torch' else 'mpiexec'}"
            )

    def sharded(self, backend: JaxBackend, share: Share) -> ShardedJaxBackend:
        """Return the backend over all devices."""
        own = {f.name: getattr(backend, f.name) for f in fields(JaxBackend)}
        return ShardedJaxBackend(**own, share=share)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("main", "extra", "weights", "first", "count"),
    meta_fields=("shape", "whole"),
)
@dataclass(frozen=True, eq=False)
class DeviceRows:
    """An array of all rows, of which each device holds its own; shards must be of one shape, and rows need not divide.

    Every array has a leading axis of the devices.

    Attributes:
        main: as many rows on every device, as `to_layout` stores them; None if there are none.
        extra: the other rows, filled up to one number on every device.
        weights: 1 for each extra row, and 0 for those that fill up.
        first: the index among all rows of the first row of a device.
        count: the number of rows of a device.
        shape: the shape of the array of all rows.
        whole: the number of rows of `main` on a device.
    """

    main: Any
    extra: Any
    weights: Any
    first: Any
    count: Any
    shape: tuple[int, ...]
    whole: int

    def __getitem__(self, rows: Array) -> RowsOfBatch:
        """Return the batch of these rows."""
        return RowsOfBatch(self, rows)


@dataclass(frozen=True, eq=False)
class RowsOfBatch:
    """Rows by their indices among all, which are taken on the devices that hold them."""

    array: DeviceRows
    rows: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the batch."""
        return (*self.rows.shape, *self.array.shape[1:])


@dataclass(frozen=True)
class ShardedJaxBackend(JaxBackend):
    """JAX over all devices of all processes; theta is on every device."""

    share: Any = None

    @property
    def ranks(self) -> JaxRanks:
        """The processes."""
        return self.share.ranks

    def asarray(self, array: Array) -> Array:
        """Copy to every device."""
        values = np.array(array, None if array.dtype.kind in "ib" else self.dtype)
        everywhere = NamedSharding(self.ranks.mesh, P())
        with precision(self.dtype):
            return jax.make_array_from_callback(values.shape, everywhere, lambda index: values[index])

    def placed(self, X: Array, y: Array) -> tuple[DeviceRows, DeviceRows]:
        """Return the rows of this process, in NumPy, as the data of a descent, divided among its devices."""
        devices = self.ranks.gathered(np.array(len(self.ranks.local_devices)))
        counts = [c for rows, k in zip(self.share.counts, devices, strict=True) for c in divided(rows, int(k))]
        if not all(counts):
            raise InputError(f"every device needs at least one row, got {', '.join(map(str, counts))}; use fewer")
        whole = 0 if self.tuning == "batches" else min(counts)
        return self._placed(X, counts, whole), self._placed(y, counts, whole)

    def _placed(self, array: Array, counts: list[int], whole: int) -> DeviceRows:
        extra, first = max(counts) - whole, np.cumsum([0, *counts])
        mine = [k for k, device in enumerate(self.ranks.devices) if device.process_index == self.ranks.rank]
        parts: list[DeviceRows] = []
        for k in mine:
            own = array[first[k] - self.share.start :][: counts[k]]
            rest = np.zeros((extra, *array.shape[1:]), self.dtype)
            rest[: counts[k] - whole] = own[whole:]
            rest[counts[k] - whole :] = own[:1]  # any finite row
            weights = (np.arange(extra) < counts[k] - whole).astype(self.dtype)
            main: Any = own[:whole].astype(self.dtype) if whole else None
            if whole and array.ndim == 2 and self.tuning == "best":
                main = to_layout(main, self.dtype, blocks=self.device == "cpu")
            start, count = np.int32(first[k]), np.int32(counts[k])
            parts.append(DeviceRows(main, rest, weights, start, count, (), whole))
        sharding = NamedSharding(self.ranks.mesh, P(_AXIS))
        with precision(self.dtype):

            def assembled(*leaves: Any) -> Any:
                on = [jax.device_put(leaf[None], d) for leaf, d in zip(leaves, self.ranks.local_devices, strict=True)]
                shape = (len(counts), *np.shape(leaves[0]))
                return jax.make_array_from_single_device_arrays(shape, sharding, on)

            placed = jax.tree.map(assembled, *parts)
        shape = (self.share.rows, *array.shape[1:])
        return DeviceRows(placed.main, placed.extra, placed.weights, placed.first, placed.count, shape, whole)

    def value_and_grad(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return f(theta, X, y), compiled: the means of the devices, weighted by their rows and added by one psum."""
        return _over_devices(objective, self.dtype, self.ranks.mesh)

    def plan(self, rows: int, features: int) -> str:
        """Return in words how data of that size are divided and walked through."""
        devices = len(self.ranks.devices)
        words = f"{self.ranks.size} process{'es' if self.ranks.size > 1 else ''}, {devices} devices"
        return f"{words}, {super().plan(rows // devices, features)}"


@lru_cache(maxsize=64)
def _over_devices(objective: Objective, dtype: str, mesh: Mesh) -> Callable[..., tuple[Array, Array]]:
    def on_device(theta: Array, X: DeviceRows, y: DeviceRows, rows: Array | None) -> Parts:
        X, y = (jax.tree.map(lambda leaf: leaf[0], array) for array in (X, y))
        return lax.psum(
            _of_rows(objective, theta, X, y) if rows is None else _of_batch(objective, theta, X, y, rows), _AXIS
        )

    @jax.jit
    def compiled(theta: Array, X: DeviceRows, y: DeviceRows, rows: Array | None) -> Any:
        held = P(_AXIS)
        over: Any = jax.shard_map(on_device, mesh=mesh, in_specs=(P(), held, held, P()), out_specs=P(), check_vma=False)
        return over(theta, X, y, rows)

    def call(theta: Array, X: Any, y: Any) -> tuple[Array, Array]:
        with precision(dtype):
            if isinstance(X, RowsOfBatch):
                return compiled(theta, X.array, y.array, X.rows)
            return compiled(theta, X, y, None)

    return call


def _of_rows(objective: Objective, theta: Array, X: DeviceRows, y: DeviceRows) -> Parts:
    """Return the part of a device in the mean over all rows."""
    total, rows = (jnp.zeros((), theta.dtype), jnp.zeros_like(theta)), X.shape[0]
    if X.whole:
        mean = over_stored_rows(partial(jax.value_and_grad(objective.loss), theta), (X.main, y.main), splits(objective))
        total = _plus(total, mean, X.whole / rows)
    if X.extra.shape[0]:
        total = _plus(total, *_weighted(objective, theta, X.extra, y.extra, X.weights, rows))
    return total


def _of_batch(objective: Objective, theta: Array, X: DeviceRows, y: DeviceRows, rows: Array) -> Parts:
    """Return the part of a device in the mean over a batch; it takes its own rows of the batch."""
    at = rows - X.first
    own = ((at >= 0) & (at < X.count)).astype(theta.dtype)
    at = jnp.clip(at, 0, X.count - 1)
    mean, share = _weighted(objective, theta, X.extra[at], y.extra[at], own, rows.shape[0])
    return tuple(share * part for part in mean)


def _weighted(objective: Objective, theta: Array, X: Array, y: Array, weights: Array, rows: int) -> tuple[Parts, Array]:
    """Return the mean over the rows of weight 1, and their share of so many rows; any finite mean if there are none."""
    if not isinstance(objective, LinearModel):
        raise InputError("JAX needs a bundled loss for batches, and for rows that do not divide among the devices")
    count = weights.sum()
    weights = jnp.where(count > 0, weights, 1)
    mean: Any = jax.value_and_grad(lambda at: objective.loss(at, X, y, weights))(theta)
    return mean, count / rows


def _plus(total: Parts, parts: Parts, share: Any) -> Parts:
    return tuple(a + share * b for a, b in zip(total, parts, strict=True))


def joined(
    coordinator: str | None, processes: int | None, process: int | None, device: str, timeout: float
) -> JaxRanks:
    """Connect the processes; None for all three numbers lets JAX find them, as under Slurm.

    Args:
        coordinator: "HOST:PORT" of process 0, where the others find it.
        processes: their number.
        process: the number of this one.
        device: "cpu" or "gpu".
        timeout: seconds after which a process that gives no sign of life ends the others.
    """
    if not jax.distributed.is_initialized():
        host, _, port = (coordinator or "").rpartition(":")
        local = host in ("localhost", "127.0.0.1")
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            heartbeat_timeout_seconds=max(10, int(timeout)),
            coordinator_bind_address=f"127.0.0.1:{port}" if local and process == 0 else None,
        )
    return JaxRanks(device)
