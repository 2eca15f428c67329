"""Run functions in a fresh process, so that no framework slows down another, and a crash is an outcome.

The process has its own command line instead of multiprocessing: no script of the user is run again, and cores and
threads are set before anything is imported. The current folder is not on its path (-P) unless it is on the parent's.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


_SETTINGS = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "OPENBLAS_THREAD_TIMEOUT": "20"}
"""Variables that are set if the user does not set them. JAX would take most of the memory of a GPU. Threads of OpenBLAS
spin after a product, for 0.05 s of CPU time here, and slow down the backend that has its turn next; with 2^20 cycles
they took 0.1 ms.
"""


class Crashed(Exception):
    """The process ended without a result."""


class Failed(Crashed):
    """The function raised an exception whose class may be unknown to the caller; the process continues."""


class Killed(Crashed):
    """The process was killed by the system, as happens when memory is short."""


class TimedOut(Crashed):
    """The process was stopped because it took too long."""


@dataclass(frozen=True)
class Checkout:
    """Another checkout of this package, with the interpreter and the module path that run it."""

    folder: str
    python: str
    path: tuple[str, ...]


def in_fresh_process(function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
    """Return function(*args), run in a fresh process; arguments and errors are those of `Worker.ask`."""
    with Worker() as worker:
        return worker.ask(function, *args, timeout=timeout)


class Worker:
    """A process that runs functions one after the other; as a context manager it stops at the end.

    What it prints goes to stderr, so that stdout holds only the result of the command.
    """

    def __init__(self, cores: Sequence[int] = (), *, quiet: bool = False, checkout: Checkout | None = None) -> None:
        """Start the process.

        Args:
            cores: the indices of the cores it may use, one thread each; empty means those of the parent.
            quiet: whether to capture what it prints, whose last line is shown if it crashes.
            checkout: the checkout of this package whose functions it runs; None means this one.
        """
        program, python, path = __file__, sys.executable, sys.path
        if checkout is not None:
            program = f"{checkout.folder}/gdbackends/measurement/subprocess_worker.py"
            python, path = checkout.python, [checkout.folder, *checkout.path]
        ours, theirs = socket.socketpair()
        self._printed = tempfile.TemporaryFile() if quiet else None  # noqa: SIM115 - closed with the process
        variables = _SETTINGS | os.environ
        variables |= dict.fromkeys(THREADS, str(len(cores))) if cores else {}
        with theirs:
            self._process = subprocess.Popen(
                [python, "-P", program, str(theirs.fileno()), str(os.getpid()), ",".join(map(str, cores))],
                env=variables,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._printed or 2,
                stderr=self._printed,
            )
        self._pipe = Connection(ours.detach())
        self._pipe.send(list(path))

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return not self._pipe.closed and self._process.poll() is None

    def ask(self, function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
        """Return function(*args).

        Args:
            function: a function at the top level of a module.
            *args: arguments that can be pickled.
            timeout: seconds, including the start of the process, after which it is stopped; None means no limit.

        Raises:
            Crashed: the process ended without a result; also its subclasses TimedOut and Killed.
            Exception: any built-in exception of the function, or one of this package; the process continues.
            Failed: the function raised another exception, whose class may be unknown here; the process continues.
        """
        try:
            self._pipe.send((function, args))
            if not self._pipe.poll(timeout):
                self.close()
                raise TimedOut(f"its process gave no answer within {timeout:g} s")
            raised, answer = self._pipe.recv()
        except KeyboardInterrupt:  # it is busy, and would answer the next question with what it was asked before
            self.close()
            raise
        except (EOFError, ConnectionError):
            ended = self._ended()
            raise ended from None
        if raised:
            raise answer
        return answer

    def close(self) -> None:
        """Stop the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        if self._printed:
            self._printed.close()

    def _ended(self) -> Crashed:
        code, last = self._process.wait(), []
        if self._printed:
            self._printed.seek(0)
            last = self._printed.read().decode(errors="replace").strip().splitlines()[-1:]
        self.close()
        if code == -signal.SIGKILL:
            return Killed("the system killed its process, as it does when memory is short")
        ending = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        return Crashed(": ".join([f"its process ended {ending}, without an answer", *last]))

    def __enter__(self) -> Self:
        """Return the worker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the process."""
        self.close()


def _start(descriptor: int, parent: int, cores: str) -> None:
    """Serve requests until the other end is closed or the parent has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if cores and hasattr(os, "sched_setaffinity"):  # not on macOS
        os.sched_setaffinity(0, map(int, cores.split(",")))
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and stops this process
    with Connection(descriptor) as pipe:
        sys.path[:] = pipe.recv()
        import_module("gdbackends.measurement.subprocess_worker").serve(pipe)  # as which its classes are pickled


def serve(pipe: Connection) -> None:
    """Answer requests until the other end is closed."""
    while True:
        try:
            answer = _answer(pipe.recv_bytes())
        except EOFError:
            return
        pipe.send_bytes(answer)


def _answer(request: bytes) -> bytes:
    try:
        function, args = pickle.loads(request)
        return pickle.dumps((False, function(*args)))
    except Exception as error:  # the caller judges the errors of a framework
        error = MemoryError(str(error)) if isinstance(error, MemoryError) else error  # also NumPy's own
        text = pickle.dumps((True, Failed(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")))
        if type(error).__module__ != "builtins" and not type(error).__module__.startswith("gdbackends."):
            return text  # its module need not exist, or work, in the caller's process
        try:
            whole = pickle.dumps((True, error))
            pickle.loads(whole)
        except Exception:  # an exception that cannot be sent
            return text
        return whole


if __name__ == "__main__":
    _start(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
