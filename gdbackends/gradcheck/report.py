"""The result of check_gradient(): GradientReport, as text, as data, or as an exception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from math import floor, isfinite, log10
from typing import Any, Literal, TypeAlias

from gdbackends.gradcheck.evidence import Cause

Verdict: TypeAlias = Literal["pass", "fail", "inconclusive"]
_SHOWN = 5


class GradientError(AssertionError):
    """A gradient did not pass.

    Attributes:
        report: the GradientReport.
    """

    def __init__(self, report: GradientReport) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Component:
    """One component of the gradient, at the point where it differs most.

    Attributes:
        name: the name of the component.
        point: 0 for the given theta, 1, 2, ... for the random points near it.
        hand: its value by hand.
        autodiff: its value by autodiff.
        allowed: the largest difference that rounding explains.
        ratio: the difference over the allowed one; at most 1 is agreement.
        values: its value by each framework, or by differences.
    """

    name: str
    point: int
    hand: float
    autodiff: float
    allowed: float
    ratio: float
    values: Mapping[str, float]

    @property
    def digit(self) -> str:
        """In which digit its two values differ."""
        return digit(relative_difference(self.hand, self.autodiff))

    def listed(self) -> str:
        """Return its values in words."""
        return ", ".join(f"{who} {value:.10g}" for who, value in {"yours": self.hand, **self.values}.items())


@dataclass(frozen=True)
class Witness:
    """A directional derivative by differences of the loss, and by the two gradients.

    Attributes:
        derivative: the derivative by differences.
        error: an estimate of its error.
        hand: the derivative by the hand gradient.
        autodiff: the derivative by autodiff.
        sides_with: "both", "yours", "autodiff" or "neither".
        quadratic: whether the loss is quadratic along the line, so that the difference has no truncation error.
    """

    derivative: float
    error: float
    hand: float
    autodiff: float
    sides_with: str
    quadratic: bool


@dataclass(frozen=True)
class GradientReport:
    """The result of a check.

    Attributes:
        verdict: "pass", "fail", or "inconclusive" if an error of the requested sensitivity would not be detected.
        sentence: the verdict in words.
        cause: what explains the difference; None for a pass without a kink.
        agreements: the largest difference over what rounding allows, for each pair such as ("jax", "yours").
        relative: for each pair, the relative difference where that largest difference is; above 1 if the signs differ.
        components: the components that differ most, worst first.
        witness: a derivative without autodiff; None if NumPy cannot run the loss.
        sensitivity: the smallest relative error of a component that would be detected.
        bound: how the bound on rounding is known, "closed" or "estimated", and whether the hand gradient's own
            rounding was allowed for.
        unsupported: the reasons why frameworks could not run the loss, by name.
        dtype: the dtype of the gradients that were checked.
        seed: seed of the random points.
        of: what was checked last: "gradient", "hessian" or "hvp".
        again: the call or command that repeats the check; "" if no single line does.
        notes: what a reader should know besides, a line each.
    """

    verdict: Verdict
    sentence: str
    cause: Cause | None
    agreements: Mapping[tuple[str, str], float]
    components: tuple[Component, ...]
    witness: Witness | None
    sensitivity: float
    bound: str
    unsupported: Mapping[str, str]
    dtype: str
    seed: int
    of: str = "gradient"
    again: str = ""
    notes: tuple[str, ...] = ()
    relative: Mapping[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])

    def raise_if_failed(self) -> None:
        """Raise a GradientError unless the verdict is "pass"."""
        if self.verdict != "pass":
            raise GradientError(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it, except that non-finite numbers are kept."""
        pairs = [
            {"pair": list(pair), "ratio": ratio, "relative": self.relative.get(pair)}
            for pair, ratio in self.agreements.items()
        ]
        fields = {name: value for name, value in asdict(self).items() if name != "relative"}
        return fields | {"schema": 1, "agreements": pairs}

    def __str__(self) -> str:
        """Return the report as text: verdict, agreements, cause, witness, worst components, and sensitivity."""
        lines = [self.sentence]
        lines += [f"{a} and {b}: {self._agreement(a, b)}" for a, b in self.agreements]
        if self.cause is not None:
            left = "" if self.cause.leaves is None else f"; explains everything to {self.cause.leaves:.1g} of the bound"
            lines += [f"consistent with: {self.cause.kind}: {self.cause.text}{left}"]
            lines += [f"or: {self.cause.runner_up}"] if self.cause.runner_up else []
        lines += self.notes
        if self.witness is not None:
            w = self.witness
            how = "exact for a quadratic" if w.quadratic else f"give or take {w.error:.1g}"
            lines += [
                f"witness: differences of the loss give {w.derivative:.10g} along a line ({how}), yours {w.hand:.10g}, "
                f"autodiff {w.autodiff:.10g}: it sides with {w.sides_with}"
            ]
        lines += [
            f"  {c.name}: {c.listed()}; they differ in {c.digit}, {times_allowed(c.ratio)}"
            for c in self.components[:_SHOWN]
            if self.verdict == "fail" and not c.ratio <= 1
        ]
        lines += [f"{name} could not run the loss: {reason}" for name, reason in self.unsupported.items()]
        lines += [
            f"A relative error of {self.sensitivity:.0e} would have been detected ({self.bound} bound, {self.dtype})."
        ]
        lines += [f"repeat it: {self.again}"] if self.again else []
        return "\n".join(lines)

    def _agreement(self, a: str, b: str) -> str:
        """Return in words whether a pair agrees."""
        ratio = self.agreements[a, b]
        if ratio <= 1:
            return f"agree, {ratio:.2g} of what rounding allows"
        return f"differ in {digit(self.relative.get((a, b), float('nan')))}, {times_allowed(ratio)}"

    def _repr_html_(self) -> str:
        """Return the report as HTML for notebooks, with all text escaped."""
        first, *lines = map(escape, str(self).splitlines())
        colour = {"pass": "green", "fail": "firebrick"}.get(self.verdict, "darkorange")
        return (
            f'<pre style="white-space: pre-wrap"><b style="color: {colour}">{first}</b>\n' + "\n".join(lines) + "</pre>"
        )


def relative_difference(a: float, b: float) -> float:
    """Return the difference of two numbers over the larger one: at most 1 if they have one sign, 2 at most."""
    return 0.0 if a == b else abs(a - b) / max(abs(a), abs(b))


def digit(relative: float) -> str:
    """Return in which digit two numbers with this relative difference differ."""
    if not isfinite(relative):
        return "that one is not finite"
    if relative > 1:
        return "their signs"
    k = 1 + floor(-log10(max(relative, 1e-300)))
    ending = {1: "st", 2: "nd", 3: "rd"}.get(0 if 10 <= k % 100 <= 20 else k % 10, "th")
    return f"the {k}{ending} digit"


def times_allowed(ratio: float) -> str:
    """Return a ratio to the allowed difference in words."""
    return f"{ratio:.2g} times what rounding allows"
