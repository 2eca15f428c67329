"""Charts of the trade-off between the first call and later calls, and of crossovers of two backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gdbackends.benchmarking.case import BackendConfig
from gdbackends.benchmarking.crossovers import Crossover
from gdbackends.benchmarking.result_rows import Row
from gdbackends.benchmarking.table_cells import size, timed
from gdbackends.measurement.formatting import duration
from gdbackends.pictures.palette import shade
from gdbackends.pictures.results.encodings import Look, log_encoding, rounded, same, seconds_title, variant
from gdbackends.pictures.results.panels import Points, Spec, curves
from gdbackends.pictures.results.table_rows import inline, point

_CALLS = (0, 10, 100, 1000, 10_000, 100_000, 1_000_000)


def first_call_panel(table: Sequence[Row], shown: Look, every: Sequence[Row] = (), *, bound: bool = True) -> Spec:
    """Return stacked bars of the first call and later calls, for a size and a number of calls that the reader selects.

    Args:
        table: the rows.
        shown: the look.
        every: the rows whose sizes can be selected; by default those of the table.
        bound: whether the chart has its own inputs; otherwise it follows those of another chart.
    """
    sizes = sorted({(row.case.spec.features, row.case.spec.rows, size(row)) for row in _timed(every or table)})
    numbers = {name: k for k, (_, _, name) in enumerate(sizes)}
    data = [_bar(row, numbers[size(row)]) for row in _timed(table)]
    config = {
        "field": "label",
        "type": "nominal",
        "title": None,
        "sort": _order(data, shown),
        "axis": {"labelLimit": 130},
    }
    axis = {"labelExpr": seconds_title("datum.value"), "tickCount": 4}
    first: Spec = {"field": "first", "type": "quantitative", "stack": None, "axis": axis}
    first |= {"title": "time in all"}
    whole = {"field": "total", "type": "quantitative", "title": first["title"]}
    looks = {name: each for name, each in shown.encoding(legend=False).items() if name in ("color", "stroke")}
    bar = {"type": "bar", "height": {"band": 0.6}, "strokeWidth": 1.5}
    pale = {"x": same(first) | {"stack": None}, "x2": {"field": "total"}, "fillOpacity": {"value": 0.4}} | looks
    text = {"type": "text", "align": "left", "dx": 5, "color": shade("ink")}
    return {
        "params": _chosen(list(numbers), bound),
        "data": inline(data, "rows", "features"),
        "transform": [
            {"filter": "datum.problem == problem"},
            {"calculate": "datum.first + datum.value * calls", "as": "total"},
            {"calculate": seconds_title("datum.total"), "as": "total_text"},
            {"calculate": "1.35 * datum.total", "as": "room"},  # room for the text
        ],
        "layer": [
            {"mark": bar, "encoding": {"x": first, "y": config, "tooltip": _told("first_text", "first call")} | looks},
            {"mark": bar, "encoding": pale | {"y": config, "tooltip": _told("text", "a call after it")}},
            {"mark": {"type": "point", "opacity": 0}, "encoding": {"x": whole | {"field": "room"}, "y": config}},
            {"mark": text, "encoding": {"x": whole, "y": config, "text": {"field": "total_text"}}},
        ],
    }


def _told(field: str, title: str) -> list[Spec]:
    names = {"label": "backend", field: title}
    return [{"field": name, "title": text} for name, text in names.items()]


def _chosen(sizes: Sequence[str], bound: bool) -> list[Spec]:
    """Return the parameters that the reader selects: the number of the problem, and the number of calls."""
    problems = {"options": list(range(len(sizes))), "labels": list(sizes), "name": "rows x features"}
    counts = [f"{count:,}" for count in _CALLS]
    calls = {"options": list(_CALLS), "labels": counts, "name": "calls after the first"}
    found: list[Spec] = [{"name": "problem", "value": len(sizes) // 2}, {"name": "calls", "value": 1000}]
    binds = [{"bind": {"input": "select"} | bind} for bind in (problems, calls)]
    return [param | bind for param, bind in zip(found, binds, strict=True)] if bound else found


def _order(data: Sequence[dict[str, Any]], shown: Look) -> list[str]:
    """Return the backends in the order of the legend."""
    order = [*shown.names, *shown.variants]
    return list(
        dict.fromkeys(
            p["label"] for p in sorted(data, key=lambda p: (order.index(p["backend"]), order.index(p["variant"])))
        )
    )


def _timed(table: Sequence[Row]) -> list[Row]:
    return [row for row in table if row.timing is not None and row.first_call_s is not None]


def _bar(row: Row, problem: int) -> dict[str, Any]:
    """Return the fields of a bar: seconds of the first call and of a later one, and the number of the problem."""
    assert row.timing is not None
    found = point(row.case, row.timing.median, timed(row)) | {"first": rounded(row.first_call_s), "problem": problem}
    return found | {"label": row.case.config.label, "first_text": duration(row.first_call_s)}


def paid_points(found: Mapping[str, Sequence[tuple[float, Row]]]) -> list[dict[str, Any]]:
    """Return the results of `paid` as points: the number of steps after which a first call has paid off."""
    both = [(row, float(f"{steps:.2g}")) for each in found.values() for steps, row in each]
    points = [point(row.case, steps, f"{steps:,.0f} steps") for row, steps in both]
    return sorted(points, key=lambda p: p["rows"])


def paid_panel(points: Points, shown: Look, *, like: Points = (), legend: bool = True) -> Spec:
    """Return the steps after which the first call has paid off, against rows, with room for the points of `like`."""
    every = [p["value"] for p in (*points, *like)]
    steps = log_encoding("value", every, "steps until paid", "format(datum.value, '~s')")
    return curves(points, shown, steps, sizes=[p["rows"] for p in like], legend=legend)


def crossover_panel(found: Sequence[Crossover], names: Sequence[str], shown: Look) -> Spec:
    """Return the crossovers, each as an interval with the two backends at its ends.

    Args:
        found: the crossovers, from top to bottom.
        names: the title of each.
        shown: the look.
    """
    ends = [(crossing.low, crossing.small, crossing.high, crossing.large) for crossing in found]
    points: list[dict[str, Any]] = [
        {
            "rows": rounded(rows, 2),
            "backend": BackendConfig(config.backend).label,
            "variant": variant(config),
            "text": config.label,
            "lane": k,
        }
        for k, (low, small, high, large) in enumerate(ends)
        for rows, config in ((low, small), (high, large))
    ]
    lanes = [
        {"rows": rounded(c.rows, 2), "low": rounded(c.low, 2), "high": rounded(c.high, 2), "lane": k, "name": name}
        for k, (c, name) in enumerate(zip(found, names, strict=True))
    ]
    rows = [p["rows"] for p in points]
    across = log_encoding("rows", rows, "rows", "format(datum.value, '~s')")
    lane = {"field": "lane", "type": "ordinal", "axis": None, "scale": {"paddingOuter": 0.2}}
    names_of: Spec = {"field": "name"}
    tooltip = [{"field": "text", "title": "backend"}, {"field": "rows", "format": ","}]
    rule = {"type": "rule", "strokeWidth": 3, "color": shade("data"), "yOffset": 8}
    tick = {"type": "tick", "thickness": 3, "height": 16, "color": shade("ink"), "yOffset": 8}
    dot = {"type": "point", "filled": True, "opacity": 1, "strokeWidth": 1.5, "size": 90, "yOffset": 8}
    text = {"type": "text", "align": "left", "dy": -12, "fontSize": 12, "color": shade("ink")}
    looks = {"x": same(across), "y": lane, "tooltip": tooltip} | shown.encoding(legend=False)
    return {
        "data": inline(lanes),
        "layer": [
            {"mark": tick, "encoding": {"x": across, "y": lane}},
            {"mark": rule, "encoding": {"x": same(across, "low"), "x2": {"field": "high"}, "y": lane}},
            {"mark": tick, "encoding": {"x": same(across), "y": lane}},
            {"mark": text, "encoding": {"x": {"value": 4}, "y": lane, "text": names_of}},
            {"data": inline(points), "mark": dot, "encoding": looks},
        ],
    }
