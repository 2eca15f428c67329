"""The rates of all steps, computed before the first: from a number, a schedule, or "auto"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from gdbackends.blocks import Parts
from gdbackends.descent.problem import Problem, TableProblem
from gdbackends.descent.spectrum import batch_curvature, has_hessian_bound, spectrum
from gdbackends.errors import InputError, InputTypeError, whole_number
from gdbackends.objectives import Array, LinearModel, SquaredError
from gdbackends.schedules import Schedule
from gdbackends.streaming import over_ranks, over_rows

LearningRate: TypeAlias = float | str | Schedule
MOST_STEPS = 10**15
"""The largest number of steps; NumPy cannot describe an array of rates of more than 10^18."""
_ITERATIONS = 12
_LAID_OUT = 1 << 20
"""Steps whose rates, if they vary, are computed in advance; for more they are computed a piece at a time."""


class LazyRates:
    """The rates of very many steps, computed when a slice of them is asked for."""

    def __init__(self, steps: int, piece: Callable[[Array], Array]) -> None:
        """Take a function from the numbers of steps (k,) to their rates (k,), in the problem's dtype."""
        self._steps, self._piece = steps, piece

    def __len__(self) -> int:
        """Return the number of steps."""
        return self._steps

    def __getitem__(self, key: int | slice) -> Array:
        """Return the rates of these steps."""
        if isinstance(key, slice):
            return self._piece(np.arange(*key.indices(self._steps)))
        return self._piece(np.array([key % self._steps]))[0]

    def ends(self) -> Array:
        """Return the rates that are laid out, and the last; an automatic rate never grows."""
        return np.append(self[:_LAID_OUT], self[-1])


Rates: TypeAlias = Array | LazyRates


def extremes(rates: Rates) -> tuple[float, float]:
    """Return the smallest and the largest rate; of very many, those of the first 2^20 steps and of the last."""
    known = rates.ends() if isinstance(rates, LazyRates) else rates[:1] if rates.strides == (0,) else rates
    return float(known.min()), float(known.max())


def learning_rates(problem: Problem, learning_rate: LearningRate, steps: int) -> Rates:
    """Return the rate of each step, (steps,), rounded once to the problem's dtype ("auto": towards zero)."""
    dtype = np.dtype(problem.backend.dtype)
    if whole_number("steps", steps) < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    if steps > MOST_STEPS:
        raise InputError(f"steps must be at most {MOST_STEPS:,}, got {steps:,}")
    if callable(learning_rate):
        return _of_steps(lambda k: _scheduled(learning_rate, k, dtype), steps)
    if isinstance(learning_rate, str) and learning_rate == "auto":
        found = _automatic(problem, steps)
        if callable(found):
            return _of_steps(lambda k: _rounded_down(found(k), dtype), steps)
        return np.broadcast_to(_rounded_down(np.array([found]), dtype), (steps,))
    if not isinstance(learning_rate, Real) or isinstance(learning_rate, bool):
        raise InputTypeError(f"learning_rate must be a number, a function of the step or 'auto', got {learning_rate!r}")
    with np.errstate(over="ignore"):
        rate = dtype.type(learning_rate)
    if not (0 < rate < np.inf):
        raise InputError(f"learning_rate must be positive and finite in {dtype}, got {learning_rate}")
    return np.broadcast_to(rate, (steps,))


def _of_steps(piece: Callable[[Array], Array], steps: int) -> Rates:
    return piece(np.arange(steps)) if steps <= _LAID_OUT else LazyRates(steps, piece)


def _rounded_down(rates: Array, dtype: np.dtype[np.floating]) -> Array:
    rounded: Array = rates.astype(dtype)
    rounded[rounded > rates] = np.nextafter(rounded[rounded > rates], dtype.type(0))
    return rounded


def _scheduled(schedule: Schedule, steps: Array, dtype: np.dtype[np.floating]) -> Array:
    """Return the rates of these steps; an exception of the schedule is passed on, with a note on the step."""
    rates = np.empty(steps.size)
    for j, step in enumerate(steps.tolist()):
        try:
            rate: Any = schedule(step)
        except Exception as error:
            error.add_note(f"raised by the schedule of learning rates at step {step}")
            raise
        try:
            rates[j] = float(rate)
        except (TypeError, ValueError):
            raise InputTypeError(f"the schedule must return a number, got {rate!r} at step {step}") from None
    rates = rates.astype(dtype)
    wrong = ~(np.isfinite(rates) & (rates >= 0))
    if wrong.any():
        j = int(np.argmax(wrong))
        raise InputError(f"the schedule must return finite rates of at least 0, got {rates[j]} at step {steps[j]}")
    return rates


