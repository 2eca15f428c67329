"""Figures of the lesson: the cost as a parabola in the slope, its tangent, a secant, and the factor 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from gdbackends.descent.spectrum import Quadratic, quadratic
from gdbackends.objectives import Convention, LinearModel
from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.lesson.lesson_data import LessonData
from gdbackends.pictures.lesson.vega import Chart, Slider, at_slider, axis, columns, short, slider, written
from gdbackends.pictures.palette import dressed, shade


@dataclass(frozen=True, eq=False)
class Parabola:
    """The cost against the slope m with the best intercept, which is the mean target for a centred feature.

    Attributes:
        costs: the cost as the mean of the squares and as half of it, over (2,), the slope and the level at the mean.
        at: the slider for m.
        rate: the rate of the step that is shown, a fifth of the largest stable rate.
        title: the title of the axis of costs.
    """

    costs: dict[Convention, Quadratic]
    at: Slider
    rate: float
    title: str

    def point(self, m: float, convention: Convention = "mean") -> tuple[float, float, float]:
        """Return m, the cost, and its derivative with respect to m."""
        cost = self.costs[convention]
        theta = np.array([m, cost.minimum[1]])
        return m, cost.cost(theta), float(cost.gradient(theta)[0])

    def table(self, name: str, convention: Convention = "mean") -> alt.Data:
        """Return a row for each position, with the fields m, cost and derivative."""
        points = np.array([self.point(m, convention) for m in self.at.positions])
        return columns(name, m=points[:, 0], cost=points[:, 1], derivative=points[:, 2])

    def numbers(self, *conventions: Convention) -> tuple[tuple[str, ...], ...]:
        """Return the rows of a table: m, and the cost and the derivative in each convention."""
        places = self.at.positions[:: max(1, self.at.count // 8)]
        return tuple((short(m), *(short(v) for each in conventions for v in self.point(m, each)[1:])) for m in places)

    def axes(self) -> dict[str, Any]:
        """Return the encodings of m and the cost."""
        return {"x": axis(alt.X, "m", "slope m"), "y": axis(alt.Y, "cost", self.title)}


def parabola(subject: LessonData) -> Parabola:
    """Return the cost as a function of the slope."""
    view = subject.views["centred"]
    least, wide = float(view.cost.minimum[0]), float(subject.y.std() / subject.x.std()) or 1.0
    at = slider("m", "slope m", least - 1.4 * wide, least + 1.4 * wide, least - 0.8 * wide, 112)
    rate = 0.2 * view.ends.largest_stable_rate
    half = quadratic(LinearModel(convention="half"), view.plain, subject.y, np.zeros(2))
    return Parabola({"mean": view.cost, "half": half}, at, rate, f"cost J ({subject.target} squared)")


def tangent_figure(subject: LessonData) -> Figure:
    """Return the figure of section 3: a point on the parabola, its tangent, and the step from there."""
    curve = parabola(subject)
    table = curve.table("parabola")
    here, half = at_slider(alt.Chart(table), curve.at, "m"), 18 * curve.at.step
    ends = {"left": f"datum.m-{half!r}", "right": f"datum.m+{half!r}"}
    ends |= {
        "left_cost": f"datum.cost-{half!r}*datum.derivative",
        "right_cost": f"datum.cost+{half!r}*datum.derivative",
    }
    step = here.transform_calculate(next=f"datum.m-{curve.rate!r}*datum.derivative")
    meaning = (
        "datum.derivative<0?'it falls: m must grow':datum.derivative>0?'it rises: m must fall':'it is level: m is best'"
    )
    place = {"x": alt.value(alt.ExprRef("width/2")), "y": alt.value(4)}
    text = here.transform_calculate(text=f"['dJ/dm = '+{written('datum.derivative')}, {meaning}]")
    layers = alt.layer(
        alt.Chart(table).mark_line(color=shade("data"), clip=True).encode(**curve.axes()),
        here.transform_calculate(**ends)
        .mark_rule(color=shade("good"), strokeWidth=2.5, clip=True)
        .encode(x="left:Q", y="left_cost:Q", x2="right:Q", y2="right_cost:Q"),
        step.mark_rule(color=shade("high"), strokeWidth=4, clip=True).encode(x="m:Q", x2="next:Q", y="cost:Q"),
        step.mark_point(color=shade("high"), filled=True, shape="diamond", size=120, opacity=1, clip=True).encode(
            x="next:Q", y="cost:Q"
        ),
        here.mark_point(color=shade("good"), filled=True, size=130, opacity=1).encode(x="m:Q", y="cost:Q"),
        text.mark_text(baseline="top", fontWeight=600, color=shade("good")).encode(**place, text="text:N"),
    )
    return Figure(
        "tangent",
        (dressed(layers.add_params(curve.at.param())),),
        "The cost against the slope m, with the best intercept for each, is a parabola. At the chosen m its tangent "
        "has the slope dJ/dm. The bar leads from m to the diamond, where a step of descent ends: in the direction "
        "opposite to the slope, and further the steeper the slope is.",
        Table(("m", curve.title, "dJ/dm"), curve.numbers("mean")),
    )


def derivative_figure(subject: LessonData) -> Figure:
    """Return the figure of section 4: a secant that becomes the tangent, and the parabola without the factor 2."""
    curve = parabola(subject)
    return Figure(
        "derivative",
        (_secant(curve), _halves(curve)),
        f"Left: the line through the cost at m = {short(curve.at.start)} and at m + h has a slope that tends to the "
        "derivative there as h goes to 0. Right: the mean of the squares, and half of it, whose derivative has no "
        "factor 2: both have their minimum at the same m.",
        Table(("m", "J", "dJ/dm", "J with 1/2n", "its derivative"), curve.numbers("mean", "half")),
    )


def _secant(curve: Parabola) -> Chart:
    m = curve.at.start
    h = slider("h", "h", 0, 1.8 * abs(curve.at.positions[-1] - m) / 2, curve.at.step * 40, 40)
    _, cost, slope = curve.point(m)
    steps = [each for each in h.positions if each > 0]
    h = Slider(h.name, h.label, steps[0], h.step, len(steps), h.start)
    far = [curve.point(m + each)[1] for each in h.positions]
    secant = [(value - cost) / each for value, each in zip(far, h.positions, strict=True)]
    moved = [m + each for each in h.positions]
    table = columns(
        "secants", h=h.positions, m=[m] * h.count, cost=[cost] * h.count, moved=moved, moved_cost=far, secant=secant
    )
    here = at_slider(alt.Chart(table), h, "h")
    point = here.mark_point(color=shade("high"), filled=True, size=110, opacity=1)
    text = f"['(J(m + h) - J(m)) / h = '+{written('datum.secant')}, 'dJ/dm = '+{written(repr(slope))}]"
    layers = alt.layer(
        alt.Chart(curve.table("parabola")).mark_line(color=shade("data")).encode(**curve.axes()),
        here.mark_rule(color=shade("high"), strokeWidth=2.5).encode(
            x="m:Q", y="cost:Q", x2="moved:Q", y2="moved_cost:Q"
        ),
        point.encode(x="m:Q", y="cost:Q"),
        point.encode(x="moved:Q", y="moved_cost:Q"),
        here.transform_calculate(text=text)
        .mark_text(baseline="top", fontWeight=600, color=shade("high"))
        .encode(x=alt.value(alt.ExprRef("width/2")), y=alt.value(4), text="text:N"),
    )
    return dressed(layers.add_params(h.param(), curve.at.param()))


def _halves(curve: Parabola) -> Chart:
    names, colours = ["1/n", "1/2n"], [shade("good"), shade("low")]
    layers: list[Chart] = []
    conventions: tuple[Convention, ...] = ("mean", "half")
    for name, convention, colour in zip(names, conventions, colours, strict=True):
        table = alt.Chart(curve.table(f"costs-{convention}", convention))
        named = table.transform_calculate(convention=f"'{name}'")
        key = alt.Color("convention:N", scale=alt.Scale(domain=names, range=colours), title=None)
        here = at_slider(named, curve.at, "m")
        text = here.transform_calculate(text=f"'slope '+{written('datum.derivative')}")
        layers += [
            named.mark_line(strokeDash=[1, 0] if convention == "mean" else [6, 3]).encode(**curve.axes(), color=key),
            here.mark_point(filled=True, size=110, opacity=1, color=colour).encode(x="m:Q", y="cost:Q"),
            text.mark_text(align="left", dx=10, dy=-8, fontWeight=600, color=colour).encode(
                x="m:Q", y="cost:Q", text="text:N"
            ),
        ]
    return dressed(alt.layer(*layers).add_params(curve.at.param(bound=False)))
