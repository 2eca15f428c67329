"""The tasks of a process of alternatives.py: check the answers of a framework, and time the correct ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from implementations import IMPLEMENTATIONS, RATE, Array, Implementation, least_squares, with_ones

from gdbackends.backends import get_backend
from gdbackends.benchmarking.case import ProblemSpec
from gdbackends.descent import ProblemOptions, descend, prepare
from gdbackends.measurement.timing import Deadline, marginal_steps, measure, seconds
from gdbackends.ranks import Ranks, led

STEPS = 50
"""The steps, or one unit if that is more, after which the parameters are checked."""
PARAMETER_TOLERANCE = 1e-9
"""The largest difference of a parameter from the closed form after these steps."""
LOSS_TOLERANCE = 1e-6
"""The largest relative difference of the loss of a fit from the minimum."""
SEARCH_BUDGET = 4.0
"""Seconds to search for a setting; a fit that has begun is not interrupted."""


@dataclass(frozen=True)
class LaunchResult:
    """The result of an implementation in one launch.

    Attributes:
        error: the error of its answer: of the parameters for a step, of the loss for a fit.
        first: seconds of the first fit in the process, including compilation.
        times: seconds of a step or of a fit in each batch; empty if the answer is wrong.
        failure: the exception it raised, or "".
    """

    error: float = float("nan")
    first: float = float("nan")
    times: tuple[float, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class DataSpec:
    """Random data, as `ProblemSpec` makes them, but with a given correlation of every two features."""

    rows: int
    features: int
    correlation: float = 0.0

    def arrays(self) -> tuple[Array, Array]:
        """Return X and y."""
        data = ProblemSpec(rows=self.rows, features=self.features).table()
        common = np.random.default_rng(1).standard_normal((self.rows, 1))
        return (1 - self.correlation) ** 0.5 * data.X + self.correlation**0.5 * common, np.array(data.y)


Results = dict[tuple[DataSpec, str], dict[str, Any]]
"""For each data set and workload ("step" or "fit"), a value for each implementation by its label."""


def choose_settings(framework: str, data: list[DataSpec]) -> Results:
    """Return for each fit the loosest setting whose loss is within LOSS_TOLERANCE, or the best one tried."""
    settings: Results = {}
    for spec in data:
        X, y = spec.arrays()
        loss_error = _loss_error(X, y)
        fits = IMPLEMENTATIONS[framework](X, y)[1]
        settings[spec, "fit"] = {fit.label: _choose_setting(fit, loss_error) for fit in fits}
    return settings


def time_implementations(
    framework: str, data: list[DataSpec], workloads: list[str], settings: Results, seed: int, budget: float
) -> Results:
    """Return a LaunchResult for every implementation, timed in a random order; fits come first, for their first call.

    Correlated features change the number of steps but not the time of a step, so there steps are not timed.
    """
    results: Results = {}
    for spec in data:
        X, y = spec.arrays()
        steps, fits = IMPLEMENTATIONS[framework](X, y)
        if "fit" in workloads:
            run = partial(_time_fit, settings[spec, "fit"], _loss_error(X, y), budget)
            results[spec, "fit"] = _in_random_order(run, fits, seed)
        if "step" in workloads and not spec.correlation:
            run = partial(_time_step, _closed_form(X, y), budget)
            results[spec, "step"] = _in_random_order(run, steps, seed)
    return results


def _in_random_order(
    run: Callable[[Implementation], LaunchResult], implementations: list[Implementation], seed: int
) -> dict[str, LaunchResult]:
    order = np.random.default_rng(seed).permutation(len(implementations))
    return {implementations[k].label: _catch(partial(run, implementations[k])) for k in order}


def _choose_setting(fit: Implementation, loss_error: Callable[[Array], float]) -> Any:
    deadline, errors = Deadline(SEARCH_BUDGET), dict[Any, float]()
    for setting in fit.settings:
        errors[setting] = _catch(lambda setting=setting: LaunchResult(loss_error(fit.run(setting)))).error
        if errors[setting] <= LOSS_TOLERANCE or deadline.passed:
            break
    return min(errors, key=lambda setting: (np.isnan(errors[setting]), errors[setting]))


def _time_step(closed_form: Callable[[int], Array], budget: float, step: Implementation) -> LaunchResult:
    count = max(1, STEPS // step.unit)
    error = float(np.abs(step.run(count) - closed_form(count * step.unit)).max())
    if not error <= PARAMETER_TOLERANCE:
        return LaunchResult(error)
    times, _ = marginal_steps(step.run, least=budget / 16, rounds=3)
    return LaunchResult(error, times=tuple(t / step.unit for t in times))


def _time_fit(
    settings: dict[str, Any], loss_error: Callable[[Array], float], budget: float, fit: Implementation
) -> LaunchResult:
    """Time a fit if its answer is right; a fit longer than the budget is timed once, since launches differ more."""
    answers: list[Array] = []
    run = partial(fit.run, settings[fit.label])
    first = seconds(lambda: answers.append(run()))
    error = loss_error(answers[0])
    if not error <= LOSS_TOLERANCE:
        return LaunchResult(error)
    second = seconds(run)
    return LaunchResult(error, first, (second,) if second > budget else measure(run, budget=budget).launches[0])


def _catch(function: Callable[[], LaunchResult]) -> LaunchResult:
    """Return function(), or a result with the exception that a library raised."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the loss shows whether a fit has converged
        try:
            return function()
        except Exception as error:
            return LaunchResult(failure=f"{type(error).__name__}: {' '.join(str(error).split())[:80]}")


