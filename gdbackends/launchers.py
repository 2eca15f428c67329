"""The launchers of processes, torchrun, mpiexec and srun: what they say of themselves in the environment; no NumPy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from gdbackends.errors import InputError

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


def refuse_launcher(command: str) -> None:
    """Refuse a command that several processes would all run, and print, as a whole."""
    at = place()
    if at is not None:
        raise InputError(
            f"{at.launcher} has started {at.size} processes, and {command} runs in one; only fit runs over several"
        )
