"""The works, each prepared once as a closure that ends in the backend's `synchronize`, or in NumPy arrays.

The command line and the pytest-benchmark suite time these closures, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

from gdbackends.benchmarking.case import STEPS
from gdbackends.descent import Fit, Problem, descend, learning_rates
from gdbackends.errors import InputError
from gdbackends.objectives import Array


class Unsupported(InputError):
    """The backend has no such work, or no such device."""


@dataclass(frozen=True)
class Workload:
    """A work made ready.

    Attributes:
        run: does it once, and waits. For "step": `run(k)` makes k steps, whose time is that of one more.
        read: returns what `run` returned in NumPy, for which a backend must have finished; None where it is already.
    """

    run: Callable[..., Any]
    read: Callable[[Any], Any] | None = None


def work(name: str, problem: Problem) -> Workload:
    """Return the work of that name, on the problem as it is placed; nothing has been run or compiled."""
    return {"loss": _loss, "gradient": _gradient, "step": _step, "fit": _fit}[name](problem)


def _loss(problem: Problem) -> Workload:
    """The loss alone; an optional capability of a backend, `value(objective)`."""
    backend = problem.backend
    value: Any = getattr(backend, "value", None)
    if value is None:
        raise Unsupported(f"the backend {backend.name} has no method `value` for the loss alone; time the gradient")
    return _evaluated(problem, value(problem.objective))


def _gradient(problem: Problem) -> Workload:
    """The loss and its gradient."""
    value_and_grad = problem.backend.value_and_grad(problem.objective)
    return _evaluated(problem, lambda *arguments: value_and_grad(*arguments)[1])


def _evaluated(problem: Problem, function: Callable[..., Array]) -> Workload:
    """Evaluate at the start and elsewhere in turn, so that no backend lives on what it remembers of the last call."""
    backend, start = problem.backend, problem.theta0
    away: Array = np.linspace(0.1, 0.2, start.size)
    points = cycle((backend.asarray(start), backend.asarray(start + away)))

    def run() -> Array:
        result = function(next(points), *problem.data)
        backend.synchronize(result)
        return result

    return Workload(run, read=backend.to_numpy)


def _step(problem: Problem) -> Workload:
    """Steps of the driver, at a rate so low that none diverges."""
    rate = np.dtype(problem.backend.dtype).type(1e-3 / problem.X.shape[1])

    def run(steps: int) -> Fit:
        return descend(problem, np.broadcast_to(rate, (steps,)))

    return Workload(run)


def _fit(problem: Problem) -> Workload:
    """A descent to the default tolerance; the rates are found before, by NumPy on every backend."""
    rates = learning_rates(problem, "auto", STEPS)
    return Workload(lambda: descend(problem, rates, tolerance=None))
