"""Figure of the lesson: paths over the contours of the cost, for the feature as it is and standardised."""

from __future__ import annotations

from math import ceil, log, log2

import altair as alt
import numpy as np

from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.lesson.lesson_data import LessonData, ScaledView
from gdbackends.pictures.lesson.vega import (
    Chart,
    Slider,
    after,
    axis,
    columns,
    padded,
    readout,
    scatter,
    short,
)
from gdbackends.pictures.palette import dressed, shade

_SHARE = 0.2
"""The rate as a fraction of the largest stable one."""
_COLOURS = {"as it is": "low", "standardised": "good"}
_STEP = "pow(2,p)-1"


def contours_figure(subject: LessonData) -> Figure:
    """Return the figure of section 6: contours and paths for both scalings, and the lines at step k."""
    raw, standardised = (subject.views[way] for way in ("as it is", "standardised"))
    rate = _SHARE * raw.ends.largest_stable_rate
    slowest = max(float(raw.cost.values[0]) * rate, 1e-9)
    most = min(30, max(4, ceil(log2(log(1000) / slowest))))
    p = Slider("p", "steps k = 2^p - 1: p", 0, 1, most + 1, min(4, most))
    height = f"{subject.target} at the mean {subject.feature}"
    valley = "ellipses about as long as wide"
    if raw.thin:
        valley = (
            "a long thin valley (widened here); descent reaches its floor in a few steps and then moves slowly along it"
        )
    return Figure(
        "contours",
        (
            _paths(raw, p, "slope m", "intercept b", f"{subject.feature} as it is"),
            _paths(standardised, p, "slope w", height, "standardised"),
            _lines(subject, [raw, standardised], p),
        ),
        f"Left: with {subject.feature} as it is, the contours of the cost are {valley}. Middle: with the standardised "
        "feature they are circles, and the path is straight. Right: the lines of both after k steps. Both rates are a "
        "fifth of the largest stable one.",
        _contours_table(subject, [raw, standardised], p),
    )


def _paths(view: ScaledView, p: Slider, first: str, second: str, title: str) -> Chart:
    rate = repr(_SHARE * view.ends.largest_stable_rate)
    steps = sorted({*range(41), *(2**j - 1 for j in range(p.count))})
    x, y = after(view.cost, view.start, rate, "datum.step")
    path = (
        alt.Chart(columns("path", step=steps))
        .transform_filter(f"datum.step<={_STEP}")
        .transform_calculate(first=x, second=y)
    )
    colour = shade(_COLOURS[view.way])
    here = path.transform_filter(f"datum.step==={_STEP}")
    ends = box(view)
    layers = alt.layer(
        contours(view, ends, first, second),
        path.mark_line(color=colour, strokeWidth=1.5, clip=True).encode(x="first:Q", y="second:Q", order="step:Q"),
        path.mark_point(color=colour, filled=True, size=30, opacity=1, clip=True).encode(x="first:Q", y="second:Q"),
        here.mark_point(color=colour, filled=True, size=130, opacity=1, clip=True).encode(x="first:Q", y="second:Q"),
    )
    return dressed(layers.add_params(p.param(bound=view.way == "as it is"))).properties(title=title)


def box(view: ScaledView) -> tuple[list[float], list[float]]:
    """Return the ends of both axes around the start and the minimum, in equal units for the standardised feature."""
    both = np.array([view.start, view.cost.minimum])
    if view.way == "as it is":
        return padded(both[:, 0], 0.4), padded(both[:, 1], 0.4)
    half = 0.75 * float(np.ptp(both, axis=0).max()) or 1.0
    first, second = ([float(c - half), float(c + half)] for c in both.mean(axis=0))
    return first, second


def contours(view: ScaledView, ends: tuple[list[float], list[float]], first: str, second: str) -> Chart:
    """Return lines of equal cost: one outside the start, one through it, and those inside.

    Each is an ellipse around the minimum of half the size of the previous one, with a quarter of its excess cost.
    """
    above = max(view.cost.cost(view.start) - view.cost.least, 1e-300)
    reach = np.sqrt(2 * above / np.maximum(view.cost.values, 1e-12 * view.cost.values[-1]))
    half_axes, minimum = (view.cost.vectors * reach).tolist(), view.cost.minimum.tolist()
    x, y = (
        f"({m!r})+datum.size*(({a!r})*cos(datum.angle*PI/90)+({b!r})*sin(datum.angle*PI/90))"
        for m, (a, b) in zip(minimum, half_axes, strict=True)
    )
    rings = alt.Chart(columns("contours", size=2.0 ** -np.arange(-1, 7)))
    rings = (
        rings.transform_calculate(angle="sequence(0,181)")
        .transform_flatten(["angle"])
        .transform_calculate(first=x, second=y)
    )
    best = alt.Chart(columns("best", first=minimum[:1], second=minimum[1:]))
    place = {"x": axis(alt.X, "first", first, ends[0]), "y": axis(alt.Y, "second", second, ends[1])}
    lines = rings.mark_line(color=shade("data"), strokeWidth=1, opacity=0.75, clip=True)
    cross = best.mark_point(shape="cross", filled=True, size=110, color=shade("ink"), opacity=1)
    return alt.layer(lines.encode(**place, detail="size:N", order="angle:Q"), cross.encode(**place))


def _lines(subject: LessonData, views: list[ScaledView], p: Slider) -> Chart:
    ends = np.array(padded(subject.x))
    names = [view.way for view in views]
    scale = alt.Scale(domain=names, range=[shade(_COLOURS[name]) for name in names])
    layers: list[Chart] = [scatter(subject, padded(subject.y, 0.35))]
    for view in views:
        slope, level = after(view.cost, view.start, repr(_SHARE * view.ends.largest_stable_rate), f"({_STEP})")
        scaled = view.scaling.apply(ends[:, None])[:, 0]
        table = columns(f"line-{view.way[:2]}", feature=ends, scaled=scaled, way=[view.way] * 2)
        drawn = alt.Chart(table).transform_calculate(line=f"({slope})*datum.scaled+({level})")
        dash = [6, 3] if view.way == "as it is" else [1, 0]
        layers.append(
            drawn.mark_line(clip=True, strokeDash=dash).encode(
                x="feature:Q",
                y="line:Q",
                color=alt.Color("way:N", scale=scale, title=None, legend=alt.Legend(columns=2)),
            )
        )
    layers.append(readout(f"'k = '+format({_STEP},',')"))
    return dressed(alt.layer(*layers).add_params(p.param(bound=False)))


def _contours_table(subject: LessonData, views: list[ScaledView], p: Slider) -> Table:
    rows: list[tuple[str, ...]] = []
    for k in (2**j - 1 for j in range(0, p.count, 2)):
        cells = [f"{k:,}"]
        for view in views:
            theta = view.cost.after(view.start, _SHARE * view.ends.largest_stable_rate, k)
            cells += [*(short(float(v)) for v in view.scaling.to_data_units(theta)), short(view.cost.cost(theta))]
        rows.append(tuple(cells))
    heads = [f"{what}, {view.way}" for view in views for what in ("m", "b", f"cost ({subject.target} squared)")]
    return Table(("steps k", *heads), tuple(rows))
