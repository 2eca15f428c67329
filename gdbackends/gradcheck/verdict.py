"""The verdict on a gradient: losses first, then purity, then the gradients, then what explains a difference."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import cast

import numpy as np

from gdbackends.gradcheck.case import Case
from gdbackends.gradcheck.checked_function import numpy_losses, scalar_loss
from gdbackends.gradcheck.data_rows import row_by_autodiff
from gdbackends.gradcheck.diagnosis import diagnose
from gdbackends.gradcheck.evidence import Cause, Evidence, some_components_of
from gdbackends.gradcheck.finite_differences import derivative
from gdbackends.gradcheck.hand_rounding import cancelled, with_its_own_rounding
from gdbackends.gradcheck.kink import at_a_kink
from gdbackends.gradcheck.other_causes import by_differences, lost_precision, not_a_gradient
from gdbackends.gradcheck.report import Component, GradientReport, Verdict, Witness
from gdbackends.objectives import Array

_LOSSES = "the losses differ"


def judge(
    case: Case, hand: Array | None, fault: Cause | None, sensitivity: float, seed: int, unsupported: Mapping[str, str]
) -> GradientReport:
    """Judge hand gradients (m, d), None if they have not theta's shape, and what is wrong with the function itself."""
    gradients = {name: values.gradients for name, values in case.voters.items()}
    agreements = {(a, b): float(case.ratios(gradients[a], gradients[b]).max()) for a, b in combinations(gradients, 2)}
    formula, case = (case, case) if hand is None or fault is not None else with_its_own_rounding(case, hand)
    visible = formula.sensitivity()
    if hand is not None:
        agreements |= {(name, "yours"): float(case.ratios(found, hand).max()) for name, found in gradients.items()}
    verdict, cause = _verdict(case, hand, fault, agreements)
    if verdict == "pass" and not visible <= sensitivity:
        verdict = "inconclusive"
    return GradientReport(
        verdict=verdict,
        sentence=_sentence(case, verdict, cause, fault, visible),
        cause=cause,
        agreements=agreements,
        components=() if hand is None else _components(case, hand),
        witness=None if hand is None or case.direction is not None else _witness(case, hand),
        sensitivity=visible,
        bound=case.bound,
        unsupported=unsupported,
        dtype=case.dtype,
        seed=seed,
        of=case.subject.what,
    )


def _verdict(
    case: Case, hand: Array | None, fault: Cause | None, agreements: Mapping[tuple[str, str], float]
) -> tuple[Verdict, Cause | None]:
    """Return the verdict and the cause: losses first, then purity, then the gradients."""
    differ = _losses_differ(case)
    if differ is not None:
        return "fail", differ
    if hand is None or fault is not None:
        return "fail", fault
    if all(ratio <= 1 for ratio in agreements.values()):
        return "pass", None
    everyone = [*(values.gradients for values in case.voters.values()), hand]
    apart = np.max([case.ratios(a, b) for a, b in combinations(everyone, 2)], axis=0)
    kink = at_a_kink(case.subject, case.points, hand, apart, float(case.bounds.losses[0]))
    if kink is not None and case.direction is None:
        return "pass", kink
    lost = ~np.all([np.isfinite(values.gradients).all(0) for values in case.voters.values()], axis=0)
    if lost.any() and np.isfinite(hand).all():
        text = "autodiff is not finite in {}: a root, a quotient or a norm at 0 is differentiated, behind a `where` too"
        return "inconclusive", Cause("different-function", text.format(some_components_of(case.names, lost)), {})
    return "fail", _explain(case, hand, agreements)


