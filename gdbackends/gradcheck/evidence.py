"""The evidence of a check: gradients by autodiff and by hand, allowed differences, and the cause of a difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import floor, isclose, log10, sqrt
from numbers import Real
from typing import Any

import numpy as np

from gdbackends.gradcheck.adapted import GradientOf
from gdbackends.gradcheck.checked_function import CheckedFunction, Runner
from gdbackends.gradcheck.parameters import Block
from gdbackends.objectives import Array
from gdbackends.rounding import Limit, Values
from gdbackends.rounding.limit import VISIBLE

LARGE = 20_000
"""Number of components above which there are fewer points, and causes are looked for in a sample of components."""
DIFFERENCES = "differences"
"""The name under which the gradient by differences of the loss stands among those of the frameworks."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a hand gradient is judged by, at flat points (m, d) in float64.

    Attributes:
        checked: the function that is checked.
        points: (m, d).
        by_framework: the losses and gradients by framework; or those by differences of the loss.
        bounds: bounds on the errors of one evaluation.
        bound: how the bounds are known, in words.
        names: the names of the components.
        run: the runner that differentiates the loss at other points or for other data.
        direction: (d,), if the gradients are the Hessian times it.
        dtype: the dtype of the evaluations.
        differences: returns some components of the gradient by differences at a point, with their errors; or None.
    """

    checked: CheckedFunction
    points: Array
    by_framework: Mapping[str, Values]
    bounds: Values
    bound: str
    names: Sequence[str]
    run: Runner
    direction: Array | None = None
    dtype: str = "float64"
    differences: Callable[[Array, Array], tuple[Array, Array]] | None = None

    @cached_property
    def allowed(self) -> Array:
        """The largest difference of two evaluations that rounding explains, (m, d)."""
        return 2 * self.bounds.gradients

    @property
    def autodiff(self) -> Array:
        """The gradients by the first framework."""
        return next(iter(self.by_framework.values())).gradients

    def ratios(self, a: Array, b: Array) -> Array:
        """Return the differences over the allowed ones, elementwise."""
        return Limit(self.allowed).ratios(a, b)

    def largest_ratio(self, a: Array, b: Array) -> float:
        """Return the largest of the ratios."""
        return float(self.ratios(a, b).max())

    @property
    def gradients(self) -> dict[str, Array]:
        """The gradients (m, d) by framework."""
        return {name: values.gradients for name, values in self.by_framework.items()}

    @property
    def alone(self) -> bool:
        """Whether differences of the loss are all there is to judge by."""
        return DIFFERENCES in self.by_framework

    def agrees(self, gradient: Array) -> bool:
        """Return whether a gradient (m, d) agrees with every framework in every component at every point."""
        return all((self.ratios(gradient, other) <= 1).all() for other in self.gradients.values())

    def evidence(self, hand: Array) -> Evidence:
        """Return the evidence about a hand gradient (m, d); for a Hessian the direction replaces theta."""
        points = self.points if self.direction is None else np.broadcast_to(self.direction, self.points.shape)
        data = self.checked.data[1:] if self.checked.weights else self.checked.data
        params, shape = self.checked.params, self.checked.shape
        said = "the differences" if self.alone else "autodiff"
        e = Evidence(points, self.autodiff, hand, self.allowed, data, params, shape, self.names, said)
        return replace(e, blocks=self.blocks)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The arrays of which theta consists; none if it is one array."""
        hand = self.checked.hand
        layout = hand.adapted.layout if isinstance(hand, GradientOf) else None
        if layout is None or layout.rebuild is None or layout.size != self.points.shape[1]:
            return ()
        return layout.blocks

    def zeros(self, sensitivity: float = VISIBLE) -> Array:
        """Return which components, (d,), are 0 within rounding at every point, beside others that are not.

        What is allowed there must be so little that an error of the requested sensitivity, relative to the largest
        component, would be detected; each component is weighted by the size of its parameter.
        """
        size = np.abs(self.points).max(0)
        size[size == 0] = 1.0
        with np.errstate(all="ignore"):
            zero = (np.abs(self.autodiff) <= self.allowed).all(0)
            largest = (np.abs(self.autodiff) * size).max()
            return zero & (self.allowed.max(0) * size <= sensitivity * largest)

    def sensitivity(self) -> float:
        """Return the smallest relative error that would be detected in every component.

        A component that is 0 at every point does not count.
        """
        zero = (self.autodiff == 0).all(0) | self.zeros()
        return Limit(np.where(zero, 0.0, self.allowed)).sensitivity(self.autodiff)


WITHIN = 8.0
"""How many times the allowed difference a hypothesis may leave unexplained, since it is fitted to rounded numbers."""


