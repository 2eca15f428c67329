"""Whole descents against the bound of their rounding: the proof run.

A fit at the best rate may land in one step, which proves little. So every backend also makes up to 1,000 fixed steps
at rate 0.2 / l_max, which no stopping ends, and the parameters are compared after every step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gdbackends.descent import Problem, descend
from gdbackends.objectives import Array, LinearRegression
from gdbackends.rounding import evaluate, gamma, unit_roundoff
from gdbackends.scaling import identity
from gdbackends.spectrum import Spectrum

_STEPS = 1000
_WORK = 1 << 32
"""Elements of X read in a proof run at most: some seconds; above, it has fewer steps, but ten."""


@dataclass(frozen=True, eq=False)
class Proof:
    """A proof run to be made, and how far two of its trajectories may lie apart.

    Attributes:
        rates: (k,), one rate, in the problem's dtype.
        bounds: (k + 1,), the 2-norm of the difference of two trajectories is at most this before step k.
        sensitivity: the last bound over the smallest parameter that is not 0: the relative difference in it that
            would have been seen.
    """

    rates: Array
    bounds: Array
    sensitivity: float

    def ratio(self, a: Array, b: Array) -> float:
        """Return the largest difference of two trajectories (k + 1, d + 1) over its bound. NaN never agrees."""
        difference = np.linalg.norm(a.astype(np.float64) - b.astype(np.float64), axis=1)
        with np.errstate(all="ignore"):
            share = np.where(difference == 0, 0.0, difference / self.bounds)
        return float(np.where(np.isnan(share), np.inf, share).max())


def trajectory(problem: Problem, proof: Proof) -> Array:
    """Make the proof run and return its path (k + 1, d + 1), in the coordinates that are descended."""
    plain = replace(problem, scaling=identity(problem.theta0.size - 1), batch_size=None)
    path = descend(plain, proof.rates, record_path=True).path
    assert path is not None
    return path


def proof_run(problem: Problem, ends: Spectrum, minimum: Array) -> Proof:
    """Lay out the proof run of a LinearRegression and bound it.

    A step contracts a difference by rho = 1 - a l_min and adds at most tau = a B + u a |g| + gamma_1 |theta| for each
    of the two, B the bound of the gradient's rounding. For a <= 2 / l_max no step leaves the ball about the minimum on
    which the start lies, so one tau, evaluated on that ball, serves for all; l_min is reduced by its own rounding.

    Args:
        problem: what is descended.
        ends: the spectrum of its Hessian.
        minimum: (d + 1,), the parameters of least cost, the nearest to the start where there are several.
    """
    assert isinstance(problem.objective, LinearRegression)
    dtype, X, y = problem.backend.dtype, problem.X, problem.y
    u, steps = unit_roundoff(dtype), max(10, min(_STEPS, _WORK // X.size))
    rate = np.dtype(dtype).type(0.2 / ends.largest)
    smallest = 0.0 if ends.singular or ends.smallest is None else ends.smallest
    rho = 1 - float(rate) * max(0.0, smallest - minimum.size * unit_roundoff("float64") * ends.largest)
    powers = np.arange(steps + 1)
    growth = powers.astype(np.float64) if rho == 1 else (1 - rho**powers) / (1 - rho)
    radius, tau = 1.01 * float(np.linalg.norm(problem.theta0 - minimum)), 0.0
    for _ in range(2):  # the second time on the ball widened by what rounding may add
        ball = radius + float(growth[-1]) * tau
        bound = float(np.linalg.norm(evaluate(problem.objective, minimum, X, y, dtype, radius=ball).gradient_bound))
        slope, size = ends.largest * ball, float(np.linalg.norm(minimum)) + ball
        tau = float(rate) * bound + u * float(rate) * (slope + bound) + gamma(1, u) * size
    bounds = 2 * tau * growth
    nonzero = np.abs(minimum[minimum != 0])
    return Proof(np.broadcast_to(rate, (steps,)), bounds, float(bounds[-1] / nonzero.min(initial=np.inf)))