def _explain(case: Case, hand: Array, agreements: Mapping[tuple[str, str], float]) -> Cause:
    """Return what the difference is consistent with; the frameworks' own disagreement comes first."""
    if not np.isfinite(hand).all():
        bad = [name for name, column in zip(case.names, hand.T, strict=True) if not np.isfinite(column).all()]
        return Cause("unexplained", f"yours is not finite in {', '.join(bad[:4])}", {"components": float(len(bad))})
    mine = {a if b == "yours" else b: ratio for (a, b), ratio in agreements.items() if "yours" in (a, b)}
    agreeing = [name for name, ratio in mine.items() if ratio <= 1]
    if agreeing and len(agreeing) < len(mine):
        other = next(name for name in mine if name not in agreeing)
        text = f"yours agrees with {agreeing[0]}; {other} differs: look at its loss, its dtype and its kinks"
        return Cause("different-function", text, {})
    subject = case.subject
    beside = case.points if case.direction is None else np.broadcast_to(case.direction, case.points.shape)
    evidence = Evidence(beside, case.right, hand, case.allowed, subject.data, subject.params, subject.shape, case.names)
    found = diagnose(evidence)
    if case.direction is None:
        found = found or row_by_autodiff(evidence, case.run) or by_differences(subject, evidence)
    found = found or cancelled(case, hand) or lost_precision(subject, evidence)
    if case.direction is None:
        found = found or not_a_gradient(subject, evidence)
    return found or Cause("unexplained", "no mistake that is looked for explains the difference", {})


def _losses_differ(case: Case) -> Cause | None:
    """Return a cause where two frameworks' losses, or NumPy's, differ by more than rounding."""
    losses = {name: values.losses for name, values in case.voters.items()}
    own = numpy_losses(case.subject, case.points)
    losses |= {} if own is None else {"numpy": own}
    for a, b in combinations(losses, 2):
        apart = np.abs(losses[a] - losses[b])
        k = int(np.argmax(apart / case.bounds.losses))
        if not (apart <= 2 * case.bounds.losses).all():
            text = f"{_LOSSES}: {a} finds {losses[a][k]:.10g} where {b} finds {losses[b][k]:.10g}"
            return Cause("different-function", text, {"ratio": float(losses[a][k] / (losses[b][k] or np.nan))})
    return None


def _components(case: Case, hand: Array) -> tuple[Component, ...]:
    ratios = case.ratios(hand, case.right)
    worst = ratios.argmax(0)
    found = [
        Component(
            name, int(k), float(hand[k, j]), float(case.right[k, j]), float(case.allowed[k, j]), float(ratios[k, j])
        )
        for j, (name, k) in enumerate(zip(case.names, worst, strict=True))
    ]
    return tuple(sorted(found, key=lambda component: -component.ratio))[:10]


def _witness(case: Case, hand: Array) -> Witness | None:
    """Return a derivative along a random line through the worst point, by differences of NumPy's loss.

    Of a gradient that is right, through the last random point.
    """
    ratios = case.ratios(hand, case.right)
    k = int(ratios.max(1).argmax()) if not ratios.max() <= 1 else len(case.points) - 1
    theta, generator = case.points[k], np.random.default_rng(0)
    loss = scalar_loss(case.subject, theta)
    if loss is None:
        return None
    size: Array = np.abs(theta) + (np.abs(theta).mean() or 1.0)
    direction = cast(Array, generator.normal(size=theta.size)) * size
    found = derivative(loss, theta, direction, float(case.bounds.losses[k]))
    ours, theirs = float(hand[k] @ direction), float(case.right[k] @ direction)
    wide = 4 * found.error + float(case.allowed[k] @ np.abs(direction))
    sides = {(True, True): "both", (True, False): "yours", (False, True): "autodiff", (False, False): "neither"}
    near = abs(ours - found.value) <= wide, abs(theirs - found.value) <= wide
    return Witness(found.value, found.error, ours, theirs, sides[near], found.quadratic)


def _sentence(case: Case, verdict: Verdict, cause: Cause | None, fault: Cause | None, visible: float) -> str:
    what, who = case.subject.what, " and ".join(case.voters)
    if cause is not None and cause.kind == "different-function" and cause.text.startswith(_LOSSES):
        return f"FAIL: {cause.text}."
    if fault is not None:
        return f"FAIL: the {what} is at fault itself: {fault.text}."
    if verdict == "pass":
        kink = "" if cause is None else ", a valid subgradient at a kink"
        return f"PASS: the {what} agrees with {who} within rounding{kink}."
    if verdict == "inconclusive" and cause is not None and cause.kind != "kink":
        return f"INCONCLUSIVE: {cause.text}."
    if verdict == "inconclusive":
        return f"INCONCLUSIVE: no difference from {who} was seen, but only errors above {visible:.0e} could have been."
    return f"FAIL: the {what} differs from {who} by more than rounding allows."
