"""The engines of several processes: mpiexec, torch.distributed and JAX's runtime, on this machine.

tests/test_ranks.py has what does not depend on the engine.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from gdbackends import fit
from gdbackends.objectives import LinearModel, parse_loss

pytestmark = pytest.mark.distributed
ENGINES = ("numpy", "torch", "jax")
ROWS = 1003
BIN = Path(sys.executable).parent
LIMIT = 60.0
"""Seconds within which a fit ends once one of its processes is lost."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(5)
    X = rng.normal(size=(ROWS, 6)) * [1, 2, 0.5, 3, 1, 10] + [0, 1, 0, -2, 5, 100]
    y = X @ [1.0, -1, 0.5, 0.2, 0.1, 0.3] + rng.normal(size=ROWS)
    np.save(path / "t.npy", np.column_stack((X, y)))
    X[700, 2] = np.nan
    np.save(path / "broken.npy", np.column_stack((X, y)))
    return path


def command(*arguments: str, cwd: Path, timeout: float = LIMIT, **variables: str) -> CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gdbackends", *arguments],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def numbers(text: str) -> np.ndarray:
    document = json.loads(text)
    return np.array([*document["coefficients"].values(), document["intercept"], document["loss"]])


@pytest.mark.parametrize("backend", ENGINES)
def test_fit_over_processes(backend: str, folder: Path, require) -> None:
    require(backend)
    alone = command("fit", "t.npy", "--backend", backend, "--json", cwd=folder)
    two = command("fit", "t.npy", "--backend", backend, "--json", "--processes", "2", "--save", "fit.json", cwd=folder)
    assert two.returncode == 0, two.stderr
    assert two.stderr == alone.stderr  # the notes on the columns, once; nothing of an engine
    np.testing.assert_allclose(numbers(two.stdout), numbers(alone.stdout), rtol=1e-11)
    assert json.loads(two.stdout)["dataset"]["rows"] == ROWS
    assert (folder / "fit.json").read_text() == two.stdout
    options = ("--batch-size", "64", "--steps", "100", "--dtype", "float32", "--json")
    alone = command("fit", "t.npy", "--backend", backend, *options, cwd=folder)
    three = command("fit", "t.npy", "--backend", backend, *options, "--processes", "3", cwd=folder)
    assert three.returncode == 0, three.stderr
    np.testing.assert_allclose(numbers(three.stdout), numbers(alone.stdout), rtol=2e-4)


@pytest.mark.parametrize("backend", ENGINES)
def test_a_mistake_is_one_line(backend: str, folder: Path, require) -> None:
    require(backend)
    done = command("fit", "broken.npy", "--backend", backend, "--target", "c7", "--processes", "2", cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "gdbackends: rank 1: broken.npy: 1 missing or non-finite values, the first in row 700 (from 0), column 'c3'; "
        "drop or fill those rows\n"
    )


def test_divergence_keeps_its_exit_code(folder: Path) -> None:
    options = ("--learning-rate", "100", "--json", "--processes", "2")
    done = command("fit", "t.npy", "--target", "c7", *options, cwd=folder)
    assert done.returncode == 1
    assert json.loads(done.stdout)["stop"] == "DIVERGED"  # MPICH prints a banner, which is left out


