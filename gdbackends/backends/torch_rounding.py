"""PyTorch operations that err at random by as much as rounding may: what a gradient by autograd may differ by."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyTorch's own annotations are partial.

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch.utils import _python_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

_EXACT = (
    *("abs", "amax", "amin", "cat", "clamp", "clone", "eq", "expand", "gather", "index", "index_put", "index_select"),
    *("max", "maximum", "min", "minimum", "neg", "ones_like", "relu", "scatter", "select_backward", "sgn", "sign"),
    *("slice_backward", "sort", "stack", "where", "zeros_like", "_to_copy"),
)
"""Operations that copy and choose: they round nothing, and a maximum must stay equal to what it was chosen from."""


class Rounding(TorchDispatchMode):
    """Every result of an operation that rounds is multiplied by 1 + step times a normal number."""

    def __init__(self, step: float, seed: int) -> None:
        super().__init__()
        self._step, self._random = step, np.random.default_rng(seed)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that this may not be wrapped for torch.compile: the wrapper imports its compiler, 1.2 s at the first."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not _rounds(func) or not isinstance(result, torch.Tensor) or not result.is_floating_point():
            return result
        errors = self._random.normal(size=tuple(result.shape))
        errors *= self._step  # in place, as results may be large
        errors += 1
        return result * torch.as_tensor(errors).to(result)


@cache
def _rounds(func: Any) -> bool:
    """Say whether an operation may round: it returns no view of its argument, and is none of the exact ones."""
    aliases = any(returned.alias_info is not None for returned in func._schema.returns)
    return not aliases and func._schema.name.removeprefix("aten::") not in _EXACT


def in_dispatch_mode() -> bool:
    """Say whether some mode sees the operations of this thread, which it would not see in others."""
    return bool(_python_dispatch._get_current_dispatch_mode_stack())  # pyright: ignore[reportPrivateUsage]
