"""The verdict on a gradient: from the losses, side effects, and the gradients, in this order; then the cause."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import cast

import numpy as np

from gdbackends.gradcheck.allowance import allow_hand_rounding, lost_to_cancellation
from gdbackends.gradcheck.checked_function import numpy_losses, scalar_loss
from gdbackends.gradcheck.data_rows import row_by_autodiff
from gdbackends.gradcheck.evidence import Cause, Evidence, Reference, component_list
from gdbackends.gradcheck.finite_differences import derivative
from gdbackends.gradcheck.mistakes import diagnose
from gdbackends.gradcheck.other_causes import at_a_kink, by_differences, lost_precision, not_a_gradient
from gdbackends.gradcheck.report import Component, GradientReport, Verdict, Witness
from gdbackends.objectives import Array

_LOSSES = "the losses differ"


def judge(
    reference: Reference,
    hand: Array | None,
    fault: Cause | None,
    sensitivity: float,
    seed: int,
    unsupported: Mapping[str, str],
) -> GradientReport:
    """Judge hand gradients (m, d), or None if their shape is wrong, and the fault of the function itself, if any."""
    gradients, formula = reference.gradients, reference
    agreements = {
        (a, b): float(reference.ratios(gradients[a], gradients[b]).max()) for a, b in combinations(gradients, 2)
    }
    if hand is not None and fault is None:
        formula, reference = allow_hand_rounding(reference, hand)
    visible = formula.sensitivity()
    if hand is not None:
        agreements |= {
            (name, "yours"): float(reference.ratios(gradient, hand).max()) for name, gradient in gradients.items()
        }
    verdict, cause = _verdict(reference, hand, fault, agreements)
    if verdict == "pass" and not visible <= sensitivity:
        verdict = "inconclusive"
    return GradientReport(
        verdict=verdict,
        sentence=_sentence(reference, verdict, cause, fault, visible),
        cause=cause,
        agreements=agreements,
        components=() if hand is None else _components(reference, hand),
        witness=None if hand is None or reference.direction is not None else _witness(reference, hand),
        sensitivity=visible,
        bound=reference.bound,
        unsupported=unsupported,
        dtype=reference.dtype,
        seed=seed,
        of=reference.checked.what,
    )


def _verdict(
    reference: Reference, hand: Array | None, fault: Cause | None, agreements: Mapping[tuple[str, str], float]
) -> tuple[Verdict, Cause | None]:
    """Return the verdict and the cause."""
    differ = _losses_differ(reference)
    if differ is not None:
        return "fail", differ
    if hand is None or fault is not None:
        return "fail", fault
    if all(ratio <= 1 for ratio in agreements.values()):
        return "pass", None
    everyone = [*reference.gradients.values(), hand]
    ratios = np.max([reference.ratios(a, b) for a, b in combinations(everyone, 2)], axis=0)
    kink = at_a_kink(reference.checked, reference.points, hand, ratios, float(reference.bounds.losses[0]))
    if kink is not None and reference.direction is None:
        return "pass", kink
    lost = ~np.all([np.isfinite(gradient).all(0) for gradient in reference.gradients.values()], axis=0)
    if lost.any() and np.isfinite(hand).all():
        text = "autodiff is not finite in {}: a root, a quotient or a norm is differentiated at 0, perhaps in a `where`"
        return "inconclusive", Cause("different-function", text.format(component_list(reference.names, lost)), {})
    return "fail", _explain(reference, hand, agreements)


def _explain(reference: Reference, hand: Array, agreements: Mapping[tuple[str, str], float]) -> Cause:
    """Return what the difference is consistent with; a disagreement between frameworks comes first."""
    if not np.isfinite(hand).all():
        bad = [name for name, column in zip(reference.names, hand.T, strict=True) if not np.isfinite(column).all()]
        return Cause("unexplained", f"yours is not finite in {', '.join(bad[:4])}", {"components": float(len(bad))})
    mine = {a if b == "yours" else b: ratio for (a, b), ratio in agreements.items() if "yours" in (a, b)}
    agreeing = [name for name, ratio in mine.items() if ratio <= 1]
    if agreeing and len(agreeing) < len(mine):
        other = next(name for name in mine if name not in agreeing)
        text = f"yours agrees with {agreeing[0]}; {other} differs: check its loss, its dtype and its kinks"
        return Cause("different-function", text, {})
    checked = reference.checked
    beside = (
        reference.points
        if reference.direction is None
        else np.broadcast_to(reference.direction, reference.points.shape)
    )
    evidence = Evidence(
        beside,
        reference.autodiff,
        hand,
        reference.allowed,
        checked.data,
        checked.params,
        checked.shape,
        reference.names,
    )
    cause = diagnose(evidence)
    if reference.direction is None:
        cause = cause or row_by_autodiff(evidence, reference.run) or by_differences(checked, evidence)
    cause = cause or lost_to_cancellation(reference, hand) or lost_precision(checked, evidence)
    if reference.direction is None:
        cause = cause or not_a_gradient(checked, evidence)
    return cause or Cause("unexplained", "none of the known mistakes explains the difference", {})


def _losses_differ(reference: Reference) -> Cause | None:
    """Return a cause if the losses of two frameworks, or of NumPy, differ by more than rounding."""
    losses = {name: values.losses for name, values in reference.by_framework.items()}
    own = numpy_losses(reference.checked, reference.points)
    losses |= {} if own is None else {"numpy": own}
    for a, b in combinations(losses, 2):
        difference = np.abs(losses[a] - losses[b])
        k = int(np.argmax(difference / reference.bounds.losses))
        if not (difference <= 2 * reference.bounds.losses).all():
            text = f"{_LOSSES}: {a} finds {losses[a][k]:.10g} where {b} finds {losses[b][k]:.10g}"
            return Cause("different-function", text, {"ratio": float(losses[a][k] / (losses[b][k] or np.nan))})
    return None


def _components(reference: Reference, hand: Array) -> tuple[Component, ...]:
    ratios = reference.ratios(hand, reference.autodiff)
    worst = ratios.argmax(0)
    components = [
        Component(
            name,
            int(k),
            float(hand[k, j]),
            float(reference.autodiff[k, j]),
            float(reference.allowed[k, j]),
            float(ratios[k, j]),
        )
        for j, (name, k) in enumerate(zip(reference.names, worst, strict=True))
    ]
    return tuple(sorted(components, key=lambda component: -component.ratio))[:10]


def _witness(reference: Reference, hand: Array) -> Witness | None:
    """Return a directional derivative by differences of the loss in NumPy, at the worst point.

    For a gradient that passes, it is taken at the last random point.
    """
    ratios = reference.ratios(hand, reference.autodiff)
    k = int(ratios.max(1).argmax()) if not ratios.max() <= 1 else len(reference.points) - 1
    theta, generator = reference.points[k], np.random.default_rng(0)
    loss = scalar_loss(reference.checked, theta)
    if loss is None:
        return None
    size: Array = np.abs(theta) + (np.abs(theta).mean() or 1.0)
    direction = cast(Array, generator.normal(size=theta.size)) * size
    estimate = derivative(loss, theta, direction, float(reference.bounds.losses[k]))
    ours, theirs = float(hand[k] @ direction), float(reference.autodiff[k] @ direction)
    wide = 4 * estimate.error + float(reference.allowed[k] @ np.abs(direction))
    sides = {(True, True): "both", (True, False): "yours", (False, True): "autodiff", (False, False): "neither"}
    near = abs(ours - estimate.value) <= wide, abs(theirs - estimate.value) <= wide
    return Witness(estimate.value, estimate.error, ours, theirs, sides[near], estimate.quadratic)


def _sentence(reference: Reference, verdict: Verdict, cause: Cause | None, fault: Cause | None, visible: float) -> str:
    what, who = reference.checked.what, " and ".join(reference.by_framework)
    if cause is not None and cause.kind == "different-function" and cause.text.startswith(_LOSSES):
        return f"FAIL: {cause.text}."
    if fault is not None:
        return f"FAIL: the {what} function is faulty: {fault.text}."
    if verdict == "pass":
        kink = "" if cause is None else ", a valid subgradient at a kink"
        return f"PASS: the {what} agrees with {who} within rounding{kink}."
    if verdict == "inconclusive" and cause is not None and cause.kind != "kink":
        return f"INCONCLUSIVE: {cause.text}."
    if verdict == "inconclusive":
        return (
            f"INCONCLUSIVE: no difference from {who} was detected, but only errors above {visible:.0e} would have been."
        )
    return f"FAIL: the {what} differs from {who} by more than rounding allows."
