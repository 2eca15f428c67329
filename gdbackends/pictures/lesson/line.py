"""Figures of the lesson: a line with its errors and cost; and why errors are squared."""

from __future__ import annotations

import altair as alt
import numpy as np

from gdbackends.objectives import AbsoluteError, LinearModel, SquaredError
from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.lesson.lesson_data import LessonData
from gdbackends.pictures.lesson.vega import (
    LABEL,
    ONCE,
    Chart,
    Slider,
    at_slider,
    axis,
    columns,
    cost_of,
    padded,
    points,
    readout,
    scatter,
    short,
    slider,
    written,
)
from gdbackends.pictures.palette import dressed, shade


def line_figure(subject: LessonData) -> Figure:
    """Return the figure of section 1: sliders for m and b, the errors, the losses of the examples, and the cost."""
    m, b = _sliders(subject)
    cost = cost_of(subject.views["as it is"].cost, "m", "b")
    return Figure(
        "line",
        (_line(subject, m, b, cost), _losses(subject, m, b, cost)),
        f"Left: {subject.target} against {subject.feature}, the line {subject.target} = m {subject.feature} + b, and "
        "the error of each point as a vertical line. Right: the square of each error, which is the loss of that "
        "example, and as a horizontal line the mean over all rows, the cost J.",
        _line_table(subject),
    )


def _sliders(subject: LessonData) -> tuple[Slider, Slider]:
    """Return the sliders for m and b, initially at the flat line through the mean."""
    least = subject.views["as it is"].cost.minimum
    steep = float(subject.y.std() / subject.x.std()) or 1.0
    height = steep * float(np.abs(subject.x).max()) + float(subject.y.std())
    return (
        slider("m", "slope m", least[0] - steep, least[0] + steep, 0.0, 200),
        slider("b", "intercept b", least[1] - height, least[1] + height, float(subject.y.mean()), 400),
    )


def _line(subject: LessonData, m: Slider, b: Slider, cost: str) -> Chart:
    ends = alt.Chart(columns("ends", feature=padded(subject.x))).transform_calculate(line="m*datum.feature+b")
    rows = alt.Chart(points(subject)).transform_calculate(line="m*datum.feature+b")
    errors = rows.mark_rule(color=shade("high"), strokeWidth=1.5, opacity=0.8, clip=True)
    drawn = ends.mark_line(color=shade("good"), clip=True)
    layers = alt.layer(
        errors.encode(x="feature:Q", y="target:Q", y2="line:Q"),
        scatter(subject, padded(subject.y, 0.35)),
        drawn.encode(x="feature:Q", y="line:Q"),
        readout(f"'cost J = '+{written(cost)}"),
    )
    return dressed(layers.add_params(m.param(), b.param()))


def _losses(subject: LessonData, m: Slider, b: Slider, cost: str) -> Chart:
    rows = alt.Chart(points(subject)).transform_calculate(loss="pow(m*datum.feature+b-datum.target,2)")
    bar = max(1.0, min(5.0, 250 / subject.shown.size))
    squares = rows.mark_bar(color=shade("high"), width=bar, opacity=0.8).encode(
        x=axis(alt.X, "feature", subject.feature, padded(subject.x)),
        y=alt.Y(
            "loss:Q",
            title=f"loss of an example ({subject.target} squared)",
            axis=alt.Axis(labelExpr=LABEL, tickCount=6),
        ),
    )
    mean = alt.Chart(ONCE).transform_calculate(cost=cost)
    layers = alt.layer(
        squares,
        mean.mark_rule(color=shade("good"), strokeWidth=2.5).encode(y="cost:Q"),
        readout(f"'mean: cost J = '+{written(cost)}", colour="good"),
    )
    return dressed(layers.add_params(m.param(bound=False), b.param(bound=False)))


def _line_table(subject: LessonData) -> Table:
    X, objective, mean = subject.x[:, None], LinearModel(), float(subject.y.mean())
    least = subject.views["as it is"].cost.minimum
    lines = {
        "flat, through the mean": np.array([0.0, mean]),
        "half the best slope": np.array([least[0] / 2, mean - least[0] / 2 * subject.x.mean()]),
        "the best": least,
    }
    rows = [
        (name, *(short(float(v)) for v in (*theta, objective.loss(theta, X, subject.y))))
        for name, theta in lines.items()
    ]
    return Table(("line", "m", "b", f"cost J ({subject.target} squared)"), tuple(rows), subject.sampled)


def losses_figure() -> Figure:
    """Return the figure of section 2: the squared and the absolute loss of one error, and their derivatives."""
    at = slider("r", "error r", -3, 3, 1.5, 60)
    r, squared, absolute = np.array(at.positions), SquaredError(), AbsoluteError()
    zero = np.zeros_like(r)
    losses = columns("losses", r=r, squared=squared.value(r, zero), absolute=absolute.value(r, zero))
    slopes = columns("slopes", r=r, squared=squared.derivative(r, zero), absolute=absolute.derivative(r, zero))
    values = [f(r, zero) for loss in (squared, absolute) for f in (loss.value, loss.derivative)]
    rows = [tuple(short(float(each[k])) for each in (r, *values)) for k in range(0, r.size, 5)]
    return Figure(
        "losses",
        (
            _two(losses, at, "loss of an example", "0"),
            _two(slopes, at, "derivative of the loss", "datum.loss==='squared'||datum.r===0?0:datum.r<0?-1:1"),
        ),
        "Left: the squared loss is a smooth parabola, the absolute loss a V with a kink at 0. Right: the derivative of "
        "the squared loss is a straight line through 0, small for small errors; that of the absolute loss is -1 or 1 "
        "however small the error is, and jumps at 0, where it is undefined (0 is used).",
        Table(("error r", "squared", "its derivative", "absolute", "its derivative"), tuple(rows)),
    )


def _two(table: alt.Data, at: Slider, title: str, pieces: str) -> Chart:
    """Return both curves; the pieces of a curve are not connected."""
    names, colours = ["squared", "absolute"], [shade("good"), shade("low")]
    named = alt.Color("loss:N", scale=alt.Scale(domain=names, range=colours), title=None)
    dashed = alt.StrokeDash("loss:N", scale=alt.Scale(domain=names, range=[[1, 0], [6, 3]]), legend=None)
    both = alt.Chart(table).transform_fold([*names], as_=["loss", "value"])
    both = both.transform_calculate(piece=pieces)
    place = {"x": axis(alt.X, "r", "error r = prediction - target"), "y": axis(alt.Y, "value", title)}
    here = at_slider(both, at, "r")
    label = here.mark_text(align="left", dx=9, dy=-10, fontWeight=600)
    layers = alt.layer(
        both.mark_line().encode(**place, color=named, strokeDash=dashed, detail="piece:N"),
        here.mark_point(filled=True, size=110, opacity=1).encode(**place, color=named),
        label.encode(**place, text=alt.Text("value:Q", format=".3~g"), color=named),
    )
    return dressed(layers.add_params(at.param(bound=title.startswith("loss"))))
