"""The arguments of a check, as users give them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from gdbackends.arrays import is_framed, real_array
from gdbackends.backends import DTYPES
from gdbackends.errors import InputError, InputTypeError, whole_number
from gdbackends.gradcheck.adapted import ARRAY, Adapted, GradientOf, copy_of
from gdbackends.gradcheck.checked_function import CheckedFunction, Function, copied, numpy_losses
from gdbackends.gradcheck.parameters import ThetaLayout, flatten
from gdbackends.objectives import Array


def prepare_arguments(
    loss: Any,
    gradient: Any,
    theta: Any,
    data: Sequence[Any],
    *,
    params: Any = None,
    names: Any = None,
    dtype: Any = "float64",
    seed: Any = 0,
    argument: Any = None,
    argnum: Any = 0,
    vectors: int = 0,
) -> tuple[CheckedFunction, Array, Sequence[str]]:
    """Check the arguments; return the function to check, the flat theta, and the names of the components.

    With `vectors` the hand function takes a further argument after theta, as in `Adapted`.
    """
    one: dict[str | None, Function] = {None: loss}
    losses = dict(cast("Mapping[str | None, Function]", loss)) if isinstance(loss, Mapping) else one
    both = gradient is True
    if both and len(losses) > 1:
        raise InputTypeError("gradient=True needs one function that returns (loss, gradient), got several losses")
    if not losses or not all(callable(f) for f in (*losses.values(), *(() if both else (gradient,)))):
        raise InputTypeError("loss must be a function (or one for each framework) and gradient a function, or True")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if whole_number("seed", seed) < 0:
        raise InputError(f"seed must be at least 0, got {seed}")
    if not isinstance(params, (Mapping, type(None))):
        raise InputTypeError(f"params must be a dictionary of hyper-parameters by name, got {params!r}")
    if not (
        names is None
        or (isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in cast("list[Any]", names)))
    ):
        raise InputTypeError(f"names must be a list of text, one a component, got {names!r}")
    if argument is not None and not isinstance(argument, str):
        raise InputTypeError(f"argument must be the name of a parameter of the loss, got {argument!r}")
    start, layout = flatten(theta, argument or "theta")
    given = cast("Sequence[str] | None", names)
    labels = layout.names if given is None else tuple(map(_printable, given))
    if len(labels) != start.size:
        raise InputError(f"names must be {start.size}, one a component, got {len(labels)}")
    hyper = copied(cast("Mapping[str, Any] | None", params) or {})
    subject = _checked(losses, gradient, layout, data, hyper, argument, argnum, vectors, framed=False)
    if any(map(is_framed, data)) and numpy_losses(subject, start[None]) is None:
        subject = _checked(losses, gradient, layout, data, hyper, argument, argnum, vectors, framed=True)
    return subject, start, labels


def _checked(
    losses: dict[str | None, Function],
    gradient: Any,
    layout: ThetaLayout,
    data: Sequence[Any],
    params: Mapping[str, Any],
    argument: str | None,
    argnum: Any,
    vectors: int,
    *,
    framed: bool,
) -> CheckedFunction:
    """Return the function to check; with `framed` data frames are passed as they are, otherwise as arrays."""
    further = [_datum(value, f"data[{k}]", framed) for k, value in enumerate(data)]
    arrays = tuple(value for value, is_array in further if is_array)
    others = tuple(ARRAY if is_array else value for value, is_array in further)
    both = gradient is True
    one = next(iter(losses.values()))

    def adapt(function: Function, part: int | None, *, copies: bool) -> Adapted:
        return Adapted(function, layout, _place(argument, argnum, function, len(others)), others, copies, part=part)

    hand = adapt(one, 1, copies=True) if both else replace(adapt(gradient, None, copies=True), vectors=vectors)
    adapted = {key: adapt(f, 0 if both else None, copies=False) for key, f in losses.items()}
    if layout.rebuild is None and hand.place == 0 and not both and len(arrays) == len(others):
        return CheckedFunction(losses, gradient, layout.shape, arrays, params)
    return CheckedFunction(cast(Any, adapted), GradientOf(hand), layout.shape, arrays, params)


def adapted_like(checked: CheckedFunction, function: Function, vectors: int = 0) -> Function:
    """Return a function, such as a Hessian, that takes its arguments as the hand gradient of a check does."""
    if not isinstance(checked.hand, GradientOf):
        return function
    model = checked.hand.adapted
    adapted = Adapted(function, model.layout, model.place, model.objects, copies=True, vectors=vectors)
    return GradientOf(adapted) if vectors else adapted  # a product has the structure of theta


def _place(argument: str | None, argnum: Any, function: Any, count: int) -> int | str:
    """Return the position at which a function takes theta, or its name if it takes it by name alone."""
    if argument is None:
        position = whole_number("argnum", argnum)
        if not 0 <= position <= count:
            raise InputError(f"argnum must be from 0 to {count}, the number of further arguments, got {argnum}")
        return position
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a built-in function
        return argument
    if argument not in parameters:
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return argument
        shown = ", ".join(parameters) or "no parameters"
        name = getattr(function, "__name__", "the function")
        raise InputError(f"{name} has no parameter {argument!r} to be the theta; it has {shown}")
    if parameters[argument].kind is inspect.Parameter.KEYWORD_ONLY:
        return argument
    position = list(parameters).index(argument)
    return position if position <= count else argument


def _datum(given: Any, name: str, framed: bool) -> tuple[Any, bool]:
    """Return a further argument and whether it is an array of real numbers, which is new, in float64 or integers.

    Numbers of Python, text, sparse matrices and all other objects are passed as they are.
    """
    if is_framed(given):
        return (copy_of(given), False) if framed else (real_array(given, name), True)
    kind = "" if hasattr(given, "toarray") else _kind(given)
    if isinstance(given, (np.generic, np.ma.MaskedArray)) or not kind:
        return cast(Any, given), False
    if kind not in "fiub":
        return copy_of(given), False
    if kind == "f" and _is_infinite(given):
        return copy_of(given), False  # such as bounds
    if kind == "f":
        return real_array(given, name), True
    array: Array = np.asarray(given)
    return array.copy() if kind == "b" else array.astype(np.int64), True


def _is_infinite(value: Any) -> bool:
    """Return whether an array of NumPy has infinite elements, and no NaN."""
    return type(value) is np.ndarray and bool(np.isinf(value).any() and not np.isnan(value).any())


def _kind(value: Any) -> str:
    """Return the kind of the dtype of an array or a list, "" for anything else."""
    if not isinstance(value, (list, tuple)) and getattr(value, "dtype", None) is None:
        return ""
    try:
        return np.asarray(cast(Any, value)).dtype.kind
    except Exception:  # rows of different lengths; or an array that its own library must convert
        return "O" if isinstance(value, (list, tuple)) else "f"


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