def started(backend: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a fit over two processes that would take days."""
    endless = ("--steps", "1000000000", "--tolerance", "0", "--processes", "2", *options)
    return subprocess.Popen(
        [sys.executable, "-m", "gdbackends", "fit", "t.npy", "--target", "c7", "--backend", backend, *endless],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def descendants(process: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, todo = [], [process]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def ranks_among(processes: Sequence[int]) -> list[int]:
    """Return those that run the command themselves."""
    found = []
    for process in processes:
        try:
            words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if "python" in words[0] and "gdbackends" in words[1:4]:
            found.append(process)
    return found


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("backend", ENGINES)
def test_a_lost_process_ends_the_fit(backend: str, sign: signal.Signals, folder: Path, require) -> None:
    require(backend)
    parent = started(backend, folder, "--rank-timeout", "4")
    until = time.monotonic() + 30
    while len(ranks := ranks_among(descendants(parent.pid))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(random.uniform(0, 6))
    every = descendants(parent.pid)
    victim = random.choice(ranks)
    begun = time.monotonic()
    os.kill(victim, sign)
    try:
        out, err = parent.communicate(timeout=LIMIT)
    finally:
        parent.kill()
    assert parent.returncode == 2
    assert out == ""
    assert time.monotonic() - begun < LIMIT
    (line,) = err.splitlines()
    killed = r"(rank [01]|a process) was ended by SIGKILL, and the others with it"
    stopped = r"rank [01]: (no answer from|lost) rank [01].*|the processes did not find each other in time .*"
    assert re.fullmatch(f"gdbackends: ({killed if sign == signal.SIGKILL else stopped})", line), line
    time.sleep(0.5)
    assert not [process for process in every if Path(f"/proc/{process}").exists()]


@pytest.mark.parametrize("backend", ENGINES)
def test_no_process_outlives_the_command(backend: str, folder: Path, require) -> None:
    require(backend)
    parent = started(backend, folder)
    until = time.monotonic() + 30
    while len(ranks_among(descendants(parent.pid))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(random.uniform(2, 6))
    every = descendants(parent.pid)
    parent.kill()
    parent.communicate(timeout=LIMIT)
    until = time.monotonic() + 10
    while (left := [p for p in every if Path(f"/proc/{p}").exists()]) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left


def test_mpiexec_and_torchrun_by_hand(folder: Path, require) -> None:
    require("torch")
    program = ["gdbackends", "fit", "t.npy", "--target", "c7", "--json", "--backend"]
    alone = numbers(command(*program[1:], "numpy", cwd=folder).stdout)
    mpi = [str(BIN / "mpiexec"), "-n", "2", sys.executable, "-m", *program, "numpy"]
    torch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    for words in (mpi, [*torch, *program, "torch"]):
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False)
        assert done.returncode == 0, done.stderr
        np.testing.assert_allclose(numbers(done.stdout), alone, rtol=1e-11)


def test_processes_that_would_all_make_the_whole_fit_are_refused(folder: Path) -> None:
    launched = {"RANK": "0", "WORLD_SIZE": "2"}
    done = command("fit", "t.npy", "--backend", "numpy", cwd=folder, **launched)
    assert done.returncode == 2
    assert done.stderr == (
        "gdbackends: torchrun has started 2 processes, each of which would make the whole fit with numpy; use mpiexec\n"
    )
    done = command("compare", "t.npy", cwd=folder, **launched)
    assert done.stderr == (
        "gdbackends: torchrun has started 2 processes, and compare runs in one; only fit runs over several\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--processes", "2", "--predict", "p.csv"], "--predict needs all rows in one process"),
        (["--processes", "2", "--holdout", "0.2"], "--holdout needs all rows in one process"),
        (["--coordinator", "localhost:1"], "go together, with --backend jax"),
        (["--backend", "jax", "--coordinator", "localhost:1", "--processes", "2"], "go together"),
        (
            ["--backend", "jax", "--coordinator", "localhost:1", "--processes", "2", "--process", "2"],
            "--process must be from 0 to 1, got 2",
        ),
        *(
            (["--backend", "jax", "--coordinator", address, "--processes", "2", "--process", "0"], message)
            for address, message in {
                "127.0.0.1:abc": "--coordinator must be HOST:PORT with a port from 1 to 65535, got '127.0.0.1:abc'",
                "127.0.0.1": "got '127.0.0.1'",
                "127.0.0.1:99999": "got '127.0.0.1:99999'",
                "nosuchhost.invalid:5000": "--coordinator nosuchhost.invalid:5000 cannot be used",
            }.items()
        ),
        (["--processes", "100000000000"], "on this machine of"),
        (["--processes", "0"], "0 is not in the range"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], message: str, folder: Path) -> None:
    done = command("fit", "t.npy", *options, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_occupied_port_is_refused(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        how = ("--backend", "jax", "--coordinator", address, "--processes", "2", "--process", "0")
        done = command("fit", "t.npy", *how, cwd=folder)  # JAX ends with a segmentation fault
    assert done.returncode == 2
    assert done.stderr.startswith(f"gdbackends: --coordinator {address} cannot be used: address already in use")


@pytest.mark.parametrize(
    ("variables", "backend", "message"),
    [
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, "numpy", "they do not belong together"),
        ({"RANK": "5", "WORLD_SIZE": "2"}, "torch", "torchrun must give a rank below 2"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "torch", "PyTorch's processes need MASTER_ADDR, MASTER_PORT"),
    ],
)
def test_launchers_that_do_not_launch(variables: dict[str, str], backend: str, message: str, folder: Path) -> None:
    done = command("fit", "t.npy", "--backend", backend, "--save", "none.json", cwd=folder, **variables)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert done.stdout == ""
    assert not (folder / "none.json").exists()


def test_more_processes_than_rows(folder: Path) -> None:
    np.save(folder / "two.npy", np.load(folder / "t.npy")[:2])
    done = command("fit", "two.npy", "--target", "c7", "--processes", "3", cwd=folder)
    assert done.returncode == 2
    assert done.stderr == "gdbackends: rank 0: 2 rows cannot be divided among 3 processes; use fewer\n"


def test_a_result_that_cannot_be_saved_is_shown(folder: Path) -> None:
    how = ("--target", "c7", "--json", "--save", "/dev/full", "--processes", "2")
    done = command("fit", "t.npy", *how, cwd=folder)
    assert done.returncode == 2
    assert json.loads(done.stdout)["stop"] == "CONVERGED"
    assert done.stderr == "gdbackends: rank 0: /dev/full: cannot be written: no space left on device\n"


def test_several_processes_cannot_share_standard_input(folder: Path) -> None:
    done = command("fit", "-", "--processes", "2", cwd=folder)
    assert done.stderr == "gdbackends: several processes cannot share standard input; name a file\n"


_DEVICES = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 3)
import numpy as np
from gdbackends import fit
from gdbackends.backends.jax_ranks import JaxRanks
from gdbackends.objectives import LinearModel, parse_loss
table = np.load("t.npy")
X, y = table[:, :-1], table[:, -1]
ranks = JaxRanks()
assert len(ranks.devices) == 3
for loss, batch, tuning in (("squared", None, "best"), ("squared", 32, "best"), ("huber:1.5", None, "idiomatic")):
    model = LinearModel(row_loss=parse_loss(loss), l2=0.01)
    from gdbackends import get_backend
    backend = get_backend("jax", tuning=tuning)
    one = fit(X, y, backend=backend, objective=model, batch_size=batch, steps=100, ranks=ranks)
    np.save(f"{loss[:5]}-{batch}.npy", one.theta)
    print(one.plan)
"""


def test_jax_over_the_devices_of_one_process(folder: Path, require) -> None:
    require("jax")
    done = subprocess.run([sys.executable, "-c", _DEVICES], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "1 process, 3 devices, feature-major, whole, compiled loop"
    table = np.load(folder / "t.npy")
    for loss, batch in (("squared", None), ("squared", 32), ("huber:1.5", None)):
        model = LinearModel(row_loss=parse_loss(loss), l2=0.01)
        alone = fit(table[:, :-1], table[:, -1], backend="numpy", objective=model, batch_size=batch, steps=100)
        np.testing.assert_allclose(np.load(folder / f"{loss[:5]}-{batch}.npy"), alone.theta, rtol=1e-10)


_BOUND = """
import sys
import numpy as np
from gdbackends import get_backend
from gdbackends.backends.joining import join
from gdbackends.comparison.trajectory import end_bound
from gdbackends.descent import ProblemOptions, descend, learning_rates, prepare
from gdbackends.ranks import own_rows

name, *where = sys.argv[1:]
address = {"coordinator": where[0], "processes": 2, "process": int(where[1])} if where else {}
ranks = join(name, **address)
rows, features = 5_003, 10
rng = np.random.default_rng(0)
X = rng.normal(size=(rows, features))
y = X @ rng.normal(size=features) + rng.normal(size=rows)
own = own_rows(rows, ranks)
for dtype in ("float64", "float32"):
    for batch in (None, 100):
        backend = get_backend(name, dtype=dtype)
        options = ProblemOptions(batch, standardize=False)
        alone = prepare(X, y, get_backend("numpy", dtype=dtype), options=options)
        rates = learning_rates(alone, 0.005, 100)
        together = prepare(X[own], y[own], backend, options=ProblemOptions(batch, standardize=False, ranks=ranks))
        found = descend(together, rates).theta
        bits = ranks.gathered(found)
        assert (bits == bits[0]).all()
        minimum = alone.objective.minimum(alone.X, alone.y.astype(float), alone.theta0.astype(float))
        distance = np.linalg.norm(found.astype(float) - descend(alone, rates).theta.astype(float))
        if ranks.rank == 0:
            print("ratio", distance / end_bound(alone, minimum, rates, 100))
"""


def test_compare_judges_every_engine_beside_one_process(folder: Path, require) -> None:
    require("torch")
    require("jax")
    options = ("--processes", "2", "--json", "--steps", "100", "--batch-size", "100", "--dtype", "float32")
    done = command("compare", "t.npy", "--target", "c7", *options, cwd=folder, timeout=2 * LIMIT)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["verdict"] == "agree"
    rows = {row["backend"]: row for row in document["backends"]}
    assert list(rows) == [*ENGINES[::2], ENGINES[1], *(f"{name} x 2" for name in (*ENGINES[::2], ENGINES[1]))]
    for name in ENGINES:
        several = rows[f"{name} x 2"]
        assert (rows[name]["processes"], several["processes"]) == (1, 2)
        assert several["status"] == "ok"
        assert 0 < several["gradient_ratio"] <= 1
        assert several["trajectory_ratio"] <= 1
        assert several["step_s"] > 0


def test_a_checkpoint_is_resumed_by_other_processes_and_other_backends(folder: Path, require) -> None:
    require("torch")
    require("jax")
    how = ("fit", "t.npy", "--target", "c7", "--json", "--batch-size", "100", "--learning-rate", "0.05")
    alone = numbers(command(*how, "--steps", "220", cwd=folder).stdout)
    kept = ("--checkpoint", "kept.npz", "--resume")
    stages = [("jax", "2", "66"), ("numpy", "3", "110"), ("torch", "1", "154"), ("torch", "2", "220")]
    for backend, processes, steps in stages:
        done = command(
            *how, *kept, "--backend", backend, "--processes", processes, "--steps", steps, cwd=folder, timeout=LIMIT
        )
        assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(numbers(done.stdout), alone, rtol=1e-11)
    other = command(*how, *kept, "--steps", "220", "--seed", "1", "--processes", "2", cwd=folder)
    assert other.returncode == 2
    assert "seed" in other.stderr.splitlines()[-1]


@pytest.mark.parametrize("backend", ENGINES)
def test_within_the_bound_and_the_same_bits(backend: str, folder: Path, require) -> None:
    """From Python, by `join`; the bound of rounding is that of one process."""
    require(backend)
    script = [sys.executable, "-c", _BOUND, backend]
    if backend == "numpy":
        mpiexec = shutil.which("mpiexec", path=f"{BIN}:{os.environ['PATH']}")
        assert mpiexec
        commands = [[mpiexec, "-n", "2", *script]]
    else:
        commands = [script] * 2
    from gdbackends.measurement.rank_launcher import _free_port

    port, running = _free_port(), []
    for k, words in enumerate(commands):
        where = [f"127.0.0.1:{port}", str(k)] if backend == "jax" else []
        variables = {"RANK": str(k), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        running.append(
            subprocess.Popen(
                [*words, *where],
                cwd=folder,
                env=os.environ | (variables if backend == "torch" else {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    shown = ""
    for process in running:
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err
        shown += out
    ratios = [float(line.split()[1]) for line in shown.splitlines() if line.startswith("ratio")]
    assert len(ratios) == 4
    assert all(ratio <= 1 for ratio in ratios), ratios
