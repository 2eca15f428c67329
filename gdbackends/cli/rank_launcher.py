"""`--processes N`: start the processes of a command on this machine, watch them, and end them together.

MPI's processes are started by its own mpiexec. Those of PyTorch and JAX are started here, with the variables that
torchrun sets and the address that JAX needs: a process that ends is noticed at once, and what it said is the error.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

import click

from gdbackends.cli.rank_process import LAUNCHER
from gdbackends.errors import InputError, require_package
from gdbackends.measurement.environment import affinity
from gdbackends.measurement.subprocess_worker import THREADS

_GRACE = 3.0
"""Seconds that the other processes have to say why they end, after the first has failed."""
_BANNER = re.compile(r"\n?=+\n=   BAD TERMINATION.*", re.DOTALL)
"""What MPICH prints on standard output when a process fails."""
_MPI_RANK = re.compile(r"RANK (\d+) PID.*?(?:EXIT CODE: (\d+)|KILLED BY SIGNAL: (\d+))", re.DOTALL)


def launch(backend: str, processes: int, arguments: Sequence[str], advice: str = "") -> int:
    """Run the command in so many processes, print what the first prints, and return its exit code.

    Args:
        backend: the name of the backend, which determines the engine.
        processes: their number.
        arguments: the arguments of the command line.
        advice: what to do if a process is lost.

    Raises:
        InputError: a process failed; the message is what it said.
    """
    with ExitStack() as stack:
        files = [[stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2)] for _ in range(processes)]
        commands = _commands(backend, processes, list(arguments))
        cores = _cores(processes)
        started: list[Any] = []
        stack.callback(_stop, started)
        stack.enter_context(_ended_by_signals(started))
        for k, (command, variables) in enumerate(commands):
            out, err = files[k]
            pinned = cores[k] if len(commands) > 1 else ()
            started.append(_start(command, variables, out, err, pinned, len(cores[0]) or 1))
        codes = _wait(started)
        shown, said = ["".join(_text(file) for file in kind) for kind in zip(*files, strict=True)]
    banner = _BANNER.search(shown)
    shown = shown[: banner.start()] if banner else shown
    if any(code not in (0, 1) for code in codes):
        raise InputError(_reason(codes, said, banner[0] if banner else "", advice))
    click.echo(shown, nl=False)
    click.echo(_without_noise(said), nl=False, err=True)
    return max(codes)


def _commands(backend: str, processes: int, arguments: list[str]) -> list[tuple[list[str], dict[str, str]]]:
    """Return the commands to start, with their variables: one for each process, or mpiexec."""
    program = [sys.executable, "-P", "-m", "gdbackends", *arguments]
    if backend not in ("torch", "jax"):
        require_package("several processes of NumPy", "mpi4py", "distributed")
        beside = Path(sys.executable).parent / "mpiexec"
        mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
        if mpiexec is None:
            raise InputError("several processes of NumPy need mpiexec; run: pip install 'gdbackends[distributed]'")
        return [([mpiexec, "-n", str(processes), *program], {})]
    port = _free_port()
    if backend == "jax":
        address = ["--coordinator", f"127.0.0.1:{port}"]
        return [([*program, *address, "--process", str(k)], {}) for k in range(processes)]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    return [(program, shared | {"RANK": str(k), "LOCAL_RANK": str(k)}) for k in range(processes)]


def _start(
    command: Sequence[str], variables: dict[str, str], out: IO[str], err: IO[str], pinned: Sequence[int], threads: int
) -> Any:
    """Start a process in a session of its own, on the cores that are its own."""
    environment = os.environ | dict.fromkeys(THREADS, str(threads)) | variables | {LAUNCHER: str(os.getpid())}
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    before = affinity() if pinned and hasattr(os, "sched_setaffinity") else None
    if before is not None:
        os.sched_setaffinity(0, pinned)  # inherited by the process
    try:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
    finally:
        if before is not None:
            os.sched_setaffinity(0, before)


def _cores(processes: int) -> list[list[int]]:
    """Return the cores of each process; the processes share them if there are fewer cores."""
    cores = list(affinity())
    each = max(1, len(cores) // processes)
    return [[cores[(k * each + i) % len(cores)] for i in range(each)] for k in range(processes)]


def _wait(started: Sequence[Any]) -> list[int]:
    """Return the exit codes; once a process has failed, end the others."""
    failed: float | None = None
    while True:
        codes = [process.poll() for process in started]
        if None not in codes:
            return codes
        if failed is None and any(code not in (None, 0) for code in codes):
            failed = time.monotonic()
        if failed is not None and time.monotonic() - failed > _GRACE:
            _stop(started)
        time.sleep(0.02)


def _stop(started: Sequence[Any]) -> None:
    """End the processes that run: mpiexec ends its own when it is asked to."""
    for sign, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, None)):
        running = [process for process in started if process.poll() is None]
        for process in running:
            os.killpg(process.pid, sign)
        until = None if patience is None else time.monotonic() + patience
        while any(process.poll() is None for process in running) and (until is None or time.monotonic() < until):
            time.sleep(0.02)


@contextmanager
def _ended_by_signals(started: Sequence[Any]) -> Generator[None]:
    """End the processes if this one is asked to end."""

    def end(number: int, frame: object) -> NoReturn:
        _stop(started)
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _reason(codes: Sequence[int], said: str, banner: str, advice: str) -> str:
    """Return why the command failed: what a process said of itself, or how it ended."""
    lines = [line.removeprefix("gdbackends: ") for line in said.splitlines() if line.startswith("gdbackends: ")]
    mpi = _MPI_RANK.search(banner)
    dead = {k: -code for k, code in enumerate(codes) if code < 0 and code != -signal.SIGTERM}
    dead |= {int(mpi[1]): int(mpi[3])} if mpi and mpi[3] and int(mpi[3]) != signal.SIGTERM else {}
    if dead and not any("another process" not in line for line in lines):
        rank, number = next(iter(dead.items()))
        return f"rank {rank} was ended by {signal.Signals(number).name}, and the others with it{advice}"
    if lines:
        own = [line for line in lines if "another process" not in line] or lines
        return own[0] + (advice if own is lines else "")
    last = _without_noise(said).strip().splitlines()
    return f"a process ended with code {max(codes)}: {last[-1][:300] if last else 'it said nothing'}{advice}"


def _without_noise(said: str) -> str:
    """Return what processes printed on standard error, without the lines of their engines."""
    noise = re.compile(r"^(\[Gloo\]|\[W\d|\[rank\d+\]:\[W|[WIE]\d{4} )")
    return "".join(line for line in said.splitlines(keepends=True) if not noise.match(line))


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
