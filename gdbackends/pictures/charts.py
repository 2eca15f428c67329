"""Altair charts of a Fit, a Comparison and a GradientReport, for notebooks; `.save("x.png")` needs no browser.

A backend has the same colour, shape and dash pattern in all charts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from gdbackends.comparison import Comparison
from gdbackends.descent import Fit
from gdbackends.errors import InputError, InputTypeError
from gdbackends.gradcheck import GradientReport
from gdbackends.measurement.formatting import jsonable
from gdbackends.pictures.palette import BACKENDS, backend_scale, dressed, log_axis, shade

Chart = Any
"""An altair chart of any type."""
_ORDER = ("good", "low", "high", "ink", "data")
_DASHES = ([1, 0], [7, 3], [2, 2], [8, 2, 2, 2], [4, 4])


def loss(fits: Fit | Mapping[str, Fit]) -> Chart:
    """Return the loss against the step, on a logarithmic axis if all losses are positive.

    Args:
        fits: a fit, or up to five fits by name; names of backends have the backends' colours.

    Raises:
        InputError: there is no fit, or more than five.
        InputTypeError: a value is not a fit with at least one step.
    """
    named = {"loss": fits} if isinstance(fits, Fit) else dict(fits)
    if not 1 <= len(named) <= len(_ORDER):
        raise InputError(f"loss draws from 1 to {len(_ORDER)} fits, got {len(named)}; give fewer")
    for name, each in named.items():
        if not isinstance(each, Fit) or not each.losses.size:
            raise InputTypeError(f"loss draws fits that made a step and hold their losses, got {name!r}: {each!r}")
    rows = [
        {"step": step, "loss": float(value), "fit": name}
        for name, each in named.items()
        for step, value in enumerate(each.losses)
    ]
    positive = all(float(each.losses.min()) > 0 for each in named.values())
    scale = alt.Scale(type="log") if positive else alt.Scale(zero=False)
    axis = log_axis() if positive else alt.Axis(tickCount=6)
    names = list(named)
    legend = alt.Legend(title=None) if len(names) > 1 else None
    chart = alt.Chart(_data(rows)).mark_line()
    return dressed(
        chart.encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1, tickCount=8)),
            y=alt.Y("loss:Q", title="loss before the step", scale=scale, axis=axis),
            color=alt.Color("fit:N", scale=_scale(names, "colour"), legend=legend),
            strokeDash=alt.StrokeDash("fit:N", scale=_scale(names, "dash"), legend=legend),
        )
    )


def path(fit: Fit, names: Sequence[str] | None = None) -> Chart:
    """Return each parameter against the step, in the units of the data.

    Args:
        fit: a fit with `record_path=True`.
        names: the names of the d features; by default x1, x2, ...

    Raises:
        InputError: the fit has no path, the number of names is wrong, or there are more than four features.
    """
    if fit.path is None:
        raise InputError("path needs a fit with its path; fit again with record_path=True")
    d = fit.theta.size - 1
    if names is not None and len(names) != d:
        raise InputError(f"names must be {d}, one per feature, got {len(names)}")
    if d > len(_ORDER) - 1:
        raise InputError(f"path draws up to {len(_ORDER) - 1} features, got {d}; draw the loss")
    labels = [*(names or [f"x{j + 1}" for j in range(d)]), "intercept"]
    rows = [
        {"step": step, "value": float(value), "parameter": name}
        for step, theta in enumerate(fit.path)
        for name, value in zip(labels, theta, strict=True)
    ]
    chart = alt.Chart(_data(rows)).mark_line()
    return dressed(
        chart.encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1, tickCount=8)),
            y=alt.Y("value:Q", title="parameter", scale=alt.Scale(zero=False)),
            color=alt.Color("parameter:N", scale=_scale(labels, "colour"), title=None),
            strokeDash=alt.StrokeDash("parameter:N", scale=_scale(labels, "dash"), title=None),
        )
    )


def agreement(comparison: Comparison) -> Chart:
    """Return the largest differences of gradients and trajectories between backends over what rounding allows."""
    rows = [
        {"backend": row.backend, "kind": kind, "ratio": ratio}
        for row in comparison.rows
        for kind, ratio in (("gradient", row.gradient_ratio), ("trajectory", row.trajectory_ratio))
        if ratio is not None
    ]
    title = "largest difference, as a share of what rounding allows (1 is the limit)"
    return _bounded(rows, [row.backend for row in comparison.rows], title)


def times(comparison: Comparison) -> Chart:
    """Return the seconds of the first call, compilation included, and of a step, for backends that agree."""
    rows = [
        {"backend": row.backend, "kind": kind, "seconds": seconds}
        for row in comparison.rows
        for kind, seconds in (("first call", row.first_call_s), ("a step", row.step_s))
        if seconds is not None and seconds > 0
    ]
    names = [row.backend for row in comparison.rows]
    chart = alt.Chart(_data(rows)).mark_point(filled=True, size=140, opacity=1)
    return dressed(
        chart.encode(
            x=alt.X("seconds:Q", title="time (s)", scale=alt.Scale(type="log"), axis=log_axis()),
            y=alt.Y("kind:N", title=None, sort=["first call", "a step"]),
            color=alt.Color("backend:N", scale=_scale(names, "colour"), title=None),
            shape=alt.Shape("backend:N", scale=_scale(names, "shape"), title=None),
        ),
        height=140,
    )


def gradient(report: GradientReport) -> Chart:
    """Return the components that differ most, as differences over what rounding allows; 1 is the limit."""
    rows = [{"backend": "yours", "kind": component.name, "ratio": component.ratio} for component in report.components]
    title = "difference from autodiff, as a share of what rounding allows (1 is the limit)"
    return _bounded(rows, ["yours"], title)


def _bounded(rows: list[dict[str, Any]], names: list[str], title: str) -> Chart:
    """Return ratios on a logarithmic axis with a line at 1; a ratio of 0 is drawn at the left end."""
    known = [row["ratio"] for row in rows if row["ratio"] > 0 and np.isfinite(row["ratio"])]
    least, most = min([1e-3, *(r / 2 for r in known)]), max([10.0, *(2 * r for r in known)])
    shown = [row | {"ratio": _placed(row["ratio"], least, most)} for row in rows]
    scale = alt.Scale(type="log", domain=[least, most], nice=False)
    x = alt.X("ratio:Q", title=title, scale=scale, axis=log_axis())
    order = list(dict.fromkeys(row["kind"] for row in rows))
    limit = alt.Chart(_data([{"ratio": 1.0}])).mark_rule(color=shade("bad"), strokeDash=[5, 4], strokeWidth=2)
    points = alt.Chart(_data(shown)).mark_point(filled=True, size=140, opacity=0.9)
    legend = alt.Legend(title=None) if len(names) > 1 else None
    layers = alt.layer(
        limit.encode(x=x),
        points.encode(
            x=x,
            y=alt.Y("kind:N", title=None, sort=order),
            color=alt.Color("backend:N", scale=_scale(names, "colour"), legend=legend),
            shape=alt.Shape("backend:N", scale=_scale(names, "shape"), legend=legend),
        ),
    )
    return dressed(layers, height=70 + 34 * max(1, len(order)))


def _placed(ratio: float, least: float, most: float) -> float:
    """Return the position of a ratio; NaN is drawn at the right end."""
    return max(ratio, least) if ratio < most else most


def _scale(names: Sequence[str], of: str) -> alt.Scale:
    """Return the scale of the backends, or for other names a scale in the order of the palette."""
    names = list(names)
    if any(name in BACKENDS for name in names):
        return backend_scale(names, of)
    ranges: dict[str, list[Any]] = {
        "colour": [shade(name) for name in _ORDER],
        "shape": ["circle", "square", "triangle-up", "diamond", "cross"],
        "dash": list(_DASHES),
    }
    return alt.Scale(domain=names, range=ranges[of][: len(names)])


def _data(rows: list[dict[str, Any]]) -> alt.Data:
    return alt.Data(values=jsonable(rows))
