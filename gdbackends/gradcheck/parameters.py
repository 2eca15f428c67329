"""Parameters as users keep them, one array or a structure of arrays, and as the check sees them: a flat array."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from math import prod
from typing import Any, cast, overload

import numpy as np

from gdbackends.arrays import real_array
from gdbackends.errors import InputError
from gdbackends.objectives import Array


@dataclass(frozen=True)
class Block:
    """One array of the parameters.

    Attributes:
        name: its name, such as "W1" or "layers[0].b".
        start: where it begins in the flat array.
        shape: its shape.
    """

    name: str
    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        """Where it ends in the flat array."""
        return self.start + prod(self.shape)

    def component(self, k: int) -> str:
        """Return the name of the component at a place of the flat array."""
        if not self.shape:
            return self.name
        return f"{self.name}[{','.join(str(int(i)) for i in np.unravel_index(k - self.start, self.shape))}]"


@dataclass(frozen=True, eq=False)
class ThetaLayout:
    """How a flat array of parameters is laid out in the structure that the user passes.

    Attributes:
        shape: the shape of theta; (d,) if it is a structure.
        blocks: its arrays, in the order of the flat array.
        rebuild: returns the structure for a list of its arrays; None if theta is one array.
        paths: the path to each block, for a gradient of the same structure.
    """

    shape: tuple[int, ...]
    blocks: tuple[Block, ...]
    rebuild: Callable[[list[Any]], Any] | None = None
    paths: tuple[tuple[Any, ...], ...] = ((),)

    @property
    def size(self) -> int:
        """The number of components."""
        return self.blocks[-1].stop

    @property
    def names(self) -> Sequence[str]:
        """The names of the components, made when they are used."""
        return ComponentNames(self.blocks)

    def build(self, flat: Any) -> Any:
        """Return the parameters as the user passes them, for a flat array of any library."""
        if self.rebuild is None:
            return flat.reshape(self.shape)
        return self.rebuild([flat[b.start : b.stop].reshape(b.shape) for b in self.blocks])

    def parts(self, result: Any) -> list[Any] | None:
        """Return the arrays of a gradient in the order of the blocks; None if it is one flat array.

        A gradient has the structure of the parameters, or is a sequence of arrays in the order of the blocks. The keys
        of a dictionary may have a prefix, as in "dW1" or "grad_W1".

        Raises:
            InputError: a block is missing.
        """
        if self.rebuild is None or isinstance(result, np.ndarray):
            return None
        if isinstance(result, (list, tuple)) and len(cast("list[Any]", result)) == len(self.blocks):
            values = list(cast("list[Any]", result))
            if all(np.shape(v) == b.shape for v, b in zip(values, self.blocks, strict=True)):
                return values
        if not isinstance(result, (Mapping, list, tuple)) and not is_dataclass(result):
            return None
        return [_lookup(result, path, block.name) for path, block in zip(self.paths, self.blocks, strict=True)]


class ComponentNames(Sequence[str]):
    """The names of all components, made when they are used, since there may be millions."""

    def __init__(self, blocks: tuple[Block, ...]) -> None:
        self._blocks, self._starts = blocks, [block.start for block in blocks]

    def __len__(self) -> int:
        return self._blocks[-1].stop

    @overload
    def __getitem__(self, k: int) -> str: ...
    @overload
    def __getitem__(self, k: slice) -> list[str]: ...
    def __getitem__(self, k: int | slice) -> str | list[str]:
        if isinstance(k, slice):
            return [self[i] for i in range(*k.indices(len(self)))]
        k = range(len(self))[k]
        block = self._blocks[int(np.searchsorted(self._starts, k, side="right")) - 1]
        return block.component(k)


def flatten(theta: Any, name: str = "theta") -> tuple[Array, ThetaLayout]:
    """Return parameters as a flat float64 array (d,), and their layout.

    Args:
        theta: an array, or a list of numbers; or a dictionary, list, tuple, named tuple or dataclass of arrays, which
            may be nested.
        name: the name of a single array.

    Raises:
        InputError: the parameters are not finite real numbers, or there are none.
    """
    if not _is_structure(theta):
        array = real_array(theta, name)
        if array.size == 0:
            raise InputError(f"theta must have at least one component, got shape {array.shape}")
        return array.ravel(), ThetaLayout(array.shape, (Block(name, 0, array.shape),))
    leaves: list[tuple[tuple[Any, ...], str, Array]] = []
    rebuild = _walk(theta, (), "", leaves, name)
    blocks: list[Block] = []
    for _, path, array in leaves:
        blocks.append(Block(path, blocks[-1].stop if blocks else 0, array.shape))
    if not blocks or blocks[-1].stop == 0:
        raise InputError("theta must have at least one component, got none")
    flat: Array = np.concatenate([array.ravel() for _, _, array in leaves])

    def rebuilt(arrays: list[Any]) -> Any:
        return rebuild(iter(arrays))

    return flat, ThetaLayout(flat.shape, tuple(blocks), rebuilt, tuple(path for path, _, _ in leaves))


def _is_structure(theta: Any) -> bool:
    """Return whether theta is a structure of arrays rather than one array or a list of numbers."""
    if isinstance(theta, Mapping) or (is_dataclass(theta) and not isinstance(theta, type)):
        return True
    if isinstance(theta, tuple) and hasattr(cast(Any, theta), "_fields"):
        return True
    if not isinstance(theta, (list, tuple)):
        return False
    values = list(cast("list[Any]", theta))
    return any(_is_structure(v) or (hasattr(v, "shape") and v.shape != ()) for v in values)


def _walk(
    node: Any, path: tuple[Any, ...], name: str, leaves: list[tuple[tuple[Any, ...], str, Array]], root: str
) -> Callable[[Any], Any]:
    """Append the arrays below a node to the leaves; return what rebuilds the node from an iterator of arrays."""
    if not _is_structure(node):
        leaves.append((path, name, real_array(node, name)))
        return next
    children: dict[Any, Any]
    if isinstance(node, Mapping):
        children = dict(cast("Mapping[Any, Any]", node))
    elif is_dataclass(node):
        children = {f.name: getattr(node, f.name) for f in fields(node) if f.init}
    else:
        keys = getattr(node, "_fields", None) or range(len(node))
        children = dict(zip(keys, node, strict=True))
    makers = {
        key: _walk(value, (*path, key), _child_name(name, key, root), leaves, root) for key, value in children.items()
    }

    whole = cast(Any, node)
    kind = cast(Any, type(whole))  # a closure over the node itself would have torch.compile guard the arrays in it
    mapping, named = isinstance(whole, Mapping), is_dataclass(whole) or hasattr(whole, "_fields")

    def rebuild(arrays: Any) -> Any:
        values = {key: make(arrays) for key, make in makers.items()}
        if mapping:
            return values if kind is dict else kind(values)
        return kind(**values) if named else kind(values.values())

    return rebuild


def _child_name(parent: str, key: Any, root: str) -> str:
    if isinstance(key, int):
        return f"{parent or root}[{key}]"
    return f"{parent}.{key}" if parent else str(key)


def _lookup(result: Any, path: tuple[Any, ...], name: str) -> Any:
    """Return the array of a gradient at the path of a block of the parameters."""
    for key in path:
        if isinstance(result, Mapping):
            mapping = cast("Mapping[Any, Any]", result)
            keys = (key, f"d{key}", f"d_{key}", f"grad_{key}", f"g{key}")
            found = next((k for k in keys if k in mapping), None)
            if found is None:
                raise InputError(f"the gradient has no entry for {name}; it has {', '.join(map(str, mapping))[:100]}")
            result = mapping[found]
        elif isinstance(key, str):
            if not hasattr(result, key):
                raise InputError(f"the gradient has no entry for {name}; give the structure of theta")
            result = getattr(result, key)
        else:
            if not 0 <= key < len(result):
                raise InputError(f"the gradient has no entry for {name}: it has {len(result)} of {key + 1} arrays")
            result = result[key]
    return result
