"""Figures of the lesson: a learning rate that is too small, good or too large, exact at every slider position."""

from __future__ import annotations

from typing import cast

import altair as alt
import numpy as np

from gdbackends.objectives import Array
from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.lesson.lesson_data import LessonData, ScaledView
from gdbackends.pictures.lesson.vega import Chart, after, axis, columns, cost_of, logarithmic, readout, short, slider
from gdbackends.pictures.palette import dressed, shade

RATES = {"too small": (0.05, "low"), "good": (0.4, "good"), "too large": (1.03, "high")}
"""Rates as fractions of the largest stable one, and their colours."""
_STEPS = 12


def start_of(subject: LessonData) -> Array:
    """Return (2,) in standardised units, the flat line through the mean, or a steeper one if that is nearly the best.

    The intercept is at its best value and stays there, so that only the slope changes.
    """
    least = subject.views["standardised"].cost.minimum
    wide = float(subject.y.std()) or 1.0
    return np.array([0.0 if abs(least[0]) > 0.2 * wide else least[0] - wide, least[1]])


def rates_figure(subject: LessonData) -> Figure:
    """Return the first figure of section 5: a descent at each of three rates."""
    view, start = subject.views["standardised"], start_of(subject)
    limit = view.ends.largest_stable_rate
    panels = tuple(
        _descent(subject, view, start, repr(share * limit), repr(_STEPS), colour).properties(
            title=f"{name}: rate {short(share * limit)}"
        )
        for name, (share, colour) in RATES.items()
    )
    return Figure(
        "rates",
        panels,
        f"Three descents of {_STEPS} steps on one parabola of w, the slope per standard deviation of "
        f"{subject.feature}. A rate that is too small is slow, a good one arrives after a few steps, and one that is "
        "too large jumps across the minimum, further each time.",
        Table(("rate", *(f"cost after {k}" for k in (0, 1, 2, 5, _STEPS))), tuple(_rows(view, start))),
    )


def _rows(view: ScaledView, start: Array) -> list[tuple[str, ...]]:
    rates = [share * view.ends.largest_stable_rate for share, _ in RATES.values()]
    rates += [view.ends.best_rate]
    costs = [[view.cost.cost(view.cost.after(start, rate, k)) for k in (0, 1, 2, 5, _STEPS)] for rate in rates]
    return [(short(rate), *(short(cost) for cost in each)) for rate, each in zip(rates, costs, strict=True)]


def rate_figure(subject: LessonData) -> Figure:
    """Return the second figure of section 5: a slider for the rate, the path on the parabola, and the costs."""
    view, start = subject.views["standardised"], start_of(subject)
    limit, best = view.ends.largest_stable_rate, view.ends.best_rate
    a = slider("a", "learning rate a", 0.02 * limit, 1.1 * limit, 0.15 * limit, 110)
    k = slider("k", "steps k", 0, 30, 10, 30)
    path = _descent(subject, view, start, "a", "k", "good").add_params(a.param(), k.param())
    text = f"a<{limit!r}*(1-1e-9)?'':'beyond the limit: every step is larger'"
    return Figure(
        "rate",
        (path, _costs(subject, view, start, text).add_params(a.param(bound=False), k.param(bound=False))),
        f"Left: the steps of descent on the parabola at the chosen rate. Right: the cost before each step. The best "
        f"rate is {short(best)}, the largest stable one {short(limit)}; beyond it every step leads further away.",
        Table(
            ("rate a", "fraction of the limit", "cost after 10 steps", "cost after 30 steps"),
            tuple(
                (
                    short(rate),
                    short(rate / limit),
                    *(short(view.cost.cost(view.cost.after(start, rate, k))) for k in (10, 30)),
                )
                for rate in a.positions[::10]
            ),
        ),
    )


def _descent(subject: LessonData, view: ScaledView, start: Array, rate: str, steps: str, colour: str) -> Chart:
    """Return the steps on the parabola, with the fields step, slope and cost."""
    slope, level = after(view.cost, start, rate, "datum.step")
    least, reach = view.cost.minimum, 1.5 * abs(float(start[0] - view.cost.minimum[0]))
    grid = cast(Array, np.linspace(least[0] - reach, least[0] + reach, 121))
    costs = [view.cost.cost(np.array([w, least[1]])) for w in grid]
    top = max(costs)
    axes = {
        "x": axis(alt.X, "slope", "slope w, standardised", (grid[0], grid[-1])),
        "y": axis(alt.Y, "cost", f"cost J ({subject.target} squared)", (0, top)),
    }
    curve = alt.Chart(columns("curve", slope=grid, cost=costs)).mark_line(color=shade("data"), opacity=0.7)
    path = (
        alt.Chart(columns("path", step=range(31)))
        .transform_filter(f"datum.step<={steps}")
        .transform_calculate(slope=slope, level=level)
        .transform_calculate(cost=cost_of(view.cost, "datum.slope", "datum.level"))
    )
    order = alt.Order("step:Q")
    return dressed(
        alt.layer(
            curve.encode(**axes),
            path.mark_line(color=shade(colour), strokeWidth=1.5, clip=True).encode(**axes, order=order),
            path.mark_point(color=shade(colour), filled=True, size=70, opacity=1, clip=True).encode(**axes),
        )
    )


def _costs(subject: LessonData, view: ScaledView, start: Array, text: str) -> Chart:
    slope, level = after(view.cost, start, "a", "datum.step")
    steps = (
        alt.Chart(columns("steps", step=range(31)))
        .transform_filter("datum.step<=k")
        .transform_calculate(slope=slope, level=level)
    )
    steps = steps.transform_calculate(cost=f"max({cost_of(view.cost, 'datum.slope', 'datum.level')},1e-300)")
    y = logarithmic("cost", f"cost J ({subject.target} squared)")
    x = axis(alt.X, "step", "step k", (0, 30))
    return dressed(
        alt.layer(
            steps.mark_line(color=shade("good"), strokeWidth=1.5).encode(x=x, y=y),
            steps.mark_point(color=shade("good"), filled=True, size=60, opacity=1).encode(x=x, y=y),
            readout(text, colour="bad"),
        )
    )
