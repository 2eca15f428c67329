"""The rows that charts of results are made of: sorted into groups and panels, and as the points of a chart."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple, TypeAlias

from gdbackends.benchmarking.case import BackendConfig, Case
from gdbackends.benchmarking.result_rows import Row, beside, by_case, ratio, result_rows, spread
from gdbackends.benchmarking.results import Results
from gdbackends.benchmarking.table_cells import shown_ratio
from gdbackends.errors import InputError
from gdbackends.measurement.statistics import Estimate
from gdbackends.pictures.results.encodings import rounded, variant

Table: TypeAlias = Results | Sequence[Row]
"""What every chart of results takes."""
_ORDER = ("step", "fit", "gradient", "loss")


class Group(NamedTuple):
    """What is compared with each other: sizes may differ, and nothing else."""

    work: str
    objective: str
    dtype: str

    @classmethod
    def of(cls, case: Case) -> Group:
        """Return the group of a case."""
        return cls(case.work, case.spec.objective, case.spec.dtype)

    def __str__(self) -> str:
        """Return it as a reader chooses it."""
        return f"{self.work}, {self.objective} loss, {self.dtype}"


def rows_in(table: Table) -> list[Row]:
    """Return the rows, those of results too.

    Raises:
        InputError: none of them has a time.
    """
    found = result_rows(table) if isinstance(table, Results) else list(table)
    if all(row.timing is None for row in found):
        where = f"{table.path}: " if isinstance(table, Results) else ""
        raise InputError(f"{where}no row has a time, so there is nothing to draw; gdbackends bench times them")
    return found


def groups(table: Sequence[Row]) -> dict[Group, list[Row]]:
    """Return the rows by group, the usual ones first; a group in which nothing has a time is left out."""
    found: dict[Group, list[Row]] = {}
    for row in table:
        found.setdefault(Group.of(row.case), []).append(row)

    def key(group: Group) -> tuple[Any, ...]:
        usual = group.objective != "squared", group.dtype != "float64"
        return (*usual, _ORDER.index(group.work), group)

    return {each: found[each] for each in sorted(found, key=key) if any(row.timing for row in found[each])}


def by_features(table: Sequence[Row]) -> dict[int, list[Row]]:
    """Return the rows of each number of features, smaller sizes first."""
    counts = sorted({row.case.spec.features for row in table})
    every = sorted(table, key=lambda row: row.case.spec.rows)
    return {d: [row for row in every if row.case.spec.features == d] for d in counts}


def features(count: int) -> str:
    """Return the title of a panel."""
    return f"{count:,} feature{'s' if count > 1 else ''}"


def point(case: Case, value: float | None, words: str, interval: tuple[float, float] | None = None) -> dict[str, Any]:
    """Return what a chart knows of a row: fields as `result_scales` names them; one without a value is left out."""
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
    """Return points as the data of a chart, without the fields that it does not use."""
    return {"values": [{name: v for name, v in p.items() if name not in unused} for p in points]}


def time_point(row: Row, words: str) -> dict[str, Any]:
    """Return the time of a row; its interval, if there are launches enough for one."""
    timing = row.timing
    if timing is None:
        return point(row.case, None, words)
    return point(row.case, timing.median, words, timing.interval if spread(row) < inf else None)


def ratio_points(some: Sequence[Row], table: Sequence[Row], **other: str) -> list[dict[str, Any]]:
    """Return the time of each row over that of the one in the table in which these names of the case are otherwise."""
    found: list[dict[str, Any]] = []
    others = by_case(table)
    for row in some:
        base = beside(row, others, **other)
        if base is not None and base is not row and (against := ratio(row, base)) is not None:
            found.append(ratio_point(row.case, against))
    return found


def ratio_point(case: Case, against: Estimate) -> dict[str, Any]:
    """Return a ratio with its interval."""
    ends = (against.low, against.high) if against.spread < inf else None
    return point(case, against.value, shown_ratio(against), ends)
