"""What one process does for alternatives.py: it checks every answer of a framework, and times those that are right."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from implementations import RATE, WAYS, Array, Way, least_squares, with_ones

from gdbackends.benchmarking.case import ProblemSpec
from gdbackends.measurement.timing import Deadline, marginal_steps, measure, seconds

STEPS = 50
"""After these, or after one unit if that is more, the parameters of a step are checked."""
CLOSE, NEAR = 1e-9, 1e-6
"""How far a parameter may then be from the closed form; how far above the least loss, relatively, a fit may end."""
PATIENCE = 4.0
"""Seconds that the search for a setting takes; the last attempt is not broken off."""


@dataclass(frozen=True)
class Sample:
    """What one launch found of a spelling.

    Attributes:
        error: of its answer.
        first: seconds of the first fit in the process, compiling included.
        times: seconds of a step or of a fit, one number a batch; none if the answer is wrong.
        trouble: what it raised.
    """

    error: float = float("nan")
    first: float = float("nan")
    times: tuple[float, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Table:
    """Random rows, as `ProblemSpec` makes them; mixed so that every two features have the correlation given."""

    rows: int
    features: int
    correlation: float = 0.0

    def arrays(self) -> tuple[Array, Array]:
        """Return X and y."""
        data = ProblemSpec(rows=self.rows, features=self.features).table()
        shared = np.random.default_rng(1).standard_normal((self.rows, 1))
        return (1 - self.correlation) ** 0.5 * data.X + self.correlation**0.5 * shared, np.array(data.y)


Found = dict[tuple[Table, str], dict[str, Any]]
"""For each table and work, "step" or "fit", something about each way by its name."""


def settings(framework: str, tables: list[Table]) -> Found:
    """Return, for each fit, the loosest of its settings that reaches the loss, or the best of those tried."""
    found: Found = {}
    for table in tables:
        X, y = table.arrays()
        excess = _excess(X, y)
        found[table, "fit"] = {way.name: _setting(way, excess) for way in WAYS[framework](X, y)[1]}
    return found


def launch(framework: str, tables: list[Table], works: list[str], chosen: Found, seed: int, budget: float) -> Found:
    """Return a Sample of every way, in an order drawn from the seed; fits before steps, for their first calls.

    A correlation changes how many steps are needed, and not what one takes: it has no table of steps.
    """
    found: Found = {}
    for table in tables:
        X, y = table.arrays()
        steps, fits = WAYS[framework](X, y)
        if "fit" in works:
            clock = partial(_clocked_fit, chosen[table, "fit"], _excess(X, y), budget)
            found[table, "fit"] = _clocked(clock, fits, seed)
        if "step" in works and not table.correlation:
            found[table, "step"] = _clocked(partial(_clocked_step, _closed_form(X, y), budget), steps, seed)
    return found


def _clocked(clock: Callable[[Way], Sample], ways: list[Way], seed: int) -> dict[str, Sample]:
    order = np.random.default_rng(seed).permutation(len(ways))
    return {ways[k].name: _answered(partial(clock, ways[k])) for k in order}


def _setting(way: Way, excess: Callable[[Array], float]) -> Any:
    deadline, tried = Deadline(PATIENCE), dict[Any, float]()
    for setting in way.settings:
        tried[setting] = _answered(lambda setting=setting: Sample(excess(way.run(setting)))).error
        if tried[setting] <= NEAR or deadline.passed:
            break
    return min(tried, key=lambda setting: (np.isnan(tried[setting]), tried[setting]))


def _clocked_step(path: Callable[[int], Array], budget: float, way: Way) -> Sample:
    count = max(1, STEPS // way.unit)
    error = float(np.abs(way.run(count) - path(count * way.unit)).max())
    if not error <= CLOSE:
        return Sample(error)
    times, _ = marginal_steps(way.run, least=budget / 16, rounds=3)
    return Sample(error, times=tuple(t / way.unit for t in times))


def _clocked_fit(chosen: dict[str, Any], excess: Callable[[Array], float], budget: float, way: Way) -> Sample:
    """Time a fit whose answer is right; one that outlasts the budget but once, for launches differ more than calls."""
    answers: list[Array] = []
    run = partial(way.run, chosen[way.name])
    first = seconds(lambda: answers.append(run()))
    error = excess(answers[0])
    if not error <= NEAR:
        return Sample(error)
    again = seconds(run)
    return Sample(error, first, (again,) if again > budget else measure(run, budget=budget).launches[0])


def _answered(function: Callable[[], Sample]) -> Sample:
    """Return the sample; whatever a library raises is an outcome too."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # that a tolerance was not reached is seen by its loss
        try:
            return function()
        except Exception as error:
            return Sample(trouble=f"{type(error).__name__}: {' '.join(str(error).split())[:80]}")


def _excess(X: Array, y: Array) -> Callable[[Array], float]:
    """Return by how much a loss is above the least, relatively; it is computed here, whoever fitted."""

    def loss(theta: Array) -> float:
        return float(np.mean((with_ones(X) @ theta - y) ** 2))

    least = loss(least_squares(X, y))
    return lambda theta: loss(theta) / least - 1


def _closed_form(X: Array, y: Array) -> Callable[[int], Array]:
    """Return theta after k steps from 0: a step shrinks the error along an eigenvector of the Hessian by 1 - rate l."""
    A = with_ones(X)
    values, vectors = np.linalg.eigh(2 * A.T @ A / len(y))
    end = vectors.T @ least_squares(X, y)
    return lambda k: vectors @ ((1 - (1 - RATE * values) ** k) * end)
