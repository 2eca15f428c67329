"""What rounding allows where no closed bound is known: errors made on purpose, and the hand gradient's own rounding.

A backward stable evaluation gives the exact result of slightly perturbed inputs. So every number in theta and in the
data is changed at random by 2^-30 of itself, several times; the largest change of the gradient, scaled down to one
rounding, is the effect of one rounding of every input. A sum of N terms rounds N times with random signs, which gives
the factor sqrt(N). N u |g| covers sums whose terms have one sign.

Not every evaluation is backward stable: where a tanh is saturated, 1 - tanh^2 consists of the rounding of tanh alone,
and no change of the inputs shows it (correct gradients of a network differed by 1e14 times what was then allowed). So
the results of all operations are perturbed along with the inputs, by a framework that can do so (PyTorch); with JAX
alone only the inputs are. Whole numbers stay unchanged if the loss jumps when they change, as labels do.

The operations of the hand gradient's own NumPy code are not perturbed. Where they cancel, as in 1/(1 + e^-z) - 1 for
large z, a correct formula differs from autodiff although each operation is rounded correctly. Run in longer
floats (float64 for float32, the 80 bits of `longdouble` for float64), the same code comes as much closer as they are
longer, and the distance that it moves is its own rounding. A wrong formula stays wrong, and so does one that casts to
float32. If the platform has no longer floats, or the code does not run in them, one rounding of every operation is
allowed instead, and the sensitivity grows accordingly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeAlias, cast

import numpy as np

from gdbackends.backends import capabilities, get_backend
from gdbackends.errors import InputError
from gdbackends.gradcheck.checked_function import AutodiffRunners, CheckedFunction
from gdbackends.gradcheck.evidence import LARGE, Cause, Reference
from gdbackends.gradcheck.finite_differences import direction_of, noise_of
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import evaluate, has_bound, unit_roundoff
from gdbackends.rounding.limit import Values

_ATTEMPTS = ((2.0**-30, True), (2.0**-38, True), (2.0**-44, True), (2.0**-44, False))
"""Sizes of the errors, and whether the data err too. A later one is used where an earlier one leaves the domain, as in
a Cholesky factorisation, or where data are on the edge of the domain."""
_SAMPLES = 6
_MANY = 1 << 20
"""Numbers in the data above which errors are made once."""
_MOST_LONGER = 20
"""How many times as many operations as without errors an evaluation may take."""
SAFETY = 16.0

Perturbation: TypeAlias = Callable[[float, int], AbstractContextManager[Any]]
"""rounding(step, seed): a context in which every operation errs at random by `step` of its result."""


def estimated_bounds(
    evaluate: Callable[[Array, tuple[Array, ...]], Values],
    points: Array,
    data: tuple[Array, ...],
    dtype: str,
    seed: int,
    rounding: Perturbation,
) -> Values:
    """Return estimated bounds (m,) and (m, d) of the rounding of losses and gradients at flat points (m, d).

    Args:
        evaluate: losses and gradients in float64, at points and for data.
        points: (m, d).
        data: the data of the loss.
        dtype: the dtype of the evaluations that are judged.
        seed: seed of the changes.
        rounding: the context that perturbs the operations of `evaluate`.
    """
    generator = np.random.default_rng(seed)
    at, u = evaluate(points, data), unit_roundoff(dtype)

    whole = True

    def shaken(array: Array, step: float = _ATTEMPTS[0][0]) -> Array:
        if array.dtype.kind != "f":
            return array
        factors = cast(Array, generator.normal(size=cast("tuple[int, ...]", array.shape)))
        factors *= step  # in place, since the data may be large
        factors += 1
        factors *= array
        return factors if whole else cast(Array, np.where(array % 1 == 0, array, factors))

    def attempt(points: Array, data: tuple[Array, ...]) -> Values:
        try:
            return evaluate(points, data)
        except InputError:  # outside the domain
            return Values(np.full(at.losses.shape, np.nan), np.full(at.gradients.shape, np.nan))

    first = attempt(points, tuple(shaken(a) for a in data))
    whole = (
        not np.abs(first.losses - at.losses).max() > 1e-3 * np.abs(at.losses).max()
    )  # otherwise labels, which are compared by ==, or probabilities of 0 and 1 on the edge of a logarithm
    moved = _movements(attempt, shaken, at, points, data, seed, rounding)
    terms = terms_of(points, data)
    factor = SAFETY * u * max(1.0, terms**0.5)
    tiny = float(np.finfo(dtype).smallest_normal) * terms
    return Values(
        factor * (moved.losses + np.abs(at.losses)) + tiny,
        factor * (moved.gradients + np.abs(at.gradients)) + tiny,
    )


def _movements(
    evaluate: Callable[[Array, tuple[Array, ...]], Values],
    shaken: Callable[[Array, float], Array],
    at: Values,
    points: Array,
    data: tuple[Array, ...],
    seed: int,
    rounding: Perturbation,
) -> Values:
    """Return how far losses and gradients move, over the size of the errors made; infinite if they leave the domain."""
    losses, gradients = np.zeros_like(at.losses), np.zeros_like(at.gradients)
    for attempt in _ATTEMPTS:
        step, with_data = attempt
        losses[:], gradients[:], useless = 0, 0, False
        for sample in range(_samples(points, data)):
            errs = shaken(points, step), tuple(shaken(a, step) if with_data else a for a in data)
            if useless:  # an iteration that never ends with errors takes long every time
                continue
            with rounding(step, seed + sample):
                moved = evaluate(*errs)
            losses = np.maximum(losses, np.abs(moved.losses - at.losses) / step)  # NaN stays
            gradients = np.maximum(gradients, np.abs(moved.gradients - at.gradients) / step)
            some = bool(np.isfinite(losses).any() or np.isfinite(gradients).any())
            useless = not (some and (attempt == _ATTEMPTS[-1] or _is_inside(losses, gradients, at)))
        if _is_inside(losses, gradients, at):
            break
    losses = np.where(np.isfinite(at.losses) & ~np.isfinite(losses), np.inf, losses)
    gradients = np.where(np.isfinite(at.gradients) & ~np.isfinite(gradients), np.inf, gradients)
    return Values(losses, gradients)


def _is_inside(losses: Array, gradients: Array, at: Values) -> bool:
    """Return whether the movements are finite where the values themselves are."""
    inside = np.isfinite(losses).all() or not np.isfinite(at.losses).all()
    return bool(inside and (np.isfinite(gradients) | ~np.isfinite(at.gradients)).all())


def _samples(points: Array, data: tuple[Array, ...]) -> int:
    """Return how many times errors are made: fewer where each time takes long."""
    return 1 if points.shape[1] > LARGE or sum(a.size for a in data) > _MANY else _SAMPLES


def terms_of(points: Array, data: tuple[Array, ...]) -> int:
    """Return the largest possible number of terms of a sum: the size of the largest array."""
    return max((a.size for a in (*data, points[0])), default=1)


def rounding_bounds(
    checked: CheckedFunction,
    runners: AutodiffRunners,
    by_framework: Iterable[str],
    points: Array,
    dtype: str,
    seed: int,
    direction: Array | None = None,
) -> tuple[Values, str]:
    """Return bounds on the error of an evaluation: closed if the objective has a bound, otherwise estimated.

    With a direction (d,) they are bounds for the Hessian times the direction.
    """
    objective = getattr(checked.losses.get(None), "__self__", None)
    if direction is None and has_bound(objective) and not checked.params and len(checked.data) == 2:
        assert isinstance(objective, LinearModel)
        with np.errstate(all="ignore"):
            at = [evaluate(objective, point, *checked.data, dtype) for point in points]
        return Values(np.array([e.loss_bound for e in at]), np.array([e.gradient_bound for e in at])), "closed"
    return _estimated(checked, runners, by_framework, points, dtype, seed, direction), "estimated"


def _estimated(
    checked: CheckedFunction,
    runners: AutodiffRunners,
    by_framework: Iterable[str],
    points: Array,
    dtype: str,
    seed: int,
    direction: Array | None,
) -> Values:
    """Return estimated bounds, by a framework that can perturb its operations if there is one."""
    offered = {name: capabilities(get_backend(name)) for name in by_framework}
    name = next((n for n, c in offered.items() if c.perturb_rounding(0.0, 0) is not None), next(iter(offered)))
    run = runners.run(name, "float64", direction)

    def values(points: Array, data: tuple[Array, ...]) -> Values:
        result = run(points, data)
        if isinstance(result, str):
            raise InputError(result)
        return result

    most = float("inf")

    def operations(step: float, seed: int) -> AbstractContextManager[Any]:
        return offered[name].perturb_rounding(step, seed, most) or nullcontext()

    def inputs_alone(step: float, seed: int) -> AbstractContextManager[Any]:
        return nullcontext()

    alone = offered[name].perturb_rounding(0.0, seed) is None
    try:
        with operations(0.0, seed) as mode:
            values(points[:1], checked.data)
        most = 1000 + _MOST_LONGER * len(points) * getattr(mode, "operations", 0)
    except InputError:  # code that cannot run one operation at a time
        operations, alone = inputs_alone, True
    bounds = estimated_bounds(values, points, checked.data, dtype, seed, operations)
    if not alone and np.isinf(bounds.gradients).any():  # an iteration that never ends with errors, for example
        alone = True
        bounds = estimated_bounds(values, points, checked.data, dtype, seed, inputs_alone)
    if alone and dtype == "float64":
        bounds = _with_noise(bounds, values, points, checked.data)
    return bounds


def _with_noise(
    bounds: Values, evaluate: Callable[[Array, tuple[Array, ...]], Values], points: Array, data: tuple[Array, ...]
) -> Values:
    """Return bounds that include the measured noise of the gradients near the points.

    Errors of inputs alone do not show how ill-conditioned the operations between them and the result are.
    """

    def gradient(theta: Array) -> Array:
        return evaluate(theta[None], data).gradients[0]

    noise = np.array([noise_of(gradient, theta, direction_of(theta), step=1e-10) for theta in points])
    return Values(bounds.losses, np.fmax(bounds.gradients, SAFETY * noise))


_LONGER = {"float64": "longdouble", "float32": "float64"}


def allow_hand_rounding(reference: Reference, hand: Array) -> tuple[Reference, Reference]:
    """Return two references: for the formula, and one that also allows for the rounding of the hand gradient's code.

    Both are the reference itself if the gradient (m, d) agrees, or differs by more than rounding can explain.
    """
    if not np.isfinite(hand).all() or reference.agrees(hand):
        return reference, reference
    most = _rounding_of_each_operation(reference)
    apart = np.max([np.abs(hand - other) for other in reference.gradients.values()], axis=0)
    excess: Array = apart - reference.allowed
    if not (excess <= SAFETY * most).all():
        return reference, reference
    longer, share = _in_longer_floats(reference, hand)
    if not share < 1:  # the points that needed the allowance determine the sensitivity
        if not (excess <= most).all():
            return reference, reference
        needed = (np.max([reference.ratios(hand, other) for other in reference.gradients.values()], axis=0) > 1).any(1)
        how = f"{reference.bound}, its own rounding too"
        return _of_points(_wider(reference, most), needed), replace(_wider(reference, most), bound=how)
    formula = _in_which_it_agrees(reference, hand, longer, share)
    if formula is None:
        return reference, reference
    how = f"{reference.bound}, its own rounding by {_LONGER[reference.dtype]}"
    return formula, replace(_wider(formula, np.abs(hand - longer)), bound=how)


def lost_to_cancellation(reference: Reference, hand: Array) -> Cause | None:
    """Return a cause if the formula is right but its operations lose digits."""
    longer, share = _in_longer_floats(reference, hand)
    if not share < 1 or _in_which_it_agrees(reference, hand, longer, share) is None:
        return None
    text = f"digits are lost to cancellation in its operations: in {_LONGER[reference.dtype]} the same code agrees"
    return Cause("precision", text, {"error": float(np.abs(hand - longer).max())})


def _in_which_it_agrees(reference: Reference, hand: Array, longer: Array, share: float) -> Reference | None:
    """Return the reference with which the gradient in longer floats agrees; None if it does not agree.

    The rounding that remains in longer floats is a fixed share of the observed movement. It is applied per point, so
    that a huge gradient at one point excuses nothing at another. The same share of the possible movement is added,
    because the observed one may be small by chance, or 0 if the longer floats have lost all digits too.
    """
    formula = _wider(reference, share * (SAFETY * np.abs(hand - longer) + _rounding_of_each_operation(reference)))
    return formula if formula.agrees(longer) else None


def _of_points(reference: Reference, which: Array) -> Reference:
    """Return the reference at the points selected by a boolean array (m,)."""
    by_framework = {name: Values(v.losses[which], v.gradients[which]) for name, v in reference.by_framework.items()}
    bounds = Values(reference.bounds.losses[which], reference.bounds.gradients[which])
    return replace(reference, points=reference.points[which], by_framework=by_framework, bounds=bounds)


def _wider(reference: Reference, by: Array) -> Reference:
    """Return the reference with this much more allowed between two gradients."""
    return replace(reference, bounds=Values(reference.bounds.losses, reference.bounds.gradients + by / 2))


def _in_longer_floats(reference: Reference, hand: Array) -> tuple[Array, float]:
    """Return the hand gradients (m, d) of the same code in longer floats, and the ratio of the two roundings.

    If the code does not run in longer floats, or gives the same numbers, return the gradients themselves, and 1.
    """
    longer = _LONGER[reference.dtype]
    gradients = _gradients_in(reference, reference.points, longer)
    if gradients is None or np.array_equal(gradients, hand):
        return hand, 1.0
    return gradients, float(np.finfo(longer).eps / np.finfo(reference.dtype).eps)


def _gradients_in(reference: Reference, points: Array, dtype: str) -> Array | None:
    """Return the hand gradients (m, d) computed in a dtype; None if the code does not run in it."""
    gradients = list[Array]()
    for point in points:
        try:
            value = np.asarray(reference.checked.by_hand(point, dtype))
            gradients.append(value.astype(np.float64).reshape(point.shape))
        except (Exception, SystemExit):  # code that accepts only the usual floats
            return None
    return np.array(gradients)


def _rounding_of_each_operation(reference: Reference) -> Array:
    """Return how far one rounding of each operation may move a gradient of the size found near each point, (m, d).

    An error far above that is not rounding but lost digits, as with differences of the loss over a short step. A
    saturated gradient is small at every point, so its size is also taken at 0 and on the way there.
    """
    data, largest = reference.checked.data, np.abs(reference.autodiff)
    for part in (0.0, 1 / 16, 1 / 4):
        result = reference.run(part * reference.points, data)
        if isinstance(result, Values):
            largest = np.fmax(largest, np.where(np.isfinite(result.gradients), np.abs(result.gradients), 0.0))
    return SAFETY * unit_roundoff(reference.dtype) * max(1.0, terms_of(reference.points, data) ** 0.5) * largest
