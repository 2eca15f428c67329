"""The rate of every step, laid out before the first: a number, a schedule, or "auto"."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import TypeAlias

import numpy as np

from gdbackends.blocks import Parts
from gdbackends.descent.problem import Problem
from gdbackends.descent.spectrum import batch_curvature, is_curved, spectrum
from gdbackends.errors import InputError, InputTypeError, whole_number
from gdbackends.objectives import AbsoluteError, Array, LinearModel, Poisson, Quantile, SquaredError
from gdbackends.schedules import Schedule
from gdbackends.streaming import over_rows

LearningRate: TypeAlias = float | str | Schedule

_KNOWN = (AbsoluteError, Quantile, Poisson)


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
    if not is_curved(problem.objective):
        return _without_curvature(problem, steps)
    ends = spectrum(problem.objective, problem.X, problem.theta0.size)
    if len(problem.batches) == 1:
        return np.broadcast_to(ends.rate_within(steps), (steps,))
    safe = batch_curvature(problem.objective, problem.X, min(problem.batches))
    return 1 / (safe + (ends.smallest or 0.0) / 2 * np.arange(steps))


def _without_curvature(problem: Problem, steps: int) -> Array:
    """Return c / sqrt(k + 1) where phi' jumps; for Poisson the constant 1 / L; refuse what nothing is known of.

    The first step is Polyak's with the least cost taken as 0, c = cost / G^2, G >= |X^T phi'| / n a bound on the norm
    of the first subgradient; the root makes every c converge (Nesterov, Introductory Lectures on Convex Optimization,
    section 3.2.3).
    """
    objective = problem.objective
    if not (isinstance(objective, LinearModel) and isinstance(objective.row_loss, _KNOWN)):
        raise InputError("learning_rate='auto' needs an objective that has its curvature; give a number or a schedule")
    if isinstance(objective.row_loss, Poisson):
        if len(problem.batches) > 1:
            raise InputError("learning_rate='auto' knows no rate for Poisson over batches; give a number or a schedule")
        return np.broadcast_to(1 / poisson_curvature(problem), (steps,))
    scale = problem.y.size / objective.divisor(problem.y.size)  # of the cost over the mean
    squared = replace(objective, row_loss=SquaredError(), l2=0.0)  # its curvature is 2 scale |X 1|^2 / n
    if len(problem.batches) > 1:
        largest = batch_curvature(squared, problem.X, min(problem.batches))
    else:
        largest = spectrum(squared, problem.X, problem.theta0.size).largest
    theta, free = problem.theta0.astype(np.float64), replace(objective, l2=0.0)

    def first(X: Array, y: Array) -> Parts:
        X, y = X.astype(np.float64), y.astype(np.float64)
        slopes = objective.row_loss.derivative(objective.predict(theta, X), y)
        return free.loss(theta, X, y), np.square(slopes).mean()

    cost, steepness = (float(mean) for mean in over_rows(first, problem.X, problem.y))
    steepness = steepness or 1.0
    rates = cost / (scale * steepness * largest / 2) / np.sqrt(np.arange(steps) + 1)
    return np.minimum(rates, 1 / (2 * objective.l2)) if objective.l2 else rates  # what the penalty's curvature takes


def poisson_curvature(problem: Problem) -> float:
    """Return L, a bound on the Hessian of a Poisson objective wherever the cost is at most that of the start.

    H = mean(e^z x x^T) <= M max|x|^2 where mean(e^z) <= M. For each c in (0, 1) the cost is at least c mean(e^z) plus
    the mean of the least of (1 - c) e^z - y z, which is y - y log(y / (1 - c)): so cost(start) gives M. A descent over
    all rows with a rate below 2 / L never leaves that region.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    theta, plain = problem.theta0.astype(np.float64), replace(objective, convention="mean")
    squared, widest = replace(objective, row_loss=SquaredError(), l2=0.0), 0.0

    def means(X: Array, y: Array) -> Parts:
        nonlocal widest
        X, y = X.astype(np.float64), y.astype(np.float64)
        widest = max(widest, float(squared.row_curvature(X).max()) / 2)
        return plain.loss(theta, X, y), (y - y * np.log(np.where(y > 0, y, 1.0))).mean(), y.mean()

    start, least, mean = (float(part) for part in over_rows(means, problem.X, problem.y))
    c = np.linspace(0.01, 0.99, 99)
    mass = float(((start - least - mean * np.log(1 - c)) / c).min())
    return mass * widest + 2 * objective.l2
