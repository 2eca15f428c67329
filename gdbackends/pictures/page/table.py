"""The table of all rows of the report page: the cells, and the exported fields by which they are sorted and saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gdbackends.benchmarking.machines import ResultFile
from gdbackends.benchmarking.result_rows import records
from gdbackends.benchmarking.table_cells import cells, ordered
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
"""The field by which a column is sorted; other columns are sorted by their texts, or by the numbers at their start."""
_FIRST = ("file", "work", "rows", "features", "kind", "backend", "a call", "x NumPy", "agrees")
"""The first columns, in order."""
_LEFT = ("file", "work", "kind", "backend", "plan")


@dataclass(frozen=True, eq=False)
class RowsTable:
    """The table of all rows.

    Attributes:
        columns: the titles, and whether a column contains text.
        lines: the cells of each row.
        data: the data for the page's script: the exported fields, each a list of the values of all rows or of their
            common value, and the field by which each column is sorted.
    """

    columns: list[tuple[str, bool]]
    lines: list[tuple[str, ...]]
    data: dict[str, Any]

    @property
    def style(self) -> str:
        """The CSS that aligns the columns of text to the left."""
        left = [f"#table td:nth-child({k})" for k, (_, text) in enumerate(self.columns, 1) if text]
        return f"{','.join(left)}{{text-align:left}}"


def rows_table(files: Sequence[ResultFile]) -> RowsTable:
    """Return the table of all rows of all files, with a column for the file if there are several."""
    columns: list[dict[str, list[str]]] = []
    fields: list[dict[str, Any]] = []
    for file in files:
        rows = ordered(file.rows)
        named = {"file": [file.name] * len(rows)} if len(files) > 1 else {}
        columns.append(named | {title or "kind": column for title, column in cells(rows).items()})
        by_case = {tuple(record[name] for name in rows[0].case.to_dict()): record for record in records(file.results)}
        for row in rows:
            record = by_case[tuple(row.case.to_dict().values())]
            fields.append(({"file": file.name} if named else {}) | record)
    present = dict.fromkeys(title for each in columns for title in each)
    titles = [title for title in dict.fromkeys([*_FIRST, *present]) if title in present]
    lines = [line for each in columns for line in _lines(each, titles)]
    data = {"keys": [_KEYS.get(title) for title in titles], "count": len(lines), "fields": _fields(fields)}
    return RowsTable([(title, title in _LEFT) for title in titles], lines, data)


def _lines(columns: dict[str, list[str]], titles: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the lines of a file, with a dash for columns that only other files have."""
    count = len(next(iter(columns.values())))
    return list(zip(*(columns.get(title, ["-"] * count) for title in titles), strict=True))


def _fields(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the values of each field, or a list of one value if all rows have the same."""
    columns = {name: [_six(figure[name]) for figure in figures] for name in figures[0]}
    return {n: column[:1] if all(v == column[0] for v in column) else column for n, column in columns.items()}


def _six(value: Any) -> Any:
    """Round a float to six digits; measured numbers have three or four."""
    return rounded(value, 6) if isinstance(value, float) else value
