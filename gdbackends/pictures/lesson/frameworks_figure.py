"""Figure of the lesson: the gradients of all frameworks to their last digits."""

from __future__ import annotations

from math import ceil, floor, log10

import altair as alt
import numpy as np

from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.lesson.frameworks import FrameworkResults
from gdbackends.pictures.lesson.vega import Chart, Slider, columns, short
from gdbackends.pictures.palette import backend_scale, dressed, shade


def frameworks_figure(frameworks: FrameworkResults) -> Figure:
    """Return the figure of section 9: the gradients around the exact one, with a slider that zooms in."""
    far = max(float(np.abs(each.gradient).max()) for each in frameworks.results) or 1.0
    near = [abs(v) for each in frameworks.results for v in (*each.difference, *frameworks.allowed) if v]
    low, high = floor(log10(min(near, default=far * 1e-16))), ceil(log10(far))
    start = min(max(ceil(log10(float(frameworks.allowed.max()) or far * 1e-15)), low), high)
    zoom = Slider("z", "zoom, as a power of ten", low, 1, high - low + 1, start)
    what = ("with respect to the slope", "with respect to the level")
    reference = "the exact gradient" if frameworks.exact else "NumPy's gradient"
    return Figure(
        "frameworks",
        tuple(_around(frameworks, j, zoom, f"derivative {what[j]}") for j in range(2)),
        f"The difference of each framework from {reference}, which is at 0, for both components of the gradient. The "
        "band is what rounding allows for each. The frameworks differ only in the last digits, "
        + ("by less than the band." if frameworks.agree else "but by more than the band: they DISAGREE."),
        Table(
            (
                "framework",
                *(f"{w}: from {reference}" for w in what),
                *(f"{w}: allowed" for w in what),
                "difference / allowed",
            ),
            tuple(
                (
                    each.name,
                    *(f"{v:.2g}" for v in each.difference),
                    *(f"{v:.2g}" for v in frameworks.allowed),
                    f"{each.ratio:.2g}",
                )
                for each in frameworks.results
            ),
            "Two correct gradients may differ by twice what is allowed for each; the last column refers to that.",
        ),
    )


def _around(frameworks: FrameworkResults, component: int, zoom: Slider, title: str) -> Chart:
    order = [each.name for each in frameworks.results]
    rows = columns("gradients", name=order, difference=[each.difference[component] for each in frameworks.results])
    allowed = float(frameworks.allowed[component])
    band = alt.Chart(columns("band", low=[-allowed], high=[allowed])).transform_calculate(
        zoomed="datum.low/pow(10,z)", end="datum.high/pow(10,z)"
    )
    shown = alt.Chart(rows).transform_calculate(zoomed="datum.difference/pow(10,z)")
    x = alt.X("zoomed:Q", title="difference / 10^zoom", scale=alt.Scale(domain=[-1, 1], nice=False))
    y = alt.Y("name:N", title=None, sort=order)
    key = alt.Color("name:N", scale=backend_scale(order), legend=None)
    shape = alt.Shape("name:N", scale=backend_scale(order, "shape"), legend=None)
    layers = alt.layer(
        band.mark_rect(color=shade("data"), opacity=0.2, clip=True).encode(x=x, x2="end:Q"),
        alt.Chart(columns("zero", zoomed=[0.0])).mark_rule(color=shade("data")).encode(x="zoomed:Q"),
        shown.mark_point(filled=True, size=150, opacity=1, clip=True).encode(x=x, y=y, color=key, shape=shape),
    )
    return dressed(layers.add_params(zoom.param(bound=component == 0)), height=150).properties(title=title)


def fit_rows(frameworks: FrameworkResults) -> list[tuple[str, ...]]:
    """Return the rows of the table of fits: framework, m, b, loss, steps."""
    return [
        (each.name, *(short(float(v)) for v in each.fit.theta), short(each.fit.loss), str(each.fit.steps))
        for each in frameworks.results
    ]
