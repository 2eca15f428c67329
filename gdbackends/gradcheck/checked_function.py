"""What a check is about: a loss, the gradient derived by hand, and a point; and how each is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gdbackends.backends import Backend, capabilities, check_installed, get_backend
from gdbackends.errors import InputError, InputTypeError, MissingBackendError
from gdbackends.objectives import Array
from gdbackends.rounding.limit import Values

Function = Callable[..., Any]


class NotScalarError(InputError):
    """A loss returns something other than one real number."""


@dataclass(frozen=True, eq=False)
class Subject:
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


class Frameworks:
    """The frameworks that differentiate a loss, each prepared when it is first asked for and then kept.

    Attributes:
        names: of the frameworks.
    """

    def __init__(self, subject: Subject, names: Sequence[str]) -> None:
        """Keep the loss; refuse what is no list of backends' names, but not one that is not installed."""
        if isinstance(names, str) or not isinstance(names, Iterable) or not names:
            raise InputTypeError(f"backends must be a list of names, got {names!r}")
        self.names, self._subject = tuple(dict.fromkeys(names)), subject
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


def autodiff(subject: Subject, framework: str, dtype: str, direction: Array | None = None) -> Runner:
    """Return what runs the loss on a framework and differentiates it; a compiling one compiles once.

    With a direction (d,) the gradients are the Hessian times it. The runner raises NotScalarError.
    """
    prepared: list[tuple[Backend, Callable[..., Any]]] = []

    def prepare() -> tuple[Backend, Callable[..., Any]]:
        backend: Any = get_backend(framework, dtype=dtype)
        flat = subject.loss_for(framework)
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


def scalar_loss(subject: Subject, theta: Array) -> Callable[[Array], float] | None:
    """Return NumPy's loss as a function of a flat theta; None where NumPy cannot run it, at this one."""
    if numpy_losses(subject, theta[None]) is None:
        return None

    def loss(theta: Array) -> float:
        values = numpy_losses(subject, theta[None])
        return float("nan") if values is None else float(values[0])

    return loss


def numpy_losses(subject: Subject, points: Array) -> Array | None:
    """Return NumPy's losses at flat points, or None where it cannot run the loss."""
    try:
        flat = subject.loss_for("numpy")
        with np.errstate(all="ignore"):
            values = [flat.loss(point.copy(), *(a.copy() for a in subject.data)) for point in points]
        if not all(isinstance(value, (float, int, np.generic, np.ndarray)) for value in values):
            return None  # jax.numpy takes NumPy's arrays, in float32
        return np.array([float(value) for value in values])
    except NotScalarError:
        raise
    except (Exception, SystemExit):  # a loss written for one framework
        return None
