"""Charts of a gradient report: the agreement of each pair, and the components that differ most."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from gdbackends.errors import InputError
from gdbackends.gradcheck import GradientReport
from gdbackends.pictures.palette import shade
from gdbackends.pictures.results.encodings import log_encoding, rounded, same
from gdbackends.pictures.results.panels import Spec, rule_at
from gdbackends.pictures.results.table_rows import inline
from gdbackends.pictures.results.theme import alone

_LEAST = 1e-4
"""The value at which a ratio of 0 is drawn on a logarithmic axis."""


def votes(report: GradientReport) -> Any:
    """Return the largest difference of each pair over what rounding allows, as an altair chart.

    Raises:
        InputError: no gradients were compared.
    """
    if not report.agreements:
        raise InputError("no gradients were compared in this report, so there is nothing to draw")
    return alone(votes_panel(report), height=height(len(report.agreements)))


def components(report: GradientReport) -> Any:
    """Return the largest differences from autodiff over what rounding allows, as an altair chart.

    Raises:
        InputError: no components were compared.
    """
    if not report.components:
        raise InputError("no components were compared in this report, so there is nothing to draw")
    return alone(components_panel(report), height=height(len(report.components)))


def votes_panel(report: GradientReport) -> Spec:
    """Return a line for each pair."""
    return _ratios([(f"{a} and {b}", ratio) for (a, b), ratio in report.agreements.items()])


def components_panel(report: GradientReport) -> Spec:
    """Return a line for each component, the largest difference first."""
    return _ratios([(component.name, component.ratio) for component in report.components])


def height(count: int) -> int:
    """Return the height of a chart with `count` lines, in pixels."""
    return 30 + 46 * count


def _ratios(found: Sequence[tuple[str, float]]) -> Spec:
    """Return ratios as points, with a line at 1: a disc agrees, a cross differs, an arrow is not finite."""
    finite = [ratio for _, ratio in found if isfinite(ratio)]
    most = max([1.0, *finite]) * 10
    points: list[dict[str, Any]] = [
        {"line": k, "name": name, "value": rounded(max(ratio, _LEAST) if isfinite(ratio) else most, 3)}
        | {"kind": "agrees" if ratio <= 1 else "differs" if isfinite(ratio) else "not finite"}
        | {"text": f"{ratio:.2g}" if isfinite(ratio) else "not finite"}
        for k, (name, ratio) in enumerate(found)
    ]
    title = "of what rounding allows"
    across = log_encoding("value", [1.0, most, *(p["value"] for p in points)], title, "format(datum.value, '~g')")
    # lines are identified by a number, since two components may have the same name
    names = {"field": "line", "type": "ordinal", "title": None, "axis": {"labels": False, "ticks": False}}
    kinds = ["agrees", "differs", "not finite"]
    dots = {
        "x": same(across),
        "y": names,
        "color": _by_kind(kinds, [shade("torch"), shade("bad"), shade("bad")]),
        "shape": _by_kind(kinds, ["circle", "cross", "triangle-right"]),
        "tooltip": [
            {"field": field, "title": text}
            for field, text in (("name", "of"), ("text", "of what rounding allows"), ("kind", "it"))
        ],
    }
    text: Spec = {"type": "text", "color": shade("ink"), "align": "left"}
    layers = [
        {"mark": {"type": "point", "opacity": 0}, "encoding": {"x": across, "y": names}},
        rule_at(1.0, same(across), "x", "bad"),
        {"mark": {"type": "point", "filled": True, "opacity": 1, "size": 110, "yOffset": 8}, "encoding": dots},
        {"mark": text | {"dy": -12}, "encoding": {"x": {"value": 4}, "y": names, "text": {"field": "name"}}},
        {
            "mark": text | {"dx": 10, "yOffset": 8},
            "encoding": {"x": same(across), "y": names, "text": {"field": "text"}},
        },
    ]
    return {"data": inline(points), "layer": layers}


def _by_kind(kinds: Sequence[str], of: Sequence[str]) -> Spec:
    return {"field": "kind", "legend": None, "scale": {"domain": list(kinds), "range": list(of)}}
