"""PyTorch's compiler over many steps at once: what a small problem's step takes is its calls, and these it removes."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyTorch's own annotations are partial.

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from torch._dynamo import config
from torch._dynamo.exc import TorchDynamoException

from gdbackends.backends import StepFunction
from gdbackends.errors import InputError
from gdbackends.objectives import Array

STEPS = 32
"""Steps of one compiled call. At 100 x 1 a step took 27 us by 8 of them, 6.5 us by 32; more take longer to compile."""
_PROGRAMS = 1000
"""Shapes and objectives that are compiled at most; PyTorch stops at 8, and would go on without saying so."""


def compiled_steps(
    step: StepFunction, carry: Array, xs: Sequence[Array], data: Sequence[Array]
) -> tuple[Array, list[tuple[Array, ...]], int]:
    """Make as many steps as are multiples of STEPS; return the carry, the outputs a call, and how many were made.

    Raises:
        InputError: the compiler refused the objective, or there is no C++ compiler.
    """
    outputs, made = list[tuple[Array, ...]](), len(xs[0]) // STEPS * STEPS
    try:
        with config.patch(recompile_limit=_PROGRAMS, accumulated_recompile_limit=_PROGRAMS), catch_warnings():
            simplefilter("ignore")  # that the compiler uses what is deprecated, or looks through a cache, is its affair
            compiled = _unrolled(step)
            for k in range(0, made, STEPS):
                carry, output = compiled(carry, tuple(x[k : k + STEPS] for x in xs), tuple(data))
                outputs.append(output)
    except TorchDynamoException as error:
        reason = " ".join(str(error).strip().split("\n\n")[0].split())[:200] or type(error).__name__
        raise InputError(
            f"PyTorch cannot compile the steps: {reason}; use tuning='best', or install a C++ compiler if none is there"
        ) from None
    return carry, outputs, made


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
