"""Functions in a fresh process of its own, so that no framework slows another, and a crash is an outcome.

The process is started by a command line of its own, not by multiprocessing: no script of the user's is run again, and
cores and threads are set before anything is loaded.
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
    """The process was ended, for it took too long."""


def in_fresh_process(function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
    """Return function(*args), run in a process of its own; arguments and errors are those of `Worker.ask`."""
    with Worker() as worker:
        return worker.ask(function, *args, timeout=timeout)


class Worker:
    """A process that answers requests one after the other. A context manager, which ends it.

    What it prints goes to stderr, so that stdout holds the command's own answer alone.
    """

    def __init__(self, cores: Sequence[int] = (), *, quiet: bool = False) -> None:
        """Start it.

        Args:
            cores: the numbers of those it may use, each with a thread; none: all that the parent may.
            quiet: keep what it prints; its last line is told if it crashes.
        """
        ours, theirs = socket.socketpair()
        self._printed = tempfile.TemporaryFile() if quiet else None  # noqa: SIM115 - closed with the process
        variables = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}  # else JAX takes most of a GPU
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
        """Whether it can be asked."""
        return not self._pipe.closed and self._process.poll() is None

    def ask(self, function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
        """Return function(*args).

        Args:
            function: found by its name in its module.
            *args: what can be pickled.
            timeout: seconds, the start of the process included, after which it is ended; None waits for ever.

        Raises:
            Crashed: the process ended without an answer; TimedOut, Killed.
            Exception: whatever the function raised; the process lives on.
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
        """End the process, whatever it does."""
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
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()


def _serve(descriptor: int, parent: int, cores: str) -> None:
    """Answer until the other end is closed; end with the parent, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if cores:
        os.sched_setaffinity(0, map(int, cores.split(",")))
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends this
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
    except Exception as error:  # whatever a framework raises is the asker's to judge
        text = pickle.dumps((True, Crashed(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")))
        try:
            whole = pickle.dumps((True, error))
            pickle.loads(whole)
        except Exception:  # an exception that cannot be sent
            return text
        return whole


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
