"""User functions of any signature as functions of (theta, *arrays, **params)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from gdbackends.errors import InputError
from gdbackends.gradcheck.parameters import ThetaLayout


class Mapped:
    """A function made of others, which can be replaced in it."""

    def mapped(self, of: Callable[[Any], Any]) -> Any:
        """Return the same with its functions replaced."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Adapted(Mapped):
    """A user's function, called with (theta, *arrays, **params) whatever its own signature is.

    Attributes:
        function: the function.
        layout: how theta is laid out.
        place: the position at which it takes theta, or the name.
        objects: the further arguments in order; `ARRAY` stands for the next array.
        copies: whether it receives copies of the objects, since it may change them.
        vectors: 1 if an argument laid out as theta follows it, such as the v of a product H v; -1 if one that is passed
            as it is does, such as the v of J^T v.
        part: 0 or 1 if it returns (loss, gradient), and this is the loss or the gradient.
    """

    function: Callable[..., Any]
    layout: ThetaLayout
    place: int | str = 0
    objects: tuple[Any, ...] = ()
    copies: bool = False
    vectors: int = 0
    part: int | None = None

    def __call__(self, theta: Any, *arrays: Any, **params: Any) -> Any:
        """Return what the function returns, or its part."""
        extra = abs(self.vectors)
        parameters = [self.layout.build(theta.reshape((-1,)))]
        parameters += [self.layout.build(v.reshape((-1,))) if self.vectors > 0 else v for v in arrays[:extra]]
        rest = iter(arrays[extra:])
        objects: Any = map(copy_of, self.objects) if self.copies else self.objects
        others = [next(rest) if value is ARRAY else value for value in objects]
        if isinstance(self.place, str):
            result = self.function(*parameters[1:], *others, **{self.place: parameters[0]}, **params)
        else:
            result = self.function(*others[: self.place], *parameters, *others[self.place :], **params)
        if self.part is None:
            return result
        if not isinstance(result, (tuple, list)) or len(cast("list[Any]", result)) != 2:
            raise InputError(
                f"with gradient=True the function must return (loss, gradient), got {type(cast(Any, result)).__name__}"
            )
        return cast("tuple[Any, Any]", result)[self.part]

    def mapped(self, of: Callable[[Any], Any]) -> Adapted:
        """Return the same with its function and its objects replaced."""
        return replace(
            self, function=of(self.function), objects=tuple(v if v is ARRAY else of(v) for v in self.objects)
        )

    @property
    def __name__(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))


@dataclass(frozen=True, eq=False)
class GradientOf:
    """A hand gradient, adapted, whose result is one array of the shape of theta."""

    adapted: Adapted

    def __call__(self, theta: Any, *arrays: Any, **params: Any) -> Any:
        """Return the gradient as one array."""
        return self.joined(self.adapted(theta, *arrays, **params))

    def joined(self, result: Any) -> Any:
        """Return what the function returned as one array: the blocks of a structure in their order."""
        layout = self.adapted.layout
        parts = layout.parts(result)
        if parts is None:
            return dense(result)
        arrays = tuple(np.asarray(dense(part)) for part in parts)
        for block, array in zip(layout.blocks, arrays, strict=True):
            if array.shape != block.shape:
                turned = "; it is transposed" if array.ndim > 1 and array.shape == block.shape[::-1] else ""
                raise InputError(
                    f"the gradient of {block.name} has shape {array.shape}, it must have {block.shape}{turned}"
                )
        return np.concatenate([array.ravel() for array in arrays])


class _Marker:
    """The type of ARRAY."""

    def __deepcopy__(self, memo: Any) -> _Marker:
        return self


ARRAY = _Marker()
"""Stands for the next array among the further arguments of a function."""


def copy_of(value: Any) -> Any:
    """Return a deep copy of an object, or the object itself if it cannot be copied."""
    try:
        return deepcopy(value)
    except Exception:  # any error of its own __deepcopy__
        return value


def dense(result: Any) -> Any:
    """Return a sparse matrix as an array; anything else as it is."""
    return result.toarray() if hasattr(result, "toarray") else result
