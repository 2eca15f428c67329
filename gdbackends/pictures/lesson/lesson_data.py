"""The data of the lesson: one feature of a table, the target, and the cost of a line for three scalings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np

from gdbackends.backends import get_backend
from gdbackends.datasets import Dataset
from gdbackends.descent import ProblemOptions, TableProblem, prepare
from gdbackends.descent.spectrum import Quadratic, Spectrum, quadratic, spectrum
from gdbackends.errors import InputError
from gdbackends.objectives import Array, LinearModel
from gdbackends.scaling import Scaling, identity, standardization

SHOWN = 300
"""Largest number of rows that a figure shows; every number is of all rows."""

Way: TypeAlias = Literal["as it is", "centred", "standardised"]
WAYS: tuple[Way, ...] = ("as it is", "centred", "standardised")


@dataclass(frozen=True, eq=False)
class ScaledView:
    """The cost of a line for one scaling of the feature.

    Attributes:
        way: the name of the scaling.
        scaling: the scaling from the units of the data to those of the descent.
        problem: the problem on NumPy, from slope 0 and intercept 0 (the same line for every scaling).
        plain: (n, 1), the scaled feature.
        ends: the extreme eigenvalues of the Hessian.
        cost: the cost along the eigenvectors of the Hessian.
    """

    way: Way
    scaling: Scaling
    plain: Array
    problem: TableProblem
    ends: Spectrum
    cost: Quadratic

    @property
    def thin(self) -> bool:
        """Whether the contours of the cost are a long thin valley, at least ten times as long as wide."""
        return self.ends.singular or (self.ends.condition or 0.0) > 100

    @property
    def start(self) -> Array:
        """(2,), the start of the descent."""
        return self.problem.theta0


@dataclass(frozen=True, eq=False)
class LessonData:
    """One feature and the target.

    Attributes:
        x: (n,), the feature.
        y: (n,), the target.
        feature: the name of the feature.
        target: the name of the target.
        table: the name of the table.
        others: the names of the other features.
        shown: (m,), the indices of the rows that figures show, all or a sample.
        views: the costs by the name of the scaling.
    """

    x: Array
    y: Array
    feature: str
    target: str
    table: str
    others: tuple[str, ...]
    shown: Array
    views: dict[Way, ScaledView]

    @property
    def sampled(self) -> str:
        """The note on figures that show a sample of the rows; "" if they show all."""
        n, m = self.y.size, self.shown.size
        return "" if n == m else f"Shown: {m} of {n:,} rows, drawn at random. Every number is of all rows."


def subject(data: Dataset, feature: str | None = None) -> LessonData:
    """Return the data of the lesson.

    Args:
        data: the table.
        feature: the name of the feature to show, by default the one whose line has the least cost.

    Raises:
        InputError: there is no such feature, or the feature has a single value, so that no line can be drawn.
    """
    varying = [j for j in range(len(data.names)) if data.X[:, j].min() < data.X[:, j].max()]
    if feature is not None and feature not in data.names:
        raise InputError(f"there is no feature {feature!r}; there are {_some(data.names)}")
    if feature is not None and data.names.index(feature) not in varying:
        raise InputError(f"{feature!r} has one value in all rows, so no line has a slope; choose another feature")
    if not varying:
        raise InputError(
            f"a line needs two rows that differ in a feature, got {data.y.size} of one value; give other data"
        )
    shown = cast(Array, np.arange(data.y.size))
    if data.y.size > SHOWN:
        shown = np.sort(np.random.default_rng(0).choice(data.y.size, SHOWN, replace=False))
    chosen = min(varying, key=lambda j: _least(data.X[:, j], data.y)) if feature is None else data.names.index(feature)
    x, name = data.X[:, chosen].copy(), data.names[chosen]
    return LessonData(
        x=x,
        y=data.y,
        feature=name,
        target=data.target,
        table=data.name,
        others=tuple(other for other in data.names if other != name),
        shown=shown,
        views={way: _view(way, x[:, None], data.y) for way in WAYS},
    )


def best_line(objective: LinearModel, X: Array, y: Array) -> Array:
    """Return theta (2,) of least squares."""
    return objective.minimum(X, y, np.zeros(2))


def _least(x: Array, y: Array) -> float:
    """Return the cost of the best line; the standardised feature has the same."""
    X, objective = standardization(x[:, None]).apply(x[:, None]), LinearModel()
    return float(objective.loss(best_line(objective, X, y), X, y))


def _view(way: Way, X: Array, y: Array) -> ScaledView:
    standardised = standardization(X)
    scaling = {
        "as it is": identity(1),
        "centred": Scaling(standardised.center, np.ones(1)),
        "standardised": standardised,
    }[way]
    problem = prepare(scaling.apply(X), y, get_backend("numpy"), options=ProblemOptions(standardize=False))
    assert isinstance(problem.objective, LinearModel)
    ends = spectrum(problem.objective, problem.X, 2)
    return ScaledView(
        way,
        scaling,
        scaling.apply(X),
        problem,
        ends,
        quadratic(problem.objective, problem.X, problem.y, problem.theta0),
    )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
