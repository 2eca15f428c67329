"""The rounding of the gradient's own NumPy code: the same code is run again in longer floats.

The frameworks' operations are made to err to see what rounding may do; those of the function under test are not. Where
they cancel, as in 1/(1 + e^-z) - 1 of a large z, a right formula misses the frameworks' answer though each operation is
rounded as well as can be. In longer floats (float64 for float32; the 80 bits of `longdouble` for float64) the same code
comes as much nearer as they are longer, and how far it moved is its own rounding; a wrong formula stays wrong, and so
does one that casts to float32 inside. Where the platform has no longer floats, or the code does not run in them, a
rounding of every operation is allowed instead, and the smallest error that would have been seen grows with it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gdbackends.gradcheck.case import Case
from gdbackends.gradcheck.evidence import Cause
from gdbackends.gradcheck.perturbation import SAFETY, terms_of
from gdbackends.objectives import Array
from gdbackends.rounding import unit_roundoff
from gdbackends.rounding.limit import Values

_LONGER = {"float64": "longdouble", "float32": "float64"}


def with_its_own_rounding(case: Case, hand: Array) -> tuple[Case, Case]:
    """Return the case as a formula is judged in it, and as the hand gradient (m, d) is, which its operations round.

    They are the case itself where the gradient agrees, or differs by more than that rounding can carry it.
    """
    if not np.isfinite(hand).all() or all(case.agree(hand, values.gradients) for values in case.voters.values()):
        return case, case
    most, apart = _worth_a_rounding(case), np.abs(hand - case.right) - case.allowed
    if not (apart <= SAFETY * most).all():
        return case, case
    longer, share = _in_longer_floats(case, hand)
    if not share < 1:  # what rounding may do is allowed, and no point tells more than those where that was needed
        if not (apart <= most).all():
            return case, case
        needed = (np.max([case.ratios(hand, values.gradients) for values in case.voters.values()], axis=0) > 1).any(1)
        how = f"{case.bound}, its own rounding too"
        return _of_points(_wider(case, most), needed), replace(_wider(case, most), bound=how)
    formula = _in_which_it_agrees(case, hand, longer, share)
    if formula is None:
        return case, case
    how = f"{case.bound}, its own rounding by {_LONGER[case.dtype]}"
    return formula, replace(_wider(formula, np.abs(hand - longer)), bound=how)


def cancelled(case: Case, hand: Array) -> Cause | None:
    """Return a cause where the formula is right, and its operations throw digits away."""
    longer, share = _in_longer_floats(case, hand)
    if not share < 1 or _in_which_it_agrees(case, hand, longer, share) is None:
        return None
    text = f"digits are lost where its own operations cancel: in {_LONGER[case.dtype]} the same code agrees"
    return Cause("precision", text, {"error": float(np.abs(hand - longer).max())})


def _in_which_it_agrees(case: Case, hand: Array, longer: Array, share: float) -> Case | None:
    """Return the case in which the gradient in longer floats is judged, and agrees; None if it does not.

    The rounding that is left in those is their share of what was seen to move, point by point: of a gradient that is
    1e80 at one point, 1e64 are not excused at the others. By luck little moves, and nothing where the longer floats
    too have lost everything, so their share of what may move is added.
    """
    formula = _wider(case, share * (SAFETY * np.abs(hand - longer) + _worth_a_rounding(case)))
    return formula if all(formula.agree(longer, values.gradients) for values in case.voters.values()) else None


def _of_points(case: Case, which: Array) -> Case:
    """Return the case at some of its points, (m,) bool."""
    voters = {name: Values(v.losses[which], v.gradients[which]) for name, v in case.voters.items()}
    bounds = Values(case.bounds.losses[which], case.bounds.gradients[which])
    return replace(case, points=case.points[which], voters=voters, bounds=bounds)


def _wider(case: Case, by: Array) -> Case:
    """Return the case with so much more allowed between two gradients."""
    return replace(case, bounds=Values(case.bounds.losses, case.bounds.gradients + by / 2))


def _in_longer_floats(case: Case, hand: Array) -> tuple[Array, float]:
    """Return the hand gradients (m, d) by the same code in longer floats, and how much of a rounding is one of those.

    The gradients as they are, and 1, where the code does not run in longer ones, or nothing comes of it.
    """
    longer = _LONGER[case.dtype]
    found = _gradients_in(case, case.points, longer)
    if found is None or np.array_equal(found, hand):
        return hand, 1.0
    return found, float(np.finfo(longer).eps / np.finfo(case.dtype).eps)


def _gradients_in(case: Case, points: Array, dtype: str) -> Array | None:
    """Return the hand gradients (m, d) by its code in a dtype; None where it does not run in that."""
    found = list[Array]()
    for point in points:
        try:
            value = np.asarray(case.subject.by_hand(point, dtype))
            found.append(value.astype(np.float64).reshape(point.shape))
        except (Exception, SystemExit):  # code that knows the usual floats alone
            return None
    return np.array(found)


def _worth_a_rounding(case: Case) -> Array:
    """Return how far a rounding of each operation carries a gradient as large as it is near a point, (m, d).

    Far beyond that digits are not rounded off but thrown away, as by differences of the loss over a short step. A
    saturated gradient is small at every point, so it is looked at where it is not: at 0, and on the way there.
    """
    data, largest = case.subject.data, np.abs(case.right)
    for part in (0.0, 1 / 16, 1 / 4):
        found = case.run(part * case.points, data)
        if isinstance(found, Values):
            largest = np.fmax(largest, np.where(np.isfinite(found.gradients), np.abs(found.gradients), 0.0))
    return SAFETY * unit_roundoff(case.dtype) * max(1.0, terms_of(case.points, data) ** 0.5) * largest
