"""A Hessian derived by hand, or its product with a vector, judged as a gradient is: along random directions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from gdbackends.agreement.gradients import Values
from gdbackends.agreement.preparing import rounding_bounds
from gdbackends.agreement.purity import hand_values
from gdbackends.agreement.report import GradientReport
from gdbackends.agreement.subject import Frameworks, Function, Subject
from gdbackends.agreement.verdict import Case, judge
from gdbackends.errors import InputError
from gdbackends.objectives import Array

_DIRECTIONS = 2


def check_second(
    what: str,
    function: Function,
    subject: Subject,
    points: Array,
    frameworks: Frameworks,
    names: tuple[str, ...],
    sensitivity: float,
    seed: int,
) -> GradientReport:
    """Check hessian(theta, *data), or hvp(theta, v, *data), along random directions; the first failure counts.

    Args:
        what: "hessian" or "hvp".
        function: under check.
        subject: its loss and data.
        points: flat, (m, d).
        frameworks: that differentiate the loss twice.
        names: of the components.
        sensitivity: as in `check_gradient`.
        seed: of the directions.
    """
    generator, report = np.random.default_rng(seed), None
    for _ in range(_DIRECTIONS):
        direction = cast(Array, generator.normal(size=points.shape[1]))
        along = replace(subject, hand=_along(what, function, subject.shape, direction))
        found = {name: frameworks.run(name, "float64", direction)(points, subject.data) for name in frameworks.names}
        voters = {name: values for name, values in found.items() if isinstance(values, Values)}
        unsupported = {name: why for name, why in found.items() if isinstance(why, str)}
        if not voters:
            raise InputError(f"no framework can differentiate the loss twice ({unsupported})")
        bounds, bound = rounding_bounds(subject, frameworks, voters, points, "float64", seed, direction)
        case = Case(along, points, voters, bounds, bound, names, direction)
        report = judge(case, *hand_values(along, points), sensitivity, seed, unsupported)
        report = replace(report, of=what, sentence=report.sentence.replace("the gradient", f"the {what}"))
        if report.verdict != "pass":
            break
    assert report is not None
    return report


def _along(what: str, function: Function, shape: tuple[int, ...], direction: Array) -> Function:
    """Return the function's product with the direction, of theta's shape."""

    def product(theta: Array, *data: Array, **params: Any) -> Array:
        if what == "hvp":
            return function(theta, direction.astype(theta.dtype).reshape(shape), *data, **params)
        matrix = np.asarray(function(theta, *data, **params))
        if matrix.shape not in ((*shape, *shape), (direction.size, direction.size)):
            raise InputError(f"it has shape {matrix.shape} where theta has {shape}")
        return (matrix.reshape(direction.size, direction.size) @ direction).reshape(shape)

    return product
