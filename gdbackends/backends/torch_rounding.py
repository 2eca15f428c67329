"""PyTorch operations with random errors of the size of rounding, to see how far rounding moves a gradient."""

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
"""Operations that copy or select: they do not round, and a maximum must stay equal to the element it is."""


class Rounding(TorchDispatchMode):
    """A mode that multiplies every result of an operation that rounds by 1 + step times a normal number.

    Attributes:
        operations: the number of operations so far. Above `most` they raise an error, since an iteration that stops at
            a tolerance may never reach it with errors.
    """

    def __init__(self, step: float, seed: int, most: float = float("inf")) -> None:
        super().__init__()
        self._step, self._random = step, np.random.default_rng(seed)
        self._most, self.operations = most, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False so that torch.compile does not wrap this mode, which would import the compiler (1.2 s)."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        if self.operations > self._most:
            raise RuntimeError(f"more than {self._most:.0f} operations")
        result = func(*args, **(kwargs or {}))
        if not (_rounds(func) and _is_plain(result)):
            return result
        errors = self._random.normal(size=tuple(result.shape))
        errors *= self._step  # in place, as results may be large
        errors += 1
        return result * torch.as_tensor(errors).to(result)


@cache
def _rounds(func: Any) -> bool:
    """Return whether an operation may round: it returns no view of its argument and is not an exact one."""
    aliases = any(returned.alias_info is not None for returned in func._schema.returns)
    return not aliases and func._schema.name.removeprefix("aten::") not in _EXACT


def _is_plain(result: Any) -> bool:
    """Return whether a result is a dense tensor of floats that has a storage.

    Tensors of zeros that PyTorch's derivatives use for terms that vanish (abs, where) have none, and a product with one
    inside a dispatch mode ends the process by SIGSEGV; zeros have no rounding errors either.
    """
    if not isinstance(result, torch.Tensor) or not result.is_floating_point():
        return False
    return result.layout == torch.strided and result.device.type != "meta" and not result._is_zerotensor()


def in_dispatch_mode() -> bool:
    """Return whether a dispatch mode is active in this thread; it would not see the operations of other threads."""
    return bool(_python_dispatch._get_current_dispatch_mode_stack())  # pyright: ignore[reportPrivateUsage]
