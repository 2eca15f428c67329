"""A function in a fresh process of its own, so that no framework slows another, and a crash is an outcome."""

from __future__ import annotations

import os
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
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_share_the_gpu) as pool:
        try:
            return pool.submit(function, *args).result()
        except BrokenProcessPool:
            raise Crashed("its process ended without an answer") from None


def _share_the_gpu() -> None:
    """Keep JAX, imported later in this process, from taking most of a GPU's memory at its first call."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
