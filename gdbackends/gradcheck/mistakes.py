"""Which mistake explains a wrong gradient: hypotheses fitted by weighted least squares.

A hypothesis is accepted only if it explains every component at every point to within a few times what rounding allows,
and nine tenths of the difference: where the difference is itself only a few times what rounding allows, any hypothesis
comes that close. Of those accepted, the one with the fewest constants is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, permutations
from math import isclose
from typing import Any, cast

import numpy as np

from gdbackends.gradcheck.data_rows import pulled_back, row_left_out
from gdbackends.gradcheck.evidence import (
    Cause,
    Evidence,
    all_components,
    components_of,
    format_factor,
    from_params,
    name_factor,
)
from gdbackends.gradcheck.parameters import Block
from gdbackends.objectives import Array

_MOST_BLOCKS = 4
"""Number of blocks that are named, or have causes of their own."""
_MOST_PERMUTED = 500
"""Number of components up to which any permutation is looked for, which needs its square in memory."""


def fit_terms(evidence: Evidence, target: Array, terms: list[Array]) -> Array | None:
    """Return the coefficients of the terms, (m, d) each, in the target, by weighted least squares; None if singular."""
    columns = np.stack([(term / evidence.tolerance).ravel() for term in terms], axis=1)
    size = np.abs(columns).max(0)
    if not (np.isfinite(columns).all() and (size > 0).all()):
        return None
    fitted = cast("tuple[Any, ...]", np.linalg.lstsq(columns / size, (target / evidence.tolerance).ravel()))
    return fitted[0] / size if fitted[2] == len(terms) else None


def _stale(e: Evidence) -> Iterator[Cause]:
    """Yield a cause if the gradient is the same at every point, to the last bit, and right at the first one."""
    same, first = (e.hand == e.hand[0]).all(), np.abs(e.hand[0] - e.autodiff[0]) <= e.allowed[0]
    if same and first.all() and (e.points != e.points[0]).any():
        yield Cause("stale", "the result of the first call is returned for every theta", {}, 0.0)


def _factor(e: Evidence) -> Iterator[Cause]:
    constants = fit_terms(e, e.hand, [e.autodiff])
    if constants is None or (np.abs(e.autodiff) <= e.allowed).all():
        return
    c = float(constants[0])
    left = e.unexplained(c * e.autodiff, c)
    name = name_factor(c, e)
    if not np.any(e.hand):
        yield Cause("factor", f"{e.subject} is 0 in {all_components(e)}, at every point", {"factor": 0.0}, 0.0)
        return
    what = "all signs are flipped" if name == "-1" else f"a factor {name or 'without a name'}"
    yield Cause(
        "factor",
        f"{what}: {e.subject} is {format_factor(c)} of {e.reference} in {all_components(e)}",
        {"factor": c},
        left,
    )


def _sign(e: Evidence) -> Iterator[Cause]:
    turned = np.abs(e.hand + e.autodiff).max(0) < np.abs(e.hand - e.autodiff).max(0)
    if turned.any() and not turned.all():
        left = e.unexplained(np.where(turned, -1, 1) * e.autodiff)
        yield Cause(
            "sign", f"the sign is flipped in {components_of(e, turned)}", {"components": float(turned.sum())}, left
        )


def _permutation(e: Evidence) -> Iterator[Cause]:
    d = e.autodiff.shape[1]
    identity = cast(Array, np.arange(d))
    orders: dict[str, Array] = {"reversed": identity[::-1]}
    if len(e.shape) > 1:
        orders["transposed"] = identity.reshape(e.shape).T.ravel()
    if d <= _MOST_PERMUTED:
        gap = np.abs(e.hand[:, :, None] - e.autodiff[:, None, :]) / (e.allowed[:, :, None] + e.allowed[:, None, :])
        orders["permuted"] = gap.max(0).argmin(1)
        if (turned := _transposed(orders["permuted"])) is not None:
            orders[f"transposed, as a matrix of {turned[0]} x {turned[1]} is,"] = orders.pop("permuted")
    for name, order in orders.items():
        moved = order != identity
        if sorted(order) == list(range(d)) and moved.any():
            which = components_of(e, moved)
            text = f"the components are {name}: {which} of {e.subject} contain other components of {e.reference}"
            left = replace(e, allowed=e.allowed + e.allowed[:, order]).unexplained(e.autodiff[:, order])
            yield Cause("permutation", text, {"components": float(moved.sum())}, left)


def _transposed(order: Array) -> tuple[int, int] | None:
    """Return the shape of the matrix, in a part of the components, whose transposition an order is; None if none."""
    every = cast(Array, np.arange(order.size))
    moved = np.flatnonzero(order != every)
    if moved.size < 2:
        return None
    start, stop = int(moved[0]) - 1, int(moved[-1]) + 2  # the first and the last of a matrix stay
    size, part = stop - start, np.arange(start, stop)
    if start < 0 or stop > order.size:
        return None
    rows = [r for r in range(2, size // 2 + 1) if size % r == 0]
    found = [r for r in rows if np.array_equal(order[start:stop], part.reshape(r, -1).T.ravel())]
    return (found[0], size // found[0]) if found else None


def _log_scale(t: Array) -> dict[str, Array]:
    """Return the derivatives of the usual changes of a parameter t, by name: the factors of the chain rule."""
    s = 1 / (1 + np.exp(-t))
    return {
        "exp({t})": np.exp(t),
        "{t}": t,
        "2 {t}": 2 * t,
        "{t}^2": t * t,
        "{t} (1 - {t})": t * (1 - t),
        "s (1 - s), s = 1/(1 + exp(-{t})),": s * (1 - s),
        "1/(1 + exp(-{t}))": s,
        "1 - tanh({t})^2": 1 - np.tanh(t) ** 2,
        "1 - {t}^2": 1 - t * t,
        "sqrt({t})": np.sqrt(t),
        "exp({t}/2)": np.exp(t / 2),
        "exp(2 {t})": np.exp(2 * t),
        "cos({t})": np.cos(t),
    }


def _chain_rule(e: Evidence) -> Iterator[Cause]:
    """Yield a cause if some components lack, or have too much of, the derivative of a change of their parameter."""
    changed = (np.abs(e.hand - e.autodiff) > e.allowed).any(0)
    if not changed.any() or (np.ptp(e.points[:, changed], axis=0) == 0).any():
        return
    with np.errstate(all="ignore"):
        factors = _log_scale(e.points)
    for name, factor in factors.items():
        if not np.abs(factor - 1)[:, changed].max() > 0.01:
            continue
        for lacks in (True, False):
            with np.errstate(all="ignore"):
                spoiled: Array = e.autodiff / factor if lacks else e.autodiff * factor
                explained = cast(Array, np.where(changed, spoiled, e.autodiff))
            if not np.isfinite(explained).all():
                continue
            first = e.names[int(np.argmax(changed))]
            said, where = name.format(t="theta_j" if changed.sum() > 1 else first), components_of(e, changed)
            verb = "lacks the factor" if lacks else "has too much of a factor"
            text = f"{e.subject} {verb} {said} in {where}: the chain rule of a transformed parameter"
            size = cast(Array, np.where(changed, np.abs(1 / factor if lacks else factor), 1.0))
            left = replace(e, allowed=e.allowed * (1 + size)).unexplained(explained)
            yield Cause("chain-rule", text, {"components": float(changed.sum())}, left)


def terms(e: Evidence) -> dict[str, Array]:
    """Return the terms that are often added or forgotten, (m, d) each, by name."""
    v, (m, d) = e.variable, e.points.shape
    terms = {v: e.points, f"sign({v})": np.sign(e.points), f"{v}^3": e.points**3, "1": np.ones((m, d))}
    if d > 1 and not e.blocks:
        for name, j in (("last", -1), ("first", 0)):
            without = e.points.copy()
            without[:, j] = 0
            alone = e.points - without
            terms |= {f"{v} but the {name}": without, f"sign of {v} but the {name}": np.sign(without)}
            terms |= {f"the {name} of {v}": alone}
    for block in e.blocks if len(e.blocks) > 1 else ():
        alone = np.zeros((m, d))
        alone[:, block.start : block.stop] = e.points[:, block.start : block.stop]
        terms |= {block.name: alone, f"sign({block.name})": np.sign(alone)}
    return {name: term for name, term in terms.items() if np.any(term)}


def _one_offset(e: Evidence) -> Iterator[Cause]:
    """Yield a cause if one constant is added to all components.

    If all have one sign at every point, it may be a penalty on their absolute values, as a hyper-parameter suggests.
    """
    constants = fit_terms(e, e.hand - e.autodiff, [np.ones_like(e.points)])
    if constants is None:
        return
    c, signs = float(constants[0]), np.sign(e.points)
    if (signs == signs[0, 0]).all() and from_params(abs(c), e):
        return
    text = f"an offset that does not depend on theta: {c:.6g} is added to {all_components(e)}{_of_target(e)}"
    yield Cause("offset", text, {"largest": abs(c)}, e.unexplained(e.autodiff + c, 1))


def _one_term(e: Evidence) -> Iterator[Cause]:
    for name, term in terms(e).items():
        constants = None if name == "1" else fit_terms(e, e.hand - e.autodiff, [term])
        if constants is not None:
            c = float(constants[0])
            yield _term_cause(e, {name: c}, e.unexplained(e.autodiff + c * term, 1))


def _term_cause(e: Evidence, weights: Mapping[str, float], left: float) -> Cause:
    parts = [_multiple(abs(c), name, e) for name, c in weights.items()]
    lacks = all(c < 0 for c in weights.values())
    word = "missing-term" if lacks else "extra-term"
    verb = "lacks" if lacks else "has too much of"
    return Cause(
        word, f"a term is {'missing' if lacks else 'extra'}: {e.subject} {verb} {' and '.join(parts)}", weights, left
    )


def _multiple(c: float, name: str, e: Evidence) -> str:
    """Return a multiple of a term in words."""
    return f"an offset of {c:.6g}" if name == "1" else f"{c:.6g}{from_params(abs(c), e)} times {name}"


def _offset(e: Evidence) -> Iterator[Cause]:
    """Yield a cause if the difference is the same at every point, so that it depends only on the data."""
    if (np.ptp(e.autodiff, axis=0) <= e.allowed.max(0)).all():  # if the gradient is constant, so is everything
        return
    difference = e.hand - e.autodiff
    one = fit_terms(e, difference, [np.ones_like(e.points)])
    if one is not None and e.unexplained(e.autodiff + float(one[0]), 1) <= 1:  # one constant is enough
        return
    weights = 1 / e.tolerance**2
    constant = (difference * weights).sum(0) / weights.sum(0)
    left = e.unexplained(e.autodiff + constant, 1)
    largest = e.names[int(np.abs(constant).argmax())]
    size, target = float(np.abs(constant).max()), _of_target(e)
    text = f"an offset that does not depend on theta, up to {size:.6g} in {largest}{target}"
    yield Cause("offset", text, {"largest": size} | ({} if target else {"components": float(constant.size)}), left)


def _of_target(e: Evidence) -> str:
    """Return in words of which multiple of X^T y the difference consists; "" if of none."""
    d = e.points.shape[1]
    for X, y in permutations(e.data, 2):
        if X.ndim == 2 and y.ndim == 1 and X.shape[0] == y.size and X.shape[1] in (d, d - 1):
            for vector in pulled_back(X, y, d):
                term = np.broadcast_to(vector, e.points.shape)
                constants = fit_terms(e, e.hand - e.autodiff, [term])
                if constants is None or (d == 1 and name_factor(float(constants[0]), e) is None):
                    continue  # any one number is a multiple of another
                if e.unexplained(e.autodiff + float(constants[0]) * term, 1) <= 1:
                    return f": {float(constants[0]):.6g} of X^T y, as if the target were missing or used twice"
    return ""


def _compound(e: Evidence) -> Iterator[Cause]:
    if e.points.shape[1] == 1 and _linear(e):
        return
    known = terms(e)
    for name, term in known.items():
        constants = fit_terms(e, e.hand, [e.autodiff, term])
        if constants is not None:
            c, w = map(float, constants)
            text = f"a factor {name_factor(c, e) or f'{c:.6g}'} and {_multiple(w, name, e)}"
            yield Cause("compound", text, {"factor": c, name: w}, e.unexplained(c * e.autodiff + w * term, abs(c)))
    for (name, term), (other, second) in combinations(known.items(), 2):
        constants = fit_terms(e, e.hand - e.autodiff, [term, second])
        if constants is not None:
            c, w = map(float, constants)
            cause = _term_cause(e, {name: c, other: w}, e.unexplained(e.autodiff + c * term + w * second, 1))
            yield Cause("compound", f"two terms: {cause.text}", cause.constants, cause.leaves)
    turned = np.abs(e.hand + e.autodiff).max(0) < np.abs(e.hand - e.autodiff).max(0)
    signed = np.where(turned, -1, 1) * e.autodiff
    constants = fit_terms(e, e.hand, [signed]) if turned.any() and not turned.all() else None
    if constants is not None:
        c = float(constants[0])
        text = f"a factor {name_factor(c, e) or f'{c:.6g}'}, and the sign flipped in {components_of(e, turned)}"
        yield Cause("compound", text, {"factor": c}, e.unexplained(c * signed, c))


def _linear(e: Evidence) -> bool:
    """Return whether the right gradient is a multiple of theta plus a constant.

    Then in one component two constants fit any other such gradient, so that the fit explains nothing.
    """
    parts = [e.points, np.ones_like(e.points)]
    constants = fit_terms(e, e.autodiff, parts)
    return (
        constants is not None and e.unexplained_of(e.autodiff, constants[0] * parts[0] + constants[1] * parts[1]) <= 1
    )


def _scaling(e: Evidence) -> Iterator[Cause]:
    """Yield a cause if each component has its own factor, the same at every point."""
    if e.points.shape[0] < 3:
        return
    weighted, hand = e.autodiff / e.tolerance, e.hand / e.tolerance
    sums = (weighted**2).sum(0)
    factors = np.where(sums > 0, (weighted * hand).sum(0) / np.where(sums > 0, sums, 1), 1.0)
    changed = (np.abs(e.hand - e.autodiff) > e.allowed).any(0)
    factors[~changed] = 1.0  # equal within rounding
    if isclose(float(factors.min()), float(factors.max()), rel_tol=1e-9):
        return
    ends = f"from {format_factor(float(factors.min()))} to {format_factor(float(factors.max()))}"
    text = f"each component has its own factor, {ends}, in {components_of(e, changed)}"
    left = e.unexplained(factors * e.autodiff, float(np.abs(factors).max()))
    constants = {"least": float(factors.min()), "largest": float(factors.max()), "components": float(changed.sum())}
    yield Cause("scaling", text, constants, left)


def _one_scaled(e: Evidence) -> Iterator[Cause]:
    """Yield a cause if only one component has a factor, which takes fewer constants than a data row."""
    for cause in _scaling(e):
        if cause.constants["components"] == 1:
            yield cause


def diagnose_blocks(e: Evidence) -> Cause | None:
    """Return what explains the difference in the blocks that are wrong, alone or together; None if nothing does."""
    wrong = [b for b in e.blocks if (np.abs(e.hand - e.autodiff) > e.allowed)[:, b.start : b.stop].any()]
    if len(wrong) < len(e.blocks) and (cause := diagnose(e.of_blocks(wrong))) is not None:
        return replace(cause, text=f"in {block_list(wrong)}, {cause.text}", where=block_list(wrong))
    if (cause := diagnose(e)) is not None:
        return cause
    causes = [diagnose(e.of_blocks([block])) for block in wrong] if 1 < len(wrong) <= _MOST_BLOCKS else []
    named = [cause for cause in causes if cause is not None]
    if not named or len(named) < len(wrong):
        return None
    text = "; ".join(f"in {block.name}, {cause.text}" for block, cause in zip(wrong, named, strict=True))
    kinds = {cause.kind for cause in named}
    left = max(cause.leaves or 0.0 for cause in named)
    return Cause(kinds.pop() if len(kinds) == 1 else "compound", text, {"blocks": float(len(named))}, left)


def is_general(cause: Cause) -> bool:
    """Return whether a cause has so many constants that a mistake without any comes before it."""
    return cause.kind in ("compound", "scaling") or (cause.kind == "offset" and "components" in cause.constants)


def block_list(blocks: Sequence[Block]) -> str:
    """Return blocks in words."""
    names = [block.name for block in blocks[:_MOST_BLOCKS]]
    if len(blocks) > _MOST_BLOCKS:
        return f"{len(blocks)} blocks ({', '.join(names)}, ...)"
    return f"the block {names[0]}" if len(names) == 1 else f"the blocks {', '.join(names[:-1])} and {names[-1]}"


HYPOTHESES = (
    (_stale, False),
    (_factor, False),
    (_sign, False),
    (_permutation, False),
    (_chain_rule, False),
    (_one_offset, False),
    (_one_term, False),
    (_one_scaled, False),
    (row_left_out, False),
    (_offset, False),
    (_compound, True),
    (_scaling, True),
)
"""Ordered by number of constants. True: a generalisation, tried only if the simpler ones fail."""


def diagnose(evidence: Evidence) -> Cause | None:
    """Return the first accepted explanation, with the next one in words; None if none is accepted."""
    causes: list[Cause] = []
    most = min(1.0, evidence.unexplained(evidence.autodiff) / 10)
    for hypothesis, nested in HYPOTHESES:
        if causes and nested:
            break
        causes += [cause for cause in hypothesis(evidence) if cause.leaves is not None and cause.leaves <= most]
    if not causes:
        return None
    first = min((c for c in causes if c.kind == causes[0].kind), key=lambda c: c.leaves or 0.0)
    others = [cause.text for cause in causes if cause.kind != first.kind]
    return replace(first, runner_up=others[0] if others else None)
