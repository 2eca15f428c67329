"""Check whole descents against the bound of their rounding.

A fit at the best rate may converge in one step, which proves little. So every backend also makes up to 1,000 fixed
steps, over all rows or over the batches asked for, at a rate that falls from 0.2 / l_max to half of that. It makes them
twice: once with the path recorded and once without. Parameters are compared after every step, and losses with the
closed formula at the recorded parameters. Where the derivative jumps, the bound is widened by the jump of every row
whose residual may change sign through rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gdbackends.descent import Problem, descend, learning_rates
from gdbackends.descent.chunks import pieces
from gdbackends.descent.rates import poisson_curvature
from gdbackends.descent.spectrum import Spectrum, batch_curvature
from gdbackends.descent.stopping import kinked
from gdbackends.objectives import Array, LinearModel, Poisson, SquaredError
from gdbackends.rounding import Limit, evaluate, gamma, unit_roundoff
from gdbackends.scaling import identity

STEPS = 1000
STEPWISE = 1 << 28
"""Largest number of elements of X to read when every step gets its own bound, which takes ten times as long."""
_LOSSES = 1 << 24
"""Elements of X read to check the losses and steps of a trajectory."""
_WORK = 1 << 32
"""Largest number of elements of X read in a trajectory check (some seconds); larger problems get fewer steps, >= 10."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The fixed steps as one backend made them.

    Attributes:
        path: (k + 2, d + 1), theta before each step, after the last one, and at the end of the run without a path.
        losses: (2, k), the loss of each step's rows before the step, with the path recorded and without.
    """

    path: Array
    losses: Array


@dataclass(frozen=True, eq=False)
class TrajectoryCheck:
    """The fixed steps to make, and how far two trajectories may differ.

    Attributes:
        rates: (k,), in the problem's dtype.
        bounds: (k + 2,), upper bounds on the 2-norm of the difference of two paths; infinite where none is known.
        sensitivity: the last bound over the smallest nonzero parameter: the relative error in it that would show.
        largest: a bound on the curvature of the objective, l_max; infinite at a kink.
    """

    rates: Array
    bounds: Array
    sensitivity: float
    largest: float

    def path_ratio(self, a: Trajectory, b: Trajectory) -> float:
        """Return the largest difference of two paths over its bound; infinite for NaN or different lengths."""
        if a.path.shape != b.path.shape:
            return float("inf")
        difference = np.linalg.norm(a.path.astype(np.float64) - b.path.astype(np.float64), axis=1)
        return Limit(self.bounds).ratio(difference, np.zeros_like(difference))

    def step_ratio(self, problem: Problem, run: Trajectory) -> float:
        """Return the largest error of the losses and steps, at the run's own parameters, over what rounding allows.

        Check every step of a small problem and some steps of a large one: the loss, and the next parameters, which
        must be theta - rate gradient. The run without a path may differ by `bounds` from the one with a path, which
        changes its loss by at most |g| bounds + l_max / 2 bounds^2.
        """
        if run.path.shape != (len(self.rates) + 2, problem.theta0.size):
            return float("inf")
        rows, worst = rows_of_steps(problem, self.rates), 0.0
        u, dtype = unit_roundoff(problem.backend.dtype), problem.backend.dtype
        count = max(3, min(len(rows), _LOSSES // (problem.X.shape[1] * max(problem.batches))))
        for k in np.unique(np.linspace(0, len(rows) - 1, count).astype(int)):
            X, y = batch(problem, rows[k])
            at, wide = (evaluate(problem.objective, run.path[k], X, y, t) for t in (dtype, "float64"))
            extra = float(np.linalg.norm(at.gradient)) * self.bounds[k] + self.largest / 2 * self.bounds[k] ** 2
            allowed = at.loss_bound + wide.loss_bound + np.array([0.0, np.inf if np.isnan(extra) else extra])
            losses = Limit(allowed).ratio(run.losses[:, k].astype(np.float64), np.full(2, at.loss))
            rate, before, after = float(self.rates[k]), *(run.path[j].astype(np.float64) for j in (k, k + 1))
            bound = at.gradient_bound + wide.gradient_bound
            margin = rate * bound + 2 * u * (rate * (np.abs(at.gradient) + bound) + np.abs(after)) + _underflow(dtype)
            worst = max(worst, losses, Limit(margin).ratio(after, before - rate * at.gradient))
        return worst


def trajectory_check(problem: Problem, spectrum: Spectrum | None, minimum: Array) -> TrajectoryCheck:
    """Choose the steps of the trajectory check of a LinearModel and bound its rounding.

    A step contracts a difference by rho = 1 - a l_min (for squared errors over all rows; otherwise by at most 1) and
    adds at most tau for each of the two descents.

    Args:
        problem: the problem, on NumPy.
        spectrum: the spectrum of its Hessian or of a bound on the Hessian, or None if there is none.
        minimum: (d + 1,), the minimizer nearest to the start, or a point near it.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    largest, full_batch = curvature(problem, spectrum), len(problem.batches) == 1
    size, quadratic = problem.X.shape[1] * max(problem.batches), isinstance(objective.row_loss, SquaredError)
    steps = max(10, min(STEPS, (_WORK if quadratic and full_batch else STEPWISE) // size))
    falling = 0.2 / largest * np.linspace(1, 0.5, steps)
    rates = learning_rates(problem, "auto", steps) if kinked(objective) else falling
    rates = rates.astype(problem.backend.dtype)
    closed = quadratic and full_batch and spectrum
    bounds = ball_bounds(problem, closed, minimum, rates) if closed else path_bounds(problem, rates, largest)
    nonzero = np.abs(minimum[minimum != 0])
    sensitivity = float(bounds[-1] / nonzero.min(initial=np.inf)) if np.isfinite(bounds[-1]) else np.inf
    return TrajectoryCheck(rates, np.append(bounds, bounds[-1]), sensitivity, largest)


def run_trajectory(problem: Problem, rates: Array) -> Trajectory:
    """Make the fixed steps with and without a recorded path, in the descended coordinates."""
    plain = replace(problem, scaling=identity(problem.theta0.size - 1))
    fitted = descend(plain, rates, record_path=True)
    assert fitted.path is not None
    bare = descend(plain, rates)
    losses = np.full((2, len(rates)), np.nan)  # NaN for steps that were not made, so that they never agree
    losses[0, : fitted.steps], losses[1, : bare.steps] = fitted.losses, bare.losses
    return Trajectory(np.concatenate((fitted.path, bare.theta[None])), losses)


def rows_of_steps(problem: Problem, rates: Array) -> list[Array | None]:
    """Return the rows of each step, None for all."""
    chunks = [chunk for chunk, _ in pieces(problem, rates)]
    return [rows for chunk in chunks for rows in (chunk[1] if len(chunk) == 2 else [None] * len(chunk[0]))]


def batch(problem: Problem, rows: Array | None) -> tuple[Array, Array]:
    """Return X and y of a step's rows."""
    return (problem.X, problem.y) if rows is None else (problem.X[rows], problem.y[rows])


def curvature(problem: Problem, spectrum: Spectrum | None) -> float:
    """Return a bound on l_max along the descent: an estimate for Poisson over batches, infinite at a kink."""
    objective, full_batch = problem.objective, len(problem.batches) == 1
    assert isinstance(objective, LinearModel)
    if objective.smooth:
        return (
            spectrum.largest if full_batch and spectrum else batch_curvature(objective, problem.X, min(problem.batches))
        )
    if isinstance(objective.row_loss, Poisson):
        return poisson_curvature(problem) * problem.y.size / min(problem.batches)
    return float("inf")


def _tau(problem: Problem, theta: Array, X: Array, y: Array, rate: float, slope: float, ball: float) -> float:
    """Bound the rounding error of a step within the ball: a B + u a |g| + gamma_1 |theta|, with |g| <= slope + B.

    The bound includes results below the normal numbers, which may be flushed to zero.
    """
    dtype, u = problem.backend.dtype, unit_roundoff(problem.backend.dtype)
    bound = float(np.linalg.norm(evaluate(problem.objective, theta, X, y, dtype, radius=ball).gradient_bound))
    flushed = _underflow(dtype) * theta.size**0.5
    return rate * bound + u * rate * (slope + bound) + gamma(1, u) * (float(np.linalg.norm(theta)) + ball) + flushed


def ball_bounds(problem: Problem, spectrum: Spectrum, minimum: Array, rates: Array, steps: int | None = None) -> Array:
    """Return the bounds (k + 1,) after each step over all rows or, given `steps`, only the last of them, (1,).

    For a <= 2 / l_max no step leaves the ball around the minimum that has the start on its surface, so one tau,
    evaluated on that ball, serves for all steps. l_min is reduced by its own rounding.
    rho = max(|1 - a l_min|, |1 - a l_max|).
    """
    smallest = 0.0 if spectrum.singular or spectrum.smallest is None else spectrum.smallest
    smallest = max(0.0, smallest - minimum.size * unit_roundoff("float64") * spectrum.largest)
    least, most = float(rates.min()), float(rates.max())
    rho = min(1.0, max(1 - least * smallest, most * spectrum.largest * (1 + 1e-12) - 1))
    powers = np.arange(len(rates) + 1) if steps is None else np.array([steps])
    growth = powers.astype(np.float64) if rho == 1 else (1 - rho**powers) / (1 - rho)
    radius, tau = 1.01 * float(np.linalg.norm(problem.theta0 - minimum)), 0.0
    for _ in range(2):  # the second pass uses the ball widened by rounding
        ball = radius + float(growth[-1]) * tau
        tau = _tau(problem, minimum, problem.X, problem.y, most, spectrum.largest * ball, ball)
    return 2 * tau * growth


def end_bound(problem: Problem, spectrum: Spectrum | None, minimum: Array, rates: Array, steps: int) -> float:
    """Return how far apart (2-norm) rounding may move two fits after `steps` steps; infinite if no bound is known.

    No bound is known above the largest stable rate, where differences grow, or where bounding every step would take
    too long.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    rates = rates[:1] if rates.strides == (0,) else rates[:steps]
    largest = curvature(problem, spectrum)
    if steps == 0:
        return 0.0
    if objective.smooth and not float(rates.max()) * largest <= 2:
        return float("inf")
    if spectrum and isinstance(objective.row_loss, SquaredError) and len(problem.batches) == 1:
        return float(ball_bounds(problem, spectrum, minimum, rates, steps)[-1])
    if steps > 5 * STEPS or steps * problem.X.shape[1] * max(problem.batches) > STEPWISE:
        return float("inf")
    return float(path_bounds(problem, np.broadcast_to(rates, (steps,)), largest)[-1])


def path_bounds(problem: Problem, rates: Array, largest: float) -> Array:
    """Return the bounds (k + 1,) after each step, computed step by step along NumPy's path.

    Use it for batches, whose minima differ from that of all rows so that no single ball contains the path, and for
    objectives that are not quadratic. rho is 1 for a convex objective at a stable rate; for Poisson it follows from
    e^z along the path. At a kink two gradients in a ball differ by at most the jumps of its rows, which the gradient
    bound on that ball includes.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    path, bounds = run_trajectory(problem, rates).path, [0.0]
    for k, rows in enumerate(rows_of_steps(problem, rates)):
        if k + 1 >= len(path) or not bounds[-1] < np.inf:  # it diverged, or no bound is known
            bounds.append(float("inf"))
            continue
        X, y = batch(problem, rows)
        rate, ball, rho = float(rates[k]), bounds[-1], 1.0
        steep = 0.0 if kinked(objective) else largest
        if isinstance(objective.row_loss, Poisson):
            steep = _poisson_curvature_in_ball(objective, path[k], X, ball)
            rho = max(1.0, rate * steep - 1)
        slope = float(np.linalg.norm(evaluate(objective, path[k], X, y, "float64").gradient))
        bounds.append(rho * ball + 2 * _tau(problem, path[k], X, y, rate, slope + steep * ball, ball))
    return np.array(bounds)


def _poisson_curvature_in_ball(objective: LinearModel, theta: Array, X: Array, ball: float) -> float:
    """Return a bound on the curvature of a Poisson objective within a ball around theta."""
    design = objective.design(X).astype(np.float64)
    squares = np.vecdot(design, design)
    mass = np.exp(design @ theta.astype(np.float64) + ball * np.sqrt(squares))
    return float(mass @ squares) / objective.divisor(X.shape[0]) + 2 * objective.l2


def _underflow(dtype: str) -> float:
    """Return a bound on what flushing subnormal results to zero changes."""
    return 4 * float(np.finfo(dtype).smallest_normal)
