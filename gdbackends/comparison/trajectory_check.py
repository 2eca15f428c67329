"""Whole descents against the bound of their rounding: the proof run.

A fit at the best rate may land in one step, which proves little. So every backend also makes up to 1,000 fixed steps,
of all rows or of the batches asked for, at a rate that falls from 0.2 / l_max to half of that, with the path recorded
and once more without. The parameters are compared after every step, and the losses with the truth at the parameters.
Where the derivative jumps, a row whose residual rounding may turn widens the bound by its jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gdbackends.comparison.trajectory import Run, batch, rows_of_steps
from gdbackends.comparison.trajectory_bounds import STEPS, STEPWISE, along, curvature, on_a_ball
from gdbackends.descent import Problem, learning_rates
from gdbackends.descent.spectrum import Spectrum
from gdbackends.descent.stopping import nonsmooth
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import evaluate, unit_roundoff

_LOSSES = 1 << 24
"""Elements of X read to check the losses and steps of a run."""
_WORK = 1 << 32
"""Elements of X read in a proof run at most: some seconds; above, it has fewer steps, but ten."""


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
        """Return how far losses and steps lie from the truth at the run's own parameters, over what is allowed.

        At every step of a small problem, at some of a large one: the loss, and the next parameters, which must be
        theta - rate gradient. The run without a path may lie `bounds` beside that with one, which changes its cost by
        |g| bounds + l_max / 2 bounds^2 at most.
        """
        if run.path.shape != (len(self.rates) + 2, problem.theta0.size):
            return float("inf")
        rows, largest, worst = rows_of_steps(problem, self.rates), self.largest, 0.0
        u, dtype = unit_roundoff(problem.backend.dtype), problem.backend.dtype
        count = max(3, min(len(rows), _LOSSES // (problem.X.shape[1] * max(problem.batches))))
        for k in np.unique(np.linspace(0, len(rows) - 1, count).astype(int)):
            X, y = batch(problem, rows[k])
            at, wide = (evaluate(problem.objective, run.path[k], X, y, t) for t in (dtype, "float64"))
            aside = float(np.linalg.norm(at.gradient)) * self.bounds[k] + largest / 2 * self.bounds[k] ** 2
            allowed = at.loss_bound + wide.loss_bound + np.array([0.0, np.inf if np.isnan(aside) else aside])
            share = np.abs(run.losses[:, k].astype(np.float64) - at.loss) / allowed
            rate, before, after = float(self.rates[k]), *(run.path[j].astype(np.float64) for j in (k, k + 1))
            bound = at.gradient_bound + wide.gradient_bound
            margin = rate * bound + 2 * u * (rate * (np.abs(at.gradient) + bound) + np.abs(after)) + _tiny(dtype)
            apart = np.abs(after - (before - rate * at.gradient)) / margin
            both = np.concatenate((share, apart))
            worst = max(worst, float(np.where(np.isnan(both), np.inf, both).max()))
        return worst


def _tiny(dtype: str) -> float:
    return 4 * float(np.finfo(dtype).smallest_normal)


def proof_run(problem: Problem, ends: Spectrum | None, minimum: Array) -> Proof:
    """Lay out the proof run of a LinearModel and bound it.

    A step contracts a difference by rho = 1 - a l_min (of squared errors over all rows; else by at most 1) and adds at
    most tau for each of the two.

    Args:
        problem: what is descended, on NumPy.
        ends: the spectrum of its Hessian, or of a bound on that; None where there is none.
        minimum: (d + 1,), the parameters of least cost, the nearest to the start where there are several; or near it.
    """
    objective = problem.objective
    assert isinstance(objective, LinearModel)
    largest, whole = curvature(problem, ends), len(problem.batches) == 1
    size, quadratic = problem.X.shape[1] * max(problem.batches), objective.row_loss.least_squares
    steps = max(10, min(STEPS, (_WORK if quadratic and whole else STEPWISE) // size))
    falling = 0.2 / largest * np.linspace(1, 0.5, steps)
    rates = learning_rates(problem, "auto", steps) if nonsmooth(objective) else falling
    rates = rates.astype(problem.backend.dtype)
    closed = quadratic and whole and ends
    bounds = on_a_ball(problem, closed, minimum, rates) if closed else along(problem, rates, largest)
    nonzero = np.abs(minimum[minimum != 0])
    sensitivity = float(bounds[-1] / nonzero.min(initial=np.inf)) if np.isfinite(bounds[-1]) else np.inf
    return Proof(rates, np.append(bounds, bounds[-1]), sensitivity, largest)