@dataclass(frozen=True)
class Cause:
    """What the difference is consistent with.

    Attributes:
        kind: one of the kinds that the README lists.
        text: the cause in words, with the fitted constants.
        constants: the fitted constants by name.
        leaves: the largest part of the allowed difference that it leaves unexplained; None if nothing was fitted.
        runner_up: the next accepted explanation, in words.
        where: the arrays of theta in which it is, in words; "" if in all.
    """

    kind: str
    text: str
    constants: Mapping[str, float]
    leaves: float | None = None
    runner_up: str | None = None
    where: str = ""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Flat gradients at several points.

    Attributes:
        points: (m, d).
        autodiff: (m, d), the gradient by autodiff, or by differences.
        hand: (m, d), the gradient that is checked.
        allowed: (m, d), the difference that rounding allows.
        data: the data of the loss.
        params: the hyper-parameters by name.
        shape: the shape of theta.
        names: the names of the components.
        reference: where the right gradient is from, in words.
        subject: whose the gradient that is checked is, in words.
        variable: what the parameters are called.
        blocks: the arrays of which theta consists; none if it is one array.
    """

    points: Array
    autodiff: Array
    hand: Array
    allowed: Array
    data: tuple[Array, ...]
    params: Mapping[str, Any]
    shape: tuple[int, ...]
    names: Sequence[str]
    reference: str = "autodiff"
    subject: str = "yours"
    variable: str = "theta"
    blocks: tuple[Block, ...] = ()

    def of_blocks(self, blocks: Sequence[Block]) -> Evidence:
        """Return the evidence about some of the blocks, as if they were all."""
        some = self.of(np.concatenate([np.arange(block.start, block.stop) for block in blocks]))
        one = blocks[0] if len(blocks) == 1 else None
        return some if one is None else replace(some, shape=one.shape, variable=one.name)

    def of(self, chosen: Array) -> Evidence:
        """Return the evidence about some of the components, as if they were all."""
        return replace(
            self,
            points=self.points[:, chosen],
            autodiff=self.autodiff[:, chosen],
            hand=self.hand[:, chosen],
            allowed=self.allowed[:, chosen],
            shape=(chosen.size,),
            blocks=(),
            names=[self.names[int(j)] for j in chosen],
        )

    @property
    def precision(self) -> float:
        """The relative precision of the reference, in the component in which it is highest."""
        return float((self.allowed / np.maximum(np.abs(self.autodiff), 1e-300)).min())

    @property
    def tolerance(self) -> Array:
        """The allowed difference, (m, d), with the rounding of the hand gradient, which may be much larger."""
        return self.allowed + 2.0**-52 * np.abs(self.hand)

    def unexplained(self, explained: Array, weight: float = 0.0) -> float:
        """Return the largest difference of the hand gradient from an explanation, over what is accepted."""
        return self.unexplained_of(self.hand, explained, weight)

    def unexplained_of(self, actual: Array, explained: Array, weight: float = 0.0) -> float:
        """Return the largest difference of any gradient from an explanation, over what is accepted."""
        return Limit(WITHIN * (1 + abs(weight)) * self.tolerance).ratio(actual, explained)

    @property
    def rows(self) -> int | None:
        """The number of rows, if all data have the same number."""
        counts = {a.shape[0] for a in self.data if a.ndim > 0}
        return counts.pop() if len(counts) == 1 else None


def name_factor(c: float, e: Evidence) -> str | None:
    """Return a name for a factor: a simple number, or an expression in n, d or a hyper-parameter."""
    n, d = e.rows, e.points.shape[1]
    known: dict[str, float] = {"-1": -1.0, "2": 2.0, "1/2": 0.5, "-2": -2.0, "-1/2": -0.5, "4": 4.0, "1/4": 0.25}
    if n is not None and n > 1:
        known |= {"n": n, "1/n": 1 / n, "2/n": 2 / n, "n/2": n / 2, "n/(n - 1)": n / (n - 1), "(n - 1)/n": (n - 1) / n}
        known |= {"sqrt(n)": sqrt(n), "1/sqrt(n)": 1 / sqrt(n), "1/(n - 1)": 1 / (n - 1), "-1/n": -1 / n, "-n": -n}
    known |= {"d": float(d), "1/d": 1 / d} if d > 1 else {}
    known |= {name: float(v) for name, v in e.params.items() if isinstance(v, Real) and v not in (0, 1)}
    known |= {f"1/{name}": 1 / float(v) for name, v in e.params.items() if isinstance(v, Real) and v not in (0, 1)}
    within = max(1e-12, WITHIN * e.precision)
    if not within < 0.01:
        return None
    same = [name for name, value in known.items() if isclose(c, value, rel_tol=within)]
    return " or ".join(same[:3]) or None


def format_factor(c: float) -> str:
    """Return a factor with enough digits to distinguish it from 1."""
    digits = 6 if c == 1 else max(6, 3 - floor(log10(abs(c - 1))))
    return f"{c:.{min(digits, 17)}g}"


def from_params(c: float, e: Evidence) -> str:
    """Return in words which hyper-parameter a coefficient is a multiple of; "" if none."""
    multiples: dict[str, Callable[[float], float]] = {
        "{}": lambda v: v,
        "2 {}": lambda v: 2 * v,
        "{}/2": lambda v: v / 2,
    }
    if e.rows:
        multiples |= {"{}/n": lambda v: v / (e.rows or 1), "2 {}/n": lambda v: 2 * v / (e.rows or 1)}
    for name, value in e.params.items():
        if isinstance(value, Real):
            for text, multiple in multiples.items():
                if isclose(c, abs(multiple(float(value))), rel_tol=max(1e-9, min(1e-3, WITHIN * e.precision))):
                    return f" = {text.format(name)},"
    return ""


def all_components(e: Evidence) -> str:
    """Return the number of components in words."""
    d = e.points.shape[1]
    return "the one component" if d == 1 else f"all {d} components"


def components_of(e: Evidence, which: Array) -> str:
    """Return in words how many components are selected, with the names of the first ones."""
    return component_list(e.names, which)


def component_list(all_names: Sequence[str], which: Array) -> str:
    """Return in words how many of the components are selected, with the names of the first ones."""
    chosen = np.flatnonzero(which)
    shown = ", ".join(all_names[int(k)] for k in chosen[:4]) + (
        f" and {chosen.size - 4} more" if chosen.size > 4 else ""
    )
    return f"{chosen.size} of {len(all_names)} components ({shown})"
