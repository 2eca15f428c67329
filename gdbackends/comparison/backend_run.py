"""What one backend computes and how long it takes; it runs in a process of its own and judges nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from gdbackends.backends import Backend, get_backend
from gdbackends.comparison.outcome import Settings
from gdbackends.comparison.referee import values
from gdbackends.comparison.trajectory import Trajectory, run_trajectory
from gdbackends.descent import Fit, TableProblem, descend, in_data_units, learning_rates, prepare
from gdbackends.descent.rates import Rates
from gdbackends.descent.sharded_backend import ShardedBackend
from gdbackends.errors import InputError
from gdbackends.measurement.statistics import Estimate, middle
from gdbackends.measurement.timing import marginal_steps, seconds
from gdbackends.objectives import Array
from gdbackends.ranks import Ranks, led, own_rows
from gdbackends.rounding import Values


@dataclass(frozen=True, eq=False)
class BackendRun:
    """What one backend computed, not yet judged.

    Attributes:
        device: where it ran.
        fit: the fit asked for.
        end: (d + 1,), its parameters in the coordinates that are descended in.
        values: losses and gradients at the probe points, in the dtype asked for.
        values_in_float64: the same in float64.
        trajectory: the fixed steps.
        first_call_s: seconds of the first descent of one step.
        step: seconds that one more step takes, with the 99 % interval over the rounds in this process.
        processes: the number of processes among which the rows were divided.
    """

    device: str
    fit: Fit
    end: Array
    values: Values
    values_in_float64: Values
    trajectory: Trajectory
    first_call_s: float
    step: Estimate
    processes: int = 1


def run_backend(
    wanted: str | Backend, X: Array, y: Array, settings: Settings, points: Array, rates: Array
) -> BackendRun:
    """Fit, evaluate at the probe points, make the fixed steps at these rates, and time."""
    chosen = chosen_backend(wanted, settings)
    problem = prepare(X, y, chosen, settings.objective, settings.problem_options)
    of_fit = learning_rates(problem, settings.learning_rate, settings.steps)
    backend: Any = problem.backend  # for batches another than the one chosen
    wide, computed = in_dtype(backend, "float64"), values(backend, problem, points)
    in_float64 = computed if wide == backend else values(wide, problem, points)
    return _run(None, problem, settings, of_fit, rates, computed, in_float64)


def run_backend_on_ranks(
    ranks: Ranks | None, name: str, X: Array, y: Array, settings: Settings, points: Array, rates: Array, *fixed: Any
) -> BackendRun:
    """Do the same with the rows divided among processes, which all call this with all rows.

    Args:
        ranks: the processes.
        name: the name of the backend.
        X: (n, d), all rows.
        y: (n,).
        settings: the settings of the fit.
        points: where to evaluate.
        rates: the rates of the fixed steps.
        *fixed: the scaling and the rates of the fit, as one process has computed them: those that several compute
            differ by rounding, which the bounds of a descent do not cover. None for rates that cannot be sent.
    """
    scaling, of_fit = fixed
    assert ranks is not None
    own = own_rows(y.size, ranks)
    options = replace(settings.problem_options, ranks=ranks, scaling=scaling)
    problem = prepare(X[own], y[own], chosen_backend(name, settings), settings.objective, options)
    if of_fit is None:
        of_fit = learning_rates(problem, settings.learning_rate, settings.steps)
    computed = in_float64 = values(problem.backend, problem, points, problem.data)
    if settings.dtype != "float64":
        over, rows = cast("tuple[Any, Any]", (problem.backend, problem.X))
        inner = isinstance(over, ShardedBackend)
        wide: Any = replace(over, inner=in_dtype(over.inner, "float64")) if inner else in_dtype(over, "float64")
        in_float64 = values(wide, problem, points, wide.placed(*rows.loaded()))
    return _run(ranks, problem, settings, of_fit, rates, computed, in_float64)


def _run(
    ranks: Ranks | None,
    problem: TableProblem,
    settings: Settings,
    of_fit: Rates,
    rates: Array,
    computed: Values,
    in_float64: Values,
) -> BackendRun:
    steady = rates[0] / problem.rows  # stable for every batch, whose curvature is at most n times that of all rows
    first_call = seconds(lambda: descend(problem, np.broadcast_to(steady, (1,))))
    descended = descend(problem, of_fit, tolerance=settings.tolerance)

    def run(k: int) -> object:
        return descend(problem, np.broadcast_to(steady, (k,)))

    return BackendRun(
        device=problem.backend.device,
        fit=in_data_units(problem, descended, of_fit, automatic=isinstance(settings.learning_rate, str)),
        end=descended.theta,
        values=computed,
        values_in_float64=in_float64,
        trajectory=run_trajectory(problem, rates),
        first_call_s=first_call,
        step=led(ranks, run, step_time) or Estimate(0.0, 0.0, 0.0),  # of other processes than the first
        processes=1 if ranks is None else ranks.size,
    )


def step_time(run: Callable[[int], object]) -> Estimate:
    """Return the seconds that one more step takes, with the 99 % interval over the rounds of `marginal_steps`."""
    return middle(marginal_steps(run)[0])


def chosen_backend(wanted: str | Backend, settings: Settings) -> Backend:
    """Return the backend of a name, or the backend itself, with these settings; NumPy ignores the device."""
    if isinstance(wanted, str):
        return get_backend(wanted, None if wanted == "numpy" else settings.device, settings.dtype, settings.tuning)
    return in_dtype(wanted, settings.dtype)


def in_dtype(backend: Backend, dtype: str) -> Backend:
    """Return the same backend in another dtype.

    Raises:
        InputError: it does not have it, or is no dataclass with a field dtype, which could be replaced.
    """
    if backend.dtype == dtype:
        return backend
    changeable: Any = backend
    try:
        changed = replace(changeable, dtype=dtype)
    except TypeError:
        raise InputError(f"dtype {dtype!r} is not available for {backend.name}; it has {backend.dtype!r}") from None
    return changed
