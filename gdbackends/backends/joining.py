"""join(): connect this process to the others that a launcher has started, on the framework's own engine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from gdbackends.errors import BackendError, InputError, MissingPackageError, in_one_line
from gdbackends.launchers import Place, place
from gdbackends.ranks import Ranks


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
        absent = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if absent:
            raise InputError(f"PyTorch's processes need {', '.join(absent)}; start them with torchrun or srun")
        return _of("torch_ranks").joined(kind, 0 if at is None else at.local_rank, timeout)
    if find_spec("mpi4py") is None:
        raise MissingPackageError(
            "several processes of NumPy need the package mpi4py, which is not installed; "
            "run: pip install 'gdbackends[distributed]'"
        )
    try:
        return _of("mpi_ranks").joined()
    except (ImportError, RuntimeError) as error:  # of mpi4py, which finds no MPI
        reason = in_one_line(error)[:200]
        raise BackendError(f"mpi4py does not work: {reason}; run: pip install 'gdbackends[distributed]'") from None


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
