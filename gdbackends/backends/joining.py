"""join(): connect this process to the others that a launcher has started, on the framework's own engine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from gdbackends.errors import InputError, MissingPackageError
from gdbackends.ranks import Ranks

_VARIABLES = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "mpiexec": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    "mpirun": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
}
"""The variables in which launchers say the rank, the number of processes, and the rank on the machine.

Slurm also sets SLURM_NTASKS, but in an allocation without srun there is a single process.
"""
ENGINES = {"torch": ("torchrun", "srun"), "jax": ("srun",), "numpy": ("mpiexec", "mpirun", "srun")}
"""The launchers that serve a backend; NumPy's serve every backend whose arrays are NumPy's."""


@dataclass(frozen=True)
class Place:
    """The place of this process among those that a launcher has started.

    Attributes:
        launcher: its name.
        rank: the number of this process.
        size: the number of processes.
        local_rank: the number of this process on its machine.
    """

    launcher: str
    rank: int
    size: int
    local_rank: int


def place(environment: Mapping[str, str] | None = None) -> Place | None:
    """Return the place of this process; None if no launcher has started several processes."""
    environment = os.environ if environment is None else environment
    for launcher, names in _VARIABLES.items():
        rank, size, local = (environment.get(name, "") for name in names)
        if rank.isdigit() and size.isdigit() and int(size) > 1:
            return Place(launcher, int(rank), int(size), int(local) if local.isdigit() else int(rank))
    return None


def join(
    backend: str,
    *,
    device: str = "cpu",
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    timeout: float = 60.0,
) -> Ranks:
    """Connect this process to the others of one fit, before anything else is computed.

    NumPy's processes are started by mpiexec, PyTorch's by torchrun or srun, and JAX's by srun, or by hand with the
    address of process 0.

    Args:
        backend: "torch"; "jax"; or any other, whose arrays are NumPy's and which runs over MPI.
        device: "cpu", or "gpu" ("cuda").
        coordinator: "HOST:PORT" of process 0, for JAX without a launcher.
        processes: the number of processes, likewise.
        process: the number of this process, likewise.
        timeout: seconds after which PyTorch and JAX take a silent process for lost.

    Returns:
        What `fit` takes as `ranks`.

    Raises:
        MissingPackageError: mpi4py is not installed; the message says what to run.
        InputError: the processes cannot find each other.
    """
    at = place()
    kind = "cpu" if device == "cpu" else "gpu"
    if backend == "jax":
        return _of("jax_ranks").joined(coordinator, processes, process, kind, timeout)
    if backend == "torch":
        if at is not None and at.launcher == "srun":
            os.environ.update(_addresses(os.environ, at))
        if at is None and "RANK" not in os.environ:
            raise InputError("no other processes of PyTorch are known; start this one with torchrun or srun")
        return _of("torch_ranks").joined(kind, 0 if at is None else at.local_rank, timeout)
    if find_spec("mpi4py") is None:
        raise MissingPackageError(
            "several processes of NumPy need the package mpi4py, which is not installed; "
            "run: pip install 'gdbackends[distributed]'"
        )
    return _of("mpi_ranks").joined()


def _of(module: str) -> Any:
    return import_module(f"gdbackends.backends.{module}")


def _addresses(environment: Mapping[str, str], at: Place) -> dict[str, str]:
    """Return the variables that torch.distributed reads, from those of Slurm: the first node, and a port of the job."""
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_NODELIST", ""))
    match = re.match(r"([^,\[]+)(?:\[(\d+))?", nodes)
    if match is None:
        raise InputError(f"SLURM_STEP_NODELIST names no node, got {nodes!r}; set MASTER_ADDR and MASTER_PORT")
    port = 20000 + int(environment.get("SLURM_JOB_ID", "0")) % 10000
    found = {"MASTER_ADDR": match[1] + (match[2] or ""), "MASTER_PORT": str(port)}
    found |= {"RANK": str(at.rank), "WORLD_SIZE": str(at.size), "LOCAL_RANK": str(at.local_rank)}
    return found | {name: environment[name] for name in ("MASTER_ADDR", "MASTER_PORT") if name in environment}
