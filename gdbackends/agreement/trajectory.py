"""Whole descents against the bound of their rounding: the proof run.

A fit at the best rate may land in one step, which proves little. So every backend also makes up to 1,000 fixed steps,
of all rows or of the batches asked for, at a rate that falls from 0.2 / l_max to half of that, with the path recorded
and once more without. The parameters are compared after every step, and the losses with the truth at the parameters.
Where the derivative jumps no bound is known for the parameters; the losses are judged all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gdbackends.descent import Problem, descend, learning_rates
from gdbackends.descent.pieces import pieces
from gdbackends.descent.rates import poisson_curvature
from gdbackends.objectives import Array, LinearRegression, Poisson, SquaredError
from gdbackends.rounding import evaluate, gamma, unit_roundoff
from gdbackends.scaling import identity
from gdbackends.spectrum import Spectrum, batch_curvature

_STEPS = 1000
_LOSSES = 1 << 24
"""Elements of X read to check the losses of a run."""
_WORK = 1 << 32
"""Elements of X read in a proof run at most: some seconds; above, it has fewer steps, but ten."""
_STEPWISE = 1 << 28
"""The same where every step is bounded on its own, which takes ten times as long."""


@dataclass(frozen=True, eq=False)
class Run:
    """A proof run as one backend made it.

    Attributes:
        path: (k + 2, d + 1), theta before each step and at the end; and at the end of the run that kept no path.
        losses: (2, k), the cost before each step, of its rows; with the path recorded and without.
    """

    path: Array
    losses: Array


def trajectory(problem: Problem, rates: Array) -> Run:
    """Make the proof run, in the coordinates that are descended."""
    plain = replace(problem, scaling=identity(problem.theta0.size - 1))
    fitted = descend(plain, rates, record_path=True)
    assert fitted.path is not None
    bare = descend(plain, rates)
    return Run(np.concatenate((fitted.path, bare.theta[None])), np.stack((fitted.losses, bare.losses)))


@dataclass(frozen=True, eq=False)
class Proof:
    """A proof run to be made, and how far two of its trajectories may lie apart.

    Attributes:
        rates: (k,), in the problem's dtype.
        bounds: (k + 2,), the 2-norm of the difference of two paths is at most this; infinite where none is known.
        sensitivity: the last bound over the smallest parameter that is not 0: the relative difference in it that
            would have been seen.
        largest: a bound on the curvature of the cost, l_max; infinite where it has a kink.
    """

    rates: Array
    bounds: Array
    sensitivity: float
    largest: float

    def ratio(self, a: Run, b: Run) -> float:
        """Return the largest difference of two paths over its bound. NaN, or another length, never agrees."""
        if a.path.shape != b.path.shape:
            return float("inf")
        difference = np.linalg.norm(a.path.astype(np.float64) - b.path.astype(np.float64), axis=1)
        with np.errstate(all="ignore"):
            share = np.where(difference == 0, 0.0, difference / self.bounds)
        return float(np.where(np.isnan(share), np.inf, share).max())

    def losses_ratio(self, problem: Problem, run: Run) -> float:
        """Return how far the losses lie from the cost at the run's own parameters, over what is allowed.

        At every step of a small problem, at some of a large one. The run without a path may lie `bounds` beside that
        with one, which changes its cost by |g| bounds + l_max / 2 bounds^2 at most.
        """
        rows, largest, worst = _rows(problem, self.rates), self.largest, 0.0
        count = max(3, min(len(rows), _LOSSES // (problem.X.shape[1] * max(problem.batches))))
        for k in np.unique(np.linspace(0, len(rows) - 1, count).astype(int)):
            X, y = _batch(problem, rows[k])
            at, wide = (evaluate(problem.objective, run.path[k], X, y, t) for t in (problem.backend.dtype, "float64"))
            aside = float(np.linalg.norm(at.gradient)) * self.bounds[k] + largest / 2 * self.bounds[k] ** 2
            allowed = at.loss_bound + wide.loss_bound + np.array([0.0, np.inf if np.isnan(aside) else aside])
            share = np.abs(run.losses[:, k].astype(np.float64) - at.loss) / allowed
            worst = max(worst, float(np.where(np.isnan(share), np.inf, share).max()))
        return worst


def proof_run(problem: Problem, ends: Spectrum | None, minimum: Array) -> Proof:
    """Lay out the proof run of a LinearRegression and bound it.

    A step contracts a difference by rho = 1 - a l_min (of squared errors over all rows; else by at most 1) and adds at
    most tau for each of the two.

    Args:
        problem: what is descended, on NumPy.
        ends: the spectrum of its Hessian, or of a bound on that; None where there is none.
        minimum: (d + 1,), the parameters of least cost, the nearest to the start where there are several; or near it.
    """
    assert isinstance(problem.objective, LinearRegression)
    largest, batches = curvature(problem, ends), len(problem.batches) > 1
    size, quadratic = problem.X.shape[1] * max(problem.batches), isinstance(problem.objective.row_loss, SquaredError)
    steps = max(10, min(_STEPS, (_WORK if quadratic and not batches else _STEPWISE) // size))
    falling = np.linspace(1, 0.5, steps)
    if not np.isfinite(largest):
        kinked = getattr(problem.objective.row_loss, "jump", 0.0) > 0
        rates = (
            learning_rates(problem, "auto", steps) if kinked else falling / problem.y.size / poisson_curvature(problem)
        )
        rates, bounds = rates.astype(problem.backend.dtype), np.full(steps + 1, np.inf)
    else:
        rates = (0.2 / largest * falling).astype(problem.backend.dtype)
        bounds = (
            _on_a_ball(problem, ends, minimum, rates)
            if quadratic and ends and not batches
            else _along(problem, rates, largest)
        )
    nonzero = np.abs(minimum[minimum != 0])
    sensitivity = float(bounds[-1] / nonzero.min(initial=np.inf)) if np.isfinite(bounds[-1]) else np.inf
    return Proof(rates, np.append(bounds, bounds[-1]), sensitivity, largest)


def curvature(problem: Problem, ends: Spectrum | None) -> float:
    """Return a bound on l_max wherever the descent goes; infinite where none is known."""
    objective, whole = problem.objective, len(problem.batches) == 1
    assert isinstance(objective, LinearRegression)
    if objective.smooth:
        return ends.largest if whole and ends else batch_curvature(objective, problem.X, min(problem.batches))
    return poisson_curvature(problem) if whole and isinstance(objective.row_loss, Poisson) else float("inf")


def _tau(problem: Problem, theta: Array, X: Array, y: Array, rate: float, slope: float, ball: float) -> float:
    """Return what rounding adds in a step within the ball: a B + u a |g| + gamma_1 |theta|, with |g| <= slope."""
    dtype, u = problem.backend.dtype, unit_roundoff(problem.backend.dtype)
    bound = float(np.linalg.norm(evaluate(problem.objective, theta, X, y, dtype, radius=ball).gradient_bound))
    return rate * bound + u * rate * (slope + bound) + gamma(1, u) * (float(np.linalg.norm(theta)) + ball)


def _on_a_ball(problem: Problem, ends: Spectrum, minimum: Array, rates: Array, steps: int | None = None) -> Array:
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
    assert isinstance(problem.objective, LinearRegression)
    rates = rates[:1] if rates.strides == (0,) else rates[:steps]
    largest = curvature(problem, ends)
    if steps == 0:
        return 0.0
    if not float(rates.max()) * largest <= 2:
        return float("inf")
    if ends and isinstance(problem.objective.row_loss, SquaredError) and len(problem.batches) == 1:
        return float(_on_a_ball(problem, ends, minimum, rates, steps)[-1])
    if steps > 5 * _STEPS or steps * problem.X.shape[1] * max(problem.batches) > _STEPWISE:
        return float("inf")
    return float(_along(problem, np.broadcast_to(rates, (steps,)), largest)[-1])


def _along(problem: Problem, rates: Array, largest: float) -> Array:
    """Return the bounds (k + 1,) of steps one by one along the path of NumPy.

    For batches, as the minimum of a batch is not that of all rows, so no one ball holds the path; and for convex costs
    that are no quadratics. rho is 1.
    """
    path, bounds = trajectory(problem, rates).path, [0.0]
    for k, rows in enumerate(_rows(problem, rates)):
        X, y = _batch(problem, rows)
        slope = float(np.linalg.norm(evaluate(problem.objective, path[k], X, y, "float64").gradient))
        tau = _tau(problem, path[k], X, y, float(rates[k]), slope + largest * bounds[-1], bounds[-1])
        bounds.append(bounds[-1] + 2 * tau)
    return np.array(bounds)


def _rows(problem: Problem, rates: Array) -> list[Array | None]:
    """Return the rows of each step, None for all."""
    made = [piece for piece, _ in pieces(problem, rates)]
    return [rows for piece in made for rows in (piece[1] if len(piece) == 2 else [None] * len(piece[0]))]


def _batch(problem: Problem, rows: Array | None) -> tuple[Array, Array]:
    return (problem.X, problem.y) if rows is None else (problem.X[rows], problem.y[rows])
