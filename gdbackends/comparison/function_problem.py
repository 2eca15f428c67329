"""A loss function with its data and a start, independent of a backend: from a Python file, or as it is passed.

A file defines the loss as `check` expects it: a function, an object with `loss` and, if it has one, `gradient`, or a
dictionary of a loss for each framework. It may define `data`, a tuple of arguments or a function (rows, features,
seed) that returns one, and `theta`, the start, in the same way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast

import numpy as np
from array_api_compat import array_namespace

from gdbackends.backends import Backend, capabilities
from gdbackends.datasets import synthetic
from gdbackends.descent import Problem, ProblemOptions, prepare_function
from gdbackends.errors import InputError, in_one_line
from gdbackends.gradcheck.adapted import Adapted, GradientOf, Mapped
from gdbackends.gradcheck.arguments import adapted_like, prepare_arguments
from gdbackends.gradcheck.checked_function import CheckedFunction
from gdbackends.objectives import Array, FunctionObjective, NoGradientError
from gdbackends.problems import PROBLEMS, load_problem, parse_problem
from gdbackends.python_files import loss_and_gradient, made, run_file, split_target


@dataclass(frozen=True, eq=False)
class FunctionProblem:
    """A loss, its data, and the parameters to start from.

    Attributes:
        name: how the user names it, such as "my_loss.py:logcosh".
        checked: the loss and its gradient as functions of a flat theta, and the data.
        start: (p,), the flat start.
        names: the names of the p parameters.
        by_hand: whether there is a gradient by hand.
        outputs: residuals(theta, *data) -> (n,), if there are any.
    """

    name: str
    checked: CheckedFunction
    start: Array
    names: Sequence[str]
    by_hand: bool
    outputs: Callable[..., Any] | None = None

    @property
    def rows(self) -> int:
        """The length of the first array of the data; 1 if there is none."""
        return self.checked.data[0].shape[0] if self.checked.data and self.checked.data[0].ndim else 1

    def residuals(self, library: Any = None) -> Callable[..., Any] | None:
        """Return the residuals as a function of a flat theta and the data; None if there are none.

        With a library, its functions are in the place of NumPy's.
        """
        if self.outputs is None:
            return None
        outputs = self.outputs if library is None else with_library(self.outputs, library)
        return self._flat(adapted_like(self.checked, outputs))

    def in_dtype(self, dtype: str) -> FunctionProblem:
        """Return the problem with its data and its start rounded to a dtype, and held in float64."""

        def rounded(array: Array) -> Array:
            return array.astype(dtype).astype(np.float64) if array.dtype.kind == "f" else array

        checked = replace(self.checked, data=tuple(map(rounded, self.checked.data)))
        return replace(self, checked=checked, start=rounded(self.start))

    def objective(self, framework: str) -> FunctionObjective:
        """Return the loss and its gradient as a backend of that framework takes them.

        Raises:
            InputError: there is no loss for that framework.
        """
        losses = self.checked.losses
        if framework not in losses and None not in losses:
            raise InputError(f"no loss was given for {framework}")
        given: Any = losses.get(framework, losses.get(None))
        if framework == "numpy" and isinstance(given, Adapted) and given.part is not None:
            return FunctionObjective(self._both(replace(given, part=None)), both=True)
        return FunctionObjective(self._flat(given), self._by_hand if self.by_hand else None)

    def with_library(self, library: Any) -> FunctionObjective:
        """Return the loss with the functions of another library in the place of NumPy's."""
        return FunctionObjective(self._flat(with_library(self.checked.losses.get(None), library)))

    def _flat(self, function: Any) -> Callable[..., Any]:
        shape, params = self.checked.shape, self.checked.params
        if len(shape) == 1 and not params:
            return function

        def flat(theta: Array, *data: Array) -> Any:
            return function(theta.reshape(shape), *data, **params)

        return flat

    def _both(self, function: Adapted) -> Callable[..., Any]:
        """Return a function that returns (loss, flat gradient) by one call."""
        assert isinstance(self.checked.hand, GradientOf)
        flat, hand = self._flat(function), self.checked.hand

        def both(theta: Array, *data: Array) -> tuple[Any, Array]:
            loss, gradient = flat(theta, *data)
            return loss, hand.joined(gradient).reshape(-1)

        return both

    def _by_hand(self, theta: Array, *data: Array) -> Array:
        shape, params = self.checked.shape, self.checked.params
        return self.checked.hand(theta.reshape(shape), *data, **params).reshape(-1)


