"""Rows that a gradient counts unlike the others: exchanging rows changes it there, and not the right gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import isclose

import numpy as np

from gdbackends.gradcheck.checked_function import CheckedFunction, Runner
from gdbackends.gradcheck.evidence import WITHIN, Cause, Evidence
from gdbackends.gradcheck.mistakes import fit_terms, terms
from gdbackends.measurement.timing import seconds
from gdbackends.objectives import Array
from gdbackends.rounding.limit import Values

_MOST_ROWS = 200_000
_SLOW = 0.1
"""Seconds that one hand gradient may take, since it is evaluated about a hundred times."""
_MOST_ODD = 4
"""Number of separate rows that are listed; more must be neighbours."""
_ORDERS = 3


def odd_rows(checked: CheckedFunction, e: Evidence, run: Runner) -> Cause | None:
    """Return a cause if some rows are left out, or counted twice, by whatever loss and at whatever place.

    They are located by bisection, and then named only if the loss without them, or with them twice, has the gradient
    given, or the difference is a multiple of theirs and perhaps of a penalty.
    """
    tables = _Tables(checked, e)
    if not 3 <= tables.n <= _MOST_ROWS or seconds(lambda: checked.by_hand(e.points[0])) > _SLOW:
        return None
    try:
        rows = tables.odd() if tables.is_symmetric(run) else None
        return None if rows is None else _named(e, tables, rows, run)
    except Exception:  # of a hand gradient that needs its rows in order
        return None


@dataclass(frozen=True, eq=False)
class _Tables:
    """The data as tables of n rows, which may be put in another order.

    Attributes:
        checked: the function that is checked.
        evidence: the gradients.
    """

    checked: CheckedFunction
    evidence: Evidence

    @cached_property
    def n(self) -> int:
        """The largest number of rows; arrays with fewer are not tables."""
        return max((a.shape[0] for a in self.checked.data if a.ndim), default=0)

    def taken(self, order: Array) -> tuple[Array, ...]:
        """Return the data with these rows."""
        return tuple(a[order] if a.ndim and a.shape[0] == self.n else a for a in self.checked.data)

    @cached_property
    def orders(self) -> list[Array]:
        """Random orders of the rows, since neighbours may be alike."""
        generator = np.random.default_rng(0)
        return [generator.permutation(self.n) for _ in range(_ORDERS)]

    def _by_hand(self, k: int, order: Array) -> Array:
        """Return the hand gradient at the k-th last point, for rows in another order."""
        point = self.evidence.points[-1 - k % len(self.evidence.points)]
        return np.asarray(replace(self.checked, data=self.taken(order)).by_hand(point), np.float64).ravel()

    @cached_property
    def _before(self) -> list[Array]:
        return [self._by_hand(k, order) for k, order in enumerate(self.orders)]

    def is_symmetric(self, run: Runner) -> bool:
        """Return whether the order of the rows has no effect on the right gradient, but one on the gradient given."""
        e = self.evidence
        shuffled = run(e.points[-1:], self.taken(self.orders[0]))
        limit = WITHIN * e.tolerance[-1]
        if not isinstance(shuffled, Values) or not (np.abs(shuffled.gradients[0] - e.autodiff[-1]) <= limit).all():
            return False
        return self.is_mixed(np.arange(self.n))

    def is_mixed(self, rows: Array) -> bool:
        """Return whether some of the places count unlike others: exchanging what they hold changes the gradient."""
        if rows.size < 2:
            return False
        generator = np.random.default_rng(rows.size)
        for k, order in enumerate(self.orders):
            other = order.copy()
            other[rows] = order[np.roll(generator.permutation(rows), 1) if rows.size > 2 else rows[::-1]]
            limit = WITHIN * self.evidence.tolerance[-1 - k % len(self.evidence.points)]
            if not (np.abs(self._by_hand(k, other) - self._before[k]) <= limit).all():
                return True
        return False

    def odd(self) -> Array | None:
        """Return the rows that count unlike most others; None if there are many that are not neighbours."""
        n, every = self.n, np.arange(self.n)
        first = _first(lambda k: self.is_mixed(every[: k + 1]), n)  # unlike the rows before it
        last = n - 1 - _first(lambda k: self.is_mixed(every[n - k - 1 :]), n)  # unlike the rows after it
        if first > last:  # there are two parts
            return every[:first] if first <= n - first else every[first:]
        if not self.is_mixed(every[first : last + 1]):
            return every[first : last + 1]
        usual = 0 if first > n - 1 - last else n - 1
        found: list[int] = []
        for row in self._unlike(usual, every[first : last + 1]):
            found.append(row)
            if len(found) > _MOST_ODD:
                return None
        return np.array(found)

    def _unlike(self, usual: int, rows: Array) -> Iterator[int]:
        """Yield the rows that count unlike a usual one."""
        if not self.is_mixed(np.append(usual, rows)):
            return
        if rows.size == 1:
            yield int(rows[0])
            return
        for half in np.array_split(rows, 2):
            yield from self._unlike(usual, half)

    def is_left_out(self, rows: Array) -> bool:
        """Return whether the hand gradient stays the same when the rows are replaced by another one."""
        others = np.setdiff1d(np.arange(self.n), rows)[[0, -1]]
        for k, order in enumerate(self.orders):
            other = order.copy()
            other[rows] = order[others[k % 2]]
            limit = WITHIN * self.evidence.tolerance[-1 - k % len(self.evidence.points)]
            if not (np.abs(self._by_hand(k, other) - self._before[k]) <= limit).all():
                return False
        return True


def _first(holds: Callable[[int], bool], n: int) -> int:
    """Return the least k below n for which a condition holds that stays true for larger ones."""
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _named(e: Evidence, tables: _Tables, rows: Array, run: Runner) -> Cause | None:
    """Return the cause for rows that count unlike the others, or None if nothing explains the difference."""
    n, said, constants = tables.n, _listed(rows), {"row": float(rows[0]), "rows": float(rows.size)}
    verb, every = "is" if rows.size == 1 else "are", np.arange(n)
    for order, text in (
        (np.delete(every, rows), f"left out: {e.subject} is the gradient over the other {n - rows.size} rows"),
        (np.append(every, rows), f"counted twice: {e.subject} is the gradient over {n + rows.size} rows"),
    ):
        values = run(e.points, tables.taken(order))
        left = e.unexplained(values.gradients) if isinstance(values, Values) else np.inf
        if left <= 1:
            return Cause("row", f"{said} {verb} {text}", constants, left)
    alone = run(e.points, tables.taken(rows))
    found = _multiple(e, alone.gradients) if isinstance(alone, Values) else None
    if found is None:
        return None
    c, left = found
    text = f"{said} counts unlike the others: the difference is {c:.6g} times its own gradient"
    if tables.is_left_out(rows):
        text = f"{said} {verb} left out, and the mean is still over {n} rows"
    elif isclose(c, rows.size / n, rel_tol=1e-6):
        text = f"{said} {verb} counted twice, and the mean is still over {n} rows"
    elif rows.size > 1:
        text = f"{said} count unlike the others: the difference is {c:.6g} times the gradient of their mean"
    return Cause("row", text, constants, left)


def _multiple(e: Evidence, alone: Array) -> tuple[float, float] | None:
    """Return the multiple of a gradient that the difference is, perhaps but for a penalty, and what it leaves."""
    for term in (None, *(terms(e).values() if alone.shape[1] > 1 else ())):
        columns = [alone] if term is None else [alone, term]
        found = fit_terms(e, e.hand - e.autodiff, columns)
        if found is None:
            continue
        left = e.unexplained(e.autodiff + sum(c * column for c, column in zip(found, columns, strict=True)), 1)
        if left <= 1:
            return float(found[0]), left
    return None


def _listed(rows: Array) -> str:
    """Return rows in words."""
    if rows.size == 1:
        return f"row {rows[0]}"
    if rows[-1] - rows[0] == rows.size - 1:
        return f"the {rows.size} rows from {rows[0]} to {rows[-1]}"
    return f"rows {', '.join(map(str, rows[:-1]))} and {rows[-1]}"
