"""What every backend must compute for a loss that has no closed error bound, with what rounding allows.

The values are those of autodiff in float64, which the loss's own values must not contradict; the bounds are those of
`check_gradient`, estimated from errors made on purpose. A short descent has bounds from the same two: a step adds the
rounding of its gradient, and multiplies a difference by at most 1 + rate L, where L is the curvature at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gdbackends.backends import Backend, capabilities, get_backend
from gdbackends.comparison.function_problem import FunctionProblem
from gdbackends.comparison.trajectory import rows_of_steps, run_trajectory
from gdbackends.descent import Problem, ProblemOptions, prepare_function
from gdbackends.descent.rates import curvature_at
from gdbackends.descent.stopping import check_outputs
from gdbackends.errors import InputError
from gdbackends.gradcheck.allowance import allow_hand_rounding, rounding_bounds
from gdbackends.gradcheck.checked_function import AutodiffRunners, CheckedFunction
from gdbackends.gradcheck.checking import reference_at
from gdbackends.gradcheck.evidence import Reference
from gdbackends.gradcheck.probe_points import probe_points_near
from gdbackends.gradcheck.side_effects import hand_values
from gdbackends.objectives import Array, FunctionObjective
from gdbackends.rounding import Limit, Values, gamma, unit_roundoff

STEPS = 10
"""Steps of the descent that is judged."""
_POINTS = 3
_WIDER = 2.0
"""How many times the bound at the points is allowed on the path near them."""


@dataclass(frozen=True, eq=False)
class Products:
    """The products of a derivative and a vector at the points: H v, or J^T w.

    Attributes:
        vector: v (p,), or w (n,).
        values: (m, p).
        allowed: (m, p), the largest differences that rounding explains.
    """

    vector: Array
    values: Array
    allowed: Array


@dataclass(frozen=True, eq=False)
class Descent:
    """A short descent, with the differences from it that rounding explains.

    Attributes:
        rates: (k,), in the dtype.
        path: (k + 1, p).
        path_allowed: (k + 1,), for the 2-norm of the difference.
        losses: (k,).
        losses_allowed: (k,).
    """

    rates: Array
    path: Array
    path_allowed: Array
    losses: Array
    losses_allowed: Array


@dataclass(frozen=True, eq=False)
class Expected:
    """What a backend must compute; it can be sent to other processes.

    Attributes:
        by: the frameworks that found it, the first of which gave the values.
        bound: "closed" or "estimated".
        points: (m, p), numbers of the dtype, in float64.
        values: the losses and gradients there.
        allowed: the largest differences that rounding explains in the dtype.
        allowed_by_hand: the same for the gradient by hand, whose formula may round more.
        allowed_in_float64: the same for float64.
        curvature: the largest curvature at the start; 0 if there is none.
        descent: a descent over all rows.
        batches: a descent over batches, if it was asked for.
        hessian: products of the Hessian, if they were asked for.
        jacobian: products of the Jacobian of the residuals, if they were asked for.
    """

    by: tuple[str, ...]
    bound: str
    points: Array
    values: Values
    allowed: Values
    allowed_by_hand: Values
    allowed_in_float64: Values
    curvature: float
    descent: Descent
    batches: Descent | None = None
    hessian: Products | None = None
    jacobian: Products | None = None

    def sensitivity(self, in_float64: bool = False) -> float:
        """Return the smallest relative error that would be detected in every component of the gradient."""
        allowed = self.allowed_in_float64 if in_float64 else self.allowed
        return Limit(allowed.gradients).sensitivity(self.values.gradients)


def expect(
    problem: FunctionProblem,
    dtype: str,
    backends: Sequence[str] = ("jax", "torch"),
    seed: int = 0,
    *,
    batch_size: int | None = None,
    hessian: bool = False,
    jacobian: bool = False,
) -> Expected:
    """Return what every backend must compute.

    Args:
        problem: the loss, its data and its start.
        dtype: the dtype of the evaluations that are judged.
        backends: the names of the frameworks that differentiate the loss.
        seed: the seed of the points.
        batch_size: the rows of a step of the descent over batches; None means that there is none.
        hessian: whether to find products of the Hessian too.
        jacobian: whether to find products of the Jacobian of the residuals too.

    Raises:
        InputError: no framework can differentiate the loss, or it is not finite.
    """
    problem = problem.in_dtype(dtype)
    checked, runners = problem.checked, AutodiffRunners(problem.checked, backends)
    points = probe_points_near(checked, problem.start, runners, seed)[:_POINTS].astype(dtype).astype(np.float64)
    reference, _ = reference_at(checked, points, runners, problem.names, seed)
    bounds = reference.bounds
    if dtype != "float64":
        bounds, _ = rounding_bounds(checked, runners, reference.by_framework, points, dtype, seed)
    allowed, more = _sum(bounds, reference.bounds), _Computation(problem, reference, dtype, seed)
    return Expected(
        by=tuple(reference.by_framework),
        bound=reference.bound,
        points=points,
        values=next(iter(reference.by_framework.values())),
        allowed=allowed,
        allowed_by_hand=_by_hand(problem, replace(reference, bounds=bounds, dtype=dtype), allowed),
        allowed_in_float64=_sum(reference.bounds, reference.bounds),
        curvature=more.curvature,
        descent=more.descent(allowed),
        batches=None if batch_size is None else more.descent(allowed, batch_size),
        hessian=more.hessian(runners) if hessian else None,
        jacobian=more.jacobian() if jacobian else None,
    )


def _sum(a: Values, b: Values) -> Values:
    return Values(a.losses + b.losses, a.gradients + b.gradients)


def _by_hand(problem: FunctionProblem, reference: Reference, allowed: Values) -> Values:
    """Return the differences that are allowed to the gradient by hand, as `check_gradient` allows them."""
    if not problem.by_hand:
        return allowed
    hand, _ = hand_values(problem.checked, reference.points, reference.dtype)
    if hand is None or hand.shape != reference.autodiff.shape:
        return allowed
    with np.errstate(all="ignore"):
        wider = allow_hand_rounding(reference, hand)[1]
    return Values(allowed.losses, np.fmax(allowed.gradients, wider.allowed))


@dataclass(frozen=True, eq=False)
class _Computation:
    """Computes what is expected beyond losses and gradients."""

    problem: FunctionProblem
    reference: Reference
    dtype: str
    seed: int

    def evaluate(self, at: Array, data: tuple[Array, ...]) -> tuple[float, Array]:
        """Return the loss and its gradient at one point."""
        found = self.reference.run(at[None], data)
        if isinstance(found, str):
            raise InputError(found)
        return float(found.losses[0]), found.gradients[0]

    def descent(self, allowed: Values, batch_size: int | None = None) -> Descent:
        """Return a short descent over all rows, or over batches."""
        problem, dtype, u = self.problem, self.dtype, unit_roundoff(self.dtype)
        curvature, rate = self.curvature, self._rate()
        rates = np.full(STEPS, rate, dtype)
        rounding = _WIDER * float(np.linalg.norm(allowed.gradients, axis=1).max())
        path, bounds = [problem.start], [0.0]
        losses, losses_allowed = list[float](), list[float]()
        for data in self._data_of_steps(rates, batch_size):
            loss, gradient = self.evaluate(path[-1], data)
            reach, steep = bounds[-1], float(np.linalg.norm(gradient))
            losses.append(loss)
            near = steep * reach + curvature / 2 * reach**2 + 2 * u * abs(loss)
            losses_allowed.append(_WIDER * float(allowed.losses.max()) + near)
            path.append(path[-1] - float(rates[0]) * gradient)
            made = rate * rounding + 4 * u * rate * steep + gamma(2, u) * float(np.linalg.norm(path[-1]))
            bounds.append((1 + rate * curvature) * reach + 2 * made)
        return Descent(rates, *map(np.array, (path, bounds, losses, losses_allowed)))

    @cached_property
    def curvature(self) -> float:
        """The curvature at the start."""
        start, data = self.problem.start, self.problem.checked.data
        return curvature_at(lambda at: self.evaluate(at, data)[1], start, "float64", self.seed)

    def _rate(self) -> float:
        """Return a rate at which a short descent does not go far."""
        start, data = self.problem.start, self.problem.checked.data
        size = float(np.linalg.norm(start)) or 1.0
        slope = float(np.linalg.norm(self.evaluate(start, data)[1])) or 1.0
        return min(0.2 / self.curvature if self.curvature else float("inf"), 0.01 * size / slope)

    def _data_of_steps(self, rates: Array, batch_size: int | None) -> list[tuple[Array, ...]]:
        """Return the data of each step, whose rows are drawn as the driver draws them."""
        data, start = self.problem.checked.data, self.problem.start
        if batch_size is None:
            return [data] * len(rates)
        order = ProblemOptions(batch_size=batch_size, seed=self.seed)
        drawn = prepare_function(FunctionObjective(_nothing), start, data, get_backend("numpy"), order)
        count = drawn.rows
        return [
            data if rows is None else tuple(a[rows] if a.shape[:1] == (count,) else a for a in data)
            for rows in rows_of_steps(drawn, rates)
        ]

    def hessian(self, runners: AutodiffRunners) -> Products:
        """Return products of the Hessian and a random vector."""
        return self._products(self.problem.checked, runners, self._random(self.problem.start.size), along=True)

    def jacobian(self) -> Products | None:
        """Return products of random weights and the Jacobian of the residuals; None if there are no residuals."""
        problem = self.problem
        residuals, start = problem.residuals(), problem.start
        if residuals is None:
            return None
        with np.errstate(all="ignore"):
            shape = np.shape(residuals(start.copy(), *problem.checked.data))
        if len(shape) != 1:
            raise InputError(f"{problem.name}: residuals must return an array (n,), got the shape {shape}")
        w = self._random(shape[0])

        def weighted(theta: Array, weights: Array, *data: Array) -> Any:
            return (weights * residuals(theta, *data)).sum()

        checked = CheckedFunction({None: weighted}, _nothing, start.shape, (w, *problem.checked.data), {})
        return self._products(checked, AutodiffRunners(checked, list(self.reference.by_framework)), w, along=False)

    def _random(self, size: int) -> Array:
        generator: Any = np.random.default_rng(self.seed)
        vector: Array = generator.normal(size=size)
        return vector.astype(self.dtype).astype(np.float64)

    def _products(self, checked: CheckedFunction, runners: AutodiffRunners, vector: Array, along: bool) -> Products:
        """Return the gradients of a function, or if `along` those of its gradient along the vector, with bounds."""
        points, direction = self.reference.points, vector if along else None
        reasons: list[str] = []
        for name in self.reference.by_framework:
            run = runners.run(name, "float64", direction) if along else runners.run(name, "float64")
            found = run(points, checked.data)
            if isinstance(found, str) or not np.isfinite(found.gradients).all():
                reasons.append(f"{name}: {found if isinstance(found, str) else 'it is not finite'}")
                continue
            bounds = [
                rounding_bounds(checked, runners, [name], points, dtype, self.seed, direction)[0].gradients
                for dtype in dict.fromkeys(("float64", self.dtype))
            ]
            return Products(vector, found.gradients, bounds[0] + bounds[-1])
        what = "the Hessian" if along else "the Jacobian"
        raise InputError(f"no framework finds {what} of {self.problem.name} ({'; '.join(reasons)})")


def _nothing(*_: Any, **__: Any) -> Any:
    raise AssertionError


def judge_function(problem: Problem, expected: Expected, in_float64: Callable[[], Problem]) -> dict[str, float]:
    """Return the largest differences from what is expected over what is allowed, by what differs; 1 is agreement.

    Args:
        problem: as placed on the backend.
        expected: what it must compute.
        in_float64: returns the same problem in float64, which is judged too where rounding hides most errors.
    """
    by_hand = problem.backend.name == "numpy"
    with np.errstate(all="ignore"):
        if by_hand and lacks_gradient(problem):
            return _alone(problem, expected, by_hand)
        ratios = {"gradient": _gradient_ratio(problem, expected, by_hand)}
        ratios |= _alone(problem, expected, by_hand)
        if not expected.sensitivity() <= 0.1:
            wide = replace(expected, allowed=expected.allowed_in_float64, allowed_by_hand=expected.allowed_in_float64)
            ratios["gradient in float64"] = _gradient_ratio(in_float64(), wide, by_hand)
        ratios["descent"] = descent_ratio(problem, expected.descent)
    return ratios


def lacks_gradient(problem: Problem) -> bool:
    """Return whether NumPy runs a loss that has no gradient by hand, so that it can only be evaluated."""
    objective: Any = problem.objective
    alone = isinstance(objective, FunctionObjective) and objective.hand is None and not objective.both
    return problem.backend.name == "numpy" and alone


def _gradient_ratio(problem: Problem, expected: Expected, by_hand: bool) -> float:
    found, allowed = values_at(problem, expected.points), expected.allowed_by_hand if by_hand else expected.allowed
    limit = Limit(np.column_stack((allowed.gradients, allowed.losses)))
    return limit.ratio(*(np.column_stack((v.gradients, v.losses)) for v in (found, expected.values)))


def values_at(problem: Problem, points: Array) -> Values:
    """Return the losses and gradients of a problem at points (m, p)."""
    backend = problem.backend
    pairs = [
        [backend.to_numpy(a) for a in problem.value_and_grad(placed(backend, point), *problem.data)] for point in points
    ]
    for loss, gradient in pairs:
        check_outputs(np.asarray(loss), np.asarray(gradient), points[0])
    return Values(*(np.array(column, np.float64) for column in zip(*pairs, strict=True)))


def placed(backend: Backend, point: Array) -> Array:
    """Return a point on the backend, in its dtype."""
    return backend.asarray(point.astype(backend.dtype))


def _alone(problem: Problem, expected: Expected, by_hand: bool) -> dict[str, float]:
    """Judge the loss computed without its gradient, and the gradient without the loss, if the backend has them."""
    offered, ratios = capabilities(problem.backend), dict[str, float]()
    value = offered.value(problem.objective)
    gradient = None if lacks_gradient(problem) else offered.gradient(problem.objective)
    if value is not None:
        losses = evaluated(problem, value, expected.points)
        ratios["loss alone"] = Limit(expected.allowed.losses).ratio(losses, expected.values.losses)
    if gradient is not None:
        allowed = expected.allowed_by_hand if by_hand else expected.allowed
        gradients = evaluated(problem, gradient, expected.points)
        ratios["gradient alone"] = Limit(allowed.gradients).ratio(gradients, expected.values.gradients)
    return ratios


def evaluated(problem: Problem, function: Callable[..., Array], points: Array) -> Array:
    """Return the values of a function f(theta, *data) of the backend at points (m, p)."""
    backend = problem.backend
    return np.array([backend.to_numpy(function(placed(backend, point), *problem.data)) for point in points], np.float64)


def products_ratio(products: Products, values: Array) -> float:
    """Return the largest difference of products (m, p) from those expected, over what is allowed."""
    return Limit(products.allowed).ratio(values, products.values)


def descent_ratio(problem: Problem, expected: Descent) -> float:
    """Judge every step of a short descent, with its path recorded and without."""
    run = run_trajectory(problem, expected.rates)
    if run.path.shape != (len(expected.path) + 1, expected.path.shape[1]):
        return float("inf")
    path = np.concatenate((expected.path, expected.path[-1:]))
    distance = np.linalg.norm(run.path.astype(np.float64) - path, axis=1)
    allowed = np.append(expected.path_allowed, expected.path_allowed[-1])
    steps = Limit(allowed).ratio(distance, np.zeros_like(distance))
    losses = Limit(expected.losses_allowed).ratio(run.losses.astype(np.float64), np.stack((expected.losses,) * 2))
    return max(steps, losses)
