"""Colours, with one for each backend that colour-blind readers can distinguish; and the style of all charts.

Charts use the light colours. In a page each colour becomes a CSS variable, whose value depends on the light or dark
scheme of the reader's system: `variables()` defines both sets, `as_variables()` replaces the colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import altair as alt

LIGHT = {
    "paper": "#fffffe",
    "panel": "#f5f6f9",
    "ink": "#1a2130",
    "muted": "#596273",
    "grid": "#e2e5eb",
    "numpy": "#084f9c",
    "jax": "#cf5400",
    "torch": "#00896a",
    "exact": "#24282f",
    "data": "#66707f",
    "low": "#a8791a",
    "good": "#6c3aa6",
    "high": "#c2185f",
    "bad": "#b3261e",
}
DARK = {
    "paper": "#14171d",
    "panel": "#1d222b",
    "ink": "#e9ecf2",
    "muted": "#a4adbb",
    "grid": "#333a46",
    "numpy": "#4f9df2",
    "jax": "#ff8b3d",
    "torch": "#43d3a6",
    "exact": "#f2f4f9",
    "data": "#7c8797",
    "low": "#d9ab4e",
    "good": "#b78ef8",
    "high": "#ff6ea6",
    "bad": "#ff7b72",
}
"""paper, panel: backgrounds; ink, muted: texts; numpy, jax, torch: the backends only; data: rows of a table; low, good,
high: too small, right, too large, or any three things; bad: failures."""

BACKENDS = ("numpy", "jax", "torch")
SHAPES = {"numpy": "circle", "jax": "square", "torch": "triangle-up"}
DASHES = {"numpy": [1, 0], "jax": [7, 3], "torch": [2, 2]}
"""The shape of a backend's points and the dashes of its line, for readers who see no colours."""

_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"
_TEXTS = ("title", "subtitle", "text", "description", "name", "domain", "data", "datasets", "values", "labelExpr")


def colour(backend: str) -> str:
    """Return the colour of a backend; custom backends have the colour of text."""
    return LIGHT[backend] if backend in BACKENDS else LIGHT["ink"]


def shade(name: str) -> str:
    """Return the light colour of that name."""
    return LIGHT[name]


def backend_scale(names: list[str], of: str = "colour") -> alt.Scale:
    """Return the scale of the backends' colours, shapes ("shape") or dashes ("dash")."""
    ranges: dict[str, list[Any]] = {
        "colour": [colour(name) for name in names],
        "shape": [SHAPES.get(name, "diamond") for name in names],
        "dash": [DASHES.get(name, [4, 4]) for name in names],
    }
    return alt.Scale(domain=names, range=ranges[of])


def log_axis() -> alt.Axis:
    """Return a logarithmic axis with labels at 1, 2 and 5 times powers of ten, and faint lines between the powers."""
    lead = "round(datum.value/pow(10,floor(log(datum.value)/LN10+1e-9)))"
    text = "abs(log(datum.value))>11?format(datum.value,'.0e'):format(datum.value,'~g')"
    label = f"{lead}===1||{lead}===2||{lead}===5?{text}:''"
    power = "abs(log(datum.value)/LN10-round(log(datum.value)/LN10))<1e-9"
    return alt.Axis(
        labelExpr=label, tickCount=5, gridOpacity={"condition": {"test": power, "value": 1.0}, "value": 0.25}
    )


def dressed(chart: Any, width: int = 560, height: int = 320) -> Any:
    """Return a single or layered chart with its size in pixels and the config of all charts; to be called last."""
    return chart.properties(width=width, height=height, config=config())


def config() -> dict[str, Any]:
    """Return the fonts and colours of every chart, as a Vega-Lite config."""
    ink, muted, grid = (shade(name) for name in ("ink", "muted", "grid"))
    axis = {"labelColor": muted, "titleColor": ink, "gridColor": grid, "domainColor": muted, "tickColor": muted}
    axis |= {"labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal", "titlePadding": 8}
    legend = {"labelColor": ink, "titleColor": ink, "labelFontSize": 13, "titleFontSize": 13, "titleFontWeight": 600}
    legend |= {"orient": "top", "symbolStrokeWidth": 2.5, "symbolSize": 90, "labelLimit": 260, "titleLimit": 260}
    title = {
        "color": ink,
        "subtitleColor": muted,
        "fontSize": 15,
        "subtitleFontSize": 13,
        "anchor": "start",
        "offset": 8,
    }
    return {
        "background": shade("paper"),
        "font": _FONT,
        "padding": 6,
        "aria": False,
        "view": {"stroke": None},
        "axis": axis | {"labelOverlap": "greedy", "labelLimit": 220},
        "axisX": {"titleLimit": {"expr": "width"}},
        "axisY": {"titleLimit": {"expr": "height"}},
        "legend": legend,
        "title": title,
        "text": {"color": ink, "fontSize": 13},
        "line": {"strokeWidth": 2.5},
        "point": {"size": 60},
    }


def as_variables(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chart's JSON with each colour of the palette as `var(--name)`; texts and data are unchanged."""
    names = {value: f"var(--{name})" for name, value in LIGHT.items()}

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return names.get(value, value)
        if isinstance(value, list):
            return [walk(item) for item in cast("list[Any]", value)]
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            return {k: v if k in _TEXTS and not _is_style(v) else walk(v) for k, v in items}
        return value

    return walk(dict(spec))


def _is_style(value: Any) -> bool:
    """Return whether the value of a text's key is the style of such texts, as in a chart's config."""
    return isinstance(value, dict) and not {"values", "name", "url", "text", "value", "field"} & set(
        cast("dict[str, Any]", value)
    )


def variables() -> str:
    """Return the CSS that defines a variable for each colour, in light and dark."""
    light, dark = ("".join(f"--{name}:{value};" for name, value in each.items()) for each in (LIGHT, DARK))
    return (
        f":root{{color-scheme:light dark;{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"@media print{{:root{{{light}}}}}"
    )