class CannotRunError(InputError):
    """A backend cannot run a loss."""


@dataclass(frozen=True, eq=False)
class OnBackend:
    """A function's problem as a backend runs it.

    Attributes:
        problem: the problem, on the backend.
        plan: how the loss is run, in words.
        residuals: residuals(theta, *data) for the backend; None if there are none.
    """

    problem: Problem
    plan: str
    residuals: Callable[..., Any] | None


def on_backend(whole: FunctionProblem, backend: Backend, options: ProblemOptions | None = None) -> OnBackend:
    """Place a problem, and find out how the backend runs the loss: as it is, or with its own functions for NumPy's.

    Raises:
        CannotRunError: it runs it in neither way.
    """
    options = ProblemOptions() if options is None else options
    try:
        found = _placed(whole, whole.objective(backend.name), backend, options)
    except InputError as error:
        raise CannotRunError(str(error)) from None
    residuals = whole.residuals()
    if backend.name == "numpy":
        return OnBackend(found, "gradient by hand" if whole.by_hand else "as written", residuals)
    failure = _failure(found)
    if failure is None:
        return OnBackend(found, "as written", residuals)
    if None in whole.checked.losses:
        library = array_namespace(backend.asarray(whole.start))
        found = _placed(whole, whole.with_library(library), backend, options)
        if _failure(found) is None:
            plan = f"with {library.__name__.removeprefix('array_api_compat.')} for numpy"
            return OnBackend(found, plan, whole.residuals(library))
    raise CannotRunError(f"{failure}; use functions of theta's own library, or give a dictionary of losses")


def _placed(whole: FunctionProblem, objective: FunctionObjective, backend: Backend, options: ProblemOptions) -> Problem:
    return prepare_function(objective, whole.start, whole.checked.data, backend, options)


def _failure(problem: Problem) -> str | None:
    """Return why a problem cannot be evaluated at its start; None if it can."""
    backend = problem.backend
    theta, loss = backend.asarray(problem.theta0), problem.objective.loss
    try:
        if capabilities(backend).program_size(loss, theta, *problem.data):
            return None  # traced, which is faster than compiling it
        for array in problem.value_and_grad(theta, *problem.data):
            backend.to_numpy(array)
    except MemoryError:
        raise
    except Exception as error:  # any error of a framework on code written for another
        if any(mark in str(error) for mark in ("RESOURCE_EXHAUSTED", "out of memory", "bad_alloc")):
            raise
        return in_one_line(error)[:200]
    return None


def function_problem(
    name: str, loss: Any, gradient: Any, theta: Any, data: Sequence[Any], params: Mapping[str, Any] | None = None
) -> FunctionProblem:
    """Return the problem of a loss.

    Args:
        name: how it is called.
        loss: loss(theta, *data, **params) -> scalar, or a dictionary with one for each framework.
        gradient: gradient(theta, *data, **params) of the structure of theta; True if the loss returns both; or None.
        theta: the start: an array, or a structure of arrays.
        data: the further arguments.
        params: hyper-parameters, passed by name.

    Raises:
        InputError: an argument cannot be used; as in `check_gradient`.
    """
    hand = _no_gradient if gradient is None else gradient
    checked, start, names = prepare_arguments(loss, hand, theta, tuple(data), params=params)
    return FunctionProblem(name, checked, start, names, gradient is not None)


def _no_gradient(*_: Any, **__: Any) -> Any:
    raise NoGradientError("there is no gradient by hand")


def problem_from_file(
    text: str, rows: int, features: int, seed: int, table: tuple[Array, Array] | None = None
) -> FunctionProblem:
    """Return the problem that FILE.py:NAME describes, whose file is run, or a ready problem.

    Args:
        text: FILE.py:NAME; FILE.py for its function `loss`; or the name of a ready problem, such as "gmm:25".
        rows: the number of rows that the file's function `data` is asked for.
        features: the number of features.
        seed: the seed of random numbers.
        table: X and y, in place of the file's data. Without either, X and y are random.

    Raises:
        InputError: the file cannot be run, or what it defines cannot be used.
    """
    path, name, module, parameters = _module_of(text)
    loss, gradient = loss_and_gradient(path, module, name)
    size = {"rows": rows, "features": features, "seed": seed, **parameters}
    data = table if table is not None else made(path, module, "data", size)
    if data is None:
        random = synthetic(rows, features, seed=seed)
        data = random.X, random.y
    if not isinstance(data, tuple):
        raise InputError(f"{path}: data must be a tuple of arguments, or a function that returns one, got {data!r:.80}")
    params: Mapping[str, Any] = getattr(module, "params", {})
    if not isinstance(params, dict):
        raise InputError(f"{path}: params must be a dictionary by name, got {params!r:.80}")
    params = {} if hasattr(loss, "__self__") else params  # an object has its own parameters
    arguments, theta = cast("tuple[Any, ...]", data), made(path, module, "theta", size)
    if theta is None:
        theta = random_theta(path, loss, gradient, arguments, params, seed)
    outputs = getattr(getattr(loss, "__self__", module), "residuals", None)
    return replace(function_problem(text, loss, gradient, theta, arguments, params), outputs=outputs)


