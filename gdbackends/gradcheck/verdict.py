"""The verdict on a gradient: from the losses, side effects, and the gradients, in this order; then the cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np

from gdbackends.gradcheck.allowance import allow_hand_rounding, lost_to_cancellation
from gdbackends.gradcheck.checked_function import numpy_losses
from gdbackends.gradcheck.evidence import LARGE, Cause, Evidence, Reference, all_components, component_list
from gdbackends.gradcheck.finite_differences import direction_of
from gdbackends.gradcheck.gauss_newton import gauss_newton
from gdbackends.gradcheck.mistakes import block_list, diagnose, diagnose_blocks, is_general
from gdbackends.gradcheck.odd_rows import odd_rows
from gdbackends.gradcheck.other_causes import at_a_kink, by_differences, lost_precision, not_a_gradient
from gdbackends.gradcheck.other_data import other_data
from gdbackends.gradcheck.report import Component, GradientReport, Verdict, Witness, relative_difference
from gdbackends.gradcheck.witness import ERRORS, Differences, scalar_values
from gdbackends.objectives import Array

_LOSSES = "the losses differ"
_NONE = "none of the known mistakes explains the difference"
_SAMPLED = 1000
_VAGUE = ("unexplained", "different-function", "not-a-gradient")
"""Causes that name no mistake."""


def judge(
    reference: Reference,
    hand: Array | None,
    fault: Cause | None,
    sensitivity: float,
    seed: int,
    unsupported: Mapping[str, str],
    at_odds: Mapping[str, Array] | None = None,
) -> GradientReport:
    """Judge hand gradients (m, d), or None if their shape is wrong, and the fault of the function itself, if any.

    Args:
        reference: what they are judged by.
        hand: (m, d), or None.
        fault: what is wrong with the function itself, or None.
        sensitivity: as in `check_gradient`.
        seed: as in `check_gradient`.
        unsupported: the reasons why frameworks could not run the loss.
        at_odds: the gradients (m, d) of the frameworks that the values of the loss contradict, which do not count.
    """
    given, formula = reference, reference
    if hand is not None and fault is None:
        formula, reference = allow_hand_rounding(reference, hand)
    visible = formula.sensitivity()
    agreements, relative = _agreements(reference, hand)
    verdict, cause, notes = _verdict(reference, hand, fault, agreements, at_odds or {})
    if verdict == "pass" and not visible <= sensitivity:
        verdict = "inconclusive"
    if hand is not None and reference.checked.what != "jacobian":  # a Jacobian has zeros by its structure
        notes += _only_zeros(given, hand)
    components = () if hand is None else _components(reference, hand)
    return GradientReport(
        verdict=verdict,
        sentence=_sentence(reference, verdict, cause, fault, visible, components),
        cause=cause,
        agreements=agreements,
        components=components,
        witness=None if hand is None else _witness(reference, hand),
        sensitivity=visible,
        bound=reference.bound,
        unsupported=unsupported,
        dtype=reference.dtype,
        seed=seed,
        of=reference.checked.what,
        notes=tuple(notes),
        relative=relative,
    )


def _agreements(
    reference: Reference, hand: Array | None
) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Return for each pair the largest difference over the allowed one, and the relative difference there."""
    gradients = reference.gradients
    pairs = list(combinations(gradients.items(), 2))
    if hand is not None:
        pairs += [(pair, ("yours", hand)) for pair in gradients.items()]
    ratios, relative = dict[tuple[str, str], float](), dict[tuple[str, str], float]()
    for (a, first), (b, second) in pairs:
        each = reference.ratios(first, second)
        k = int(each.argmax())
        ratios[a, b] = float(each.flat[k])
        relative[a, b] = relative_difference(float(first.flat[k]), float(second.flat[k]))
    return ratios, relative


def _only_zeros(reference: Reference, hand: Array) -> list[str]:
    """Return a line about components that are 0 at every point, by hand too."""
    zero: Array = reference.zeros() & (np.abs(hand) <= reference.allowed).all(0)
    if not zero.any():
        return []
    verbs = ("is", "was") if int(zero.sum()) == 1 else ("are", "were")
    which = component_list(reference.names, zero)
    return [f"{which} {verbs[0]} 0 at every theta tried, and {verbs[1]} compared only with 0"]


