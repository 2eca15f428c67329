"""The workloads to time, each a closure that ends in the backend's `synchronize` or returns NumPy arrays.

The command line and the pytest-benchmark suite time these closures only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np

from gdbackends.backends import capabilities
from gdbackends.benchmarking.case import STEPS, WORKS
from gdbackends.descent import Fit, Problem, TableProblem, descend, learning_rates
from gdbackends.errors import InputError
from gdbackends.objectives import Array


class Unsupported(InputError):
    """The backend does not support the workload or the device."""


@dataclass(frozen=True)
class Workload:
    """A prepared workload.

    Attributes:
        run: runs the workload once and waits for the result; for "step" and "batch", `run(k)` makes k steps.
        read: converts the result of `run` to NumPy, which requires that it is complete; None if `run` returns NumPy.
    """

    run: Callable[..., Any]
    read: Callable[[Any], Any] | None = None


def work(name: str, problem: Problem, residuals: Callable[..., Any] | None = None) -> Workload:
    """Return the named workload on a prepared problem, without running or compiling anything.

    Args:
        name: one of WORKS.
        problem: the problem; for "batch", one of batches.
        residuals: residuals(theta, *data) -> (n,), whose Jacobian is timed.

    Raises:
        Unsupported: the backend has no such function.
    """
    if name in ("step", "batch"):
        return _steps(problem)
    if name == "fit":
        return _fit(problem)
    if name.startswith("jacobian") and residuals is None:
        raise Unsupported("there are no residuals(theta, *data), whose Jacobian could be timed; define the function")
    function = evaluation(name, problem, residuals)
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
    """Evaluate alternately at the start and at another point, so that no backend profits from cached results."""
    backend, start = problem.backend, problem.theta0
    away: Array = np.linspace(0.1, 0.2, start.size)
    if not isinstance(problem, TableProblem):
        away = 0.1 * away * np.where(start == 0, 1.0, start)  # to stay where the function is defined
    points = cycle((backend.asarray(start), backend.asarray((start + away).astype(backend.dtype))))

    def run() -> Array:
        result = function(next(points), *problem.data)
        backend.synchronize(result)
        return result

    return Workload(run, read=backend.to_numpy)


def _steps(problem: Problem) -> Workload:
    """Return the workload for steps of the driver, at a rate low enough not to diverge."""
    dtype = np.dtype(problem.backend.dtype)
    rate = dtype.type(1e-3 / problem.X.shape[1] if isinstance(problem, TableProblem) else _low_rate(problem))

    def run(steps: int) -> Fit:
        return descend(problem, np.broadcast_to(rate, (steps,)))

    return Workload(run)


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
    return Workload(lambda: descend(problem, rates, tolerance=None))
