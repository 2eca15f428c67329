"""Whether a backend computes the right thing: no time stands without it.

Each backend is held against the float64 evaluation of the closed formula, within what rounding allows: its cost, alone
and beside its gradient, at two points, and every step of two short descents, one that keeps its path and one that does
not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gdbackends.backends import Backend, capabilities
from gdbackends.comparison.probes import Yardstick, values, yardstick
from gdbackends.comparison.trajectory import trajectory
from gdbackends.comparison.trajectory_bounds import along, curvature
from gdbackends.comparison.trajectory_check import Proof
from gdbackends.descent import Problem, learning_rates
from gdbackends.descent.stopping import nonsmooth
from gdbackends.objectives import Array
from gdbackends.rounding.limit import Values

_STEPS = 300
_ELEMENTS = 4_000_000
"""Steps, and elements of X read, of the descents that are judged; two steps at least."""


def agreement(problem: Problem, wide: Backend) -> tuple[float, str]:
    """Return the largest difference from the truth over what rounding allows (at most 1 agrees), and what differs most.

    Args:
        problem: as it is placed, of a bundled objective.
        wide: the same backend in float64, asked where sums are so long that the dtype shows nothing.
    """
    with np.errstate(all="ignore"):
        points = _points(problem)
        dtype = problem.backend.dtype
        ruler = yardstick(problem, points, dtype)
        ratios = {"gradient": ruler.ratio(values(problem.backend, problem, points), _truth(problem, points), 2)}
        ratios["loss alone"] = _loss_alone(problem, points, ruler)
        if ruler.blind:
            wider = yardstick(problem, points, "float64")
            ratios["gradient in float64"] = wider.ratio(values(wide, problem, points), _truth(problem, points), 2)
        ratios["descent"] = _descent(problem)
    what = max(ratios, key=lambda name: ratios[name])
    return ratios[what], what


def _points(problem: Problem) -> Array:
    """Return the start and a point at random, (2, d + 1), in the problem's dtype."""
    size = problem.theta0.size
    generator: Any = np.random.default_rng(problem.seed)
    random = generator.normal(scale=size**-0.5, size=size)
    return np.stack((problem.theta0, random.astype(problem.backend.dtype)))


def _loss_alone(problem: Problem, points: Array, ruler: Yardstick) -> float:
    """Hold the loss of a backend that computes it without the gradient against the truth; 0 where it has none."""
    backend, truth = problem.backend, _truth(problem, points)
    alone = capabilities(backend).value(problem.objective)
    if alone is None:
        return 0.0
    losses = [backend.to_numpy(alone(backend.asarray(point), *problem.data)) for point in points]
    return ruler.ratio(Values(np.array(losses, np.float64), truth.gradients), truth)


def _truth(problem: Problem, points: Array) -> Values:
    at = yardstick(problem, points, "float64").evaluations
    return Values(np.array([e.loss for e in at]), np.array([e.gradient for e in at]))


def _descent(problem: Problem) -> float:
    """Hold two short descents against the truth at their own parameters."""
    size, dtype = problem.theta0.size, problem.backend.dtype
    generator: Any = np.random.default_rng(problem.seed)
    start = generator.normal(scale=size**-0.5, size=size)
    moved = replace(problem, theta0=start.astype(dtype))
    largest = curvature(moved, None)
    steps = max(2, min(_STEPS, _ELEMENTS // problem.X.size))
    rates = learning_rates(moved, "auto" if nonsmooth(moved.objective) else 0.2 / largest, steps)
    bounds = along(moved, rates, largest)
    proof = Proof(rates, np.append(bounds, bounds[-1]), np.inf, largest)
    return proof.losses_ratio(moved, trajectory(moved, rates))
