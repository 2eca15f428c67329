"""The single charts of results, for pages and notebooks: time, ratios, agreement, memory, bandwidth.

They are dictionaries of Vega-Lite: a page has up to a hundred of them, and altair's objects take 0.3 s each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from gdbackends.benchmarking.case import Case
from gdbackends.benchmarking.crossovers import Crossover, Series
from gdbackends.benchmarking.result_rows import Row, beside, by_case, known_ratio
from gdbackends.benchmarking.table_cells import size, timed, unusual
from gdbackends.pictures.palette import shade
from gdbackends.pictures.results.encodings import Look, about_rows, log_encoding, rounded, same, seconds_title
from gdbackends.pictures.results.table_rows import inline, point, time_point

Spec: TypeAlias = dict[str, Any]
"""A chart in Vega-Lite."""
Points: TypeAlias = Sequence[dict[str, Any]]
"""The rows of a chart's data."""
_SECONDS = seconds_title("datum.value")
_TIMES = "format(datum.value, '~r')"
_MEGABYTES = "format(datum.value, ',~r') + ' MB'"
_KNOWN = [{"filter": "isValid(datum.value)"}]
_POINT = {"type": "point", "filled": True, "strokeWidth": 1.5, "opacity": 1}
_ROWS = {"field": "rows", "type": "quantitative", "format": ","}
_CASE = {"field": "case"}


def time_panel(
    table: Sequence[Row], found: Sequence[Series], shown: Look, like: Sequence[Row] = (), *, legend: bool = True
) -> Spec:
    """Return time against rows, on an axis with room for the rows of `like`; crossovers of the fastest are shaded."""
    points = [time_point(row, timed(row)) for row in table]
    every = [*_ends(points), *_ends([time_point(row, "") for row in like])]
    value = log_encoding("value", every, f"time of a {table[0].case.work}", _SECONDS)
    usual = [each for each in found if each.tuning == shown.variants[0] or len(shown.variants) == 1]
    bands = _bands([c for each in usual for c in each.crossovers if _of_the_fastest(c, each)])
    return curves(points, shown, value, bands, sizes=[row.case.spec.rows for row in like], legend=legend)


def ratio_panel(points: Points, shown: Look, title: str, *, like: Points = (), legend: bool = True) -> Spec:
    """Return ratios against rows with a line at 1, on axes with room for the points of `like`."""
    value = log_encoding("value", [1.0, *_ends(points), *_ends(like)], title, _TIMES)
    return curves(points, shown, value, [rule_at(1.0, same(value))], sizes=[p["rows"] for p in like], legend=legend)


def curves(
    points: Points,
    shown: Look,
    value: Spec,
    more: Sequence[Spec] = (),
    *,
    sizes: Sequence[int] = (),
    legend: bool = True,
) -> Spec:
    """Return a line for each backend over the rows, with intervals and a gap at missing values.

    The first layer defines the scales and axes, which the others share.
    """
    across = about_rows([*sizes, *(p["rows"] for p in points)])
    colour = {"color": {"field": "backend"}}
    ends = {"x": same(across), "y": same(value, "low"), "y2": {"field": "high"}} | colour
    dots = {"x": same(across), "y": same(value), "tooltip": tip(shown, _ROWS)} | shown.encoding(legend=legend) | colour
    layers = [
        {"mark": "line", "encoding": {"x": across, "y": value} | shown.encoding(line=True, legend=legend)},
        {
            "transform": [{"filter": "isValid(datum.low)"}],
            "mark": {"type": "rule", "strokeWidth": 1.5},
            "encoding": ends,
        },
        {"transform": _KNOWN, "mark": _POINT, "encoding": dots},
        *more,
    ]
    return {"data": inline(points, "features"), "layer": layers}


def _ends(points: Points) -> list[float]:
    return [p[name] for p in points for name in ("value", "low", "high") if name in p]


def agreement_panel(table: Sequence[Row], shown: Look, *, legend: bool = True) -> Spec:
    """Return the agreement (the largest error over what rounding allows) against the speed relative to NumPy.

    Cases without a time are at the bottom; those whose speed is unknown are left out.
    """
    others = by_case(table)
    points = [p for row in table if (p := _judged(row, others))]
    speed = log_encoding("value", [1.0, *_ends(points)], "times as fast as NumPy", _TIMES)
    # a wrong result may differ by ten orders of magnitude: it is drawn at the edge, so as not to compress the others
    edge = 100 * max([1.0, *(p["agreement"] for p in points if "value" in p)])
    points = [p | {"agreement": min(p["agreement"], edge)} for p in points]
    allowed, title = [1.0, *(p["agreement"] for p in points)], "of what rounding allows"
    across = log_encoding("agreement", allowed, title, "format(datum.value, '~g')")
    tooltip = tip(shown, _CASE, {"field": "agreement", "type": "quantitative", "title": title})
    cross = {"type": "point", "shape": "cross", "filled": True, "color": shade("bad"), "angle": 45, "size": 140}
    dots = {"x": across, "y": speed, "tooltip": tooltip} | shown.encoding(legend=legend)
    failed = {"x": same(across), "y": {"value": "height"}, "tooltip": tip(shown, _CASE)}
    layers = [
        {"transform": _KNOWN, "mark": _POINT, "encoding": dots},
        {
            "transform": [{"filter": "!isValid(datum.value)"}],
            "mark": cross | {"opacity": 1, "yOffset": -9},
            "encoding": failed,
        },
        rule_at(1.0, same(speed)),
        rule_at(1.0, same(across), "x", "bad"),
    ]
    return {"data": inline(points, "rows", "features"), "layer": layers}


