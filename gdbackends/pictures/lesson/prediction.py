"""Figure of the lesson: the prediction of the fitted line."""

from __future__ import annotations

from math import sqrt

import altair as alt
import numpy as np

from gdbackends.descent import Fit, fit
from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.lesson.lesson_data import LessonData
from gdbackends.pictures.lesson.vega import at_slider, axis, columns, padded, scatter, short, slider, written
from gdbackends.pictures.palette import dressed, shade


def fitted_line(subject: LessonData) -> Fit:
    """Return the fit of the line with NumPy at the automatic rate."""
    return fit(subject.x[:, None], subject.y, backend="numpy")


def prediction_figure(subject: LessonData) -> Figure:
    """Return the figure of section 10: a slider for a new value of the feature, and its prediction."""
    fitted, ends = fitted_line(subject), padded(subject.x, 0.15)
    typical = sqrt(fitted.loss)
    x = slider("x", f"a new {subject.feature}", ends[0], ends[1], float(subject.x.mean()), 100)
    places = np.array(x.positions)
    predicted = fitted.predict(places[:, None])
    table = columns(
        "predictions", feature=places, predicted=predicted, low=predicted - typical, high=predicted + typical
    )
    here = at_slider(alt.Chart(table), x, "feature")
    horizontal = axis(alt.X, "feature", subject.feature, (places[0], places[-1]))
    domain = padded(np.concatenate((subject.y, predicted)))
    vertical = axis(alt.Y, "predicted", subject.target, domain)
    place = {"x": horizontal, "y": vertical}
    points = scatter(subject).encode(x=horizontal, y=axis(alt.Y, "target", subject.target, domain))
    text = here.transform_calculate(text=f"{written('datum.feature')}+' → '+{written('datum.predicted')}")
    layers = alt.layer(
        alt.Chart(table)
        .mark_area(color=shade("good"), opacity=0.13, clip=True)
        .encode(x=horizontal, y="low:Q", y2="high:Q"),
        points,
        alt.Chart(table).mark_line(color=shade("good"), clip=True).encode(**place),
        here.mark_rule(color=shade("high"), strokeDash=[4, 3]).encode(x="feature:Q"),
        here.mark_rule(color=shade("high"), strokeDash=[4, 3]).encode(y="predicted:Q"),
        here.mark_point(filled=True, size=150, color=shade("high"), opacity=1).encode(x="feature:Q", y="predicted:Q"),
        text.mark_text(align="left", baseline="top", fontSize=15, fontWeight=700, color=shade("high")).encode(
            x=alt.value(8), y=alt.value(6), text="text:N"
        ),
    )
    return Figure(
        "prediction",
        (dressed(layers.add_params(x.param())),),
        f"The fitted line, the rows, and the {subject.target} predicted for a new {subject.feature}. The band is the "
        f"line ± the typical error, the square root of the cost, {short(typical)}.",
        Table(
            (subject.feature, f"predicted {subject.target}"),
            tuple((short(a), short(b)) for a, b in list(zip(places, predicted, strict=True))[:: max(1, x.count // 10)]),
            subject.sampled,
        ),
    )
