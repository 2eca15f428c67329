"""Group the rows of results for charts, and convert them to the points of a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from gdbackends.benchmarking.case import WORKS, BackendConfig, Case
from gdbackends.benchmarking.result_rows import Row, beside, by_case, known, known_ratio, known_time, result_rows
from gdbackends.benchmarking.results import Results
from gdbackends.benchmarking.table_cells import shown_ratio
from gdbackends.errors import InputError
from gdbackends.measurement.statistics import Estimate
from gdbackends.objectives import parse_loss
from gdbackends.pictures.results.encodings import rounded, variant

Table: TypeAlias = Results | Sequence[Row]
"""The data of a chart of results."""
_ORDER = tuple(sorted(WORKS, key=("step", "fit").__contains__, reverse=True))
"""Descents first, since they are what most people ask about."""


class Group(NamedTuple):
    """The cases that a chart compares, which differ only in size and backend."""

    work: str
    objective: str
    dtype: str

    @classmethod
    def of(cls, case: Case) -> Group:
        """Return the group of a case."""
        return cls(case.work, case.spec.objective, case.spec.dtype)

    def __str__(self) -> str:
        """Return the title of the group."""
        return f"{self.work}, {self.objective}{' loss' if _is_loss(self.objective) else ''}, {self.dtype}"


def _is_loss(objective: str) -> bool:
    """Return whether an objective is a bundled loss; it may be any text."""
    try:
        parse_loss(objective)
    except InputError:
        return False
    return True


def rows_in(table: Table) -> list[Row]:
    """Return the rows of a table.

    Raises:
        InputError: no row has a time.
    """
    rows = result_rows(table) if isinstance(table, Results) else list(table)
    if all(row.timing is None for row in rows):
        where = f"{table.path}: " if isinstance(table, Results) else ""
        raise InputError(f"{where}no row has a time, so there is nothing to draw; time them with gdbackends bench")
    return rows


def groups(table: Sequence[Row]) -> dict[Group, list[Row]]:
    """Return the rows by group, in order of objective, dtype and workload; groups without a time are omitted."""
    by_group: dict[Group, list[Row]] = {}
    for row in table:
        by_group.setdefault(Group.of(row.case), []).append(row)

    def key(group: Group) -> tuple[Any, ...]:
        other = group.objective != "squared", group.dtype != "float64"
        return (*other, _ORDER.index(group.work), group)

    return {each: by_group[each] for each in sorted(by_group, key=key) if any(row.timing for row in by_group[each])}


def by_features(table: Sequence[Row]) -> dict[int, list[Row]]:
    """Return the rows by number of features, sorted by size."""
    counts = sorted({row.case.spec.features for row in table})
    every = sorted(table, key=lambda row: row.case.spec.rows)
    return {d: [row for row in every if row.case.spec.features == d] for d in counts}


def features(count: int) -> str:
    """Return a number of features as the title of a panel."""
    return f"{count:,} feature{'s' if count > 1 else ''}"


def point(case: Case, value: float | None, words: str, interval: tuple[float, float] | None = None) -> dict[str, Any]:
    """Return the fields of a row, as described in `encodings`; unknown numbers are omitted."""
    low, high = interval or (None, None)
    numbers = {
        "rows": case.spec.rows,
        "value": rounded(value),
        "low": rounded(low),
        "high": rounded(high),
        "features": case.spec.features,
    }
    texts = {"backend": BackendConfig(case.config.backend).label, "variant": variant(case.config), "text": words}
    return {name: number for name, number in numbers.items() if number is not None} | texts


def inline(points: Sequence[dict[str, Any]], *unused: str) -> dict[str, Any]:
    """Return points as the data of a chart, without the unused fields."""
    return {"values": [{name: v for name, v in p.items() if name not in unused} for p in points]}


def time_point(row: Row, words: str) -> dict[str, Any]:
    """Return the time of a row, with its interval if that is known."""
    if row.timing is None:
        return point(row.case, None, words)
    return point(row.case, row.timing.median, words, row.timing.interval if known_time(row) else None)


def ratio_points(some: Sequence[Row], table: Sequence[Row], **other: str) -> list[dict[str, Any]]:
    """Return the ratio of each row's time to that of the row whose case has the other values given, where known."""
    points: list[dict[str, Any]] = []
    others = by_case(table)
    for row in some:
        base = beside(row, others, **other)
        if base is not None and base is not row and (against := known_ratio(row, base)) is not None:
            points.append(ratio_point(row.case, against))
    return points


def ratio_point(case: Case, against: Estimate) -> dict[str, Any]:
    """Return a ratio with its interval, if that is known."""
    ends = (against.low, against.high) if known(against) else None
    return point(case, against.value, shown_ratio(against), ends)