def _judged(row: Row, others: Mapping[Case, Row]) -> dict[str, Any] | None:
    """Return the agreement and the speed of a row, or its failure; None if neither is known."""
    base = beside(row, others, backend="numpy", device="cpu")
    against = known_ratio(row, base) if base else None
    if not row.agreement or (against is None and row.timing is not None):
        return None
    speed = 1 / against.value if against else None
    text = f"{speed:.2g} x NumPy" if speed else f"{row.status}, {row.agreement:.1g} of what rounding allows"
    return point(row.case, speed, text) | {"agreement": rounded(row.agreement, 2), "case": _what(row)}


def memory_panel(table: Sequence[Row], shown: Look, *, of: str = "peak_bytes", legend: bool = True) -> Spec:
    """Return the peak memory of the process, or of the device ("device_peak_bytes"), against the bytes of the data."""
    peaks = [(row, getattr(row, of) / 1e6) for row in table if getattr(row, of) is not None]
    points = [point(row.case, peak, f"{peak:,.0f} MB") | _bytes(row) for row, peak in peaks]
    axis = {"axis": {"labelExpr": _MEGABYTES}, "title": "peak memory"}
    return _by_bytes(points, shown, axis, legend)


def bandwidth_panel(table: Sequence[Row], shown: Look, *, legend: bool = True) -> Spec:
    """Return the fraction of the read bandwidth that is used, against the bytes of the data."""
    points = [point(row.case, row.share, f"{row.share:.0%}") | _bytes(row) for row in table if row.share is not None]
    return _by_bytes(points, shown, {"axis": {"format": ".0%"}, "title": "share of the read bandwidth"}, legend, 1.0)


def _by_bytes(points: Points, shown: Look, axis: Spec, legend: bool, limit: float | None = None) -> Spec:
    value = {"field": "value", "type": "quantitative", "scale": {"zero": True}} | axis
    across = log_encoding("bytes", [p["bytes"] for p in points], "bytes of X and y", _MEGABYTES)
    dots = {"x": across, "y": value, "tooltip": tip(shown, _CASE)} | shown.encoding(legend=legend)
    layers = [{"mark": _POINT, "encoding": dots}, *([] if limit is None else [rule_at(limit, same(value))])]
    return {"data": inline(points, "rows", "features"), "layer": layers}


def rule_at(at: float, axis: Spec, along: str = "y", name: str = "muted") -> Spec:
    """Return a dashed line at a value of an axis."""
    mark = {"type": "rule", "strokeDash": [3, 3], "color": shade(name), "strokeWidth": 1.5}
    return {"data": {"values": [{axis["field"]: at}]}, "mark": mark, "encoding": {along: axis}}


def tip(shown: Look, *more: Spec) -> list[Spec]:
    """Return the tooltip of a point; the title of a field is its name."""
    variants = [{"field": "variant"}] if len(shown.variants) > 1 else []
    return [{"field": "backend"}, *variants, {"field": "text", "title": "value"}, *more]


def _bytes(row: Row) -> dict[str, Any]:
    return {"bytes": rounded(row.case.spec.bytes / 1e6), "case": _what(row)}


def _what(row: Row) -> str:
    return ", ".join([row.case.work, size(row), *unusual(row)])


def _bands(found: Sequence[Crossover]) -> list[Spec]:
    """Return a band and a line for the interval and the estimate of each crossover."""
    values = [{"rows": rounded(c.rows, 2), "low": rounded(c.low, 2), "high": rounded(c.high, 2)} for c in found]
    data, rows = {"data": {"values": values}}, {"type": "quantitative", "title": "rows"}
    band = {"type": "rect", "opacity": 0.16, "color": shade("data")}
    estimate = {"type": "rule", "color": shade("data"), "strokeDash": [2, 3]}
    across = {"x": {"field": "low"} | rows, "x2": {"field": "high"}}
    layers = [{"mark": band, "encoding": across}, {"mark": estimate, "encoding": {"x": {"field": "rows"} | rows}}]
    return [data | layer for layer in layers] if found else []


def _of_the_fastest(crossing: Crossover, found: Series) -> bool:
    """Return whether the fastest backend changes at the crossover."""
    return any(
        crossing.small in before.first and crossing.large in after.first and before.rows <= crossing.rows <= after.rows
        for before, after in pairwise(found.winners)
    )
