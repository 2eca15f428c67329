"""What one backend computes and how long it takes; it runs in a process of its own and judges nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdbackends.backends import Backend, get_backend
from gdbackends.comparison.outcome import Settings
from gdbackends.comparison.referee import values
from gdbackends.comparison.trajectory import Trajectory, run_trajectory
from gdbackends.descent import Fit, descend, in_data_units, learning_rates, prepare
from gdbackends.errors import InputError
from gdbackends.measurement.statistics import Estimate, middle
from gdbackends.measurement.timing import marginal_steps, seconds
from gdbackends.objectives import Array
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
    """

    device: str
    fit: Fit
    end: Array
    values: Values
    values_in_float64: Values
    trajectory: Trajectory
    first_call_s: float
    step: Estimate


def run_backend(
    wanted: str | Backend, X: Array, y: Array, settings: Settings, points: Array, rates: Array
) -> BackendRun:
    """Fit, evaluate at the probe points, make the fixed steps at these rates, and time."""
    chosen = chosen_backend(wanted, settings)
    problem = prepare(X, y, chosen, settings.objective, settings.problem_options)
    backend: Any = problem.backend  # for batches another than the one chosen
    steady = rates[0] / y.size  # stable for every batch, whose curvature is at most n times that of all rows
    first_call = seconds(lambda: descend(problem, np.broadcast_to(steady, (1,))))
    of_fit = learning_rates(problem, settings.learning_rate, settings.steps)
    descended = descend(problem, of_fit, tolerance=settings.tolerance)
    in_float64, computed = in_dtype(backend, "float64"), values(backend, problem, points)
    return BackendRun(
        device=backend.device,
        fit=in_data_units(problem, descended, of_fit, automatic=isinstance(settings.learning_rate, str)),
        end=descended.theta,
        values=computed,
        values_in_float64=computed if in_float64 == backend else values(in_float64, problem, points),
        trajectory=run_trajectory(problem, rates),
        first_call_s=first_call,
        step=step_time(lambda k: descend(problem, np.broadcast_to(steady, (k,)))),
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
