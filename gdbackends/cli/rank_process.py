"""One of several processes of a command: it joins the others, waits for them a limited time, and ends in one line."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

import click

from gdbackends.backends.joining import ENGINES, join, place
from gdbackends.blocks import Parts
from gdbackends.errors import InputError, in_one_line
from gdbackends.objectives import Array
from gdbackends.ranks import Ranks, RelayedError, Share

LAUNCHER = "GDBACKENDS_LAUNCHER"
"""The variable with the process number of `gdbackends --processes`, without which its processes end."""
LOST = 75
"""The exit code of a process that has waited too long for another (EX_TEMPFAIL)."""


class Watched:
    """Ranks whose waiting for other processes is limited: MPI has no limit of its own, and PyTorch's is long."""

    def __init__(self, inner: Ranks, seconds: float) -> None:
        """Take the processes, and the seconds that one may wait for the others."""
        self._inner, self._seconds, self._since = inner, seconds, None
        self.rank, self.size = inner.rank, inner.size
        threading.Thread(target=self._watch, daemon=True).start()

    def gathered(self, array: Array) -> Array:
        """Do what the inner ranks do."""
        self._since = time.monotonic()
        try:
            return self._inner.gathered(array)
        finally:
            self._since = None

    def mean(self, parts: Parts, share: float) -> Parts:
        """Do what the inner ranks do."""
        self._since = time.monotonic()
        try:
            return self._inner.mean(parts, share)
        finally:
            self._since = None

    def check(self, backend: Any) -> None:
        """Do what the inner ranks do."""
        self._inner.check(backend)

    def sharded(self, backend: Any, share: Share) -> Any:
        """Do what the inner ranks do."""
        return self._inner.sharded(backend, share)

    def _watch(self) -> None:
        while True:
            time.sleep(min(0.5, self._seconds / 4))
            since = self._since
            if since is not None and time.monotonic() - since > self._seconds:
                _end(self.rank, f"no answer from another process within {self._seconds:g} s (--rank-timeout)", LOST)


def ranks_of(options: Mapping[str, Any], backend: str) -> Ranks | None:
    """Return the processes that this one belongs to; None if it is alone.

    Raises:
        InputError: the options contradict the launcher, or the launcher does not serve the backend.
    """
    at, processes, process = place(), options["processes"], options["process"]
    if options["coordinator"] is not None or process is not None:
        if backend != "jax" or None in (options["coordinator"], processes, process):
            raise InputError("--coordinator HOST:PORT, --processes N and --process K go together, with --backend jax")
        if not 0 <= process < processes:
            raise InputError(f"--process must be from 0 to {processes - 1}, got {process}")
    elif at is None:
        return None
    elif at.launcher not in ENGINES.get(backend, ENGINES["numpy"]):
        raise InputError(_not_served(at.launcher, at.size, backend))
    elif processes not in (None, at.size):
        raise InputError(f"--processes must be {at.size}, which {at.launcher} has started, got {processes}")
    _die_with_launcher(process if at is None else at.rank)
    _keep_stdout_clean()
    given = {name: options[name] for name in ("coordinator", "processes", "process")} if backend == "jax" else {}
    ranks = join(backend, device=options["device"] or "cpu", timeout=options["rank_timeout"], **given)
    return ranks if backend == "jax" else Watched(ranks, options["rank_timeout"])


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


def refuse_launcher(command: str) -> None:
    """Refuse a command that several processes would all run, and print, as a whole."""
    at = place()
    if at is not None:
        raise InputError(
            f"{at.launcher} has started {at.size} processes, and {command} runs in one; only fit runs over several"
        )


@contextmanager
def quiet_unless_first(ranks: Ranks | None) -> Generator[None]:
    """Discard what other processes than the first print."""
    if ranks is None or ranks.rank == 0:
        yield
        return
    with Path(os.devnull).open("w") as null, redirect_stdout(null), redirect_stderr(null):
        yield


@contextmanager
def ending(ranks: Ranks | None, advice: str = "") -> Generator[None]:
    """End this process at once if it fails, since the others would wait for it, and it for them at its exit."""
    if ranks is None:
        yield
        return
    try:
        yield
    except RelayedError:
        _end(ranks.rank, "", 2)  # the other process says it
    except InputError as error:
        _end(ranks.rank, str(error), 2)
    except KeyboardInterrupt:
        _end(ranks.rank, "", 130)
    except Exception as error:  # of an engine, when another process has ended
        _end(ranks.rank, f"{in_one_line(error)[:200]}{advice}", LOST)


def _end(rank: int, text: str, code: int) -> NoReturn:
    if text:
        click.echo(f"gdbackends: rank {rank}: {text}", err=True, file=sys.__stderr__)
    for stream in (sys.stdout, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(code)


def _die_with_launcher(rank: int) -> None:
    """End this process once `gdbackends --processes`, if it has started this one, has ended."""
    launcher = os.environ.get(LAUNCHER, "")
    if not launcher.isdigit():
        return

    def watch() -> None:
        while True:
            time.sleep(0.5)
            try:
                os.kill(int(launcher), 0)
            except ProcessLookupError:
                _end(rank, "", LOST)

    threading.Thread(target=watch, daemon=True).start()
