"""The loss and the hand gradient of a check as functions of a flat theta, their arguments, and how each is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np

from gdbackends.arrays import real_array
from gdbackends.backends import DTYPES, Backend, capabilities, check_installed, get_backend
from gdbackends.errors import InputError, InputTypeError, MissingBackendError, whole_number
from gdbackends.objectives import Array
from gdbackends.rounding.limit import Values

Function = Callable[..., Any]


class NotScalarError(InputError):
    """A loss returns something other than a real scalar."""


@dataclass(frozen=True, eq=False)
class CheckedFunction:
    """A loss and its gradient, as functions of a flat theta.

    Attributes:
        losses: the loss by the name of the framework; the key None stands for all others.
        hand: the gradient to be checked, a function of NumPy arrays.
        shape: the shape of theta.
        data: the further arguments, NumPy arrays of float64 or integers.
        params: hyper-parameters, passed by name.
        what: what is checked: "gradient", "hessian" or "hvp".
    """

    losses: Mapping[str | None, Function]
    hand: Function
    shape: tuple[int, ...]
    data: tuple[Array, ...]
    params: Mapping[str, Any]
    what: str = "gradient"

    def loss_for(self, framework: str) -> _Flat:
        """Return the loss for a framework's arrays.

        Raises:
            LookupError: there is none.
        """
        if framework not in self.losses and None not in self.losses:
            raise LookupError(f"no loss was given for {framework}")
        return _Flat(self.losses.get(framework, self.losses.get(None)), self.shape, self.params)

    def by_hand(self, theta: Array, dtype: str = "float64") -> Array:
        """Return the hand gradient at a flat theta, without warnings; it receives copies of all arguments."""
        data = [a.astype(dtype) if a.dtype.kind == "f" else a.copy() for a in self.data]
        with np.errstate(all="ignore"):
            return self.hand(theta.astype(dtype).reshape(self.shape), *data, **copied(self.params))


def copied(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters with their arrays copied, since a function may change them."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in params.items()}


@dataclass(frozen=True, eq=False)
class _Flat:
    """A loss of a flat theta, in the form of an objective."""

    function: Any
    shape: tuple[int, ...]
    params: Mapping[str, Any]

    def loss(self, theta: Array, *data: Array) -> Array:
        """Return the loss; refuse anything but a real scalar."""
        value = self.function(theta.reshape(self.shape), *data, **self.params)
        kind = str(getattr(value, "dtype", type(value).__name__))
        if getattr(value, "shape", ()) != () or value is None or "complex" in kind:
            shape = getattr(value, "shape", None)
            got = f"{kind} of shape {tuple(shape)}" if shape is not None else kind
            raise NotScalarError(f"the loss must return one real number, got {got}; sum it or take its mean")
        return value

    def gradient(self, theta: Array, *data: Array) -> Array:
        """Raise, since only the loss is given."""
        raise NotImplementedError("autodiff finds the gradient of this loss")


Runner: TypeAlias = Callable[[Array, tuple[Array, ...]], Values | str]
"""run(points, data): losses and gradients at flat points (m, d), or a line that says why the loss cannot be run."""


class AutodiffRunners:
    """Functions that differentiate a loss, one for each framework and dtype, each prepared at its first use and kept.

    Attributes:
        names: the names of the frameworks.
    """

    def __init__(self, checked: CheckedFunction, names: Sequence[str]) -> None:
        """Refuse anything but a list of backend names; a backend that is not installed is accepted here."""
        if isinstance(names, str) or not isinstance(names, Iterable) or not names:
            raise InputTypeError(f"backends must be a list of names, got {names!r}")
        self.names, self._subject = tuple(dict.fromkeys(names)), checked
        for name in self.names:
            with suppress(MissingBackendError):
                check_installed(name)
        self._runners: dict[tuple[str, str], Runner] = {}

    def run(self, name: str, dtype: str, direction: Array | None = None) -> Runner:
        """Return the runner for a framework and dtype; with a direction, of the Hessian times the direction."""
        if direction is not None:
            return autodiff(self._subject, name, dtype, direction)
        if (name, dtype) not in self._runners:
            self._runners[name, dtype] = autodiff(self._subject, name, dtype)
        return self._runners[name, dtype]


def autodiff(checked: CheckedFunction, framework: str, dtype: str, direction: Array | None = None) -> Runner:
    """Return a runner that differentiates the loss on a framework, and compiles at most once.

    With a direction (d,) the gradients are the Hessian times the direction. The runner may raise NotScalarError.
    """
    prepared: list[tuple[Backend, Callable[..., Any]]] = []

    def prepare() -> tuple[Backend, Callable[..., Any]]:
        backend: Any = get_backend(framework, dtype=dtype)
        flat = checked.loss_for(framework)
        if direction is None:
            return backend, backend.value_and_grad(flat)
        product, along = backend.hvp(flat), backend.asarray(direction)

        def by_direction(theta: Array, *data: Array) -> Any:
            return product(theta, along, *data)

        return backend, by_direction

    def run(points: Array, data: tuple[Array, ...]) -> Values | str:
        try:
            if not prepared:
                prepared.append(prepare())
            backend, evaluate = prepared[0]
            placed = [backend.asarray(a) for a in data]
            with capabilities(backend).default_dtype():
                pairs = [[backend.to_numpy(a) for a in evaluate(backend.asarray(point), *placed)] for point in points]
        except NotScalarError:
            raise
        except InputError as error:
            return str(error)
        except (Exception, SystemExit) as error:  # any error of a framework on code written for another
            return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        return Values(*(np.array(column, np.float64) for column in zip(*pairs, strict=True)))

    return run


def scalar_loss(checked: CheckedFunction, theta: Array) -> Callable[[Array], float] | None:
    """Return the loss in NumPy as a function of a flat theta; None if NumPy cannot run it at this theta."""
    if numpy_losses(checked, theta[None]) is None:
        return None

    def loss(theta: Array) -> float:
        values = numpy_losses(checked, theta[None])
        return float("nan") if values is None else float(values[0])

    return loss


def numpy_losses(checked: CheckedFunction, points: Array) -> Array | None:
    """Return the losses in NumPy at flat points, or None if NumPy cannot run the loss."""
    try:
        flat = checked.loss_for("numpy")
        with np.errstate(all="ignore"):
            values = [flat.loss(point.copy(), *(a.copy() for a in checked.data)) for point in points]
        if not all(isinstance(value, (float, int, np.generic, np.ndarray)) for value in values):
            return None  # jax.numpy accepts NumPy arrays, in float32
        return np.array([float(value) for value in values])
    except NotScalarError:
        raise
    except (Exception, SystemExit):  # a loss written for one framework only
        return None


_POINTS = 5
_IN_RANGE = 1e150
"""Bound on the loss at random points, unless it is larger at the start; beyond it another order might overflow."""


def probe_points_near(checked: CheckedFunction, start: Array, runners: AutodiffRunners, seed: int) -> Array:
    """Return flat points (m, d): the start, and random points near it where the loss is finite."""
    generator = np.random.default_rng(seed)
    scale = np.abs(start)
    scale[scale == 0] = np.sqrt(np.square(start).mean()) or 1.0
    steps = generator.normal(size=(_POINTS, start.size)) * scale
    points = start[None]
    for _ in range(12):
        points = np.concatenate((start[None], start + steps))
        losses = numpy_losses(checked, points)
        if losses is None:
            results = [runners.run(name, "float64")(points, checked.data) for name in runners.names]
            losses = next((values.losses for values in results if isinstance(values, Values)), np.zeros(1))
        if not np.isfinite(losses[0]):
            raise InputError(f"the loss is {losses[0]} at the theta given; give one where it is finite")
        largest = _IN_RANGE if abs(losses[0]) < _IN_RANGE else np.inf
        outside = ~(np.abs(losses[1:]) <= largest) | ~np.isfinite(losses[1:])
        if not outside.any():
            return points
        steps[outside] *= -0.5  # to the other side of the boundary of a root or a logarithm
    raise InputError("the loss is not finite near the theta given; give one within its domain")


def prepare_arguments(
    loss: Any,
    gradient: Any,
    theta: Any,
    data: Sequence[Any],
    params: Any,
    names: Any,
    dtype: Any,
    seed: Any,
) -> tuple[CheckedFunction, Array, tuple[str, ...]]:
    """Check the arguments; return the function to check, the flat theta, and the names of the components."""
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
        CheckedFunction(losses, gradient, start.shape, arrays, copied(cast("Mapping[str, Any] | None", params) or {})),
        start.ravel(),
        tuple(labels),
    )


def _datum(value: Any, k: int) -> Array:
    """Return a new array: integers and booleans as they are, all other numbers in float64."""
    if not _is_whole(value):
        return real_array(value, f"data[{k}]")
    array = cast(Array, np.asarray(value))
    return array.copy() if array.dtype.kind == "b" else array.astype(np.int64)


def _is_whole(value: Any) -> bool:
    """Return whether a list, or an array of any library, holds integers or booleans."""
    try:
        return np.asarray(value).dtype.kind in "iub"
    except Exception:  # any error of its own conversion, which real_array reports
        return False


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _index(k: int, shape: tuple[int, ...]) -> str:
    return f"theta[{', '.join(str(int(i)) for i in np.unravel_index(k, shape))}]" if shape else "theta"
