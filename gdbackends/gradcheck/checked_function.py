"""The loss and the hand gradient of a check as functions of a flat theta, their arguments, and how each is run."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from gdbackends.backends import Backend, capabilities, check_installed, get_backend
from gdbackends.errors import InputError, InputTypeError, MissingBackendError, in_one_line
from gdbackends.measurement.timing import seconds
from gdbackends.objectives import Array
from gdbackends.rounding.limit import Values

Function = Callable[..., Any]

_SMALL = 1 << 16
"""Size in bytes up to which data are copied for every evaluation of a loss; larger ones are passed read-only."""


_SLOW = 0.2
"""Seconds that one evaluation without compilation may take; a check needs about a hundred."""
_LONG = 3000
"""Number of operations above which a program for JAX is not compiled."""


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
        what: what is checked: "gradient", "hessian", "hvp", ...
        weights: whether the first of `data` are weights of outputs, which are not data of the user.
    """

    losses: Mapping[str | None, Function]
    hand: Function
    shape: tuple[int, ...]
    data: tuple[Array, ...]
    params: Mapping[str, Any]
    what: str = "gradient"
    weights: bool = False

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
        self._runners: dict[tuple[str, str], Autodiff] = {}

    def run(self, name: str, dtype: str, direction: Array | None = None) -> Autodiff:
        """Return the runner for a framework and dtype; with a direction, of the Hessian times the direction."""
        known = self._runners.get((name, "float64"))
        if direction is not None:
            return Autodiff(self._subject, name, dtype, known, direction)
        if (name, dtype) not in self._runners:
            self._runners[name, dtype] = Autodiff(self._subject, name, dtype, known)
        return self._runners[name, dtype]


class Autodiff:
    """A runner that differentiates the loss on a framework, and compiles at most once.

    With a direction (d,) the gradients are the Hessian times the direction. It may raise NotScalarError. A loss that
    the framework cannot run as it is, is run as code written for NumPy.

    Attributes:
        framework: the name of the framework.
        runs_numpy_code: whether the loss is run as code written for NumPy.
    """

    def __init__(
        self,
        checked: CheckedFunction,
        framework: str,
        dtype: str,
        like: Autodiff | None = None,
        direction: Array | None = None,
    ) -> None:
        """Run the loss as another runner of the framework does, if one is given."""
        self._checked, self.framework, self._dtype, self._direction = checked, framework, dtype, direction
        self._prepared: tuple[Backend, Callable[..., Any]] | None = None
        self._failure: str | None = None
        self._too_long = False
        self._like = like
        self._tuning = "best" if like is None else like._tuning
        self.runs_numpy_code = like is not None and like.runs_numpy_code

    def __call__(self, points: Array, data: tuple[Array, ...]) -> Values | str:
        """Return losses and gradients at flat points (m, d), NaN where the loss raises; or why it does at the first."""
        if self._prepared is not None:
            return self._values(points, data)
        if self._failure is not None:
            return self._failure
        found = self._attempt(points, data, self._tuning)
        if isinstance(found, str) and self._like is None and not self._too_long:
            found = self.as_numpy_code(points, data) or found
        self._failure = found if isinstance(found, str) else None
        return found

    def as_numpy_code(self, points: Array, data: tuple[Array, ...]) -> Values | str | None:
        """Run the loss as code written for NumPy from now on; None if it was already, or NumPy cannot run it."""
        if self.runs_numpy_code or None not in self._checked.losses or self.framework in self._checked.losses:
            return None
        if numpy_losses(self._checked, points[:1]) is None:
            return None
        self.runs_numpy_code = True
        return self._attempt(points, data, "idiomatic" if self.framework == "jax" else "best")

    def eagerly(self, points: Array, data: tuple[Array, ...]) -> Values | str | None:
        """Run code that JAX cannot compile without compilation, which takes long; None if that is of no use."""
        if self.framework != "jax" or self._tuning == "eager" or not (self.runs_numpy_code or self._too_long):
            return None
        found = self._attempt(points[:1], data, "eager")
        if isinstance(found, Values):
            if (took := seconds(lambda: self._values(points[:1], data))) > _SLOW:
                self._prepared, self._failure = None, f"one evaluation without compilation takes {took:.1g} s"
                return self._failure
            found = self._values(points, data)
        self._failure = found if isinstance(found, str) else None
        return found

    def _attempt(self, points: Array, data: tuple[Array, ...], tuning: str) -> Values | str:
        self._tuning = tuning
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of code that is not written for the framework
                if self.framework == "jax" and tuning != "eager" and self._is_long(points[0], data):
                    self._too_long = True
                    return f"its program has more than {_LONG} operations, which take long to compile"
                self._prepared = self._prepare(tuning)
                found = self._values(points, data)
        except NotScalarError:
            raise
        except InputError as error:
            return str(error)
        except (Exception, SystemExit) as error:  # any error of a framework on code written for another
            return in_one_line(error)[:200]
        if isinstance(found, str):
            self._prepared = None
        return found

    def _is_long(self, theta: Array, data: tuple[Array, ...]) -> bool:
        """Return whether the loss is a program too long to compile, as a Python loop over many rows is."""
        backend: Any = get_backend("jax", dtype=self._dtype)
        flat = self._flat()
        arrays = [a.astype(self._dtype) if a.dtype.kind == "f" else a for a in data]
        return capabilities(backend).program_size(flat.loss, theta.astype(self._dtype), *arrays) > _LONG

    def _flat(self) -> _Flat:
        flat = self._checked.loss_for(self.framework)
        if not self.runs_numpy_code:
            return flat
        from gdbackends.gradcheck.numpy_code import rewritten

        return replace(flat, function=rewritten(flat.function, self.framework))

    def _prepare(self, tuning: str) -> tuple[Backend, Callable[..., Any]]:
        backend: Any = get_backend(self.framework, dtype=self._dtype, tuning=tuning)
        flat = self._flat()
        if self._direction is None:
            return backend, backend.value_and_grad(flat)
        product, along = backend.hvp(flat), backend.asarray(self._direction)

        def by_direction(theta: Array, *data: Array) -> Any:
            return product(theta, along, *data)

        return backend, by_direction

    def _values(self, points: Array, data: tuple[Array, ...]) -> Values | str:
        assert self._prepared is not None
        backend, evaluate = self._prepared
        as_numpy = self.runs_numpy_code and capabilities(backend).tuning != "idiomatic"
        if as_numpy:
            placed = [a.astype(self._dtype) if a.dtype.kind == "f" else a for a in data]
        else:
            placed = [backend.asarray(a) for a in data]
        pairs: list[Any] = []
        with capabilities(backend).default_dtype():
            for k, point in enumerate(points):
                try:
                    arrays = [a.copy() for a in placed] if as_numpy else placed
                    pairs.append([backend.to_numpy(a) for a in evaluate(backend.asarray(point), *arrays)])
                except NotScalarError:
                    if k == 0:
                        raise
                    pairs.append((np.nan, np.full(point.shape, np.nan)))
                except (Exception, SystemExit) as error:  # any error of a framework, or of the loss
                    if k == 0:
                        return self._reason(error)
                    pairs.append((np.nan, np.full(point.shape, np.nan)))  # outside the domain
        return Values(*(np.array(column, np.float64) for column in zip(*pairs, strict=True)))

    def _reason(self, error: BaseException) -> str:
        """Return why the loss cannot be run, with the user's line for code written for NumPy."""
        if isinstance(error, InputError):
            return str(error)
        if not self.runs_numpy_code:
            return in_one_line(error)[:200]
        if type(error).__module__.startswith("jax"):
            return "its compiler cannot run code whose shapes or branches depend on values"
        frames = of_the_user(error)
        where = f", in {frames[-1].name}, line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
        return f"{in_one_line(error)[:200]}{where}"


