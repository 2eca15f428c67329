"""Pictures of the lesson: the best rate and the limit for three ways to write the feature; the loss step by step."""

from __future__ import annotations

import altair as alt
import numpy as np

from gdbackends.descent import fit
from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.lesson.lesson_data import WAYS, LessonData, ScaledView
from gdbackends.pictures.lesson.rate import RATES
from gdbackends.pictures.lesson.vega import Chart, after, axis, columns, cost_of, logarithmic, short, slider
from gdbackends.pictures.palette import dressed, shade


def limits_figure(subject: LessonData) -> Figure:
    """Return section 5: the cost after k steps against the rate, the feature written in three ways."""
    k = slider("k", "steps k", 1, 60, 20, 59)
    views = [subject.views[way] for way in WAYS]
    chosen = alt.param(
        name="way",
        value=WAYS[2],
        bind=alt.BindRadioSelect(input="radio", options=list(WAYS), name=f"{subject.feature[:40]}, written"),
    )
    return Figure(
        "limits",
        (_valley(subject, views).add_params(chosen, k.param()),),
        "The cost after k steps against the rate, as a share of the largest stable rate of each way to write "
        f"{subject.feature}. The marked best rate leaves the slowest direction least to go; right of 1 the cost grows "
        "without end."
        + (" Written as it is, no rate brings it near its least in so few steps." if views[0].thin else ""),
        Table(
            ("written", "smallest eigenvalue", "largest", "best rate 2/(l_min + l_max)", "largest stable rate 2/l_max"),
            tuple(
                (v.way, *(short(e) for e in v.cost.values), short(v.ends.best_rate), short(v.ends.largest_stable_rate))
                for v in views
            ),
        ),
    )


def _valley(subject: LessonData, views: list[ScaledView]) -> Chart:
    shares = np.round(np.arange(0.01, 1.1001, 0.01), 2)
    costs = {}
    for view in views:
        first, second = after(view.cost, view.start, f"datum.c0*{view.ends.largest_stable_rate!r}", "k")
        costs[view.way] = cost_of(view.cost, first, second)
    cost = f"way==='{WAYS[0]}'?{costs[WAYS[0]]}:way==='{WAYS[1]}'?{costs[WAYS[1]]}:{costs[WAYS[2]]}"
    curve = alt.Chart(columns("rates", shares)).transform_calculate(c1=f"max({cost},1e-300)")
    rows = [
        [v.way, v.ends.best_rate / v.ends.largest_stable_rate, v.ends.best_rate, v.ends.largest_stable_rate]
        for v in views
    ]
    marks = alt.Chart(columns("marks", *zip(*rows, strict=True))).transform_filter("datum.c0===way")
    best = marks.transform_calculate(c4="datum.c1", c5="'best '+format(datum.c2,'.4~g')")
    limit = marks.transform_calculate(c4="1", c5="'limit '+format(datum.c3,'.4~g')")
    x = axis(alt.X, "c0", "rate / largest stable rate", (0, 1.1))
    first = max(views[2].cost.cost(views[2].start), 1e-300)
    ends = (max(views[2].cost.least * 0.8, first * 1e-12), first * 100)
    y = logarithmic("c1", f"cost J ({subject.target} squared)", ends)
    layers: list[Chart] = [curve.mark_line(color=shade("good"), clip=True).encode(x=x, y=y)]
    for each, colour, line in ((best, "ink", 10), (limit, "bad", 28)):
        layers += [
            each.mark_rule(color=shade(colour), strokeDash=[4, 3], strokeWidth=1.5).encode(x="c4:Q"),
            each.mark_text(align="right", dx=-6, fontWeight=600, color=shade(colour)).encode(
                x="c4:Q", y=alt.value(line), text="c5:N"
            ),
        ]
    return dressed(alt.layer(*layers))


def steps_figure(subject: LessonData) -> Figure:
    """Return section 7: the loss against the step on a log axis, for three rates (real fits), and one of your own."""
    view, steps = subject.views["standardised"], 40
    limit, start = view.ends.largest_stable_rate, np.zeros(2)
    rows: list[tuple[str, int, float]] = []
    for name, (share, _) in RATES.items():
        fitted = fit(
            subject.x[:, None], subject.y, backend="numpy", learning_rate=share * limit, steps=steps, tolerance=0
        )
        rows += [(f"{name}, {short(share * limit)}", k, float(v)) for k, v in enumerate([*fitted.losses, fitted.loss])]
    names = list(dict.fromkeys(name for name, *_ in rows))
    fitted = alt.Chart(columns("fits", *zip(*[row for row in rows if row[2] > 0], strict=True)))
    a = slider("a", "your own learning rate", 0.02 * limit, 1.05 * limit, 0.2 * limit, 103)
    first, second = after(view.cost, start, "a", "datum.c1")
    own = alt.Chart(columns("own", [0] * (steps + 1), range(steps + 1)))
    own = own.transform_calculate(c3=first, c4=second)
    own = own.transform_calculate(c2=f"max({cost_of(view.cost, 'datum.c3', 'datum.c4')},1e-300)")
    x = axis(alt.X, "c1", "step k", (0, steps))
    y = logarithmic("c2", f"loss ({subject.target} squared)")
    colours = [shade(colour) for _, colour in RATES.values()]
    key = alt.Color("c0:N", scale=alt.Scale(domain=names, range=colours), title=None, legend=alt.Legend(columns=1))
    dash = alt.StrokeDash(
        "c0:N", scale=alt.Scale(domain=names, range=[[6, 3], [1, 0], [2, 2]]), title=None, legend=alt.Legend(columns=1)
    )
    least = alt.Chart(columns("least", [0], [0], [max(view.cost.least, 1e-300)]))
    layers = alt.layer(
        least.mark_rule(color=shade("data"), strokeDash=[2, 3]).encode(y=y),
        fitted.mark_line().encode(x=x, y=y, color=key, strokeDash=dash),
        own.mark_line(color=shade("ink"), strokeWidth=1.5).encode(x=x, y=y),
        own.mark_point(color=shade("ink"), filled=True, size=30, opacity=1).encode(x=x, y=y),
    )
    shown = [0, 1, 2, 5, 10, 20, steps]
    losses = {name: {k: v for other, k, v in rows if other == name} for name in names}
    return Figure(
        "steps",
        (dressed(layers.add_params(a.param())),),
        "The loss against the step, on a logarithmic axis, for three rates, and with small points for your own. "
        f"A steady descent is a straight line until the loss is at its least, {short(view.cost.least)}, dotted. A rate "
        "beyond the limit climbs.",
        Table(
            ("step k", *names),
            tuple((str(k), *(short(losses[name][k]) if k in losses[name] else "-" for name in names)) for k in shown),
        ),
    )
