"""Figure of the lesson: the paths of batch, mini-batch and stochastic descent, which are real fits."""

from __future__ import annotations

from math import ceil
from typing import Any

import altair as alt
import numpy as np

from gdbackends.descent import fit
from gdbackends.descent.spectrum import batch_curvature
from gdbackends.objectives import Array, LinearModel
from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.lesson.contours import box, contours
from gdbackends.pictures.lesson.lesson_data import LessonData, ScaledView
from gdbackends.pictures.lesson.vega import Chart, Slider, axis, columns, logarithmic, short
from gdbackends.pictures.palette import dressed, shade


def batches_figure(subject: LessonData) -> Figure:
    """Return the figure of section 8: batch, mini-batch and stochastic descent from the same start."""
    view, n = subject.views["standardised"], subject.y.size
    rate = min(0.05 * view.ends.largest_stable_rate, 1 / batch_curvature(LinearModel(), view.plain, 1))
    steps = min(400, max(80, ceil(8 / (rate * float(view.cost.values[0])))))
    size = min(n, max(2, min(32, n // 4)))
    sizes = {f"batch: all {n:,} rows": None, f"mini-batch: {size} rows": size, "stochastic: 1 row": 1}
    paths = {name: _path(subject, view, rate, steps, each) for name, each in sizes.items()}
    return Figure(
        "batches",
        _panels(subject, view, paths, Slider("s", "steps", 0, 1, steps + 1, steps)),
        f"Left: the paths of three fits from one start at the rate {short(rate)}, over the contours of the cost of all "
        "rows. The path of batch descent is straight; that of mini-batch descent deviates a little; that of stochastic "
        "descent, with one row per step, wanders around the minimum (the cross), since each row alone has another "
        "best line. Right: the cost of all rows at each step.",
        _batches_table(subject, paths, steps, view),
    )


def _panels(subject: LessonData, view: ScaledView, paths: dict[str, Array], s: Slider) -> tuple[Chart, ...]:
    names, colours = list(paths), [shade(name) for name in ("good", "low", "high")]
    flat = np.concatenate(list(paths.values()))
    costs = [view.cost.cost(theta) for theta in flat]
    cost = f"cost J ({subject.target} squared)"
    counted = np.tile(np.arange(s.count), len(paths))
    slope, level = flat.T
    rows = columns("batches", slope=slope, level=level, name=np.repeat(names, s.count), step=counted, cost=costs)
    table = alt.Chart(rows).transform_filter("datum.step<=s")
    here = table.transform_filter("datum.step===s")
    key = alt.Color("name:N", scale=alt.Scale(domain=names, range=colours), title=None, legend=alt.Legend(columns=1))
    contour = contours(view, box(view), "slope w, standardised", f"{subject.target} at the mean {subject.feature}")
    places: list[dict[str, Any]] = [
        {"x": "slope:Q", "y": "level:Q"},
        {
            "x": axis(alt.X, "step", "step", (0, s.count - 1)),
            "y": logarithmic("cost", cost),
        },
    ]
    charts: list[Chart] = []
    for k, place in enumerate(places):
        line = table.mark_line(clip=True, strokeWidth=1.5, strokeJoin="round").encode(
            **place, color=key, order="step:Q"
        )
        dot = here.mark_point(filled=True, size=110, opacity=1, clip=True).encode(**place, color=key)
        layers = alt.layer(*([contour] if k == 0 else []), line, dot)
        charts.append(dressed(layers.add_params(s.param(bound=k == 0)), height=380))
    return tuple(charts)


def _path(subject: LessonData, view: ScaledView, rate: float, steps: int, size: int | None) -> Array:
    """Return the path of a fit in the coordinates of the descent, (steps + 1, 2)."""
    fitted = fit(
        *(subject.x[:, None], subject.y),
        backend="numpy",
        learning_rate=rate,
        steps=steps,
        batch_size=size,
        tolerance=0,
        record_path=True,
    )
    assert fitted.path is not None
    return np.array([view.scaling.from_data_units(theta) for theta in fitted.path])


def _batches_table(subject: LessonData, paths: dict[str, Array], steps: int, view: ScaledView) -> Table:
    shown = sorted({0, 1, 2, 5, 10, steps // 4, steps // 2, steps})
    rows = [(str(k), *(short(view.cost.cost(path[k])) for path in paths.values())) for k in shown]
    heads = [f"cost ({subject.target} squared), {name}" for name in paths]
    return Table(("steps", *heads), tuple(rows), "The cost is that of all rows; a step of one row is much cheaper.")
