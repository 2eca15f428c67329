# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The processes of torch.distributed: gloo on the CPU, nccl on GPUs."""

from __future__ import annotations

import atexit
from contextlib import suppress
from datetime import timedelta
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import distributed

from gdbackends.blocks import Parts
from gdbackends.errors import BackendError
from gdbackends.objectives import Array
from gdbackends.ranks import Share

_LEAST_TIMEOUT = 60.0
"""Seconds; the limit also covers the start of the slowest process."""


class TorchRanks:
    """The processes of a process group, the default one unless another is given."""

    def __init__(self, group: Any = None) -> None:
        """Take a group that can reduce on the CPU, and on the GPU if that is used."""
        self._group = group
        self.rank: int = distributed.get_rank(group)
        self.size: int = distributed.get_world_size(group)

    def gathered(self, array: Array) -> Array:
        """Return the arrays of all processes, by all_gather."""
        sent = torch.from_numpy(np.array(array))
        received = [torch.empty_like(sent) for _ in range(self.size)]
        distributed.all_gather(received, sent, group=self._group)
        return np.stack([part.numpy() for part in received])

    def mean(self, parts: Parts, share: float) -> Parts:
        """Return the sum of share times each part, by all_reduce in float64."""
        tensors: list[Any] = list(parts)
        sent = torch.cat([t.detach().reshape(-1).double() for t in tensors]) * share
        distributed.all_reduce(sent, group=self._group)
        ends = [0, *accumulate(t.numel() for t in tensors)]
        return tuple(sent[a:b].to(t.dtype).reshape(t.shape) for t, a, b in zip(tensors, ends, ends[1:], strict=False))

    def check(self, backend: Any) -> None:
        """Refuse the other frameworks."""
        if backend.name != "torch":
            raise BackendError(
                f"backend {backend.name!r} does not run over torch.distributed; use torch, or start it with "
                f"{'--coordinator' if backend.name == 'jax' else 'mpiexec'}"
            )

    def sharded(self, backend: Any, share: Share) -> None:
        """Return None: each step calls `mean`."""


def _leave() -> None:
    """Leave the group once all processes have come so far: one that finds its connections closed may abort."""
    with suppress(Exception):
        distributed.barrier()
        distributed.destroy_process_group()


def joined(device: str, local_rank: int, timeout: float) -> TorchRanks:
    """Connect the processes that torchrun or another launcher has started, which the environment describes.

    Args:
        device: "cpu", or "cuda", where the process takes the GPU of its local rank.
        local_rank: the number of the process on its machine.
        timeout: seconds to wait for another process; PyTorch is given at least 60.
    """
    if not distributed.is_initialized():
        engine = "gloo"
        if device != "cpu":
            torch.cuda.set_device(local_rank)
            engine = "cpu:gloo,cuda:nccl"
        distributed.init_process_group(engine, timeout=timedelta(seconds=max(timeout, _LEAST_TIMEOUT)))
        atexit.register(_leave)
    return TorchRanks()
