"""Check a hand-derived Hessian, or its product with a vector, along random directions in the way of a gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from gdbackends.errors import InputError, InputTypeError
from gdbackends.gradcheck.adapted import dense
from gdbackends.gradcheck.allowance import rounding_bounds
from gdbackends.gradcheck.arguments import adapted_like
from gdbackends.gradcheck.checked_function import AutodiffRunners, CheckedFunction, Function
from gdbackends.gradcheck.evidence import DIFFERENCES, Cause, Reference
from gdbackends.gradcheck.finite_differences import Derivative, derivative, direction_of, noise_of
from gdbackends.gradcheck.report import GradientReport
from gdbackends.gradcheck.side_effects import hand_values
from gdbackends.gradcheck.verdict import judge
from gdbackends.gradcheck.witness import ERRORS, points_for_differences
from gdbackends.objectives import Array
from gdbackends.rounding import unit_roundoff
from gdbackends.rounding.limit import Values

_DIRECTIONS = 2


def check_hessian(
    what: str,
    function: Function,
    checked: CheckedFunction,
    points: Array,
    runners: AutodiffRunners,
    names: Sequence[str],
    sensitivity: float,
    seed: int,
) -> GradientReport:
    """Check hessian(theta, *data), or hvp(theta, v, *data), along random directions; the first failure counts.

    Args:
        what: "hessian" or "hvp".
        function: the function to check.
        checked: the loss and the data.
        points: (m, d), flat.
        runners: the runners that differentiate the loss twice.
        names: the names of the components.
        sensitivity: as in `check_gradient`.
        seed: seed of the directions.
    """
    if not callable(function):
        raise InputTypeError(f"{what} must be a function, got {function!r}")
    generator, report = np.random.default_rng(seed), None
    function = adapted_like(checked, function, vectors=1 if what == "hvp" else 0)
    diagonal = what == "hessian" and _is_diagonal(function, checked, points[0])
    fault = _asymmetry(function, checked, points[0]) if what == "hessian" and not diagonal else None
    for _ in range(_DIRECTIONS):
        direction = cast(Array, generator.normal(size=points.shape[1]))
        changed: list[Cause] = []
        along = replace(checked, hand=_along(what, function, checked.shape, direction, changed, diagonal), what=what)
        if diagonal:
            reference, unsupported = _by_differences(along, checked, points, names, direction, True), dict[str, str]()
        else:
            reference, unsupported = _reference(along, checked, points, runners, names, direction, seed)
        hand, own = hand_values(along, reference.points)
        report = judge(reference, hand, fault or own or next(iter(changed), None), sensitivity, seed, unsupported)
        if report.verdict != "pass":
            break
    assert report is not None
    if what == "hessian" and report.verdict == "fail" and not diagonal:
        report = replace(report, notes=(*report.notes, *_wrong_entries(function, checked, points[-1], names)))
    return report


_MOST_ENTRIES = 64


def _wrong_entries(function: Function, checked: CheckedFunction, theta: Array, names: Sequence[str]) -> list[str]:
    """Return a line about the entries of a Hessian that differ from differences of the gradient, if not all do."""
    d = theta.size
    matrix = np.asarray(dense(replace(checked, hand=function).by_hand(theta)), np.float64)
    if d > _MOST_ENTRIES or matrix.size != d * d:
        return []
    found = [_of_the_gradient(checked, theta, row) for row in np.eye(d)]
    right, errors = np.array([f.value for f in found]), np.array([f.error for f in found])
    matrix = matrix.reshape(d, d)
    wrong = ~(np.abs(matrix - right) <= 16 * ERRORS * errors + 1e-9 * np.abs(right))
    if not wrong.any() or wrong.all():
        return []
    cross = _cross(wrong)
    with np.errstate(all="ignore"):
        ratios = (matrix / right)[wrong]
    listed = ", ".join(f"({i}, {j})" for i, j in np.argwhere(wrong)[:4])
    more = f" and {int(wrong.sum()) - 4} more" if wrong.sum() > 4 else ""
    only = "" if cross is None else f", all in the row or the column of {names[cross]}"
    ends = f"{np.nanmin(ratios):.6g} to {np.nanmax(ratios):.6g}"
    return [
        f"only the entries {listed}{more} differ{only}; yours are {ends} of differences of the gradient, the other "
        f"{int((~wrong).sum())} entries agree"
    ]


def _cross(wrong: Array) -> int | None:
    """Return the component in whose row or column all wrong entries are; None if there is none."""
    alone = [j for j in range(len(wrong)) if not np.delete(np.delete(wrong, j, 0), j, 1).any()]
    return alone[0] if len(alone) == 1 else None


def _reference(
    along: CheckedFunction,
    checked: CheckedFunction,
    points: Array,
    runners: AutodiffRunners,
    names: Sequence[str],
    direction: Array,
    seed: int,
) -> tuple[Reference, dict[str, str]]:
    """Return the products of the Hessian and a direction by the frameworks, and why others have none."""
    results = {name: runners.run(name, "float64", direction)(points, checked.data) for name in runners.names}
    by_framework = {name: values for name, values in results.items() if isinstance(values, Values)}
    unsupported = {name: why for name, why in results.items() if isinstance(why, str)}
    bounds, bound = Values(np.zeros(0), np.zeros(0)), ""
    if by_framework:
        bounds, bound = rounding_bounds(checked, runners, by_framework, points, "float64", seed, direction)
        products = {name: values.gradients for name, values in by_framework.items()}
        refuted = _refuted(checked, points, direction, products, 2 * bounds.gradients)
        by_framework = {name: values for name, values in by_framework.items() if name not in refuted}
        unsupported |= dict.fromkeys(refuted, "its second derivatives are at odds with the gradient")
    if not by_framework:
        return _by_differences(along, checked, points, names, direction), unsupported
    run = runners.run(next(iter(by_framework)), "float64", direction)

    def differences(theta: Array, chosen: Array) -> tuple[Array, Array]:
        found = _of_the_gradient(checked, theta, direction)
        return found.value[chosen], found.error[chosen]

    reference = Reference(along, points, by_framework, bounds, bound, names, run, direction, differences=differences)
    return reference, unsupported


def _of_the_gradient(checked: CheckedFunction, theta: Array, direction: Array, diagonal: bool = False) -> Derivative:
    """Return the differences of the hand gradient, which has passed, along a direction; or its diagonal times it."""

    def gradient(theta: Array) -> Array:
        try:
            return np.asarray(checked.by_hand(theta), np.float64).ravel()
        except (Exception, SystemExit):  # outside its domain
            return np.full(theta.size, np.nan)

    with np.errstate(all="ignore"):
        if not diagonal:
            scale = float(np.linalg.norm(theta)) / max(float(np.linalg.norm(direction)), 1e-300) or 1.0
            noise = 2 * noise_of(gradient, theta, scale * direction)
            found = derivative(gradient, theta, scale * direction, noise)
            return replace(found, value=found.value / scale, error=found.error / scale)
        values, errors = np.empty((2, theta.size))
        for j in range(theta.size):
            step = direction_of(theta, j)
            found = derivative(gradient, theta, step, 2 * noise_of(gradient, theta, step))
            values[j], errors[j] = found.value[j] / step[j], found.error[j] / abs(step[j])
        return Derivative(values * direction, errors * np.abs(direction), False)


def _by_differences(
    along: CheckedFunction,
    checked: CheckedFunction,
    points: Array,
    names: Sequence[str],
    direction: Array,
    diagonal: bool = False,
) -> Reference:
    """Return the products of the Hessian and a direction by differences of the hand gradient, which has passed."""
    points = points_for_differences(points)
    found = [_of_the_gradient(checked, theta, direction, diagonal) for theta in points]
    values, errors = np.array([f.value for f in found]), np.array([f.error for f in found])
    u = unit_roundoff("float64")
    losses = np.zeros(len(points))
    bounds = Values(losses + 1, ERRORS * errors + 1600 * u * np.abs(values))

    def run(points: Array, data: tuple[Array, ...]) -> str:
        return "there are differences alone"

    return Reference(along, points, {DIFFERENCES: Values(losses, values)}, bounds, "estimated", names, run, direction)


def _refuted(
    checked: CheckedFunction, points: Array, direction: Array, products: Mapping[str, Array], allowed: Array
) -> list[str]:
    """Return the names of the products (m, d) that differences of the hand gradient contradict at a random point."""
    k = len(points) - 1
    found = _of_the_gradient(checked, points[k], direction)
    wide = 2 * ERRORS * found.error + allowed[k] + 1e-6 * np.abs(found.value)
    return [name for name, product in products.items() if (np.abs(product[k] - found.value) > wide).any()]


def _is_diagonal(function: Function, checked: CheckedFunction, theta: Array) -> bool:
    """Return whether a Hessian is given as its diagonal, of the shape of theta."""
    if theta.size == 1:
        return False
    return np.shape(dense(replace(checked, hand=function).by_hand(theta))) in (checked.shape, (theta.size,))


def _asymmetry(function: Function, checked: CheckedFunction, theta: Array) -> Cause | None:
    """Return a cause if the Hessian is not symmetric, as every Hessian of a smooth function is."""
    matrix = np.asarray(dense(replace(checked, hand=function).by_hand(theta)), np.float64)
    matrix = matrix.reshape(theta.size, -1) if matrix.size == theta.size**2 else np.zeros((1, 1))
    asymmetry = np.abs(matrix - matrix.T)
    if not asymmetry.max() > 1e-6 * np.abs(matrix).max():
        return None
    i, j = (int(k) for k in np.unravel_index(int(asymmetry.argmax()), asymmetry.shape))
    text = f"it is not symmetric: entry ({i}, {j}) is {matrix[i, j]:.6g} and ({j}, {i}) {matrix[j, i]:.6g}"
    return Cause("not-a-gradient", text, {"asymmetry": float(asymmetry.max())})


def _along(
    what: str, function: Function, shape: tuple[int, ...], direction: Array, changed: list[Cause], diagonal: bool
) -> Function:
    """Return the product of the function with the direction, of the shape of theta; record whether v is changed."""

    def product(theta: Array, *data: Array, **params: Any) -> Array:
        if what == "hvp":
            v = direction.astype(theta.dtype).reshape(shape)
            product = function(theta, v, *data, **params)
            if not np.array_equal(v, direction.astype(theta.dtype).reshape(shape)):
                changed.append(Cause("mutates-input", "the hvp function changes v in place", {}))
            return product
        matrix = np.asarray(dense(function(theta, *data, **params)))
        if diagonal:
            return (matrix.ravel() * direction).reshape(shape)
        if matrix.shape not in ((*shape, *shape), (direction.size, direction.size)):
            raise InputError(f"the hessian must have theta's shape twice, {(*shape, *shape)}, got {matrix.shape}")
        return (matrix.reshape(direction.size, direction.size) @ direction).reshape(shape)

    return product
