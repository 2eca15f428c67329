"""Judge what timed calls returned, in a process of its own that runs no code of the backends under test.

For linear models a loss or gradient is compared with its closed formula, within the rounding bound; the end of a
descent with the same descent in float64. In a longer sum of float32 numbers the largest error that rounding allows
hides half of the rows (n u = 6e-3 at 100,000 rows), so twice the probable bound is used there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gdbackends.backends import get_backend
from gdbackends.benchmarking.case import BATCH, STEPS, ProblemSpec
from gdbackends.benchmarking.slices import Answer
from gdbackends.benchmarking.workloads import step_rate
from gdbackends.comparison.expected import Expected, Products, products_ratio
from gdbackends.comparison.trajectory import curvature_bound, path_bounds, rounding_of_step
from gdbackends.descent import ProblemOptions, TableProblem, descend, learning_rates, prepare
from gdbackends.descent.stopping import checked_tolerance, norm
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import Limit, Values, evaluate, unit_roundoff

_LONG_SUM = 1e-4
"""n u from which the largest rounding error of a sum is far above any that is seen."""
_MANY_STEPS = 1000
_PRODUCTS = {"hvp": "hessian", "jacobian_forward": "jacobian", "jacobian_reverse": "jacobian"}


def judge_answers(spec: ProblemSpec, points: dict[str, Array], claims: Sequence[tuple[str, Answer]]) -> list[float]:
    """Return for each answer its largest error over what rounding allows; at most 1 is agreement.

    Args:
        spec: a problem of a linear model.
        points: the point (p,) at which each work was called.
        claims: the work and the answer of each call.
    """
    with np.errstate(all="ignore"):
        steps: dict[str, int] = {}
        for work, answer in claims:
            steps[work] = max(steps.get(work, 0), answer.steps)
        judge = _Judge(spec, points, steps)
        return [judge.ratio(work, answer) for work, answer in claims]


def expected_ratio(work: str, at: int, answer: Answer, expected: Expected, by_hand: bool) -> float:
    """Judge an answer by what is expected at a point.

    Args:
        work: a work that evaluates a function.
        at: the index of the point in `expected.points`.
        answer: what the call returned.
        expected: what a backend must compute.
        by_hand: whether the gradient is computed by hand, whose formula may round more.
    """
    if work in _PRODUCTS:
        products: Products | None = getattr(expected, _PRODUCTS[work])
        assert products is not None
        known = replace(products, values=products.values[at], allowed=products.allowed[at])
        found = answer.value
        if work != "hvp":
            if found.shape != (products.vector.size, known.values.size):
                return float("inf")
            found = products.vector @ found
        return products_ratio(known, found) if found.shape == known.values.shape else float("inf")
    allowed = expected.allowed_by_hand if by_hand else expected.allowed
    return _values_ratio(work, answer, expected.values, allowed, at)


def _values_ratio(work: str, answer: Answer, values: Values, allowed: Values, at: int = 0) -> float:
    name = "losses" if work == "loss" else "gradients"
    truth, limit = (getattr(each, name)[at] for each in (values, allowed))
    if answer.value.shape != np.shape(truth):
        return float("inf")
    return Limit(np.asarray(limit)).ratio(answer.value, truth)


@dataclass(frozen=True, eq=False)
class _Judge:
    spec: ProblemSpec
    points: dict[str, Array]
    steps: dict[str, int]

    def ratio(self, work: str, answer: Answer) -> float:
        if work in ("step", "batch", "fit"):
            return self._descent_ratio(work, answer)
        values, allowed = self._evaluated(work)
        return _values_ratio(work, answer, values, allowed)

    @cached_property
    def problem(self) -> TableProblem:
        """The problem in its dtype, on NumPy."""
        return self._prepared()

    def _prepared(self, batch_size: int | None = None, dtype: str | None = None) -> TableProblem:
        data, options = self.spec.table(), ProblemOptions(batch_size=batch_size, standardize=False)
        X, y = data.X.astype(self.spec.dtype), data.y.astype(self.spec.dtype)
        return prepare(X, y, get_backend("numpy", dtype=dtype or self.spec.dtype), self.spec.model, options)

    @cached_property
    def _in_float64(self) -> TableProblem:
        return self.problem if self.spec.dtype == "float64" else self._prepared(dtype="float64")

    def _evaluated(self, work: str) -> tuple[Values, Values]:
        """Return the true values at the point of a work, and the differences that are allowed."""
        problem, point = self.problem, self.points[work]
        probable = self.spec.rows * unit_roundoff(self.spec.dtype) > _LONG_SUM
        at = evaluate(problem.objective, point, problem.X, problem.y, self.spec.dtype, probable=probable)
        allowed = Values(2 * np.array([at.loss_bound]), 2 * at.gradient_bound[None])
        return Values(np.array([at.loss]), at.gradient[None]), allowed

    def _descent_ratio(self, work: str, answer: Answer) -> float:
        """Compare the end of a descent with the same steps in float64."""
        path, allowed, end = self._reference(work)
        if answer.value.shape != path[0].shape or not answer.steps < len(path) or (work != "fit" and answer.finished):
            return float("inf")
        if work == "fit" and answer.steps != end and not self._converged(path, answer.steps):
            return float("inf")
        distance = np.linalg.norm(answer.value - path[answer.steps])
        return Limit(np.asarray(allowed[answer.steps])).ratio(np.asarray(distance), np.asarray(0.0))

    def _converged(self, path: Array, steps: int) -> bool:
        """Return whether the gradient after so many steps of a path has fallen to twice the tolerance, or to noise."""
        problem = self._in_float64
        first, last = (evaluate(problem.objective, path[k], problem.X, problem.y, self.spec.dtype) for k in (0, steps))
        fallen = 2 * checked_tolerance(self.problem, None) * norm(problem.standardized(first.gradient))
        return norm(problem.standardized(last.gradient)) <= fallen + norm(problem.standardized(last.gradient_bound))

    def _reference(self, work: str) -> tuple[Array, Array, int]:
        """Return a path (k + 1, p) in float64, bounds (k + 1,) of differences from it, and the steps of a fit."""
        if work not in self._references:
            start = self.points[work].astype(self.spec.dtype)
            narrow, wide = self.problem, self._in_float64
            if work == "batch":
                size = min(BATCH, self.spec.rows)
                narrow, wide = self._prepared(size), self._prepared(size, "float64")
            rates = self._rates(work, narrow)
            moved = wide.started_at(start.astype(np.float64))
            path, end = _closed_path(moved, rates) if work == "step" else None, 0
            if path is None:
                path = descend(moved, rates.astype(np.float64), record_path=True).path
                assert path is not None
            if work == "fit":
                end = descend(moved, rates.astype(np.float64), tolerance=checked_tolerance(narrow, None)).steps
            self._references[work] = path, _bounds(work, narrow.started_at(start), rates, path), end
        return self._references[work]

    @cached_property
    def _references(self) -> dict[str, tuple[Array, Array, int]]:
        return {}

    def _rates(self, work: str, narrow: TableProblem) -> Array:
        if work == "fit":
            return np.array(learning_rates(narrow, "auto", STEPS)[:])
        return np.full(self.steps[work], step_rate(narrow))


def _closed_path(problem: TableProblem, rates: Array) -> Array | None:
    """Return the path (k + 1, p) of many steps of least squares at one rate; None for others, which are descended.

    The gradient is H theta - b, so that step k ends at (I - a H)^k (theta_0 - minimum) + minimum.
    """
    objective, steps = problem.objective, len(rates)
    assert isinstance(objective, LinearModel)
    if steps < _MANY_STEPS or not objective.row_loss.least_squares or objective.l2:
        return None
    A, y = objective.design(problem.X), problem.y
    scale: Any = objective.row_loss.derivative(np.ones(1), np.zeros(1)) / objective.divisor(y.size)
    eigh: Any = np.linalg.eigh
    values: Any
    vectors: Any
    values, vectors = eigh(scale * (A.T @ A))
    start, b = vectors.T @ problem.theta0, vectors.T @ (scale * (A.T @ y))
    factors = (1 - float(rates[0]) * values) ** np.arange(steps + 1)[:, None]
    flat = np.abs(values) <= values.size * unit_roundoff("float64") * values[-1]  # no curvature: theta stays
    minimum = np.array(np.where(flat, start, b / np.where(flat, 1.0, values)), np.float64)
    return np.array((minimum + factors * (start - minimum)) @ vectors.T, np.float64)


def _bounds(work: str, problem: TableProblem, rates: Array, path: Array) -> Array:
    """Return how far apart (2-norm) two descents may be after each step.

    A step of a convex loss at a stable rate brings two paths no farther apart, so the rounding of the steps, bounded on
    a ball about the start that holds the path, adds up. Batches have bounds of their own, step by step.
    """
    if work == "batch":
        return path_bounds(problem, rates, curvature_bound(problem, by_rows=True))
    start, rows = path[0], (problem.X, problem.y)
    ball = 1.01 * float(np.linalg.norm(path - start, axis=1).max())
    moves = np.linalg.norm(np.diff(path, axis=0), axis=1)
    made: Any = rates[: len(moves)].astype(np.float64)
    slope = float((moves / made).max(initial=0.0))
    tau = rounding_of_step(problem, start, rows, float(made.max(initial=0.0)), slope, ball)
    return 2 * tau * np.arange(len(path))
