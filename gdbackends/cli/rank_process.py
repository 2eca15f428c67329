"""One of several processes of a command: it joins the others, waits for them a limited time, and ends in one line."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from gdbackends.backends.joining import join
from gdbackends.blocks import Parts
from gdbackends.errors import InputError, in_one_line
from gdbackends.launchers import ENGINES, Place, place
from gdbackends.measurement.rank_launcher import ANOTHER, FOLDER, LAUNCHER, SAID
from gdbackends.objectives import Array
from gdbackends.ranks import Ranks, RelayedError, Share

T = TypeVar("T")

_LEAST_START = 45.0
"""Seconds that the others have to start, at the least."""
_GRACE = 1.0
"""Seconds that another process has to say why it ends."""
LOST = 75
"""The exit code of a process that has waited too long for another (EX_TEMPFAIL)."""


class Watchdog:
    """Ends this process if it waits for another too long: MPI has no limit of its own, and PyTorch's is long."""

    def __init__(self, rank: int, size: int, launcher: int | None) -> None:
        """Take the rank of this process, their number, and the system's process without which it ends."""
        self._rank, self._launcher, self._since, self._seconds = rank, launcher, None, 0.0
        self._other = f"rank {1 - rank}" if size == 2 else ANOTHER
        threading.Thread(target=self._watch, daemon=True).start()

    def wait(self, seconds: float, function: Callable[..., T], *arguments: Any) -> T:
        """Return function(*arguments), which waits for other processes, for at most so many seconds."""
        self._seconds, self._since = seconds, time.monotonic()
        try:
            return function(*arguments)
        finally:
            self._since = None

    def _watch(self) -> None:
        while True:
            time.sleep(0.25)
            since, seconds = self._since, self._seconds
            if since is not None and time.monotonic() - since > seconds:
                _end(self._rank, f"no answer from {self._other} within {seconds:g} s (--rank-timeout)", LOST)
            if self._launcher is not None and not _runs(self._launcher):
                _end(self._rank, "", LOST)


class Watched:
    """Ranks whose waiting for other processes is limited."""

    def __init__(self, inner: Ranks, watchdog: Watchdog, seconds: float) -> None:
        """Take the processes, and the seconds that one may wait for the others."""
        self._inner, self._watchdog, self._seconds = inner, watchdog, seconds
        self.rank, self.size = inner.rank, inner.size

    def gathered(self, array: Array) -> Array:
        """Do what the inner ranks do."""
        return self._watchdog.wait(self._seconds, self._inner.gathered, array)

    def mean(self, parts: Parts, share: float) -> Parts:
        """Do what the inner ranks do."""
        return self._watchdog.wait(self._seconds, self._inner.mean, parts, share)

    def check(self, backend: Any) -> None:
        """Do what the inner ranks do."""
        self._inner.check(backend)

    def sharded(self, backend: Any, share: Share) -> Any:
        """Do what the inner ranks do."""
        return self._inner.sharded(backend, share)


def ranks_of(options: Mapping[str, Any], backend: str) -> Ranks | None:
    """Return the processes that this one belongs to; None if it is alone.

    Raises:
        InputError: the options contradict the launcher, or the launcher does not serve the backend.
    """
    at = _place(options, backend)
    if at is None:
        return None
    seconds = options["rank_timeout"]
    given = {name: options[name] for name in ("coordinator", "processes", "process")} if backend == "jax" else {}
    joining = partial(join, backend, device=options["device"] or "cpu", timeout=seconds, **given)
    with ending(at.rank):
        watchdog = Watchdog(at.rank, at.size, _registered(at.rank))
        _keep_stdout_clean()
        ranks = watchdog.wait(max(seconds, _LEAST_START), _within, max(seconds, _LEAST_START), joining)
        if (ranks.rank, ranks.size) != (at.rank, at.size):
            raise InputError(
                f"{at.launcher} says that this is rank {at.rank} of {at.size}, and the engine of {backend} rank "
                f"{ranks.rank} of {ranks.size}: they do not belong together; use the launcher of that engine"
            )
    return ranks if backend == "jax" else Watched(ranks, watchdog, seconds)  # JAX watches its processes itself


