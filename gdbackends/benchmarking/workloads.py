"""The workloads to time, each a closure that ends in the backend's `synchronize` or returns NumPy arrays.

The command line and the pytest-benchmark suite time these closures only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle
from typing import Any

import numpy as np

from gdbackends.backends import capabilities
from gdbackends.benchmarking.case import STEPS, WORKS
from gdbackends.descent import Fit, Problem, TableProblem, descend, learning_rates
from gdbackends.errors import InputError
from gdbackends.objectives import Array

_POINTS = 16
NEAR = 1e-3
"""How far the starts of descents lie apart, compared with the points of evaluations."""


class Unsupported(InputError):
    """The backend does not support the workload or the device."""


@dataclass(frozen=True)
class Workload:
    """A prepared workload, which is run from another point in every call, so that nothing remembered helps.

    Attributes:
        points: points(generator, count) returns as many random points as `call` takes.
        call: call(point) runs the workload once and waits for the result; for "step" and "batch", call(point, k) makes
            k steps.
        place: converts a point (p,) in NumPy to one that `call` takes.
        read: converts the result of `call` to NumPy, which requires that it is complete; None if it is a Fit.
    """

    points: Callable[[Any, int], list[Any]]
    call: Callable[..., Any]
    place: Callable[[Array], Any]
    read: Callable[[Any], Any] | None = None

    @cached_property
    def run(self) -> Callable[..., Any]:
        """A function that runs the workload once, or k steps of it, from the next of a few points."""
        points = cycle(self.points(np.random.default_rng(0), _POINTS))
        return lambda *steps: self.call(next(points), *steps)


def work(
    name: str, problem: Problem, residuals: Callable[..., Any] | None = None, vector: Array | None = None
) -> Workload:
    """Return the named workload on a prepared problem, without running or compiling anything.

    Args:
        name: one of WORKS.
        problem: the problem; for "batch", one of batches.
        residuals: residuals(theta, *data) -> (n,), whose Jacobian is timed.
        vector: (p,), of a Hessian-vector product; None means ones.

    Raises:
        Unsupported: the backend has no such function.
    """
    if name in ("step", "batch"):
        return _steps(problem)
    if name == "fit":
        return _fit(problem)
    if name.startswith("jacobian") and residuals is None:
        raise Unsupported("there are no residuals(theta, *data), whose Jacobian could be timed; define the function")
    function = evaluation(name, problem, residuals, vector)
    if function is None:
        raise Unsupported(f"the backend {problem.backend.name} has no function for {WORKS[name]}; leave it out")
    return _evaluated(problem, function)


def evaluation(
    name: str, problem: Problem, residuals: Callable[..., Any] | None = None, vector: Array | None = None
) -> Callable[..., Array] | None:
    """Return the function f(theta, *data) that a workload evaluates; None if the backend has no such function.

    The vector of a Hessian-vector product is ones by default.
    """
    backend, offered, objective = problem.backend, capabilities(problem.backend), problem.objective
    if name == "loss":
        return offered.value(objective)
    if name == "gradient" and (gradient := offered.gradient(objective)) is not None:
        return gradient
    if name in ("gradient", "value_and_gradient"):
        return lambda *arguments: problem.value_and_grad(*arguments)[1]
    if name == "hvp":
        product = offered.hvp(objective)
        v = backend.asarray(np.ones_like(problem.theta0) if vector is None else vector.astype(backend.dtype))
        return None if product is None else lambda *arguments: product(arguments[0], v, *arguments[1:])[1]
    return None if residuals is None else offered.jacobian(residuals, name.removeprefix("jacobian_"))


def _evaluated(problem: Problem, function: Callable[..., Array]) -> Workload:
    backend = problem.backend

    def place(point: Array) -> Array:
        return backend.asarray(point.astype(backend.dtype))

    def points(generator: Any, count: int) -> list[Array]:
        return [place(point) for point in random_points(problem, generator, count)]

    def call(point: Array) -> Array:
        result = function(point, *problem.data)
        backend.synchronize(result)
        return result

    return Workload(points, call, place, read=backend.to_numpy)


def random_points(problem: Problem, generator: Any, count: int, spread: float = 1.0) -> Array:
    """Return random points (count, p) near the start, in float64."""
    start = problem.theta0.astype(np.float64)
    if isinstance(problem, TableProblem):
        return start + generator.normal(scale=spread * start.size**-0.5, size=(count, start.size))
    # near enough to stay where the function is defined
    return start + 0.02 * spread * generator.uniform(-1, 1, (count, start.size)) * np.where(start == 0, 1.0, start)


def _descent(problem: Problem, run: Callable[..., Fit]) -> Workload:
    """Return the workload of descents, which begin so near to each other that all make about as many steps."""

    def place(point: Array) -> Problem:
        return problem.started_at(point.astype(problem.backend.dtype))

    def points(generator: Any, count: int) -> list[Problem]:
        return [place(point) for point in random_points(problem, generator, count, NEAR)]

    return Workload(points, run, place)


def _steps(problem: Problem) -> Workload:
    """Return the workload for steps of the driver, at a rate low enough not to diverge."""
    rate = step_rate(problem)

    def run(at: Problem, steps: int) -> Fit:
        return descend(at, np.broadcast_to(rate, (steps,)))

    return _descent(problem, run)


def step_rate(problem: Problem) -> Any:
    """Return the rate of the steps that are timed, in the dtype of the problem."""
    dtype = np.dtype(problem.backend.dtype)
    return dtype.type(1e-3 / problem.theta0.size if isinstance(problem, TableProblem) else _low_rate(problem))


def _low_rate(problem: Problem) -> float:
    """Return a hundredth of the automatic rate, or next to nothing for a linear function."""
    whole = replace(problem, batch_size=None)
    try:
        return float(learning_rates(whole, "auto", 1)[0]) / 100
    except InputError:
        return 1e-12


def _fit(problem: Problem) -> Workload:
    """Return the workload for a descent to the default tolerance; NumPy computes the rates beforehand."""
    rates = learning_rates(problem, "auto", STEPS)

    def run(at: Problem) -> Fit:
        return descend(at, rates, tolerance=None)

    return _descent(problem, run)