def _loss_error(X: Array, y: Array) -> Callable[[Array], float]:
    """Return a function that gives the relative excess of the loss at theta over the minimum, computed by NumPy."""

    def loss(theta: Array) -> float:
        return float(np.mean((with_ones(X) @ theta - y) ** 2))

    minimum = loss(least_squares(X, y))
    return lambda theta: loss(theta) / minimum - 1


def _closed_form(X: Array, y: Array) -> Callable[[int], Array]:
    """Return a function that gives theta after k steps from 0.

    A step multiplies the error along an eigenvector of the Hessian with eigenvalue v by 1 - RATE v.
    """
    A = with_ones(X)
    values, vectors = np.linalg.eigh(2 * A.T @ A / len(y))
    solution = vectors.T @ least_squares(X, y)
    return lambda k: vectors @ ((1 - (1 - RATE * values) ** k) * solution)


def times_of_ranks(ranks: Ranks | None, name: str, rows: int, features: int) -> dict[str, float]:
    """Return the seconds of one more step over random rows, and of what it exchanges, d + 2 numbers."""
    rank, size = (0, 1) if ranks is None else (ranks.rank, ranks.size)
    own = rows * (rank + 1) // size - rows * rank // size
    rng = np.random.default_rng([0, rank])
    X: Any = rng.normal(size=(own, features))
    step = _led_step(ranks, name, X, X.sum(1) + rng.normal(size=own))
    if ranks is None:
        return {"step": step, "exchange": 0.0}
    few = np.eye(1, features), np.ones(1)  # which take no time of their own but that of a step alone
    alone = _led_step(None, name, *few)
    return {"step": step, "exchange": max(0.0, _led_step(ranks, name, *few) - alone)}


def _led_step(ranks: Ranks | None, name: str, X: Any, y: Any) -> float:
    """Return the seconds of one more step, as the first process measures them; 0 on the others."""
    problem = prepare(X, y, get_backend(name), options=ProblemOptions(standardize=False, ranks=ranks))

    def run(steps: int) -> None:
        descend(problem, np.broadcast_to(np.float64(1e-6), (steps,)))

    return led(ranks, run, lambda told: median(marginal_steps(told, least=0.1)[0])) or 0.0
