"""Mistakes in the data rows: one is left out, or counted twice, and the mean perhaps taken of those that remain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gdbackends.agreement.evidence import WITHIN, Cause, Evidence
from gdbackends.objectives import Array


def designs(X: Array, d: int) -> Iterator[Array]:
    """Yield X as it multiplies d parameters: as it is, or with a column of ones behind or in front."""
    ones = np.ones((X.shape[0], 1))
    if X.shape[1] == d:
        yield X
    elif X.shape[1] == d - 1:
        yield np.concatenate((X, ones), axis=1)
        yield np.concatenate((ones, X), axis=1)


def row_left_out(e: Evidence) -> Iterator[Cause]:
    """At every point the difference is a multiple of one data row, or one multiple for each row of a matrix theta.

    Where the mean is taken of the n - 1 rows that remain, that holds of the difference from n/(n - 1) times the right
    gradient, but for the penalty, which stays as it was: 1/(n - 1) of it is a multiple of theta, or of its signs.
    """
    width = e.shape[-1] if e.shape else 1
    if width < 2:
        return
    weights = e.points.copy()
    weights[:, -1] = 0
    penalties = (None, e.points, weights, np.sign(e.points))
    for X in e.data:
        if X.ndim != 2 or X.dtype.kind not in "fi":
            continue
        for design in designs(X.astype(np.float64), width):
            n = design.shape[0]
            for factor in (1.0, n / (n - 1), n / (n + 1)) if n > 1 else (1.0,):
                for penalty in penalties:
                    if factor == 1 and penalty is not None:
                        continue
                    left = _left_by_rows(e, design, e.hand - factor * e.right, penalty)
                    i = int(np.argmin(left))
                    if left[i] <= 1:
                        yield _cause(left, i, factor)
                        return


def _cause(left: Array, i: int, factor: float) -> Cause:
    same = int((left <= 1).sum())
    more = f" (or one of {same - 1} others like it)" if same > 1 else ""
    mean = "" if factor == 1 else ", and the mean is of the rows that are counted"
    text = f"a data row is left out or counted twice: the difference is a multiple of row {i}{more}{mean}"
    return Cause("row", text, {"row": float(i)}, float(left[i]))


def _left_by_rows(e: Evidence, design: Array, difference: Array, penalty: Array | None) -> Array:
    """Return for each row what it leaves of the difference as a multiple of it (and one multiple of the penalty), (n,).

    One point and one row of theta after another, so that no array of all points, rows and components is held.
    """
    n, width = design.shape
    wanted, allowed = difference.reshape(-1, width), e.tolerance.reshape(-1, width)
    known = None if penalty is None else penalty.reshape(-1, width)
    weight, products, squares = np.zeros((3, n))

    def beside(k: int, what: Array) -> Array:
        """Return what each row leaves of a vector, (n, width), over the allowance."""
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
