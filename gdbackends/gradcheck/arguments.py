"""The arguments of a check, looked at once: the subject, the points, and how far rounding carries an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np

from gdbackends.arrays import real_array
from gdbackends.backends import DTYPES, capabilities, get_backend
from gdbackends.errors import InputError, InputTypeError, whole_number
from gdbackends.gradcheck.checked_function import Frameworks, Function, Subject, copied, numpy_losses
from gdbackends.gradcheck.perturbation import noise
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import evaluate, has_bound
from gdbackends.rounding.limit import Values

_POINTS = 5
_IN_RANGE = 1e150
"""Where random points are kept, unless the loss is beyond it at the start: far from what overflows in another order."""


def probe_points_near(subject: Subject, start: Array, frameworks: Frameworks, seed: int) -> Array:
    """Return flat points (m, d): the start, and random ones near it where the loss is finite."""
    generator = np.random.default_rng(seed)
    scale = np.abs(start)
    scale[scale == 0] = np.sqrt(np.square(start).mean()) or 1.0
    steps = generator.normal(size=(_POINTS, start.size)) * scale
    points = start[None]
    for _ in range(12):
        points = np.concatenate((start[None], start + steps))
        losses = numpy_losses(subject, points)
        if losses is None:
            found = [frameworks.run(name, "float64")(points, subject.data) for name in frameworks.names]
            losses = next((values.losses for values in found if isinstance(values, Values)), np.zeros(1))
        if not np.isfinite(losses[0]):
            raise InputError(f"the loss is {losses[0]} at the theta given; give one where it is finite")
        largest = _IN_RANGE if abs(losses[0]) < _IN_RANGE else np.inf
        outside = ~(np.abs(losses[1:]) <= largest) | ~np.isfinite(losses[1:])
        if not outside.any():
            return points
        steps[outside] *= -0.5  # to the other side, where a root or a logarithm is at its end
    raise InputError("the loss is not finite near the theta given; give one within its domain")


def prepare_subject(
    loss: Any,
    gradient: Any,
    theta: Any,
    data: Sequence[Any],
    params: Any,
    names: Any,
    dtype: Any,
    seed: Any,
) -> tuple[Subject, Array, tuple[str, ...]]:
    """Check the arguments; return the subject, the flat theta, and the components' names."""
    one: dict[str | None, Function] = {None: loss}
    losses = dict(cast("Mapping[str | None, Function]", loss)) if isinstance(loss, Mapping) else one
    if not losses or not all(callable(f) for f in (*losses.values(), gradient)):
        raise InputTypeError("loss must be a function (or one for each framework) and gradient a function")
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
    start = real_array(theta, "theta")
    if start.size == 0:
        raise InputError(f"theta must have at least one component, got shape {start.shape}")
    arrays = tuple(_datum(value, k) for k, value in enumerate(data))
    given = cast("Sequence[str] | None", names)
    labels = [_index(k, start.shape) for k in range(start.size)] if given is None else [_printable(n) for n in given]
    if len(labels) != start.size:
        raise InputError(f"names must be {start.size}, one a component, got {len(labels)}")
    return (
        Subject(losses, gradient, start.shape, arrays, copied(cast("Mapping[str, Any] | None", params) or {})),
        start.ravel(),
        tuple(labels),
    )


def _datum(value: Any, k: int) -> Array:
    """Return a fresh array: integers and booleans as they are, all other numbers in float64."""
    if not _is_whole(value):
        return real_array(value, f"data[{k}]")
    array = cast(Array, np.asarray(value))
    return array.copy() if array.dtype.kind == "b" else array.astype(np.int64)


def _is_whole(value: Any) -> bool:
    """Say whether a list, or an array of another library, holds integers or booleans."""
    try:
        return np.asarray(value).dtype.kind in "iub"
    except Exception:  # whatever its own conversion raises: real_array says it in a line
        return False


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _index(k: int, shape: tuple[int, ...]) -> str:
    return f"theta[{', '.join(str(int(i)) for i in np.unravel_index(k, shape))}]" if shape else "theta"


def rounding_bounds(
    subject: Subject,
    frameworks: Frameworks,
    voters: Iterable[str],
    points: Array,
    dtype: str,
    seed: int,
    direction: Array | None = None,
) -> tuple[Values, str]:
    """Return how far one evaluation may be from the truth: closed where the objective has a bound, else estimated.

    With a direction (d,), of the Hessian times it.
    """
    objective = getattr(subject.losses.get(None), "__self__", None)
    if direction is None and has_bound(objective) and not subject.params and len(subject.data) == 2:
        assert isinstance(objective, LinearModel)
        with np.errstate(all="ignore"):
            at = [evaluate(objective, point, *subject.data, dtype) for point in points]
        return Values(np.array([e.loss_bound for e in at]), np.array([e.gradient_bound for e in at])), "closed"
    offered = {name: capabilities(get_backend(name)) for name in voters}
    name = next((n for n, c in offered.items() if c.perturb_rounding(0.0, 0) is not None), next(iter(offered)))
    run = frameworks.run(name, "float64", direction)

    def values(points: Array, data: tuple[Array, ...]) -> Values:
        found = run(points, data)
        if isinstance(found, str):
            raise InputError(found)
        return found

    def operations(step: float, seed: int) -> AbstractContextManager[Any]:
        return offered[name].perturb_rounding(step, seed) or nullcontext()

    def inputs_alone(step: float, seed: int) -> AbstractContextManager[Any]:
        return nullcontext()

    try:
        found = noise(values, points, subject.data, dtype, seed, operations)
    except InputError:  # code that a framework runs, but not operation by operation
        found = noise(values, points, subject.data, dtype, seed, inputs_alone)
    return found, "estimated"