def scalar_loss(checked: CheckedFunction, theta: Array) -> Callable[[Array], float] | None:
    """Return the loss in NumPy as a function of a flat theta; None if NumPy cannot run it at this theta.

    Where the loss raises, as outside its domain, the function returns NaN.
    """
    if numpy_losses(checked, theta[None]) is None:
        return None
    flat = checked.loss_for("numpy")
    copy = sum(a.nbytes for a in checked.data) <= _SMALL
    data = () if copy else tuple(map(_read_only, checked.data))

    def loss(theta: Array) -> float:
        try:
            with np.errstate(all="ignore"):
                value = flat.loss(theta.copy(), *([a.copy() for a in checked.data] if copy or writes else data))
            return _as_float(value)
        except (Exception, SystemExit):  # outside the domain
            return float("nan")

    writes = False
    writes = not np.isfinite(loss(theta))  # compiled code may refuse read-only data
    return loss


def numpy_losses(checked: CheckedFunction, points: Array) -> Array | None:
    """Return the losses in NumPy at flat points, NaN where the loss raises; None if NumPy cannot run it at the first.

    A value that is not real, as outside a domain, is NaN too.
    """
    try:
        flat = checked.loss_for("numpy")
    except LookupError:
        return None
    values = list[float]()
    for k, point in enumerate(points):
        try:
            with np.errstate(all="ignore"):
                value = flat.loss(point.copy(), *(a.copy() for a in checked.data))
            if not isinstance(value, (float, int, np.generic, np.ndarray)):
                return None  # jax.numpy accepts NumPy arrays, in float32
            values.append(_as_float(value))
        except NotScalarError:
            if k == 0:
                raise
            values.append(np.nan)
        except (Exception, SystemExit):  # a loss written for one framework only, or outside its domain
            if k == 0:
                return None
            values.append(np.nan)
    return np.array(values)


def _as_float(value: Any) -> float:
    return float(cast(Any, np.asarray(value)).reshape(()))


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


_HERE = Path(__file__).parents[1]
_FOREIGN = [_HERE, *(Path(np.__file__).parent.with_name(name) for name in ("numpy", "jax", "jaxlib", "torch"))]


def of_the_user(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of a traceback that belong neither to this package nor to an array library."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f for f in frames if not any(Path(f.filename).is_relative_to(folder) for folder in _FOREIGN)]
