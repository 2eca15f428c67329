"""How far apart rounding may carry two descents of the same steps: bounds on the tube about a path."""

from __future__ import annotations

import numpy as np

from gdbackends.comparison.trajectory import batch, rows_of_steps, trajectory
from gdbackends.descent import Problem
from gdbackends.descent.rates import sublevel_curvature
from gdbackends.descent.spectrum import Spectrum, batch_curvature
from gdbackends.descent.stopping import nonsmooth
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import evaluate, gamma, unit_roundoff

STEPS = 1000
STEPWISE = 1 << 28
"""Elements of X read at most where every step is bounded on its own, which takes ten times as long."""


def curvature(problem: Problem, ends: Spectrum | None) -> float:
    """Return a bound on l_max wherever the descent goes: of Poisson over batches a guess; infinite at a kink."""
    objective, whole = problem.objective, len(problem.batches) == 1
    assert isinstance(objective, LinearModel)
    if objective.smooth:
        return ends.largest if whole and ends else batch_curvature(objective, problem.X, min(problem.batches))
    if objective.row_loss.sublevel_terms(np.ones(1)) is not None:
        return sublevel_curvature(problem) * problem.y.size / min(problem.batches)
    return float("inf")


def _tau(problem: Problem, theta: Array, X: Array, y: Array, rate: float, slope: float, ball: float) -> float:
    """Return what rounding adds in a step within the ball: a B + u a |g| + gamma_1 |theta|, with |g| <= slope + B.

    And what is flushed to zero where a result is below the normal numbers.
    """
    dtype, u = problem.backend.dtype, unit_roundoff(problem.backend.dtype)
    bound = float(np.linalg.norm(evaluate(problem.objective, theta, X, y, dtype, radius=ball).gradient_bound))
    flushed = 4 * float(np.finfo(dtype).smallest_normal) * theta.size**0.5
    return rate * bound + u * rate * (slope + bound) + gamma(1, u) * (float(np.linalg.norm(theta)) + ball) + flushed


def on_a_ball(problem: Problem, ends: Spectrum, minimum: Array, rates: Array, steps: int | None = None) -> Array:
    """Return the bounds (k + 1,) of steps over all rows; or, asked for so many steps, that of the end alone, (1,).

    For a <= 2 / l_max no step leaves the ball about the minimum on which the start lies, so one tau, evaluated on that
    ball, serves for all; l_min is reduced by its own rounding. rho = max(|1 - a l_min|, |1 - a l_max|).
    """
    smallest = 0.0 if ends.singular or ends.smallest is None else ends.smallest
    smallest = max(0.0, smallest - minimum.size * unit_roundoff("float64") * ends.largest)
    least, most = float(rates.min()), float(rates.max())
    rho = min(1.0, max(1 - least * smallest, most * ends.largest * (1 + 1e-12) - 1))
    powers = np.arange(len(rates) + 1) if steps is None else np.array([steps])
    growth = powers.astype(np.float64) if rho == 1 else (1 - rho**powers) / (1 - rho)
    radius, tau = 1.01 * float(np.linalg.norm(problem.theta0 - minimum)), 0.0
    for _ in range(2):  # the second time on the ball widened by what rounding may add
        ball = radius + float(growth[-1]) * tau
        tau = _tau(problem, minimum, problem.X, problem.y, most, ends.largest * ball, ball)
    return 2 * tau * growth


def end_bound(problem: Problem, ends: Spectrum | None, minimum: Array, rates: Array, steps: int) -> float:
    """Return how far apart (2-norm) two fits may be after so many steps at these rates; infinite where none is known.

    None is known above the largest stable rate, where differences grow, nor where a bound for each step is too much
    work.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    rates = rates[:1] if rates.strides == (0,) else rates[:steps]
    largest = curvature(problem, ends)
    if steps == 0:
        return 0.0
    if objective.smooth and not float(rates.max()) * largest <= 2:
        return float("inf")
    if ends and objective.row_loss.least_squares and len(problem.batches) == 1:
        return float(on_a_ball(problem, ends, minimum, rates, steps)[-1])
    if steps > 5 * STEPS or steps * problem.X.shape[1] * max(problem.batches) > STEPWISE:
        return float("inf")
    return float(along(problem, np.broadcast_to(rates, (steps,)), largest)[-1])


def along(problem: Problem, rates: Array, largest: float) -> Array:
    """Return the bounds (k + 1,) of steps one by one along the path of NumPy.

    For batches, as the minimum of a batch is not that of all rows, so no one ball holds the path; and for costs that
    are no quadratics. rho is 1 where they are convex and the rate stable; of Poisson it follows from e^z on the way.
    At a kink two gradients in a ball differ by at most the jumps of its rows, which the bound on that ball holds.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    path, bounds = trajectory(problem, rates).path, [0.0]
    for k, rows in enumerate(rows_of_steps(problem, rates)):
        if k + 1 >= len(path) or not bounds[-1] < np.inf:  # it diverged, or nothing can be said any more
            bounds.append(float("inf"))
            continue
        X, y = batch(problem, rows)
        rate, ball, rho = float(rates[k]), bounds[-1], 1.0
        steep = 0.0 if nonsmooth(objective) else largest
        if not objective.smooth and not objective.row_loss.jump:
            steep = _curvature_within(objective, path[k], X, ball)
            rho = max(1.0, rate * steep - 1)
        slope = float(np.linalg.norm(evaluate(objective, path[k], X, y, "float64").gradient))
        bounds.append(rho * ball + 2 * _tau(problem, path[k], X, y, rate, slope + steep * ball, ball))
    return np.array(bounds)


def _curvature_within(objective: LinearModel, theta: Array, X: Array, ball: float) -> float:
    """Return a bound on the curvature within a ball about theta."""
    design = objective.design(X).astype(np.float64)
    squares = np.vecdot(design, design)
    mass = objective.row_loss.curvature(design @ theta.astype(np.float64) + ball * np.sqrt(squares))
    return float(mass @ squares) / objective.divisor(X.shape[0]) + 2 * objective.l2
