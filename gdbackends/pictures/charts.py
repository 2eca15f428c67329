"""Charts of a Fit, a Comparison and a GradientReport, for notebooks and `.save("x.png")`, which needs no browser.

They are charts of altair, in the colours of the palette: a backend has one colour, one shape and one dash everywhere.
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
"""A chart of altair, which has many types."""
_ORDER = ("good", "low", "high", "ink", "data")
_DASHES = ([1, 0], [7, 3], [2, 2], [8, 2, 2, 2], [4, 4])


def loss(fits: Fit | Mapping[str, Fit]) -> Chart:
    """Return the loss against the step, on logarithmic axis where all losses are positive.

    Args:
        fits: a fit; or up to five by name, drawn in colours of their own (a backend's name has the backend's).

    Raises:
        InputError: there is none, or more than five, or one made no step.
    """
    named = {"loss": fits} if isinstance(fits, Fit) else dict(fits)
    if not 1 <= len(named) <= len(_ORDER):
        raise InputError(f"loss draws from 1 to {len(_ORDER)} fits, got {len(named)}; give fewer")
    for name, each in named.items():
        if not isinstance(each, Fit) or not each.losses.size:
            raise InputTypeError(f"loss draws fits that made a step and hold their losses, got {name!r}: {each!r}")
    rows = [
        {"c0": step, "c1": float(value), "c2": name}
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
            x=alt.X("c0:Q", title="step", axis=alt.Axis(tickMinStep=1, tickCount=8)),
            y=alt.Y("c1:Q", title="loss before the step", scale=scale, axis=axis),
            color=alt.Color("c2:N", scale=_scale(names, "colour"), legend=legend),
            strokeDash=alt.StrokeDash("c2:N", scale=_scale(names, "dash"), legend=legend),
        )
    )


def path(fit: Fit, names: Sequence[str] | None = None) -> Chart:
    """Return each parameter against the step, of a fit with `record_path=True`, in the data's own units.

    Args:
        fit: the fit.
        names: the d features' names; the intercept is called so.

    Raises:
        InputError: the fit has no path, or the names are not as many as its features; or there are more than four.
    """
    if fit.path is None:
        raise InputError("path needs a fit that kept its path; fit again with record_path=True")
    d = fit.theta.size - 1
    if names is not None and len(names) != d:
        raise InputError(f"names must be {d}, one per feature, got {len(names)}")
    if d > len(_ORDER) - 1:
        raise InputError(f"path draws up to {len(_ORDER) - 1} features, got {d}; draw the loss")
    called = [*(names or [f"x{j + 1}" for j in range(d)]), "intercept"]
    rows = [
        {"c0": step, "c1": float(value), "c2": name}
        for step, theta in enumerate(fit.path)
        for name, value in zip(called, theta, strict=True)
    ]
    chart = alt.Chart(_data(rows)).mark_line()
    return dressed(
        chart.encode(
            x=alt.X("c0:Q", title="step", axis=alt.Axis(tickMinStep=1, tickCount=8)),
            y=alt.Y("c1:Q", title="parameter", scale=alt.Scale(zero=False)),
            color=alt.Color("c2:N", scale=_scale(called, "colour"), title=None),
            strokeDash=alt.StrokeDash("c2:N", scale=_scale(called, "dash"), title=None),
        )
    )


def agreement(comparison: Comparison) -> Chart:
    """Return how far each backend's gradients and trajectory differ from any other's, over what rounding allows."""
    rows = [
        {"c0": row.backend, "c1": kind, "c2": ratio}
        for row in comparison.rows
        for kind, ratio in (("gradient", row.gradient_ratio), ("trajectory", row.trajectory_ratio))
        if ratio is not None
    ]
    title = "largest difference, as a share of what rounding allows (1 is the limit)"
    return _bounded(rows, [row.backend for row in comparison.rows], title)


def times(comparison: Comparison) -> Chart:
    """Return the time of the first call, which compiles, and of a step, of each backend that agreed; seconds."""
    rows = [
        {"c0": row.backend, "c1": kind, "c2": seconds}
        for row in comparison.rows
        for kind, seconds in (("first call", row.first_call_s), ("a step", row.step_s))
        if seconds is not None and seconds > 0
    ]
    names = [row.backend for row in comparison.rows]
    chart = alt.Chart(_data(rows)).mark_point(filled=True, size=140, opacity=1)
    return dressed(
        chart.encode(
            x=alt.X("c2:Q", title="time (s)", scale=alt.Scale(type="log"), axis=log_axis()),
            y=alt.Y("c1:N", title=None, sort=["first call", "a step"]),
            color=alt.Color("c0:N", scale=_scale(names, "colour"), title=None),
            shape=alt.Shape("c0:N", scale=_scale(names, "shape"), title=None),
        ),
        height=140,
    )


def gradient(report: GradientReport) -> Chart:
    """Return the components that differ most, each difference over what rounding allows; 1 is the limit."""
    rows = [{"c0": "yours", "c1": component.name, "c2": component.ratio} for component in report.components]
    title = "difference from autodiff, as a share of what rounding allows (1 is the limit)"
    return _bounded(rows, ["yours"], title)


def _bounded(rows: list[dict[str, Any]], names: list[str], title: str) -> Chart:
    """Return ratios on a logarithmic axis with a line at 1; an exact agreement is drawn at the left end."""
    known = [row["c2"] for row in rows if row["c2"] > 0 and np.isfinite(row["c2"])]
    least, most = min([1e-3, *(r / 2 for r in known)]), max([10.0, *(2 * r for r in known)])
    shown = [row | {"c2": _placed(row["c2"], least, most)} for row in rows]
    scale = alt.Scale(type="log", domain=[least, most], nice=False)
    x = alt.X("c2:Q", title=title, scale=scale, axis=log_axis())
    order = list(dict.fromkeys(row["c1"] for row in rows))
    limit = alt.Chart(_data([{"c2": 1.0}])).mark_rule(color=shade("bad"), strokeDash=[5, 4], strokeWidth=2)
    points = alt.Chart(_data(shown)).mark_point(filled=True, size=140, opacity=0.9)
    legend = alt.Legend(title=None) if len(names) > 1 else None
    layers = alt.layer(
        limit.encode(x=x),
        points.encode(
            x=x,
            y=alt.Y("c1:N", title=None, sort=order),
            color=alt.Color("c0:N", scale=_scale(names, "colour"), legend=legend),
            shape=alt.Shape("c0:N", scale=_scale(names, "shape"), legend=legend),
        ),
    )
    return dressed(layers, height=70 + 34 * max(1, len(order)))


def _placed(ratio: float, least: float, most: float) -> float:
    """Return where a ratio is drawn: NaN, which agrees with nothing, at the far end."""
    return max(ratio, least) if ratio < most else most


def _scale(names: Sequence[str], of: str) -> alt.Scale:
    """Return the backends' own scale, or, of other names, one in the order of the palette."""
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
