"""Whole descents against the bound of their rounding.

A fit at the best rate may arrive in one step, which proves little. So every backend also makes up to 1,000 fixed steps,
over all rows or over the batches asked for, at a rate that falls from 0.2 / l_max to half of that, once with the path
recorded and once without. The parameters are compared after every step, and the losses with the true ones at the
parameters. Where the derivative jumps, a row whose residual may change sign by rounding widens the bound by its jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gdbackends.descent import Problem, TableProblem, descend, learning_rates
from gdbackends.descent.chunks import chunks
from gdbackends.descent.rates import Rates, extremes, sublevel_curvature
from gdbackends.descent.spectrum import batch_curvature
from gdbackends.descent.stopping import nonsmooth
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import Limit, evaluate, gamma, unit_roundoff

STEPS = 1000
STEPWISE = 1 << 28
"""Most elements of X read where every step is bounded on its own, which takes ten times as long."""
_LOSSES = 1 << 24
"""Elements of X read to check the losses and steps of a trajectory."""
_WORK = 1 << 32
"""Most elements of X read for a trajectory, some seconds; larger data get fewer steps, but at least ten."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Fixed steps as one backend made them.

    Attributes:
        path: (k + 2, d + 1), theta before each step, at the end, and at the end of the run without a recorded path.
        losses: (2, k), the cost before each step, over its rows; with the path recorded and without.
    """

    path: Array
    losses: Array


def run_trajectory(problem: Problem, rates: Array) -> Trajectory:
    """Make the steps twice, with the path recorded and without."""
    recorded, plain = descend(problem, rates, record_path=True), descend(problem, rates)
    assert recorded.path is not None
    losses = np.full((2, len(rates)), np.nan)  # steps that were not made agree with nothing
    losses[0, : recorded.steps], losses[1, : plain.steps] = recorded.losses, plain.losses
    return Trajectory(np.concatenate((recorded.path, plain.theta[None])), losses)


@dataclass(frozen=True, eq=False)
class TrajectoryCheck:
    """The steps that every backend makes, and how far rounding may carry two of their trajectories apart.

    Attributes:
        rates: (k,), in the problem's dtype.
        bounds: (k + 2,), bounds on the 2-norm of the difference of two paths; infinite where none is known.
        sensitivity: the last bound over the smallest nonzero parameter: the smallest relative difference in it that
            would be detected.
        curvature: bound on the curvature of the cost, l_max; infinite if it has a kink.
    """

    rates: Array
    bounds: Array
    sensitivity: float
    curvature: float

    def ratio(self, a: Trajectory, b: Trajectory) -> float:
        """Return the largest difference of two paths over its bound; infinite if their lengths differ."""
        if a.path.shape != b.path.shape:
            return float("inf")
        distance = np.linalg.norm(a.path.astype(np.float64) - b.path.astype(np.float64), axis=1)
        return Limit(self.bounds).ratio(distance, np.zeros_like(distance))

    def losses_ratio(self, problem: TableProblem, run: Trajectory) -> float:
        """Return the largest difference of losses and steps from the true ones, over what rounding allows.

        Checked at every step of a small problem and at some of a large one: the loss, and the next parameters, which
        must be theta - rate * gradient. The run without a path may differ from the one with it by `bounds`, which
        changes its cost by at most |g| bounds + l_max / 2 bounds^2.
        """
        if run.path.shape != (len(self.rates) + 2, problem.theta0.size):
            return float("inf")
        rows, worst = rows_of_steps(problem, self.rates), 0.0
        u, dtype = unit_roundoff(problem.backend.dtype), problem.backend.dtype
        count = max(3, min(len(rows), _LOSSES // (problem.X.shape[1] * max(problem.batches))))
        for k in np.unique(np.linspace(0, len(rows) - 1, count).astype(int)):
            X, y = batch(problem, rows[k])
            at = evaluate(problem.objective, run.path[k], X, y, dtype)
            wide = at if dtype == "float64" else evaluate(problem.objective, run.path[k], X, y, "float64")
            unrecorded = float(np.linalg.norm(at.gradient)) * self.bounds[k] + self.curvature / 2 * self.bounds[k] ** 2
            allowed = at.loss_bound + wide.loss_bound + np.array([0.0, np.inf if np.isnan(unrecorded) else unrecorded])
            losses = Limit(allowed).ratio(run.losses[:, k].astype(np.float64), at.loss)
            rate, before, after = float(self.rates[k]), *(run.path[j].astype(np.float64) for j in (k, k + 1))
            bound = at.gradient_bound + wide.gradient_bound
            allowed = rate * bound + 2 * u * (rate * (np.abs(at.gradient) + bound) + np.abs(after))
            step = Limit(allowed + 4 * float(np.finfo(dtype).smallest_normal))
            worst = max(worst, losses, step.ratio(after, before - rate * at.gradient))
        return worst


def trajectory_check(problem: TableProblem, minimum: Array) -> TrajectoryCheck:
    """Choose the steps for a LinearModel and bound them.

    A step contracts a difference by rho = 1 - a l_min (for squared errors over all rows; otherwise by at most 1) and
    adds at most tau for each of the two paths.

    Args:
        problem: what is descended, on NumPy.
        minimum: (d + 1,), the parameters of least cost, the nearest to the start if there are several; or near it.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    curvature, closed = curvature_bound(problem), _has_closed_bound(problem)
    size = problem.X.shape[1] * max(problem.batches)
    work = _WORK if objective.row_loss.least_squares and len(problem.batches) == 1 else STEPWISE
    steps = max(10, min(STEPS, work // size))
    falling = 0.2 / curvature * np.linspace(1, 0.5, steps)
    rates: Array = learning_rates(problem, "auto", steps)[:] if nonsmooth(objective) else falling
    rates = rates.astype(problem.backend.dtype)
    bounds = ball_bounds(problem, minimum, rates) if closed else path_bounds(problem, rates, curvature)
    nonzero = np.abs(minimum[minimum != 0])
    sensitivity = float(bounds[-1] / nonzero.min(initial=np.inf)) if np.isfinite(bounds[-1]) else np.inf
    return TrajectoryCheck(rates, np.append(bounds, bounds[-1]), sensitivity, curvature)


def rows_of_steps(problem: Problem, rates: Array) -> list[Array | None]:
    """Return the rows of each step; None means all."""
    steps = [chunk for chunk, _ in chunks(problem, rates)]
    return [rows for chunk in steps for rows in (chunk[1] if len(chunk) == 2 else [None] * len(chunk[0]))]


def batch(problem: TableProblem, rows: Array | None) -> tuple[Array, Array]:
    """Return X and y of a step's rows."""
    return (problem.X, problem.y) if rows is None else (problem.X[rows], problem.y[rows])


def _has_closed_bound(problem: TableProblem) -> bool:
    """Return whether one ball bounds all steps: squared errors over all rows."""
    objective = problem.objective
    least_squares = isinstance(objective, LinearModel) and objective.row_loss.least_squares
    return bool(least_squares and problem.spectrum and len(problem.batches) == 1)


def curvature_bound(problem: TableProblem, *, by_rows: bool = False) -> float:
    """Return a bound on l_max wherever the descent goes; infinite at a kink.

    For Poisson over batches it is an estimate. `by_rows` takes the mean curvature of single rows, which is larger than
    l_max but needs no spectrum.
    """
    objective, whole = problem.objective, len(problem.batches) == 1
    assert isinstance(objective, LinearModel)
    if objective.smooth:
        if whole and not by_rows and problem.spectrum:
            return problem.spectrum.largest
        return batch_curvature(objective, problem.X, min(problem.batches))
    if objective.row_loss.sublevel_terms(np.ones(1)) is not None:
        return sublevel_curvature(problem) * problem.y.size / min(problem.batches)
    return float("inf")


def rounding_of_step(
    problem: TableProblem, theta: Array, rows: tuple[Array, Array], rate: float, slope: float, ball: float
) -> float:
    """Return what rounding adds in a step within the ball: a B + u a |g| + gamma_1 |theta|, with |g| <= slope + B.

    Results below the normal numbers, which may be flushed to zero, are included.
    """
    dtype, u = problem.backend.dtype, unit_roundoff(problem.backend.dtype)
    bound = float(np.linalg.norm(evaluate(problem.objective, theta, *rows, dtype, radius=ball).gradient_bound))
    flushed = 4 * float(np.finfo(dtype).smallest_normal) * theta.size**0.5
    return rate * bound + u * rate * (slope + bound) + gamma(1, u) * (float(np.linalg.norm(theta)) + ball) + flushed


def ball_bounds(problem: TableProblem, minimum: Array, rates: Rates, steps: int | None = None) -> Array:
    """Return the bounds (k + 1,) of steps over all rows; with `steps`, that after so many steps alone, (1,).

    For a <= 2 / l_max no step leaves the ball about the minimum on which the start lies, so one tau, evaluated on that
    ball, serves for all steps; l_min is reduced by its own rounding. rho = max(|1 - a l_min|, |1 - a l_max|).
    """
    spectrum = problem.spectrum
    assert spectrum is not None
    smallest = 0.0 if spectrum.singular or spectrum.smallest is None else spectrum.smallest
    smallest = max(0.0, smallest - minimum.size * unit_roundoff("float64") * spectrum.largest)
    least, most = extremes(rates)
    rho = min(1.0, max(1 - least * smallest, most * spectrum.largest * (1 + 1e-12) - 1))
    powers = np.arange(len(rates) + 1) if steps is None else np.array([steps])
    growth = powers.astype(np.float64) if rho == 1 else (1 - rho**powers) / (1 - rho)
    radius, tau, rows = 1.01 * float(np.linalg.norm(problem.theta0 - minimum)), 0.0, (problem.X, problem.y)
    for _ in range(2):  # the second time on the ball widened by what rounding may add
        ball = radius + float(growth[-1]) * tau
        tau = rounding_of_step(problem, minimum, rows, most, spectrum.largest * ball, ball)
    return 2 * tau * growth


def end_bound(problem: TableProblem, minimum: Array, rates: Array, steps: int) -> float:
    """Return how far apart (2-norm) two fits may be after so many steps at these rates; infinite if unknown.

    It is unknown above the largest stable rate, where differences grow, and where a bound for each step is too much
    work.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    rates = rates[:1] if rates.strides == (0,) else rates[:steps]
    curvature = curvature_bound(problem)
    if steps == 0:
        return 0.0
    if objective.smooth and not float(rates.max()) * curvature <= 2:
        return float("inf")
    if _has_closed_bound(problem):
        return float(ball_bounds(problem, minimum, rates, steps)[-1])
    if steps > 5 * STEPS or steps * problem.X.shape[1] * max(problem.batches) > STEPWISE:
        return float("inf")
    return float(path_bounds(problem, np.broadcast_to(rates, (steps,)), curvature)[-1])


def path_bounds(problem: TableProblem, rates: Array, curvature: float) -> Array:
    """Return the bounds (k + 1,) of steps, one by one along the path of NumPy.

    This serves batches, whose minima differ from that of all rows so that no one ball holds the path, and costs that
    are not quadratic. rho is 1 where they are convex and the rate is stable; without a Lipschitz constant (Poisson) it
    follows from the curvature along the path. At a kink two gradients in a ball differ by at most the jumps of its
    rows, which the bound on that ball includes.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    path, bounds = run_trajectory(problem, rates).path, [0.0]
    for k, rows in enumerate(rows_of_steps(problem, rates)):
        if k + 1 >= len(path) or not bounds[-1] < np.inf:  # it diverged, or nothing is known any more
            bounds.append(float("inf"))
            continue
        X, y = batch(problem, rows)
        rate, ball, rho = float(rates[k]), bounds[-1], 1.0
        steepness = 0.0 if nonsmooth(objective) else curvature
        if not (objective.smooth or nonsmooth(objective)):
            steepness = _curvature_within(objective, path[k], X, ball)
            rho = max(1.0, rate * steepness - 1)
        slope = float(np.linalg.norm(evaluate(objective, path[k], X, y, "float64").gradient)) + steepness * ball
        bounds.append(rho * ball + 2 * rounding_of_step(problem, path[k], (X, y), rate, slope, ball))
    return np.array(bounds)


def _curvature_within(objective: LinearModel, theta: Array, X: Array, ball: float) -> float:
    """Return a bound on the curvature within a ball about theta."""
    design = objective.design(X).astype(np.float64)
    squares = np.vecdot(design, design)
    bound = objective.row_loss.curvature(design @ theta.astype(np.float64) + ball * np.sqrt(squares))
    return float(bound @ squares) / objective.divisor(X.shape[0]) + 2 * objective.l2
