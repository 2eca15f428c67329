"""Mistakes in the data rows: a row is left out or counted twice, perhaps with the mean over the remaining rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gdbackends.gradcheck.evidence import WITHIN, Cause, Evidence
from gdbackends.objectives import Array


def pulled_back(X: Array, y: Array, d: int) -> Iterator[Array]:
    """Yield X^T y, (d,), for X as it is, or with a column of ones as the last or the first."""
    product = y @ X
    if X.shape[1] == d:
        yield product
    elif X.shape[1] == d - 1:
        yield np.append(product, y.sum())
        yield np.append(y.sum(), product)


_SCREENED = 4
"""Components that are used to select rows first, so that a large table takes no longer than its gradient."""
_FEW_ROWS = 2000
"""Number of rows up to which a row left out of the mean of a penalised loss is looked for, in many variants."""


def row_left_out(e: Evidence) -> Iterator[Cause]:
    """Yield a cause if at every point the difference is a multiple of one data row, or of one for each row of theta.

    If the mean is over the n - 1 remaining rows, this holds for the difference from n/(n - 1) times the right gradient,
    except for the penalty, which is unchanged: 1/(n - 1) of it is a multiple of theta or of its signs.
    """
    width = e.shape[-1] if e.shape else 1
    if width < 2:
        return
    weights = e.points.copy()
    weights[:, -1] = 0
    for X in e.data:
        if X.ndim != 2 or X.shape[1] not in (width, width - 1) or X.dtype.kind not in "fi":
            continue
        n = X.shape[0]
        penalties = (None, e.points, weights, np.sign(e.points)) if n <= _FEW_ROWS else (None,)
        for shift in (0,) if X.shape[1] == width else (0, 1):  # the intercept is last or first
            for factor in (1.0, n / (n - 1), n / (n + 1)) if n > 1 else (1.0,):
                for penalty in penalties if factor != 1 else (None,):
                    explanation = _explains(e, X, shift, e.hand - factor * e.autodiff, penalty)
                    if explanation is not None:
                        yield _cause(*explanation, factor)
                        return


def _explains(
    e: Evidence, X: Array, shift: int, difference: Array, penalty: Array | None
) -> tuple[Array, Array] | None:
    """Return the rows that explain the difference, and what each leaves unexplained; None if there are none."""
    width = e.shape[-1]
    wanted, allowed = difference.reshape(-1, width), e.tolerance.reshape(-1, width)
    known = None if penalty is None else penalty.reshape(-1, width)
    few = np.argsort(-(np.abs(wanted) / allowed).max(0))[:_SCREENED]
    some = slice(0, 2)  # points; the others are used afterwards
    first = _left_by_rows(
        _columns(X, few, shift), wanted[some, few], allowed[some, few], None if known is None else known[some, few]
    )
    rows = np.flatnonzero(first <= 4)
    if rows.size == 0:
        return None
    left = _left_by_rows(_columns(X[rows], np.arange(width), shift), wanted, allowed, known)
    return (rows[left <= 1], left[left <= 1]) if (left <= 1).any() else None


def _columns(X: Array, chosen: Array, shift: int) -> Array:
    """Return the selected components of each row, (n, k): those of X, and 1 for the intercept."""
    design = np.ones((X.shape[0], chosen.size))
    inside = (chosen >= shift) & (chosen - shift < X.shape[1])
    design[:, inside] = X[:, chosen[inside] - shift]
    return design


def _cause(rows: Array, left: Array, factor: float) -> Cause:
    i = int(left.argmin())
    more = f" (or one of {rows.size - 1} others like it)" if rows.size > 1 else ""
    mean = "" if factor == 1 else ", and the mean is over the counted rows"
    like = "a row counts unlike the others, as if left out or counted twice"
    text = f"{like}: the difference is a multiple of row {rows[i]}{more}{mean}"
    return Cause("row", text, {"row": float(rows[i])}, float(left[i]))


def _left_by_rows(design: Array, wanted: Array, allowed: Array, known: Array | None) -> Array:
    """Return what a multiple of each row (and of the penalty) leaves unexplained of the difference, (n,).

    Points and rows of theta are processed one by one, so that no array of all points, rows and components is held.
    """
    n = design.shape[0]
    weight, products, squares = np.zeros((3, n))

    def beside(k: int, what: Array) -> Array:
        """Return what each row leaves unexplained of a vector, (n, width), over the allowed difference."""
        rows = design / allowed[k]
        scale = (rows @ (what[k] / allowed[k])) / np.maximum((rows**2).sum(1), 1e-300)
        return what[k] / allowed[k] - scale[:, None] * rows

    if known is not None:
        for k in range(len(wanted)):
            rest, own = beside(k, wanted), beside(k, known)
            products, squares = products + (rest * own).sum(1), squares + (own * own).sum(1)
        weight = products / np.maximum(squares, 1e-300)
    left = np.zeros(n)
    for k in range(len(wanted)):
        rest = beside(k, wanted)
        if known is not None:
            rest = rest - weight[:, None] * beside(k, known)
        left = np.maximum(left, np.abs(rest).max(1) / (2 * WITHIN))
    return left
