"""Run one backend: what it computes and how long it takes. It runs in its own process and judges nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdbackends.backends import get_backend
from gdbackends.comparison.comparison_result import Settings
from gdbackends.comparison.referee import values
from gdbackends.comparison.trajectory import Trajectory, TrajectoryCheck, run_trajectory
from gdbackends.descent import Fit, descend, fit_prepared, prepare
from gdbackends.measurement.timing import marginal_step, seconds
from gdbackends.objectives import Array
from gdbackends.rounding import Values
from gdbackends.scaling import identity


@dataclass(frozen=True, eq=False)
class BackendRun:
    """What one backend computed, not yet judged.

    Attributes:
        device: the device it ran on.
        fit: the requested fit.
        end: (d + 1,), the fitted parameters in the descended coordinates.
        values: losses and gradients at the probe points, in the requested dtype.
        values_in_float64: losses and gradients at the probe points, in float64.
        trajectory: the fixed steps of the trajectory check.
        first_call_s: seconds of the first descent of one step, compilation included.
        step_s: seconds that one more step takes.
    """

    device: str
    fit: Fit
    end: Array
    values: Values
    values_in_float64: Values
    trajectory: Trajectory
    first_call_s: float
    step_s: float


def run_backend(name: str, X: Array, y: Array, settings: Settings, points: Array, check: TrajectoryCheck) -> BackendRun:
    """Fit, evaluate at the points, make the steps of the trajectory check, and time."""
    device = None if name == "numpy" else settings.device
    chosen = get_backend(name, device, settings.dtype, settings.tuning)
    problem = prepare(X, y, chosen, settings.objective, settings.batch_size, settings.standardize, settings.seed)
    backend: Any = problem.backend  # its storage for batches may differ
    steady = check.rates[0] / y.size  # stable for every batch: its curvature is at most n times that of all rows
    first_call = seconds(lambda: descend(problem, np.broadcast_to(steady, (1,))))
    plain = replace(problem, scaling=identity(X.shape[1]))
    fitted = fit_prepared(plain, settings.learning_rate, settings.steps, settings.tolerance)
    theta = problem.scaling.to_data_units(fitted.theta.astype(np.float64)).astype(settings.dtype)
    wide, computed = replace(backend, dtype="float64"), values(backend, problem, points)
    return BackendRun(
        device=backend.device,
        fit=replace(fitted, theta=theta),
        end=fitted.theta,
        values=computed,
        values_in_float64=computed if wide == backend else values(wide, problem, points),
        trajectory=run_trajectory(problem, check.rates),
        first_call_s=first_call,
        step_s=marginal_step(lambda k: descend(problem, np.broadcast_to(steady, (k,)))),
    )