def is_function(objective: str) -> bool:
    """Return whether the name of an objective is that of a loss function, and not of a bundled row loss."""
    return split_target(objective) is not None or parse_problem(objective) is not None


def _module_of(text: str) -> tuple[str, str, ModuleType, dict[str, int]]:
    """Return the path, the name of the loss, the module, and parameters for its data; a file is run."""
    found = split_target(text)
    if found is not None:
        return *found, run_file(found[0]), {}
    ready = parse_problem(text)
    if ready is None:
        raise InputError(f"an objective must be FILE.py:NAME or one of {', '.join(PROBLEMS)}, got {text!r}")
    return text, "loss", load_problem(ready[0]), ready[1]


def data_of_file(text: str) -> str:
    """Return how a file defines data: "function", "tuple", or "" if it does not; the file is run."""
    data: Any = getattr(_module_of(text)[2], "data", None)
    return "" if data is None else "function" if callable(data) else "tuple"


def fixed_size(text: str) -> tuple[int, int] | None:
    """Return the rows and features of the data that a file holds; None if it makes data of any size.

    The file is run.

    Raises:
        InputError: it cannot be run, or does not define the loss.
    """
    path, name, module, _ = _module_of(text)
    loss_and_gradient(path, module, name)
    data: Any = getattr(module, "data", None)
    if data is None or callable(data):
        return None
    shape: tuple[int, ...] = np.shape(cast(Any, data)[0]) if isinstance(data, tuple) and data else ()
    return (max(1, shape[0]) if shape else 1, max(1, shape[1]) if len(shape) > 1 else 1)


def random_theta(
    path: str, loss: Any, gradient: Any, data: tuple[Any, ...], params: Mapping[str, Any], seed: int
) -> Array:
    """Return a random number for each feature, and one for the intercept if the functions take that many."""
    shape: tuple[int, ...] = np.shape(data[0]) if data else ()
    if len(shape) != 2:
        raise InputError(f"{path}: its data do not begin with X (n, d), so theta is unknown; define theta there")
    theta = cast(Array, np.random.default_rng(seed).normal(scale=shape[1] ** -0.5, size=shape[1] + 1))
    functions: list[Any] = [gradient] if callable(gradient) else [*loss.values()] if isinstance(loss, dict) else [loss]
    for start in (theta, theta[:-1]):
        for function in functions:
            try:
                with np.errstate(all="ignore"):
                    function(start.copy(), *data, **params)
            except Exception:
                continue
            return start
    raise InputError(f"{path}: the length of theta is unknown; define theta there")


def with_library(function: Any, library: Any) -> Any:
    """Return a function that finds another library's functions wherever its file names NumPy.

    Functions of the same file that it calls do so too; others keep NumPy's.
    """
    if isinstance(function, Mapped):
        return function.mapped(lambda inner: with_library(inner, library))
    if isinstance(function, MethodType):
        return MethodType(with_library(function.__func__, library), function.__self__)
    if isinstance(function, partial):
        whole = cast("partial[Any]", function)
        return partial(with_library(whole.func, library), *whole.args, **whole.keywords)
    if not isinstance(function, FunctionType):
        return function
    name = f"{function.__module__}_with_{library.__name__}"
    names = vars(sys.modules.setdefault(name, ModuleType(name)))  # compilers look up the module of a function

    def changed(value: Any) -> Any:
        if value is np:
            return library
        if isinstance(value, FunctionType) and value.__globals__ is function.__globals__:
            copy = FunctionType(value.__code__, names, value.__name__, value.__defaults__, value.__closure__)
            copy.__kwdefaults__ = value.__kwdefaults__
            return copy
        return value

    names.update({key: changed(value) for key, value in function.__globals__.items()} | {"__name__": name})
    return changed(function)
