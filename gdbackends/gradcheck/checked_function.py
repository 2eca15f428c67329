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
    """A loss returns something other than one real number."""


@dataclass(frozen=True, eq=False)
class CheckedFunction:
    """A loss and its gradient, as functions of a flat theta.

    Attributes:
        losses: the loss by framework's name; None for any other.
        hand: the gradient to be checked, on NumPy arrays.
        shape: theta's own.
        data: further arguments, NumPy arrays: float64, or integers.
        params: hyper-parameters, passed by name.
        what: "gradient", "hessian" or "hvp".
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
        """Return the hand gradient at a flat theta, as it comes, and without warnings; it gets copies of everything."""
        data = [a.astype(dtype) if a.dtype.kind == "f" else a.copy() for a in self.data]
        with np.errstate(all="ignore"):
            return self.hand(theta.astype(dtype).reshape(self.shape), *data, **copied(self.params))


def copied(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters of which the arrays are copies, for what is called may change them."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in params.items()}


@dataclass(frozen=True, eq=False)
class _Flat:
    """A loss of a flat theta, as a backend takes it."""

    function: Any
    shape: tuple[int, ...]
    params: Mapping[str, Any]

    def loss(self, theta: Array, *data: Array) -> Array:
        """Return the loss; refuse what is no real scalar."""
        value = self.function(theta.reshape(self.shape), *data, **self.params)
        kind = str(getattr(value, "dtype", type(value).__name__))
        if getattr(value, "shape", ()) != () or value is None or "complex" in kind:
            shape = getattr(value, "shape", None)
            got = f"{kind} of shape {tuple(shape)}" if shape is not None else kind
            raise NotScalarError(f"the loss must return one real number, got {got}; sum it or take its mean")
        return value

    def gradient(self, theta: Array, *data: Array) -> Array:
        """Refuse: this is the loss alone."""
        raise NotImplementedError("autodiff finds the gradient of this loss")


Runner: TypeAlias = Callable[[Array, tuple[Array, ...]], Values | str]
"""run(points, data): losses and gradients at flat points (m, d), or why the loss cannot be run, in one line."""


class AutodiffRunners:
    """The runners that differentiate a loss, each prepared when it is first asked for and then kept.

    Attributes:
        names: of the runners.
    """

    def __init__(self, checked: CheckedFunction, names: Sequence[str]) -> None:
        """Keep the loss; refuse what is no list of backends' names, but not one that is not installed."""
        if isinstance(names, str) or not isinstance(names, Iterable) or not names:
            raise InputTypeError(f"backends must be a list of names, got {names!r}")
        self.names, self._subject = tuple(dict.fromkeys(names)), checked
        for name in self.names:
            with suppress(MissingBackendError):
                check_installed(name)
        self._runners: dict[tuple[str, str], Runner] = {}

    def run(self, name: str, dtype: str, direction: Array | None = None) -> Runner:
        """Return what runs the loss on that framework in that dtype; with a direction, its Hessian times that."""
        if direction is not None:
            return autodiff(self._subject, name, dtype, direction)
        if (name, dtype) not in self._runners:
            self._runners[name, dtype] = autodiff(self._subject, name, dtype)
        return self._runners[name, dtype]


def autodiff(checked: CheckedFunction, framework: str, dtype: str, direction: Array | None = None) -> Runner:
    """Return what runs the loss on a framework and differentiates it; a compiling one compiles once.

    With a direction (d,) the gradients are the Hessian times it. The runner raises NotScalarError.
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
        except (Exception, SystemExit) as error:  # whatever a framework raises at code that is not for it
            return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        return Values(*(np.array(column, np.float64) for column in zip(*pairs, strict=True)))

    return run


def scalar_loss(checked: CheckedFunction, theta: Array) -> Callable[[Array], float] | None:
    """Return NumPy's loss as a function of a flat theta; None where NumPy cannot run it, at this one."""
    if numpy_losses(checked, theta[None]) is None:
        return None

    def loss(theta: Array) -> float:
        values = numpy_losses(checked, theta[None])
        return float("nan") if values is None else float(values[0])

    return loss


def numpy_losses(checked: CheckedFunction, points: Array) -> Array | None:
    """Return NumPy's losses at flat points, or None where it cannot run the loss."""
    try:
        flat = checked.loss_for("numpy")
        with np.errstate(all="ignore"):
            values = [flat.loss(point.copy(), *(a.copy() for a in checked.data)) for point in points]
        if not all(isinstance(value, (float, int, np.generic, np.ndarray)) for value in values):
            return None  # jax.numpy takes NumPy's arrays, in float32
        return np.array([float(value) for value in values])
    except NotScalarError:
        raise
    except (Exception, SystemExit):  # a loss written for one framework
        return None


_POINTS = 5
_IN_RANGE = 1e150
"""Where random points are kept, unless the loss is beyond it at the start: far from what overflows in another order."""


def probe_points_near(checked: CheckedFunction, start: Array, runners: AutodiffRunners, seed: int) -> Array:
    """Return flat points (m, d): the start, and random ones near it where the loss is finite."""
    generator = np.random.default_rng(seed)
    scale = np.abs(start)
    scale[scale == 0] = np.sqrt(np.square(start).mean()) or 1.0
    steps = generator.normal(size=(_POINTS, start.size)) * scale
    points = start[None]
    for _ in range(12):
        points = np.concatenate((start[None], start + steps))
        losses = numpy_losses(checked, points)
        if losses is None:
            found = [runners.run(name, "float64")(points, checked.data) for name in runners.names]
            losses = next((values.losses for values in found if isinstance(values, Values)), np.zeros(1))
        if not np.isfinite(losses[0]):
            raise InputError(f"the loss is {losses[0]} at the theta given; give one where it is finite")
        largest = _IN_RANGE if abs(losses[0]) < _IN_RANGE else np.inf
        outside = ~(np.abs(losses[1:]) <= largest) | ~np.isfinite(losses[1:])
        if not outside.any():
            return points
        steps[outside] *= -0.5  # to the other side, where a root or a logarithm is at its end
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
    """Check the arguments; return the checked, the flat theta, and the components' names."""
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
