# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The processes of mpiexec, by mpi4py: for backends whose arrays are NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from gdbackends.blocks import Parts
from gdbackends.errors import BackendError
from gdbackends.objectives import Array
from gdbackends.ranks import Share, flat, split


class MpiRanks:
    """The processes of an MPI communicator; all of them by default."""

    def __init__(self, communicator: Any = None) -> None:
        """Take an intracommunicator of mpi4py."""
        self._communicator = MPI.COMM_WORLD if communicator is None else communicator
        self.rank: int = self._communicator.Get_rank()
        self.size: int = self._communicator.Get_size()

    def gathered(self, array: Array) -> Array:
        """Return the arrays of all processes, by MPI_Allgather."""
        sent: Array = np.ascontiguousarray(array)
        received: Array = np.empty((self.size, *array.shape), array.dtype)
        self._communicator.Allgather(sent, received)
        return received

    def mean(self, parts: Parts, share: float) -> Parts:
        """Return the sum of share times each part, by MPI_Allreduce in float64."""
        sent = flat(parts) * share
        self._communicator.Allreduce(MPI.IN_PLACE, sent)
        return split(sent, parts)

    def check(self, backend: Any) -> None:
        """Refuse JAX and PyTorch, which have engines of their own."""
        if backend.name in ("jax", "torch"):
            raise BackendError(
                f"backend {backend.name!r} does not run over MPI; use numpy, or start it with "
                f"{'torchrun' if backend.name == 'torch' else '--coordinator'}"
            )

    def sharded(self, backend: Any, share: Share) -> None:
        """Return None: each step calls `mean`."""


def joined() -> MpiRanks:
    """Return the processes that mpiexec has started."""
    return MpiRanks()
