"""Figures of the lesson: the best rate and the limit for three scalings of the feature; the loss step by step."""

from __future__ import annotations

import altair as alt
import numpy as np

from gdbackends.descent import fit
from gdbackends.objectives import Array
from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.lesson.lesson_data import WAYS, LessonData, ScaledView
from gdbackends.pictures.lesson.rate import RATES
from gdbackends.pictures.lesson.vega import Chart, after, axis, columns, cost_of, logarithmic, short, slider
from gdbackends.pictures.palette import dressed, shade


def limits_figure(subject: LessonData) -> Figure:
    """Return the third figure of section 5: the cost after k steps against the rate, for three scalings."""
    k = slider("k", "steps k", 1, 60, 20, 59)
    views = [subject.views[way] for way in WAYS]
    chosen = alt.param(
        name="way",
        value=WAYS[2],
        bind=alt.BindRadioSelect(input="radio", options=list(WAYS), name=f"scaling of {subject.feature[:40]}"),
    )
    return Figure(
        "limits",
        (_valley(subject, views).add_params(chosen, k.param()),),
        "The cost after k steps against the rate, as a fraction of the largest stable rate for each scaling of "
        f"{subject.feature}. The best rate, which is marked, minimises the largest factor |1 - a l|; right of 1 the "
        "cost grows without bound."
        + (" For the feature as it is, no rate comes near the minimum in so few steps." if views[0].thin else ""),
        Table(
            ("scaling", "smallest eigenvalue", "largest", "best rate 2/(l_min + l_max)", "largest stable rate 2/l_max"),
            tuple(
                (v.way, *(short(e) for e in v.cost.values), short(v.ends.best_rate), short(v.ends.largest_stable_rate))
                for v in views
            ),
        ),
    )


def _valley(subject: LessonData, views: list[ScaledView]) -> Chart:
    ratios = np.round(np.arange(0.01, 1.1001, 0.01), 2)
    costs = {}
    for view in views:
        first, second = after(view.cost, view.start, f"datum.ratio*{view.ends.largest_stable_rate!r}", "k")
        costs[view.way] = cost_of(view.cost, first, second)
    cost = f"way==='{WAYS[0]}'?{costs[WAYS[0]]}:way==='{WAYS[1]}'?{costs[WAYS[1]]}:{costs[WAYS[2]]}"
    curve = alt.Chart(columns("rates", ratio=ratios)).transform_calculate(cost=f"max({cost},1e-300)")
    table = columns(
        "marks",
        way=[view.way for view in views],
        ratio=[view.ends.best_rate / view.ends.largest_stable_rate for view in views],
        rate=[view.ends.best_rate for view in views],
        limit=[view.ends.largest_stable_rate for view in views],
    )
    marks = alt.Chart(table).transform_filter("datum.way===way")
    best = marks.transform_calculate(position="datum.ratio", text="'best '+format(datum.rate,'.4~g')")
    limit = marks.transform_calculate(position="1", text="'limit '+format(datum.limit,'.4~g')")
    x = axis(alt.X, "ratio", "rate / largest stable rate", (0, 1.1))
    first = max(views[2].cost.cost(views[2].start), 1e-300)
    ends = (max(views[2].cost.least * 0.8, first * 1e-12), first * 100)
    y = logarithmic("cost", f"cost J ({subject.target} squared)", ends)
    layers: list[Chart] = [curve.mark_line(color=shade("good"), clip=True).encode(x=x, y=y)]
    for each, colour, line in ((best, "ink", 10), (limit, "bad", 28)):
        layers += [
            each.mark_rule(color=shade(colour), strokeDash=[4, 3], strokeWidth=1.5).encode(x="position:Q"),
            each.mark_text(align="right", dx=-6, fontWeight=600, color=shade(colour)).encode(
                x="position:Q", y=alt.value(line), text="text:N"
            ),
        ]
    return dressed(alt.layer(*layers))


def steps_figure(subject: LessonData) -> Figure:
    """Return the figure of section 7: the loss against the step, for real fits at three rates and for any rate."""
    view, steps = subject.views["standardised"], 40
    limit, start = view.ends.largest_stable_rate, np.zeros(2)
    rows: list[tuple[str, int, float]] = []
    for name, (share, _) in RATES.items():
        fitted = fit(
            subject.x[:, None], subject.y, backend="numpy", learning_rate=share * limit, steps=steps, tolerance=0
        )
        rows += [(f"{name}, {short(share * limit)}", k, float(v)) for k, v in enumerate([*fitted.losses, fitted.loss])]
    names = list(dict.fromkeys(name for name, *_ in rows))
    positive = [row for row in rows if row[2] > 0]
    name, step, loss = ([row[j] for row in positive] for j in range(3))
    fitted = alt.Chart(columns("fits", name=name, step=step, loss=loss))
    a = slider("a", "another learning rate", 0.02 * limit, 1.05 * limit, 0.2 * limit, 103)
    chosen = _descent(view, start, steps)
    x = axis(alt.X, "step", "step k", (0, steps))
    y = logarithmic("loss", f"loss ({subject.target} squared)")
    colours = [shade(colour) for _, colour in RATES.values()]
    key = alt.Color("name:N", scale=alt.Scale(domain=names, range=colours), title=None, legend=alt.Legend(columns=1))
    dash = alt.StrokeDash(
        "name:N",
        scale=alt.Scale(domain=names, range=[[6, 3], [1, 0], [2, 2]]),
        title=None,
        legend=alt.Legend(columns=1),
    )
    least = alt.Chart(columns("least", loss=[max(view.cost.least, 1e-300)]))
    layers = alt.layer(
        least.mark_rule(color=shade("data"), strokeDash=[2, 3]).encode(y=y),
        fitted.mark_line().encode(x=x, y=y, color=key, strokeDash=dash),
        chosen.mark_line(color=shade("ink"), strokeWidth=1.5).encode(x=x, y=y),
        chosen.mark_point(color=shade("ink"), filled=True, size=30, opacity=1).encode(x=x, y=y),
    )
    shown = [0, 1, 2, 5, 10, 20, steps]
    losses = {name: {k: v for other, k, v in rows if other == name} for name in names}
    return Figure(
        "steps",
        (dressed(layers.add_params(a.param())),),
        "The loss against the step on a logarithmic axis, for three rates and, with small points, for the rate of the "
        f"slider. A steady descent is a straight line until the loss reaches its minimum, {short(view.cost.least)} "
        "(dotted). Beyond the limit the loss rises.",
        Table(
            ("step k", *names),
            tuple((str(k), *(short(losses[name][k]) if k in losses[name] else "-" for name in names)) for k in shown),
        ),
    )


def _descent(view: ScaledView, start: Array, steps: int) -> Chart:
    """Return the step and the loss of a descent at the rate of the slider a."""
    first, second = after(view.cost, start, "a", "datum.step")
    loss = f"max({cost_of(view.cost, 'datum.first', 'datum.second')},1e-300)"
    table = alt.Chart(columns("slider", step=range(steps + 1)))
    return table.transform_calculate(first=first, second=second).transform_calculate(loss=loss)
