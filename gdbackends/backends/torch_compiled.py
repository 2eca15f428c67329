"""Compile many steps of PyTorch into one call: call overhead dominates small problems."""

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
    try:
        with config.patch(recompile_limit=_PROGRAMS, accumulated_recompile_limit=_PROGRAMS), catch_warnings():
            simplefilter("ignore")  # the compiler's own deprecation warnings
            compiled = _unrolled(step)
            for k in range(0, made, STEPS):
                carry, output = compiled(carry, tuple(x[k : k + STEPS] for x in xs), tuple(data))
                outputs.append(output)
    except TorchDynamoException as error:
        reason = " ".join(str(error).strip().split("\n\n")[0].split())[:200] or type(error).__name__
        raise InputError(
            f"PyTorch cannot compile the steps: {reason}; use tuning='best', or install a C++ compiler if there is none"
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
