"""A function in a fresh process of its own, so that no framework slows another, and a crash is an outcome."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any


class Crashed(Exception):
    """The process ended without an answer."""


class TimedOut(Crashed):
    """The process was ended, for it took too long."""


def in_fresh_process(function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
    """Return function(*args), run in a process started fresh (spawn: a fork after JAX has started can deadlock).

    What it prints goes to stderr, so that stdout holds the command's own answer alone.

    Args:
        function: found by its name in its module.
        *args: what can be pickled.
        timeout: seconds, the start of the process included, after which it is ended; None waits for ever.

    Raises:
        Crashed: the process died; TimedOut: it was ended.
        Exception: whatever the function raised.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin, initargs=(timeout,)) as pool:
        answer = pool.submit(function, *args)
        if not wait([answer], timeout).done:
            raise TimedOut(f"its process gave no answer within {timeout:g} s")
        try:
            return answer.result()
        except BrokenProcessPool:
            raise Crashed("its process ended without an answer") from None


def _begin(timeout: float | None) -> None:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes most of a GPU at its first call
    os.dup2(2, 1)
    if timeout is not None:  # a watchdog in C: it ends the process even where a library holds Python's lock
        faulthandler.dump_traceback_later(timeout, exit=True, file=os.open(os.devnull, os.O_WRONLY))
