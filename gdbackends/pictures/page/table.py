"""The report page's table of all rows: the cells that are seen, and the figures behind them, to be sorted and saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gdbackends.benchmarking.result_rows import records
from gdbackends.benchmarking.table_cells import cells, ordered
from gdbackends.pictures.page.wording import ResultFile
from gdbackends.pictures.results.encodings import rounded

_KEYS = {
    "rows": "rows",
    "features": "features",
    "transfer": "transfer_s",
    "first call": "first_call_s",
    "a call": "median_s",
    "x NumPy": "ratio_to_numpy",
    "memory": "peak_bytes",
    "on device": "device_peak_bytes",
    "bandwidth": "bandwidth_share",
    "agrees": "agreement",
}
"""What a column is sorted by; another by its texts, or the numbers that they begin with."""
_FIRST = ("file", "work", "rows", "features", "kind", "backend", "a call", "x NumPy", "agrees")
"""The columns that come first."""
_LEFT = ("file", "work", "kind", "backend", "plan")


@dataclass(frozen=True, eq=False)
class RowsTable:
    """The table.

    Attributes:
        columns: titles, and whether a column holds texts.
        lines: as many cells each.
        data: for the page's script: the fields that `export` writes, each the value of all rows or a list of them,
            and what each column is sorted by.
    """

    columns: list[tuple[str, bool]]
    lines: list[tuple[str, ...]]
    data: dict[str, Any]

    @property
    def style(self) -> str:
        """The CSS by which the cells of texts stand to the left."""
        left = [f"#table td:nth-child({k})" for k, (_, text) in enumerate(self.columns, 1) if text]
        return f"{','.join(left)}{{text-align:left}}"


def rows_table(files: Sequence[ResultFile]) -> RowsTable:
    """Return the table of all rows of all files; the file is a column where there are several."""
    seen: list[dict[str, list[str]]] = []
    figures: list[dict[str, Any]] = []
    for file in files:
        rows = ordered(file.rows)
        named = {"file": [file.name] * len(rows)} if len(files) > 1 else {}
        seen.append(named | {title or "kind": column for title, column in cells(rows).items()})
        by_case = {tuple(record[name] for name in rows[0].case.to_dict()): record for record in records(file.results)}
        for row in rows:
            record = by_case[tuple(row.case.to_dict().values())]
            figures.append(({"file": file.name} if named else {}) | record)
    held = dict.fromkeys(title for columns in seen for title in columns)
    titles = [title for title in dict.fromkeys([*_FIRST, *held]) if title in held]
    lines = [line for each in seen for line in _lines(each, titles)]
    data = {"keys": [_KEYS.get(title) for title in titles], "count": len(lines), "fields": _fields(figures)}
    return RowsTable([(title, title in _LEFT) for title in titles], lines, data)


def _lines(columns: dict[str, list[str]], titles: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the rows of a file, with a dash where it lacks a column that another has."""
    count = len(next(iter(columns.values())))
    return list(zip(*(columns.get(title, ["-"] * count) for title in titles), strict=True))


def _fields(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return each field as a list, or as one value in a list of its own where all rows have it."""
    columns = {name: [_six(figure[name]) for figure in figures] for name in figures[0]}
    return {n: column[:1] if all(v == column[0] for v in column) else column for n, column in columns.items()}


def _six(value: Any) -> Any:
    """Return six digits of a measured number, which has three or four."""
    return rounded(value, 6) if isinstance(value, float) else value