def _within(seconds: float, joining: Callable[[], Ranks]) -> Ranks:
    """Return what joining() returns; if MPI starts for longer, in which no thread of Python runs, SIGALRM ends it."""
    if not hasattr(signal, "alarm"):
        return joining()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(seconds) + 2)
    try:
        return joining()
    finally:
        signal.alarm(0)


def _place(options: Mapping[str, Any], backend: str) -> Place | None:
    at, processes, process = place(), options["processes"], options["process"]
    if options["coordinator"] is not None or process is not None:
        if backend != "jax" or None in (options["coordinator"], processes, process):
            raise InputError("--coordinator HOST:PORT, --processes N and --process K go together, with --backend jax")
        if not 0 <= process < processes:
            raise InputError(f"--process must be from 0 to {processes - 1}, got {process}")
        _check_address(str(options["coordinator"]), process)
        return Place("--coordinator", process, processes, process)
    if at is not None and at.rank >= at.size:
        raise InputError(f"{at.launcher} must give a rank below {at.size}, the number of processes, got {at.rank}")
    if at is not None and at.launcher not in ENGINES.get(backend, ENGINES["numpy"]):
        raise InputError(_not_served(at.launcher, at.size, backend))
    if at is not None and processes not in (None, at.size):
        raise InputError(f"--processes must be {at.size}, which {at.launcher} has started, got {processes}")
    return at


def _check_address(coordinator: str, process: int) -> None:
    """Refuse an address that JAX cannot use, on which it would crash or wait."""
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--coordinator must be HOST:PORT with a port from 1 to 65535, got {coordinator!r}")
    try:
        socket.getaddrinfo(host, int(port))
        if process == 0:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("", int(port)))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(f"--coordinator {coordinator} cannot be used: {why}; give another HOST:PORT") from None


def _keep_stdout_clean() -> None:
    """Send what engines print by themselves to stderr, so that stdout holds only the result."""
    try:
        result = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed
        return
    sys.stdout = os.fdopen(result, "w", encoding="utf8", errors="backslashreplace")


def _not_served(launcher: str, size: int, backend: str) -> str:
    """Return what to do instead of a launcher that starts processes which would all make the whole fit."""
    way = {"jax": "use srun, or --coordinator", "torch": "use torchrun or srun"}.get(backend, "use mpiexec")
    return f"{launcher} has started {size} processes, each of which would make the whole fit with {backend}; {way}"


@contextmanager
def quiet_unless_first(ranks: Ranks | None) -> Generator[None]:
    """Discard what other processes than the first print."""
    if ranks is None or ranks.rank == 0:
        yield
        return
    with Path(os.devnull).open("w") as null, redirect_stdout(null), redirect_stderr(null):
        yield


@contextmanager
def ending(rank: int | None) -> Generator[None]:
    """End this process at once if it fails, since the others would wait for it, and it for them at its exit.

    None stands for a process alone, whose errors are passed on.
    """
    if rank is None:
        yield
        return
    try:
        yield
    except RelayedError:
        time.sleep(_GRACE)  # the other process says it, unless mpiexec ends it first, as this one ends
        _end(rank, "", 2)
    except InputError as error:
        _end(rank, str(error), 2)
    except KeyboardInterrupt:
        _end(rank, "", 130)
    except MemoryError:
        _end(rank, "out of memory; use more processes, or --stream", 2)
    except Exception as error:  # of an engine, when another process has ended
        time.sleep(_GRACE)
        _end(rank, f"lost {ANOTHER}, or failed: {in_one_line(error)[:200]}", LOST)


def _end(rank: int, text: str, code: int) -> NoReturn:
    if text:
        line = f"gdbackends: rank {rank}: {text}"
        if FOLDER in os.environ:
            with suppress(OSError):
                Path(os.environ[FOLDER], f"{SAID}{rank}").write_text(line, encoding="utf8")
        click.echo(line, file=sys.__stderr__)
    for stream in (sys.stdout, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(code)


def _registered(rank: int) -> int | None:
    """Tell `gdbackends --processes`, if it has started this process, its number, and return that of the launcher."""
    launcher, folder = os.environ.get(LAUNCHER, ""), os.environ.get(FOLDER)
    if not launcher.isdigit() or folder is None:
        return None
    (Path(folder) / str(rank)).write_text(str(os.getpid()))
    return int(launcher)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
