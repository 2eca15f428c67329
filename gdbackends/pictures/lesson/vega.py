"""The parts of the lesson's charts: sliders, points, axes, and the closed form of a descent as chart expressions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, TypeAlias

import altair as alt
import numpy as np

from gdbackends.descent.spectrum import Quadratic
from gdbackends.measurement.formatting import jsonable
from gdbackends.objectives import Array
from gdbackends.pictures.lesson.lesson_data import LessonData
from gdbackends.pictures.palette import log_axis, shade

Chart: TypeAlias = Any
"""An altair chart of any type."""


@dataclass(frozen=True)
class Slider:
    """A slider over numbers with few digits.

    Attributes:
        name: the name of the chart's parameter.
        label: the label that is shown.
        low: the first position.
        step: the distance of two positions.
        count: the number of positions.
        start: the initial position.
    """

    name: str
    label: str
    low: float
    step: float
    count: int
    start: float

    @property
    def positions(self) -> list[float]:
        """All positions, rounded like the slider's label."""
        return [round(self.low + k * self.step, _decimals(self.step)) for k in range(self.count)]

    def param(self, *, bound: bool = True) -> Any:
        """Return the chart's parameter; if it is not bound, the slider of another panel moves it."""
        positions = self.positions
        bind = alt.BindRange(input="range", min=positions[0], max=positions[-1], step=self.step, name=self.label)
        return alt.param(name=self.name, value=self.start, bind=bind if bound else alt.Undefined)


def slider(name: str, label: str, low: float, high: float, start: float, count: int = 120) -> Slider:
    """Return a slider from about low to about high with a round step, initially near start."""
    step = nice((high - low) / count)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    at = round(min(max(round(start / step), first), last) * step, _decimals(step))
    return Slider(name, label, round(first * step, _decimals(step)), step, last - first + 1, at)


def nice(value: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is at most value, within rounding."""
    power = floor(log10(value) + 1e-9)
    lead = max(each for each in (1, 2, 5) if each <= value / 10.0**power * (1 + 1e-9))
    return round(lead * 10.0**power, -power) if power < 0 else lead * 10.0**power


def _decimals(step: float) -> int:
    return max(0, -floor(log10(step) + 1e-9))


def short(value: float) -> str:
    """Format a number with four digits."""
    text = f"{value:.4g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else text


LABEL = "datum.value!==0&&(abs(datum.value)>=1e6||abs(datum.value)<1e-3)?format(datum.value,'~e'):datum.label"
"""The labels of an axis as a chart expression, with powers of ten for very large and small numbers."""


def columns(name: str, /, **fields: Any) -> alt.Data:
    """Return the data of a chart from its columns, as a JSON text, which altair copies without validating each row."""
    lists = [np.asarray(each).tolist() for each in fields.values()]
    rows = [dict(zip(fields, row, strict=True)) for row in zip(*lists, strict=True)]
    text = json.dumps(jsonable(rows), allow_nan=False, separators=(",", ":"))
    return alt.Data(values=text, name=name, format=alt.JsonDataFormat(type="json"))


ONCE = alt.Data(values=[{"zero": 0}], name="once")
"""A single row, for marks that are drawn once."""


def padded(values: Array, share: float = 0.08) -> list[float]:
    """Return the ends of an axis that contains the values with a margin."""
    low, high = float(np.min(values)), float(np.max(values))
    room = share * (high - low) or abs(high) or 1.0
    return [low - room, high + room]


def axis(kind: Any, field: str, title: str, domain: Sequence[float] | None = None) -> Any:
    """Return the encoding of a quantity by position; kind is alt.X or alt.Y."""
    scale = alt.Scale(zero=False, nice=False, domain=alt.Undefined if domain is None else list(domain))
    return kind(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=6, labelExpr=LABEL))


def logarithmic(field: str, title: Any, domain: Sequence[float] | None = None) -> Any:
    """Return the encoding of a quantity by position on a logarithmic vertical axis."""
    scale = alt.Scale(type="log", nice=domain is None, domain=alt.Undefined if domain is None else list(domain))
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=log_axis())


def points(subject: LessonData) -> alt.Data:
    """Return the rows that are shown, with the fields feature and target."""
    return columns("rows", feature=subject.x[subject.shown], target=subject.y[subject.shown])


def scatter(subject: LessonData, y_domain: Sequence[float] | None = None) -> Chart:
    """Return the table as points."""
    return (
        alt.Chart(points(subject))
        .mark_point(filled=True, opacity=0.75, color=shade("data"), clip=True)
        .encode(
            x=axis(alt.X, "feature", subject.feature, padded(subject.x)),
            y=axis(alt.Y, "target", subject.target, padded(subject.y) if y_domain is None else y_domain),
        )
    )


def written(expression: str) -> str:
    """Return a chart expression that formats a number with four digits."""
    return f"format({expression},abs({expression})<1e6&&abs({expression})>=1e-3?',.4~r':'.4~g')"


def readout(expression: str, dy: int = 0, colour: str = "ink") -> Chart:
    """Return a line of text at the upper left of a chart, given as an expression of its parameters."""
    return (
        alt.Chart(ONCE)
        .mark_text(align="left", baseline="top", fontSize=13, fontWeight=600, color=shade(colour), dy=dy)
        .transform_calculate(text=expression)
        .encode(x=alt.value(6), y=alt.value(4), text="text:N")
    )


def cost_of(cost: Quadratic, first: str, second: str) -> str:
    """Return the cost as a chart expression, from the expressions of both parameters."""
    minimum, values, vectors = cost.minimum.tolist(), cost.values.tolist(), cost.vectors.T.tolist()
    moved = [f"(({each})-({least!r}))" for each, least in zip((first, second), minimum, strict=True)]
    along = [f"({p!r})*{moved[0]}+({q!r})*{moved[1]}" for p, q in vectors]
    squares = [f"({value!r})*pow({each},2)" for value, each in zip(values, along, strict=True)]
    return f"{cost.least!r}+({'+'.join(squares)})/2"


def after(cost: Quadratic, start: Array, rate: str, step: str) -> tuple[str, str]:
    """Return both parameters after some steps as chart expressions, from those of the rate and the step."""
    moves = (cost.vectors * cost.shares(start)).tolist()
    shrunk = [f"pow(1-({rate})*({value!r}),{step})" for value in cost.values.tolist()]
    first, second = (
        "+".join([f"({least!r})", *(f"({c!r})*{power}" for c, power in zip(row, shrunk, strict=True))])
        for least, row in zip(cost.minimum.tolist(), moves, strict=True)
    )
    return first, second


def at_slider(chart: Chart, at: Slider, field: str) -> Chart:
    """Return the chart of the row whose field has the value of the slider."""
    return chart.transform_filter(f"abs(datum.{field}-{at.name})<{at.step / 2!r}")