def _verdict(
    reference: Reference,
    hand: Array | None,
    fault: Cause | None,
    agreements: Mapping[tuple[str, str], float],
    at_odds: Mapping[str, Array],
) -> tuple[Verdict, Cause | None, list[str]]:
    """Return the verdict, the cause, and notes for the reader."""
    differ = losses_differ(reference)
    if differ is not None:
        return "fail", differ, []
    if hand is None or fault is not None:
        return "fail", fault, []
    odd = _autodiff_differs(reference, at_odds) if at_odds else None
    if all(ratio <= 1 for ratio in agreements.values()):
        return "pass", odd, []
    everyone = [*reference.gradients.values(), hand]
    ratios = np.max([reference.ratios(a, b) for a, b in combinations(everyone, 2)], axis=0)
    kink = at_a_kink(reference.checked, reference.points, hand, ratios, float(reference.bounds.losses[0]))
    if kink is not None and reference.direction is None:
        return "pass", kink, []
    lost = ~np.all([np.isfinite(gradient).all(0) for gradient in reference.gradients.values()], axis=0)
    if lost.any() and np.isfinite(hand).all():
        text = "autodiff is not finite in {}: a root, a quotient or a norm is differentiated at 0, perhaps in a `where`"
        return "inconclusive", Cause("different-function", text.format(component_list(reference.names, lost)), {}), []
    split = _by_one_framework(reference, hand, agreements)
    if split is not None:
        return split
    cause = _explain(reference, hand)
    if reference.alone and cause.kind in _VAGUE and _is_small(reference, hand, 1e-7):
        text = (
            "yours differs from differences of the loss by less than 1e-7 of itself, and no known mistake explains it: "
            "the loss may itself be an approximation, as by an integrator with a tolerance"
        )
        return "inconclusive", replace(cause, text=text), []
    if odd is not None:
        cause = replace(cause, runner_up=f"{odd.kind}: {odd.text}")
    return "fail", cause, _where(reference, hand)


def _autodiff_differs(reference: Reference, at_odds: Mapping[str, Array]) -> Cause:
    """Return a cause for frameworks whose gradients (m, d) are not the derivatives of the loss's values."""
    last = len(reference.points) - 1
    wrong = np.any([np.abs(g[last] - reference.autodiff[last]) > reference.allowed[last] for g in at_odds.values()], 0)
    text = (
        f"the derivative by {' and '.join(at_odds)} is at odds with the values of the loss in "
        f"{component_list(reference.names, wrong)}: a stopped gradient, a part outside the framework, or a wrong rule"
    )
    return Cause("autodiff-differs", text, {"components": float(wrong.sum())})


def _by_one_framework(
    reference: Reference, hand: Array, agreements: Mapping[tuple[str, str], float]
) -> tuple[Verdict, Cause | None, list[str]] | None:
    """Return the verdict on a gradient that agrees with one framework and not another; None if that is not the case.

    Differences decide in the component in which the two frameworks differ most.
    """
    mine = {a if b == "yours" else b: ratio for (a, b), ratio in agreements.items() if "yours" in (a, b)}
    agreeing = [name for name, ratio in mine.items() if ratio <= 1]
    if not agreeing or len(agreeing) == len(mine):
        return None
    other = next(name for name in mine if name not in agreeing)
    ratios = reference.ratios(hand, reference.gradients[other])
    k, j = (int(i) for i in np.unravel_index(int(ratios.argmax()), ratios.shape))
    ours, theirs = float(hand[k, j]), float(reference.gradients[other][k, j])
    text = f"yours agrees with {agreeing[0]}; {other} differs: check its loss, its dtype and its kinks"
    cause = Cause("different-function", text, {})
    if reference.differences is None:
        return "fail", cause, []
    value, error = (float(a[0]) for a in reference.differences(reference.points[k], np.array([j])))
    wide = ERRORS * error + float(reference.allowed[k, j])
    relative = abs(ours - theirs) / max(abs(ours), abs(theirs))
    if abs(ours - value) <= wide and not abs(theirs - value) <= wide:
        note = (
            f"{other} is inexact: its {reference.names[j]} is off by {relative:.1g} of itself; differences of the loss "
            f"agree with {agreeing[0]} and with yours"
        )
        return "pass", None, [note]
    if abs(theirs - value) <= wide and not abs(ours - value) <= wide:
        return "fail", replace(cause, text=f"{text}; differences of the loss agree with {other}"), []
    return "inconclusive", replace(cause, text=f"{text}; differences of the loss cannot decide"), []


