"""The result of check_gradient(): GradientReport, as text, as data, or as an exception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
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
    """

    name: str
    point: int
    hand: float
    autodiff: float
    allowed: float
    ratio: float


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
        components: the components that differ most, worst first.
        witness: a derivative without autodiff; None if NumPy cannot run the loss.
        sensitivity: the smallest relative error of a component that would be detected.
        bound: how the bound on rounding is known, "closed" or "estimated", and whether the hand gradient's own
            rounding was allowed for.
        unsupported: the reasons why frameworks could not run the loss, by name.
        dtype: the dtype of the gradients that were checked.
        seed: seed of the random points.
        of: what was checked last: "gradient", "hessian" or "hvp".
        again: the call or command that repeats the check.
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

    def raise_if_failed(self) -> None:
        """Raise a GradientError unless the verdict is "pass"."""
        if self.verdict != "pass":
            raise GradientError(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it, except that non-finite numbers are kept."""
        return asdict(self) | {
            "schema": 1,
            "agreements": [{"pair": list(pair), "ratio": ratio} for pair, ratio in self.agreements.items()],
        }

    def __str__(self) -> str:
        """Return the report as text: verdict, agreements, cause, witness, worst components, and sensitivity."""
        lines = [self.sentence]
        lines += [f"{a} and {b}: {_of_allowed(ratio)}" for (a, b), ratio in self.agreements.items()]
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
        right = "differences" if ("differences", "yours") in self.agreements else "autodiff"
        lines += [
            f"  {c.name}: yours {c.hand:.10g}, {right} {c.autodiff:.10g}, {_of_allowed(c.ratio)}"
            for c in self.components[:_SHOWN]
            if self.verdict == "fail" and not c.ratio <= 1
        ]
        lines += [f"{name} could not run the loss: {reason}" for name, reason in self.unsupported.items()]
        lines += [
            f"A relative error of {self.sensitivity:.0e} would have been detected ({self.bound} bound, {self.dtype})."
        ]
        lines += [f"repeat it: {self.again}"] if self.again else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the report as HTML for notebooks, with all text escaped."""
        first, *lines = map(escape, str(self).splitlines())
        colour = {"pass": "green", "fail": "firebrick"}.get(self.verdict, "darkorange")
        return (
            f'<pre style="white-space: pre-wrap"><b style="color: {colour}">{first}</b>\n' + "\n".join(lines) + "</pre>"
        )


def _of_allowed(ratio: float) -> str:
    word = "agree" if ratio <= 1 else "differ"
    return f"{word}, {ratio:.2g} of what rounding allows"
