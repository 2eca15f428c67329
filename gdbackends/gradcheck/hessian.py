"""Check a hand-derived Hessian, or its product with a vector, along random directions in the way of a gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from gdbackends.errors import InputError, InputTypeError
from gdbackends.gradcheck.allowance import rounding_bounds
from gdbackends.gradcheck.checked_function import AutodiffRunners, CheckedFunction, Function
from gdbackends.gradcheck.evidence import Cause, Reference
from gdbackends.gradcheck.report import GradientReport
from gdbackends.gradcheck.side_effects import hand_values
from gdbackends.gradcheck.verdict import judge
from gdbackends.objectives import Array
from gdbackends.rounding.limit import Values

_DIRECTIONS = 2


def check_hessian(
    what: str,
    function: Function,
    checked: CheckedFunction,
    points: Array,
    runners: AutodiffRunners,
    names: tuple[str, ...],
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
    fault = _asymmetry(function, checked, points[0]) if what == "hessian" else None
    for _ in range(_DIRECTIONS):
        direction = cast(Array, generator.normal(size=points.shape[1]))
        changed: list[Cause] = []
        along = replace(checked, hand=_along(what, function, checked.shape, direction, changed), what=what)
        results = {name: runners.run(name, "float64", direction)(points, checked.data) for name in runners.names}
        by_framework = {name: values for name, values in results.items() if isinstance(values, Values)}
        unsupported = {name: why for name, why in results.items() if isinstance(why, str)}
        if not by_framework:
            raise InputError(f"no framework can differentiate the loss twice ({unsupported})")
        bounds, bound = rounding_bounds(checked, runners, by_framework, points, "float64", seed, direction)
        run = runners.run(next(iter(by_framework)), "float64", direction)
        reference = Reference(along, points, by_framework, bounds, bound, names, run, direction)
        hand, own = hand_values(along, points)
        report = judge(reference, hand, fault or own or next(iter(changed), None), sensitivity, seed, unsupported)
        if report.verdict != "pass":
            break
    assert report is not None
    return report


def _asymmetry(function: Function, checked: CheckedFunction, theta: Array) -> Cause | None:
    """Return a cause if the Hessian is not symmetric, as every Hessian of a smooth function is."""
    matrix = np.asarray(replace(checked, hand=function).by_hand(theta), np.float64)
    matrix = matrix.reshape(theta.size, -1) if matrix.size == theta.size**2 else np.zeros((1, 1))
    asymmetry = np.abs(matrix - matrix.T)
    if not asymmetry.max() > 1e-6 * np.abs(matrix).max():
        return None
    i, j = (int(k) for k in np.unravel_index(int(asymmetry.argmax()), asymmetry.shape))
    text = f"it is not symmetric: entry ({i}, {j}) is {matrix[i, j]:.6g} and ({j}, {i}) {matrix[j, i]:.6g}"
    return Cause("not-a-gradient", text, {"asymmetry": float(asymmetry.max())})


def _along(what: str, function: Function, shape: tuple[int, ...], direction: Array, changed: list[Cause]) -> Function:
    """Return the product of the function with the direction, of the shape of theta; record whether v is changed."""

    def product(theta: Array, *data: Array, **params: Any) -> Array:
        if what == "hvp":
            v = direction.astype(theta.dtype).reshape(shape)
            product = function(theta, v, *data, **params)
            if not np.array_equal(v, direction.astype(theta.dtype).reshape(shape)):
                changed.append(Cause("mutates-input", "the hvp function changes v in place", {}))
            return product
        matrix = np.asarray(function(theta, *data, **params))
        if matrix.shape not in ((*shape, *shape), (direction.size, direction.size)):
            raise InputError(f"the hessian must have theta's shape twice, {(*shape, *shape)}, got {matrix.shape}")
        return (matrix.reshape(direction.size, direction.size) @ direction).reshape(shape)

    return product