def _where(reference: Reference, hand: Array) -> list[str]:
    """Return in words in which components and at which points the gradient differs, if not in all."""
    wrong = ~(reference.ratios(hand, reference.autodiff) <= 1)
    columns, points = wrong.any(0), wrong.any(1)
    notes: list[str] = []
    d = columns.size
    if not columns.all():
        which = component_list(reference.names, columns)
        ratio = hand[:, columns] / np.where(reference.autodiff[:, columns] == 0, np.nan, reference.autodiff[:, columns])
        constant = np.isfinite(ratio).all() and (np.ptp(ratio, axis=0) <= 1e-6 * np.abs(ratio).max(0)).all()
        varies = "" if constant else "; yours over the right ones is not constant there"
        right = d - int(columns.sum())
        verbs = "differs" if right == d - 1 else "differ", "agrees" if right == 1 else "agree"
        blocks = [b for b in reference.blocks if columns[b.start : b.stop].any()]
        place = f", all in {block_list(blocks)}" if len(blocks) < len(reference.blocks) else ""
        notes.append(f"only {which} {verbs[0]}{place}; the other {right} {verbs[1]} within rounding{varies}")
    elif d > 1:
        notes.append(f"all {d} components differ")
    if not points.all():
        here = "it differs at the theta given" if points[0] else "it agrees at the theta given"
        others, count = int(points[1:].sum()), len(points) - 1
        there = f"differs at {others} of the {count}" if others else f"agrees at the {count}"
        notes.append(f"{here} and {there} points near it")
    return notes


def _explain(reference: Reference, hand: Array) -> Cause:
    """Return what the difference is consistent with."""
    if not np.isfinite(hand).all():
        bad = ~np.isfinite(hand).all(0)
        text = f"yours is not finite in {component_list(reference.names, bad)}"
        return Cause("unexplained", text, {"components": float(bad.sum())})
    checked, evidence = reference.checked, reference.evidence(hand)
    if (np.abs(reference.autodiff) <= reference.allowed).all():
        text = f"{evidence.reference} is 0 in {all_components(evidence)}, at every point, and yours is not"
        return Cause("different-function", text, {})
    if hand.shape[1] > LARGE:
        return _of_sample(reference, evidence, hand) or Cause("unexplained", _NONE, {})
    cause = None
    if reference.direction is None and not reference.alone and _is_small(reference, hand):
        cause = by_differences(checked, evidence)
    cause = cause or diagnose_blocks(evidence)
    if reference.direction is None:
        if cause is None or is_general(cause):
            cause = other_data(checked, evidence, reference.run) or cause
        if cause is None or cause.kind == "row":
            cause = odd_rows(checked, evidence, reference.run) or cause
        cause = cause or by_differences(checked, evidence)
        cause = cause or lost_to_cancellation(reference, hand) or lost_precision(checked, evidence)
        cause = cause or not_a_gradient(checked, evidence)
    else:
        cause = cause or gauss_newton(reference, hand) or lost_to_cancellation(reference, hand)
    return cause or Cause("unexplained", _NONE, {})


def _of_sample(reference: Reference, evidence: Evidence, hand: Array) -> Cause | None:
    """Return what explains the difference in some of the components that differ, and in some that do not.

    They are taken from the blocks that are wrong.
    """
    differs = ~(reference.ratios(hand, reference.autodiff) <= 1).all(0)
    blocks = [b for b in evidence.blocks if differs[b.start : b.stop].any()]
    where = block_list(blocks) if 0 < len(blocks) < len(evidence.blocks) else ""
    inside = np.full(differs.size, not where)
    for block in blocks:
        inside[block.start : block.stop] = True
    generator = np.random.default_rng(0)
    parts = [generator.permutation(np.flatnonzero(which & inside))[:_SAMPLED] for which in (differs, ~differs)]
    cause = diagnose(evidence.of(np.sort(np.concatenate(parts))))
    if cause is None or not where:
        return cause
    return replace(cause, text=f"in {where}, {cause.text}", where=where)


def _is_small(reference: Reference, hand: Array, part: float = 1e-4) -> bool:
    """Return whether the difference is so small a part of the gradient that lost digits are the likely cause."""
    return bool((np.abs(hand - reference.autodiff) <= part * np.abs(reference.autodiff).max(0)).all())


