"""What the launchers of processes say of themselves in the environment."""

from __future__ import annotations

import pytest

from gdbackends.backends.joining import _addresses
from gdbackends.errors import InputError
from gdbackends.launchers import Place, place


def test_places() -> None:
    assert place({}) is None
    assert place({"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert place({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) is None  # an allocation without srun
    assert place({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Place("torchrun", 3, 4, 1)
    assert place({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1"}) == Place("mpiexec", 1, 2, 1)
    slurm = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "123456"}
    at = place(slurm)
    assert at == Place("srun", 5, 8, 1)
    for nodes, first in {"n[07-09,12]": "n07", "gpu1,gpu2": "gpu1", "login": "login"}.items():
        found = _addresses(slurm | {"SLURM_STEP_NODELIST": nodes}, at)
        assert found == {
            "MASTER_ADDR": first,
            "MASTER_PORT": "23456",
            "RANK": "5",
            "WORLD_SIZE": "8",
            "LOCAL_RANK": "1",
        }
    assert _addresses(slurm | {"SLURM_STEP_NODELIST": "a", "MASTER_ADDR": "b"}, at)["MASTER_ADDR"] == "b"
    with pytest.raises(InputError, match="names no node"):
        _addresses({}, at)
