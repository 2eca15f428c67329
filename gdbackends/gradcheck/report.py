"""What check_gradient() gives back: GradientReport, to be read, kept as data, or raised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal, TypeAlias

from gdbackends.gradcheck.evidence import Cause

Verdict: TypeAlias = Literal["pass", "fail", "inconclusive"]
_SHOWN = 5


class GradientError(AssertionError):
    """A gradient did not pass; `report` is the GradientReport.

    Attributes:
        report: of the check.
    """

    def __init__(self, report: GradientReport) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Component:
    """One component of the gradient, at the point where it differs most.

    Attributes:
        name: of the component.
        point: 0 for the theta given, 1, 2, ... for the random points near it.
        hand: as derived by hand.
        autodiff: as found by autodiff.
        allowed: how far rounding may carry the two apart.
        ratio: their difference over that; at most 1 is agreement.
    """

    name: str
    point: int
    hand: float
    autodiff: float
    allowed: float
    ratio: float


@dataclass(frozen=True)
class Witness:
    """Derivatives along a line by differences of the loss, beside those of the two gradients.

    Attributes:
        derivative: by differences.
        error: how far it may be off.
        hand: by the hand gradient.
        autodiff: by autodiff.
        sides_with: "both", "yours", "autodiff" or "neither".
        quadratic: the loss is quadratic along the line, so that the difference has no truncation error.
    """

    derivative: float
    error: float
    hand: float
    autodiff: float
    sides_with: str
    quadratic: bool


@dataclass(frozen=True)
class GradientReport:
    """A checked gradient.

    Attributes:
        verdict: "pass", "fail", or "inconclusive" where the check could not have seen an error of `sensitivity` asked.
        sentence: the verdict in words.
        cause: what explains the difference; None for a pass without a kink.
        agreements: the largest difference over what rounding allows for each pair, as ("jax", "yours").
        components: those that differ most, worst first.
        witness: without autodiff; None where NumPy cannot run the loss.
        sensitivity: the smallest relative error of a component that would have been seen.
        bound: how it is known what rounding allows: "closed" or "estimated"; and whether the gradient, run again in
            longer floats, showed that it was right and rounded more than that.
        unsupported: why a framework could not run the loss, by its name.
        dtype: of the gradients that were checked.
        seed: of the random points.
        of: what was checked last: "gradient", "hessian" or "hvp".
        again: what to type to repeat the check.
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

    def raise_if_failed(self) -> None:
        """Raise a GradientError unless the verdict is "pass"."""
        if self.verdict != "pass":
            raise GradientError(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as it stands in JSON, before non-finite numbers are made None."""
        return asdict(self) | {
            "schema": 1,
            "agreements": [{"pair": list(pair), "ratio": ratio} for pair, ratio in self.agreements.items()],
        }

    def __str__(self) -> str:
        """Return it in words: verdict, who agrees, the cause, the witness, the worst components, what was visible."""
        lines = [self.sentence]
        lines += [f"{a} and {b}: {_of_allowed(ratio)}" for (a, b), ratio in self.agreements.items()]
        if self.cause is not None:
            left = "" if self.cause.leaves is None else f"; explains everything to {self.cause.leaves:.1g} of the bound"
            lines += [f"consistent with: {self.cause.kind}: {self.cause.text}{left}"]
            lines += [f"or: {self.cause.runner_up}"] if self.cause.runner_up else []
        if self.witness is not None:
            w = self.witness
            how = "exact for a quadratic" if w.quadratic else f"give or take {w.error:.1g}"
            lines += [
                f"witness: differences of the loss give {w.derivative:.10g} along a line ({how}), yours {w.hand:.10g}, "
                f"autodiff {w.autodiff:.10g}: it sides with {w.sides_with}"
            ]
        lines += [
            f"  {c.name}: yours {c.hand:.10g}, autodiff {c.autodiff:.10g}, {_of_allowed(c.ratio)}"
            for c in self.components[:_SHOWN]
            if self.verdict == "fail" and not c.ratio <= 1
        ]
        lines += [f"{name} could not run the loss: {reason}" for name, reason in self.unsupported.items()]
        lines += [
            f"A relative error of {self.sensitivity:.0e} would have been seen ({self.bound} bound, {self.dtype})."
        ]
        lines += [f"repeat it: {self.again}"] if self.again else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return it as a notebook shows it; text is text, never markup."""
        first, *lines = map(escape, str(self).splitlines())
        colour = {"pass": "green", "fail": "firebrick"}.get(self.verdict, "darkorange")
        return (
            f'<pre style="white-space: pre-wrap"><b style="color: {colour}">{first}</b>\n' + "\n".join(lines) + "</pre>"
        )


def _of_allowed(ratio: float) -> str:
    word = "agree" if ratio <= 1 else "differ"
    return f"{word}, {ratio:.2g} of what rounding allows"
