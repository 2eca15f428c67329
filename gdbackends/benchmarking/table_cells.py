"""Format rows of results as the cells of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from gdbackends.benchmarking.case import WORKS, Case
from gdbackends.benchmarking.result_rows import WIDEST, Row, beside, by_case, known, known_ratio, known_time, ratio
from gdbackends.measurement.formatting import duration
from gdbackends.measurement.statistics import MIN_LAUNCHES, Estimate

USUAL = ("squared", "float64", "best")
"""Default settings, which tables do not mention."""
UNKNOWN = "?"
"""The text of what too few launches or too much noise leave unknown."""
_ORDER = {name: k for k, name in enumerate(WORKS)}


def ordered(table: Sequence[Row]) -> list[Row]:
    """Return the rows sorted by work, objective, dtype, features, rows and config."""

    def key(row: Row) -> tuple[object, ...]:
        spec = row.case.spec
        size = (spec.features, spec.rows)
        return (
            _ORDER.get(row.case.work, len(_ORDER)),
            row.case.work,
            spec.objective,
            spec.dtype,
            *size,
            row.case.config.label,
        )

    return sorted(table, key=key)


def cells(table: Sequence[Row]) -> dict[str, list[str]]:
    """Return the columns by title, with a text for each row; empty columns are omitted."""
    others = by_case(table)
    beside_others: dict[str, Callable[[Row], str]] = {
        "x loss": lambda row: _over_loss(row, others),
        "x NumPy": lambda row: _over_numpy(row, others),
        "x idiomatic": lambda row: _over_idiomatic(row, others),
    }
    written = {title: beside_others.get(title) or WRITTEN[title] for title in _TITLES}
    columns = {title: [write(row) for row in table] for title, write in written.items()}
    return {title: column for title, column in columns.items() if any(cell not in ("-", "") for cell in column)}


def unusual(row: Row) -> list[str]:
    """Return the objective and the dtype if they are not the defaults."""
    return [text for text in (row.case.spec.objective, row.case.spec.dtype) if text not in USUAL]


def size(row: Row) -> str:
    """Format the size of the problem: rows x features."""
    return f"{row.case.spec.rows:,} x {row.case.spec.features:,}"


def shown_ratio(estimate: Estimate | None) -> str:
    """Format a ratio with its interval; "?" if the interval is too wide, "-" if there is no ratio."""
    if estimate is None:
        return "-"
    found = known(estimate)
    return UNKNOWN if found is None else f"{found.value:.2g} ({shown_ends(found)})"


def shown_ends(estimate: Estimate) -> str:
    """Format the ends of an interval."""
    return f"{estimate.low:.2g} to {estimate.high:.2g}"


def shown_over(row: Row, base: Row | None) -> str:
    """Format the ratio of the times of two rows; "?" if it is unknown, "-" if it does not exist."""
    if base is None or base is row or ratio(row, base) is None:
        return "-"
    found = known_ratio(row, base)
    return UNKNOWN if found is None else shown_ratio(found)


def timed(row: Row) -> str:
    """Format the time of a call with the half width of its interval, or the status if there is no time."""
    if row.timing is None:
        return row.status
    found, mark = known_time(row), "" if row.status == "ok" else " *"
    half = None if found is None else found.spread
    reach = UNKNOWN if half is None else f"± {half:.0%}" if half < 1 else f"x/÷ {1 + half:.2g}"
    return f"{duration(row.timing.median)} {reach}{mark}"


def unknown_note(texts: Iterable[str]) -> list[str]:
    """Return the sentence that explains "?", as a list, or an empty list if no cell has one."""
    few = f"fewer than {MIN_LAUNCHES} launches (for a ratio, of both)"
    note = f"{UNKNOWN}: unknown, from {few} or with an interval wider than a factor of {WIDEST:g}"
    return [note] if any(UNKNOWN in text.split() for text in texts) else []


def _over_idiomatic(row: Row, others: Mapping[Case, Row]) -> str:
    """Format the ratio to the time of the same backend with idiomatic tuning."""
    return shown_over(row, beside(row, others, tuning="idiomatic"))


def _over_numpy(row: Row, others: Mapping[Case, Row]) -> str:
    return shown_over(row, beside(row, others, backend="numpy", device="cpu"))


def _over_loss(row: Row, others: Mapping[Case, Row]) -> str:
    return shown_over(row, beside(row, others, work="loss") if row.case.work == "gradient" else None)


def _megabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:,.0f} MB"


WRITTEN: dict[str, Callable[[Row], str]] = {
    "work": lambda row: row.case.work,
    "rows": lambda row: f"{row.case.spec.rows:,}",
    "features": lambda row: f"{row.case.spec.features:,}",
    "": lambda row: " ".join(unusual(row)),
    "backend": lambda row: row.case.config.label,
    "transfer": lambda row: duration(row.transfer_s),
    "first call": lambda row: duration(row.first_call_s),
    "a call": timed,
    "memory": lambda row: _megabytes(row.peak_bytes),
    "on device": lambda row: _megabytes(row.device_peak_bytes),
    "bandwidth": lambda row: "-" if row.share is None else f"{row.share:.0%}",
    "agrees": lambda row: "-" if row.agreement is None or row.timing is None else f"{row.agreement:.0e}",
    "plan": lambda row: row.plan,
}
"""The columns that depend on a single row."""
_RATIOS = ("x loss", "x NumPy", "x idiomatic")
_TITLES = (*list(WRITTEN)[:8], *_RATIOS, *list(WRITTEN)[8:])
