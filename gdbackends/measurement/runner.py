"""A function in a fresh process of its own, so that no framework slows another, and a crash is an outcome."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any


class Crashed(Exception):
    """The process ended without an answer."""


def in_fresh_process(function: Callable[..., Any], *args: Any) -> Any:
    """Return function(*args), run in a process started fresh (spawn: a fork after JAX has started can deadlock).

    Raises:
        Crashed: the process died.
        Exception: whatever the function raised.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(function, *args).result()
        except BrokenProcessPool:
            raise Crashed("its process ended without an answer") from None
