"""`--processes N`: start the processes of a command on this machine, watch them, and end them together.

MPI's processes are started by its own mpiexec. Those of PyTorch and JAX are started here, with the variables that
torchrun sets and the address that JAX needs: a process that ends is noticed at once, and what it said is the error.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread
from typing import IO, Any, NoReturn

from gdbackends.errors import InputError, require_package
from gdbackends.measurement.environment import affinity
from gdbackends.measurement.subprocess_worker import THREADS

LAUNCHER, FOLDER = "GDBACKENDS_LAUNCHER", "GDBACKENDS_RANKS"
"""The variables with the number of this process, without which those started here end, and with the folder in which
they write theirs."""
SAID = "said"
"""The beginning of the names of the files in which ranks say why they end: mpiexec may lose what they print then."""
ANOTHER = "another process"
"""What a process says of others whose rank it does not know."""
_GRACE = 3.0
"""Seconds that the other processes have to say why they end, after the first has failed."""
_FEW, _MOST_PER_CORE = 16, 4
"""Most processes of this machine: for each core, and whatever the cores."""
_BANNER = re.compile(r"\n?=+\n=   BAD TERMINATION.*", re.DOTALL)
"""What MPICH prints on standard output when a process fails."""
_MPI_DEAD = re.compile(r"PID (\d+) RUNNING.*?\(signal (\d+)\)", re.DOTALL)


class RankError(InputError):
    """A process of several failed."""

    def __init__(self, reason: str, out: str) -> None:
        """Take the reason, and what the processes have printed on standard output before."""
        super().__init__(reason)
        self.out = out


def launch(backend: str, processes: int, arguments: Sequence[str], advice: str = "") -> Launched:
    """Run the command in so many processes.

    They are ended when this process is asked to end.

    Args:
        backend: the name of the backend, which determines the engine.
        processes: their number.
        arguments: the arguments of the command line.
        advice: what to do if a process is lost.

    Returns:
        What the processes printed.

    Raises:
        InputError: a process failed; the message is what it said.
    """
    with ExitStack() as stack:
        stack.enter_context(_exit_on_termination())
        commands, cores = _commands(backend, processes, list(arguments)), _cores(processes)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gdbackends-")))
        run = _Run(folder, [])
        stack.callback(run.stop)
        for k, (command, variables) in enumerate(commands):
            pinned = cores[k] if len(commands) > 1 else ()
            out, err = (stack.enter_context((folder / f"{name}{k}").open("w")) for name in ("out", "err"))
            run.started.append(_start(command, variables | {FOLDER: str(folder)}, out, err, pinned, len(cores[0])))
        ending = run.wait()
        shown, said = (
            "".join((folder / f"{name}{k}").read_text(errors="replace") for k in range(len(commands)))
            for name in ("out", "err")
        )
        ranks = run.ranks()
        lines = [path.read_text("utf8", "replace") for path in sorted(folder.glob(f"{SAID}*"))]
    banner = _BANNER.search(shown)
    if any(code not in (0, 1) for code in ending.codes):
        reason, lost = _reason(ending, lines, said, banner[0] if banner else "", ranks)
        raise RankError(reason + advice if lost else reason, shown[: banner.start()] if banner else shown)
    return Launched(max(ending.codes), shown[: banner.start()] if banner else shown, _without_noise(said))


def run_on_ranks(backend: str, processes: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what function(ranks, *arguments) returns in the first of so many fresh processes; ranks is None for one.

    Args:
        backend: the name of the backend, which determines the engine.
        processes: their number.
        function: a function at the top level of a module, which every process calls.
        *arguments: arguments that can be pickled.

    Raises:
        InputError: a process failed; the message is what it said.
    """
    with tempfile.TemporaryDirectory(prefix="gdbackends-") as folder:
        task = Path(folder) / "task"
        task.write_bytes(pickle.dumps((sys.path, pickle.dumps((function, arguments)))))
        done = launch(backend, processes, ["ranks", str(task), "--backend", backend, "--processes", str(processes)])
        if done.code:
            raise InputError(f"a process of {backend} failed: {done.err.strip().splitlines()[-1][:300]}")
        return pickle.loads(Path(f"{task}.result").read_bytes())


@dataclass(frozen=True)
class Launched:
    """What the processes of a command printed.

    Attributes:
        code: its exit code, 0 or 1.
        out: what they printed on standard output.
        err: what they printed on standard error, without what their engines print.
    """

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Ending:
    """How the processes ended.

    Attributes:
        codes: their exit codes; of processes that were stopped here, SIGKILL's.
        silent: the numbers of those that were stopped here, since they had not ended by themselves.
    """

    codes: tuple[int, ...]
    silent: tuple[int, ...]


