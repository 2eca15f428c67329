"""The workloads to time, each a closure that ends in the backend's `synchronize` or returns NumPy arrays.

The command line and the pytest-benchmark suite time these closures only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

from gdbackends.backends import capabilities
from gdbackends.benchmarking.case import STEPS
from gdbackends.descent import Fit, Problem, descend, learning_rates
from gdbackends.errors import InputError
from gdbackends.objectives import Array


class Unsupported(InputError):
    """The backend does not support the workload or the device."""


@dataclass(frozen=True)
class Workload:
    """A prepared workload.

    Attributes:
        run: runs the workload once and waits for the result; for "step", `run(k)` makes k steps.
        read: converts the result of `run` to NumPy, which requires that it is complete; None if `run` returns NumPy.
    """

    run: Callable[..., Any]
    read: Callable[[Any], Any] | None = None


def work(name: str, problem: Problem) -> Workload:
    """Return the named workload on a prepared problem, without running or compiling anything."""
    return {"loss": _loss, "gradient": _gradient, "step": _step, "fit": _fit}[name](problem)


def _loss(problem: Problem) -> Workload:
    """Return the workload for the loss alone, which needs the optional method `value(objective)` of a backend."""
    backend = problem.backend
    value = capabilities(backend).value(problem.objective)
    if value is None:
        raise Unsupported(f"the backend {backend.name} has no method `value` for the loss alone; time the gradient")
    return _evaluated(problem, value)


def _gradient(problem: Problem) -> Workload:
    """Return the workload for the loss and its gradient."""
    value_and_grad = problem.backend.value_and_grad(problem.objective)
    return _evaluated(problem, lambda *arguments: value_and_grad(*arguments)[1])


def _evaluated(problem: Problem, function: Callable[..., Array]) -> Workload:
    """Evaluate alternately at the start and at another point, so that no backend profits from cached results."""
    backend, start = problem.backend, problem.theta0
    away: Array = np.linspace(0.1, 0.2, start.size)
    points = cycle((backend.asarray(start), backend.asarray(start + away)))

    def run() -> Array:
        result = function(next(points), *problem.data)
        backend.synchronize(result)
        return result

    return Workload(run, read=backend.to_numpy)


def _step(problem: Problem) -> Workload:
    """Return the workload for steps of the driver, at a rate low enough not to diverge."""
    rate = np.dtype(problem.backend.dtype).type(1e-3 / problem.X.shape[1])

    def run(steps: int) -> Fit:
        return descend(problem, np.broadcast_to(rate, (steps,)))

    return Workload(run)


def _fit(problem: Problem) -> Workload:
    """Return the workload for a descent to the default tolerance; NumPy computes the rates beforehand."""
    rates = learning_rates(problem, "auto", STEPS)
    return Workload(lambda: descend(problem, rates, tolerance=None))