def _automatic(problem: Problem, steps: int) -> float | Callable[[Array], Array]:
    """Return the best constant rate for all rows; for batches a stable rate that decays as inverse time.

    What is not constant is a function of the numbers of steps.

    For batches it is 1 / (L + l_min k / 2), where L bounds the curvature of every batch. It tends to the 2 / (l_min k)
    of Lacoste-Julien, Schmidt and Bach (arXiv:1212.2002), with which the influence of the start decays as 1 / k^2
    instead of 1 / k.
    """
    if not isinstance(problem, TableProblem):
        return rate_at_start(problem)
    ends = problem.spectrum
    if ends is None:
        return _without_curvature(problem)
    if len(problem.batches) == 1:
        return ends.rate_within(steps)
    assert has_hessian_bound(problem.objective)
    safe = batch_curvature(problem.objective, problem.X, min(problem.batches))
    return lambda k: 1 / (safe + (ends.smallest or 0.0) / 2 * k)


def _without_curvature(problem: TableProblem) -> float | Callable[[Array], Array]:
    """Return c / sqrt(k + 1) where phi' jumps; the constant 1 / L where the cost bounds the curvature (Poisson).

    The first step is Polyak's with a minimum cost of 0: c = cost / G^2, where G >= |X^T phi'| / n bounds the norm of
    the first subgradient. The square root makes every c converge (Nesterov, Introductory Lectures on Convex
    Optimization, section 3.2.3).

    Raises:
        InputError: no rate is known for the objective.
    """
    objective = problem.objective
    if isinstance(objective, LinearModel) and objective.row_loss.sublevel_terms(np.ones(1)) is not None:
        if len(problem.batches) > 1:
            name = type(objective.row_loss).__name__
            raise InputError(f"learning_rate='auto' does not support {name} with batches; give a number or a schedule")
        return 1 / sublevel_curvature(problem)
    if not isinstance(objective, LinearModel):
        return rate_at_start(problem)
    if not objective.row_loss.jump:
        raise InputError("learning_rate='auto' needs an objective of known curvature; give a number or a schedule")
    scale = problem.y.size / objective.divisor(problem.y.size)  # the cost over the mean of phi
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
    first_rate = cost / (scale * steepness * largest / 2)
    most = 1 / (2 * objective.l2) if objective.l2 else np.inf  # the limit by the penalty's curvature
    return lambda k: np.minimum(first_rate / np.sqrt(k + 1), most)


def rate_at_start(problem: Problem) -> float:
    """Return 1 / (2 L), rounded to two digits, where L is the largest curvature at the start.

    The factor 2 leaves room for curvature that grows on the way, for which there is no bound; the digits are few so
    that all backends find the same rate.

    Raises:
        InputError: the gradient is not finite near the start, or does not change there.
    """
    backend = problem.backend

    def gradient(at: Array) -> Array:
        found = problem.value_and_grad(backend.asarray(at.astype(backend.dtype)), *problem.data)[1]
        return backend.to_numpy(found).astype(np.float64)

    largest = curvature_at(gradient, problem.theta0.astype(np.float64), backend.dtype, problem.seed)
    if not 0 < largest < np.inf:
        raise InputError("learning_rate='auto' needs a gradient that changes near the start; give a number")
    return float(f"{1 / (2 * largest):.1e}")


def curvature_at(gradient: Callable[[Array], Array], theta: Array, dtype: str, seed: int) -> float:
    """Return the largest eigenvalue, in absolute value, of the Hessian at theta (p,), estimated; 0 if there is none.

    Power iteration on central differences of the gradient, computed in `dtype`, along a random vector.
    """
    size = float(np.sqrt(np.square(theta).mean())) or 1.0
    h = size * float(np.finfo(dtype).eps) ** (1 / 3)
    generator: Any = np.random.default_rng(seed)
    v: Array = generator.normal(size=theta.size)
    largest = 0.0
    for _ in range(_ITERATIONS):
        step = h * theta.size**0.5 / float(np.linalg.norm(v)) * v
        v = gradient(theta + step) - gradient(theta - step)
        curvature = float(np.linalg.norm(v)) / (2 * h * theta.size**0.5)
        if not 0 < curvature < np.inf:
            break
        largest = max(largest, curvature)
    return largest


def sublevel_curvature(problem: TableProblem) -> float:
    """Return L, a bound on the Hessian wherever the cost is at most that of the start.

    H = mean(phi'' x x^T) <= M max|x|^2, where mean(phi'') <= M on that sublevel set (`RowLoss.sublevel_curvature`). A
    descent over all rows with a rate below 2 / L never leaves it.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    theta, plain = problem.theta0.astype(np.float64), replace(objective, convention="mean")
    squared, widest = replace(objective, row_loss=SquaredError(), l2=0.0), 0.0

    def means(X: Array, y: Array) -> Parts:
        nonlocal widest
        X, y = X.astype(np.float64), y.astype(np.float64)
        widest = max(widest, float(squared.row_curvature(X).max()) / 2)
        return plain.loss(theta, X, y), *(term.mean() for term in objective.row_loss.sublevel_terms(y) or ())

    cost, *terms = (float(part) for part in over_rows(means, problem.X, problem.y))
    widest = float(over_ranks(problem.X, widest).max())
    return objective.row_loss.sublevel_curvature(cost, *terms) * widest + 2 * objective.l2