def losses_differ(reference: Reference) -> Cause | None:
    """Return a cause if the losses of two frameworks, or of NumPy, differ by more than rounding."""
    losses = {name: values.losses for name, values in reference.by_framework.items()}
    own = numpy_losses(reference.checked, reference.points)
    losses |= {} if own is None or reference.alone else {"numpy": own}
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
    largest = np.take_along_axis(ratios, worst[None], 0)[0]
    shown = np.argsort(-largest, kind="stable")[:10]
    return tuple(
        Component(
            reference.names[int(j)],
            int(k := worst[j]),
            float(hand[k, j]),
            float(reference.autodiff[k, j]),
            float(reference.allowed[k, j]),
            float(ratios[k, j]),
            {name: float(gradient[k, j]) for name, gradient in reference.gradients.items()},
        )
        for j in shown
    )


def _witness(reference: Reference, hand: Array) -> Witness | None:
    """Return a directional derivative by differences of the loss, at the worst point.

    For a gradient that passes, it is taken at the last random point.
    """
    if reference.direction is not None or reference.alone:
        return None
    ratios = reference.ratios(hand, reference.autodiff)
    k = int(ratios.max(1).argmax()) if not ratios.max() <= 1 else len(reference.points) - 1
    theta = reference.points[k]
    loss = scalar_values(reference.checked, theta, reference.run)
    if loss is None:
        return None
    direction = direction_of(theta)
    estimate = Differences(loss).along(theta, direction)
    ours, theirs = float(hand[k] @ direction), float(reference.autodiff[k] @ direction)
    wide = ERRORS * float(estimate.error) + float(reference.allowed[k] @ np.abs(direction))
    sides = {(True, True): "both", (True, False): "yours", (False, True): "autodiff", (False, False): "neither"}
    near = abs(ours - float(estimate.value)) <= wide, abs(theirs - float(estimate.value)) <= wide
    return Witness(float(estimate.value), float(estimate.error), ours, theirs, sides[near], estimate.quadratic)


_LOOK_FOR = {
    "factor": "a wrong factor",
    "sign": "a wrong sign",
    "permutation": "a wrong order of the components",
    "scaling": "a factor of each component",
    "missing-term": "a missing term",
    "extra-term": "a term too much",
    "offset": "a term that does not depend on theta",
    "row": "rows that are left out or counted twice",
    "compound": "two mistakes at once",
    "precision": "lost digits",
    "chain-rule": "the factor of a transformed parameter",
    "data": "data that are used in another way",
}


def _what_to_look_at(cause: Cause | None, components: tuple[Component, ...]) -> str:
    """Return the end of the sentence on a gradient that fails."""
    if cause is not None and cause.kind in _LOOK_FOR:
        return f"; look for {_LOOK_FOR[cause.kind]}{f' in {cause.where}' if cause.where else ''}."
    worst = [c for c in components if not c.ratio <= 1]
    return f"; look at {worst[0].name} first." if len(components) > 1 and worst else "."


def _sentence(
    reference: Reference,
    verdict: Verdict,
    cause: Cause | None,
    fault: Cause | None,
    visible: float,
    components: tuple[Component, ...],
) -> str:
    what, who = reference.checked.what, " and ".join(reference.by_framework)
    if reference.alone:
        who = "differences of the loss"
    if cause is not None and cause.kind == "different-function" and cause.text.startswith(_LOSSES):
        return f"FAIL: {cause.text}."
    if fault is not None:
        return f"FAIL: the {what} function is faulty: {fault.text}."
    if verdict == "pass":
        kink = "" if cause is None or cause.kind != "kink" else ", a valid subgradient at a kink"
        if reference.alone:
            odd = "; autodiff does not" if cause is not None and cause.kind == "autodiff-differs" else ""
            return f"PASS: the {what} agrees with {who}, in which errors from {visible:.0e} are visible{odd}."
        return f"PASS: the {what} agrees with {who} within rounding{kink}."
    if verdict == "inconclusive" and cause is not None and cause.kind not in ("kink", "autodiff-differs"):
        return f"INCONCLUSIVE: {cause.text}."
    if verdict == "inconclusive":
        return (
            f"INCONCLUSIVE: no difference from {who} was detected, but only errors above {visible:.0e} would have been."
        )
    look = _what_to_look_at(cause, components)
    if reference.alone:
        return f"FAIL: the {what} differs from {who} by more than their errors allow{look}"
    return f"FAIL: the {what} differs from {who} by more than rounding allows{look}"
