"""One gradient by every framework, each in a process of its own, against the exact one and what rounding allows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from gdbackends.backends import check_installed, get_backend, installed, names
from gdbackends.comparison.referee import error_bound, gradient_ratio, values
from gdbackends.descent import Fit, fit_prepared, prepare
from gdbackends.errors import MissingBackendError
from gdbackends.measurement.subprocess_worker import Crashed, in_fresh_process
from gdbackends.objectives import Array
from gdbackends.pictures.lesson.numbers import Subject
from gdbackends.rounding.exact import exact_value_and_grad

EXACT_LIMIT = 1 << 21
"""Rows up to which the exact gradient is computed, by whole numbers; above, NumPy's stands for it."""
_STEPS = 25


@dataclass(frozen=True, eq=False)
class Seen:
    """What one framework computed.

    Attributes:
        name: of the framework.
        gradient: (2,), at the point.
        fit: at the same rate and with as many steps as the others.
        digits: of each component, split where a framework first differs.
        apart: (2,), from the exact gradient.
        share: the largest part of what rounding allows between any two correct gradients.
    """

    name: str
    gradient: Array
    fit: Fit
    digits: tuple[tuple[str, str], ...]
    apart: Array
    share: float


@dataclass(frozen=True, eq=False)
class Frameworks:
    """One gradient by all.

    Attributes:
        point: (2,), in standardised units.
        seen: one a framework.
        allowed: (2,), how far each may lie from the exact gradient.
        exact: the reference is exact.
        rate: of the fits.
        notes: which are left out, and why.
    """

    point: Array
    seen: tuple[Seen, ...]
    allowed: Array
    exact: bool
    rate: float
    notes: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Whether all differ by no more than rounding allows."""
        return all(each.share <= 1 for each in self.seen)


def compute(name: str, X: Array, y: Array, point: Array, rate: float) -> tuple[Array, Fit]:
    """Return a framework's gradient (2,) at a point in standardised units, and its fit; run in a process of its own."""
    problem = prepare(X, y, get_backend(name))
    gradients = values(problem.backend, problem, point[None]).gradients
    return gradients[0], fit_prepared(problem, rate, _STEPS, tolerance=0)


def frameworks(subject: Subject) -> Frameworks:
    """Return the gradient half-way between the start and the best, by every framework that is installed."""
    view, notes = subject.views["standardised"], list[str]()
    point = (view.start + view.cost.minimum) / 2
    rate = 0.2 * view.ends.largest_stable_rate
    X = subject.x[:, None]

    def ask(name: str) -> tuple[Array, Fit] | None:
        try:
            return in_fresh_process(compute, name, X, subject.y, point, rate)
        except Crashed:
            return None

    with ThreadPoolExecutor() as threads:  # no clock runs here, so they need not wait for each other
        answers = dict(zip(installed(), threads.map(ask, installed()), strict=True))
    for name in names():
        try:
            check_installed(name)
        except MissingBackendError as error:
            notes.append(f"{name} is left out: {error}.")
    notes += [f"{name} gave no answer: its process ended." for name, answer in answers.items() if answer is None]
    found = {name: answer for name, answer in answers.items() if answer is not None}
    exact, known = _exact(subject, point, found)
    allowed = error_bound(view.problem, point[None], "float64").evaluations[0].gradient_bound
    return Frameworks(point, _judged(found, exact, allowed), allowed, known, rate, tuple(notes))


def _exact(subject: Subject, point: Array, found: dict[str, tuple[Array, Fit]]) -> tuple[tuple[Fraction, ...], bool]:
    problem = subject.views["standardised"].problem
    if subject.y.size <= EXACT_LIMIT:
        return exact_value_and_grad(problem.objective, point, problem.X, problem.y)[1], True
    return tuple(Fraction(float(g)) for g in found["numpy"][0]), False


def _judged(found: dict[str, tuple[Array, Fit]], exact: tuple[Fraction, ...], allowed: Array) -> tuple[Seen, ...]:
    texts = [[f"{g:.16e}" for g in gradient] for gradient, _ in found.values()]
    same = [_common([row[j] for row in texts]) for j in range(2)]
    seen: list[Seen] = []
    for (name, (gradient, fitted)), row in zip(found.items(), texts, strict=True):
        apart = [float(Fraction(float(g)) - true) for g, true in zip(gradient, exact, strict=True)]
        share = max(gradient_ratio(gradient, other, allowed) for other, _ in found.values())
        digits = tuple((text[:k], text[k:]) for text, k in zip(row, same, strict=True))
        seen.append(Seen(name, gradient, fitted, digits, np.array(apart), share))
    return tuple(seen)


def _common(texts: list[str]) -> int:
    """Return how many characters all begin with; the exponents count as one."""
    if len({text.partition("e")[2] for text in texts}) > 1:
        return 0
    length = min(len(text) for text in texts)
    return next((k for k in range(length) if len({text[k] for text in texts}) > 1), length)