@dataclass(frozen=True)
class _Run:
    """The processes that were started.

    Attributes:
        folder: the folder in which the ranks write their process numbers.
        started: the ranks themselves, or mpiexec.
    """

    folder: Path
    started: list[Any]

    def ranks(self) -> dict[int, int]:
        """Return the ranks by the numbers of their processes, as far as they have joined."""
        files = [path for path in self.folder.iterdir() if path.name.isdigit()]
        return {int(text): int(path.name) for path in files if (text := path.read_text()).isdigit()}

    def wait(self) -> Ending:
        """Return how the processes ended; once one has failed, the others are stopped."""
        failed: float | None = None
        while None in (codes := [process.poll() for process in self.started]):
            if failed is None and any(code not in (None, 0) for code in codes):
                failed = time.monotonic()
            if failed is not None and time.monotonic() - failed > _GRACE:
                self.stop()
                silent = tuple(k for k, code in enumerate(codes) if code is None)
                return Ending(tuple(-signal.SIGKILL if code is None else code for code in codes), silent)
            time.sleep(0.02)
        return Ending(tuple(process.returncode for process in self.started), ())

    def stop(self) -> None:
        """End the processes that run: mpiexec ends its own when it is asked to."""
        for sign, patience in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 10.0)):
            running = [process for process in self.started if process.poll() is None]
            for process in running:
                with suppress(ProcessLookupError):  # ended just now
                    os.killpg(process.pid, sign)
            until = time.monotonic() + patience
            while any(process.poll() is None for process in running) and time.monotonic() < until:
                time.sleep(0.02)
        started = {process.pid for process in self.started}
        for number in self.ranks():
            if number not in started:  # of mpiexec, which may have been killed before it ended them
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


def _commands(backend: str, processes: int, arguments: list[str]) -> list[tuple[list[str], dict[str, str]]]:
    """Return the commands to start, with their variables: one for each process, or mpiexec."""
    most = max(_FEW, _MOST_PER_CORE * len(affinity()))
    if processes > most:
        raise InputError(
            f"--processes must be at most {most} on this machine of {len(affinity())} cores, got {processes:,}"
        )
    safe = (
        [] if {"", str(Path.cwd())} & set(sys.path) else ["-P"]
    )  # the current folder is on their path if it is on ours
    program = [sys.executable, *safe, "-m", "gdbackends", *arguments]
    if backend not in ("torch", "jax"):
        require_package("NumPy over several processes", "mpi4py", "distributed")
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


@contextmanager
def _exit_on_termination() -> Generator[None]:
    """Turn SIGTERM into an exit, on which the processes are ended; only the main thread is told."""
    if current_thread() is not main_thread():
        yield
        return

    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _reason(ending: Ending, lines: list[str], said: str, banner: str, ranks: Mapping[int, int]) -> tuple[str, bool]:
    """Return why the command failed, what a process said of itself or how it ended, and whether one was lost."""
    dead = {k: -code for k, code in enumerate(ending.codes) if code < 0 and k not in ending.silent}
    mpi = _MPI_DEAD.search(banner)
    if mpi and int(mpi[1]) in ranks:
        dead[ranks[int(mpi[1])]] = int(mpi[2])
    lines = [*lines, *(line for line in said.splitlines() if line.startswith("gdbackends: "))]
    lines = [line.removeprefix("gdbackends: ") for line in lines]
    own = [line for line in lines if ANOTHER not in line and "no answer from" not in line]
    if own:
        return own[0], False
    if signal.SIGALRM in dead.values():
        return "the processes did not find each other in time (--rank-timeout)", True
    if ending.silent and set(dead.values()) == {signal.SIGABRT}:  # by which JAX ends a process that has lost another
        return f"rank {next(iter(dead))}: no answer from rank {ending.silent[0]} in time (--rank-timeout)", True
    if dead:
        rank, number = next(iter(dead.items()))
        return f"rank {rank} was ended by {signal.Signals(number).name}, and the others with it", True
    if mpi:  # of a process that had not yet said its rank
        return f"a process was ended by {signal.Signals(int(mpi[2])).name}, and the others with it", True
    if lines:
        return lines[0].replace(ANOTHER, f"rank {ending.silent[0]}" if ending.silent else ANOTHER), True
    last = _without_noise(said).strip().splitlines()
    return f"a process ended with code {max(ending.codes)}: {last[-1][:300] if last else ''}", False


def _without_noise(said: str) -> str:
    """Return what processes printed on standard error, without the lines of their engines."""
    noise = re.compile(r"^(\[Gloo\]|\[W\d|\[rank\d+\]:\[W|[WIE]\d{4} )")
    return "".join(line for line in said.splitlines(keepends=True) if not noise.match(line))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
