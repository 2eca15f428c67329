"""Run functions in a fresh process, so that no framework slows another and a crash can be reported.

The process is started by its own command line, not by multiprocessing: the user's script is not run again, and cores
and threads are set before anything is loaded.
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
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Crashed(Exception):
    """The process ended without an answer."""


class Killed(Crashed):
    """The system killed the process, as it does when memory is short."""


class TimedOut(Crashed):
    """The process was ended because it took too long."""


def in_fresh_process(function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
    """Return function(*args), run in a fresh process; arguments and errors are those of `Worker.ask`."""
    with Worker() as worker:
        return worker.ask(function, *args, timeout=timeout)


class Worker:
    """A process that answers requests one after the other, and a context manager that ends the process.

    Its output goes to stderr, so that stdout contains only the output of the command.
    """

    def __init__(self, cores: Sequence[int] = (), *, quiet: bool = False) -> None:
        """Start the process.

        Args:
            cores: the numbers of the cores to use, with one thread each; if empty, all cores of the parent.
            quiet: capture its output; if it crashes, the error contains the last line.
        """
        ours, theirs = socket.socketpair()
        self._printed = tempfile.TemporaryFile() if quiet else None  # noqa: SIM115 - closed with the process
        variables = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}  # otherwise JAX reserves most of the GPU
        variables |= dict.fromkeys(THREADS, str(len(cores))) if cores else {}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), str(os.getpid()), ",".join(map(str, cores))],
                env=variables,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._printed or 2,
                stderr=self._printed,
            )
        self._pipe = Connection(ours.detach())
        self._pipe.send(sys.path)

    @property
    def alive(self) -> bool:
        """Whether the process can answer."""
        return not self._pipe.closed and self._process.poll() is None

    def ask(self, function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
        """Return function(*args).

        Args:
            function: a function that can be imported by its module and name.
            *args: arguments that can be pickled.
            timeout: seconds, including the start of the process, after which it is ended; None for no limit.

        Raises:
            Crashed: the process ended without an answer; TimedOut and Killed are subclasses.
            Exception: the exception that the function raised; the process continues.
        """
        try:
            self._pipe.send((function, args))
            if not self._pipe.poll(timeout):
                self.close()
                raise TimedOut(f"its process gave no answer within {timeout:g} s")
            raised, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            ended = self._ended()
            raise ended from None
        if raised:
            raise answer
        return answer

    def close(self) -> None:
        """End the process, even if it is busy."""
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
        """End the process."""
        self.close()


def _serve(descriptor: int, parent: int, cores: str) -> None:
    """Answer requests until the other end is closed, and end whenever the parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if cores:
        os.sched_setaffinity(0, map(int, cores.split(",")))
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    with Connection(descriptor) as pipe:
        sys.path[:] = pipe.recv()
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
    except Exception as error:  # the caller handles whatever a framework raises
        text = pickle.dumps((True, Crashed(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")))
        try:
            complete = pickle.dumps((True, error))
            pickle.loads(complete)
        except Exception:  # the exception cannot be pickled
            return text
        return complete


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
