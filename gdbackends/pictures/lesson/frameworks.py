"""Compute one gradient with every framework in its own process, and compare it with the exact one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from gdbackends.backends import check_installed, get_backend, installed, names
from gdbackends.comparison.referee import error_bound, values
from gdbackends.descent import Fit, fit_prepared, prepare
from gdbackends.errors import BackendError, MissingBackendError, in_one_line
from gdbackends.measurement.subprocess_worker import Crashed, in_fresh_process
from gdbackends.objectives import Array
from gdbackends.pictures.lesson.lesson_data import LessonData
from gdbackends.rounding import Limit, exact_value_and_grad

EXACT_LIMIT = 1 << 21
"""Rows up to which the exact gradient is computed in rational arithmetic; above, NumPy's replaces it."""
_STEPS = 25


@dataclass(frozen=True, eq=False)
class FrameworkResult:
    """The results of one framework.

    Attributes:
        name: the name of the framework.
        gradient: (2,), the gradient at the point.
        fit: the fit, with the same rate and number of steps for all frameworks.
        digits: the digits of each component, split at the first difference between frameworks.
        difference: (2,), the difference from the exact gradient.
        ratio: the largest difference from another framework over what rounding allows.
    """

    name: str
    gradient: Array
    fit: Fit
    digits: tuple[tuple[str, str], ...]
    difference: Array
    ratio: float


@dataclass(frozen=True, eq=False)
class FrameworkResults:
    """The gradient of all frameworks at one point.

    Attributes:
        point: (2,), the point in standardised units.
        results: the results of each framework.
        allowed: (2,), the largest difference from the exact gradient that rounding explains.
        exact: whether the reference is exact.
        rate: the learning rate of the fits.
        notes: the frameworks that are left out, and why.
    """

    point: Array
    results: tuple[FrameworkResult, ...]
    allowed: Array
    exact: bool
    rate: float
    notes: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Whether no difference exceeds what rounding allows."""
        return all(each.ratio <= 1 for each in self.results)


def compute(name: str, X: Array, y: Array, point: Array, rate: float) -> tuple[Array, Fit]:
    """Return the gradient (2,) of a framework at a point in standardised units, and its fit; run in its own process."""
    problem = prepare(X, y, get_backend(name))
    gradients = values(problem.backend, problem, point[None]).gradients
    return gradients[0], fit_prepared(problem, rate, _STEPS, tolerance=0)


def frameworks(subject: LessonData) -> FrameworkResults:
    """Return the gradient of every installed framework half-way between the start and the minimum."""
    view, notes = subject.views["standardised"], list[str]()
    point = (view.start + view.cost.minimum) / 2
    rate = 0.2 * view.ends.largest_stable_rate
    X = subject.x[:, None]

    def run(name: str) -> tuple[Array, Fit] | str:
        try:
            return in_fresh_process(compute, name, X, subject.y, point, rate)
        except Exception as error:  # any error of a framework, and the end of its process
            return str(error) if isinstance(error, (Crashed, BackendError)) else in_one_line(error)

    with ThreadPoolExecutor() as threads:  # no clock runs here, so they need not wait for each other
        answers = dict(zip(installed(), threads.map(run, installed()), strict=True))
    for name in names():
        try:
            check_installed(name)
        except MissingBackendError as error:
            notes.append(f"{name} is left out: {error}.")
    notes += [f"{name} gave no answer: {answer}." for name, answer in answers.items() if isinstance(answer, str)]
    computed = {name: answer for name, answer in answers.items() if not isinstance(answer, str)}
    exact, known = _exact(subject, point, computed)
    allowed = error_bound(view.problem, point[None], "float64").evaluations[0].gradient_bound
    return FrameworkResults(point, _results(computed, exact, allowed), allowed, known, rate, tuple(notes))


def _exact(
    subject: LessonData, point: Array, computed: dict[str, tuple[Array, Fit]]
) -> tuple[tuple[Fraction, ...], bool]:
    problem = subject.views["standardised"].problem
    if subject.y.size <= EXACT_LIMIT:
        return exact_value_and_grad(problem.objective, point, problem.X, problem.y)[1], True
    return tuple(Fraction(float(g)) for g in computed["numpy"][0]), False


def _results(
    computed: dict[str, tuple[Array, Fit]], exact: tuple[Fraction, ...], allowed: Array
) -> tuple[FrameworkResult, ...]:
    texts = [[f"{g:.16e}" for g in gradient] for gradient, _ in computed.values()]
    same = [_common([row[j] for row in texts]) for j in range(2)]
    results: list[FrameworkResult] = []
    for (name, (gradient, fitted)), row in zip(computed.items(), texts, strict=True):
        difference = [float(Fraction(float(g)) - true) for g, true in zip(gradient, exact, strict=True)]
        ratio = max(Limit(2 * allowed).ratio(gradient, other) for other, _ in computed.values())
        digits = tuple((text[:k], text[k:]) for text, k in zip(row, same, strict=True))
        results.append(FrameworkResult(name, gradient, fitted, digits, np.array(difference), ratio))
    return tuple(results)


def _common(texts: list[str]) -> int:
    """Return the length of the common beginning of all texts; 0 if their exponents differ."""
    if len({text.partition("e")[2] for text in texts}) > 1:
        return 0
    length = min(len(text) for text in texts)
    return next((k for k in range(length) if len({text[k] for text in texts}) > 1), length)
