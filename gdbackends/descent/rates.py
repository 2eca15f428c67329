"""The rate of every step, laid out before the first: a number, a schedule, or "auto"."""

from __future__ import annotations

from numbers import Real
from typing import TypeAlias

import numpy as np

from gdbackends.descent.problem import Problem
from gdbackends.errors import InputError, InputTypeError, whole_number
from gdbackends.objectives import Array
from gdbackends.schedules import Schedule
from gdbackends.spectrum import Curved, batch_curvature, spectrum

LearningRate: TypeAlias = float | str | Schedule


def learning_rates(problem: Problem, learning_rate: LearningRate, steps: int) -> Array:
    """Return the rate of each step, (steps,), rounded once to the problem's dtype ("auto": towards zero)."""
    dtype = np.dtype(problem.backend.dtype)
    if whole_number("steps", steps) < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    if callable(learning_rate):
        return _scheduled(learning_rate, steps, dtype)
    if isinstance(learning_rate, str) and learning_rate == "auto":
        rates = _automatic(problem, steps)
        constant = rates.strides == (0,)
        rates = rates[:1] if constant else rates
        rounded: Array = rates.astype(dtype)
        rounded[rounded > rates] = np.nextafter(rounded[rounded > rates], dtype.type(0))
        return np.broadcast_to(rounded, (steps,)) if constant else rounded
    if not isinstance(learning_rate, Real) or isinstance(learning_rate, bool):
        raise InputTypeError(f"learning_rate must be a number, a function of the step or 'auto', got {learning_rate!r}")
    with np.errstate(over="ignore"):
        rate = dtype.type(learning_rate)
    if not (0 < rate < np.inf):
        raise InputError(f"learning_rate must be positive and finite in {dtype}, got {learning_rate}")
    return np.broadcast_to(rate, (steps,))


def _scheduled(schedule: Schedule, steps: int, dtype: np.dtype[np.floating]) -> Array:
    try:
        rates = np.array([float(schedule(step)) for step in range(steps)]).astype(dtype)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"the schedule must return a number for every step: {error}") from None
    wrong = ~(np.isfinite(rates) & (rates >= 0))
    if wrong.any():
        step = int(np.argmax(wrong))
        raise InputError(f"the schedule must return finite rates of at least 0, got {rates[step]} at step {step}")
    return rates


def _automatic(problem: Problem, steps: int) -> Array:
    """Return the best constant rate for all rows and so many steps; for batches a safe one, decaying as inverse time.

    For batches: 1 / (L + l_min k / 2), L a bound on the curvature of every batch; it tends to the 2 / (l_min k) of
    Lacoste-Julien, Schmidt and Bach (arXiv:1212.2002), under which the start is forgotten as 1 / k^2, not 1 / k.
    """
    if not isinstance(problem.objective, Curved):
        raise InputError("learning_rate='auto' needs an objective that has its curvature; give a number or a schedule")
    ends = spectrum(problem.objective, problem.X, problem.theta0.size)
    if len(problem.batches) == 1:
        return np.broadcast_to(ends.rate_within(steps), (steps,))
    safe = batch_curvature(problem.objective, problem.X, min(problem.batches))
    return 1 / (safe + (ends.smallest or 0.0) / 2 * np.arange(steps))
