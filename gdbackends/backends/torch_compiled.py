"""Compile functions of PyTorch, and many steps into one call: call overhead dominates small problems."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyTorch's own annotations are partial.

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from threading import local
from typing import Any, cast
from warnings import catch_warnings, simplefilter

import torch
from torch._dynamo import config
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

from gdbackends.backends import StepFunction
from gdbackends.errors import InputError
from gdbackends.objectives import Array

STEPS = 32
"""Steps of one compiled call. At 100 x 1 a step took 27 us with 8 of them, 6.5 us with 32; more compile longer."""
_PROGRAMS = 1000
"""Most shapes and objectives that are compiled; by default PyTorch stops compiling after 8, silently."""


def compiled_steps(
    step: StepFunction, carry: Array, xs: Sequence[Array], data: Sequence[Array]
) -> tuple[Array, list[tuple[Array, ...]], int]:
    """Make the largest multiple of STEPS steps; return the carry, the outputs of each call, and the number of steps.

    Raises:
        InputError: the compiler rejects the objective, or there is no C++ compiler.
    """
    outputs, made = list[tuple[Array, ...]](), len(xs[0]) // STEPS * STEPS
    with _compiler("steps"):
        compiled = _unrolled(step)
        for k in range(0, made, STEPS):
            carry, output = compiled(carry, tuple(x[k : k + STEPS] for x in xs), tuple(data))
            outputs.append(output)
    return carry, outputs, made


def compiled_function(plain: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of arrays, compiled at the first call for each shape; as it is inside steps, and `uncompiled`.

    Steps are compiled as a whole. The few that are left over would compile the function for themselves.

    Raises:
        InputError: when called: the compiler rejects the function, or there is no C++ compiler.
    """
    compiled: Any = cast(Any, torch.compile)(
        plain, fullgraph=True, dynamic=False, isolate_recompiles=True, recompile_limit=_PROGRAMS
    )
    known: set[tuple[Any, ...]] = set()

    def call(*arrays: Any) -> Any:
        if torch.compiler.is_compiling() or _STATE.uncompiled:
            return plain(*arrays)
        shapes = (_STATE.cleared[0], *((a.shape, a.dtype) for a in arrays))
        if shapes in known:  # `_compiler` takes as long as a small function
            try:
                return compiled(*arrays)
            except FailOnRecompileLimitHit:
                pass
        with _compiler("objective"):
            result = compiled(*arrays)
        known.add(shapes)
        return result

    return call


class _State(local):
    """Whether functions of this thread run uncompiled; and how often the code of all threads has been dropped."""

    uncompiled = False
    cleared: list[int] = [0]  # noqa: RUF012 - shared by all threads


_STATE = _State()


@contextmanager
def uncompiled() -> Generator[None]:
    """Run functions as they are in this thread."""
    before, _STATE.uncompiled = _STATE.uncompiled, True
    try:
        yield
    finally:
        _STATE.uncompiled = before


def drop_code() -> None:
    """Drop all compiled code."""
    _STATE.cleared[0] += 1
    torch.compiler.reset()


@contextmanager
def _compiler(what: str) -> Generator[None]:
    """Allow more programs than by default, and turn the compiler's errors into one line."""
    try:
        with config.patch(recompile_limit=_PROGRAMS, accumulated_recompile_limit=_PROGRAMS), catch_warnings():
            simplefilter("ignore")  # the compiler's own deprecation warnings
            yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).strip().split("\n\n")[0].split())[:200] or type(error).__name__
        raise InputError(
            f"PyTorch cannot compile the {what}: {reason}; "
            "use tuning='best', or install a C++ compiler if there is none"
        ) from None


@lru_cache(maxsize=16)
def _unrolled(step: StepFunction) -> Callable[..., tuple[Array, tuple[Array, ...]]]:
    def run(carry: Array, xs: tuple[Array, ...], data: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        outputs: list[tuple[Array, ...]] = []
        for k in range(STEPS):
            carry, output = step(carry, tuple(x[k] for x in xs), *data)
            outputs.append(output)
        stack: Any = torch.stack
        return carry, tuple(stack(column) for column in zip(*outputs, strict=True))

    return torch.compile(run, fullgraph=True, dynamic=False)
