"""The page of a gradient report: verdict, who agrees with whom, cause, the worst components, how to repeat it."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from gdbackends.gradcheck import GradientReport
from gdbackends.pictures.document import Figure, Table, document
from gdbackends.pictures.results.gradient import components_panel, height, votes_panel
from gdbackends.pictures.results.theme import Drawn, config

_FOLDER = Path(__file__).parent
_WHERE = "Left of the red line the two agree; a disc agrees, a cross differs, an arrow is not finite. Logarithmic axis."


def gradient_page(report: GradientReport, title: str = "Gradient check") -> str:
    """Return a gradient report as HTML.

    Args:
        report: as `check_gradient` returns it.
        title: of the page: what was checked, and on which data.
    """
    figures = [each for each in (_votes(report), _components(report)) if each is not None]
    return document(
        "page/gradient.html.j2",
        title,
        figures,
        style=(_FOLDER / "page.css").read_text(encoding="utf8"),
        script="\n".join((_FOLDER / name).read_text(encoding="utf8") for name in ("copy.js", "gradient.js")),
        report=report,
        title_of_page=title,
        names=[figure.name for figure in figures],
        witness=_witness(report),
        word={"pass": "good", "fail": "bad"}.get(report.verdict, "open"),
    )


def _votes(report: GradientReport) -> Figure | None:
    if not report.agreements:
        return None
    lines = [(a, b, "agree" if ratio <= 1 else "differ", _told(ratio)) for (a, b), ratio in report.agreements.items()]
    headings = ("one", "the other", "they", "of what rounding allows")
    caption = f"The largest difference between any two gradients, over what rounding allows. {_WHERE}"
    chart = Drawn({"height": height(len(lines)), "config": config()} | votes_panel(report))
    return Figure("votes", (chart,), caption, Table(headings, tuple(lines)))


def _components(report: GradientReport) -> Figure | None:
    if not report.components:
        return None
    lines = [
        (c.name, str(c.point), f"{c.hand:.10g}", f"{c.autodiff:.10g}", f"{c.allowed:.2g}", _told(c.ratio))
        for c in report.components
    ]
    headings = ("component", "point", "yours", "autodiff", "rounding allows", "of what rounding allows")
    caption = f"The components that differ most, each at the point where it does. {_WHERE}"
    chart = Drawn({"height": height(len(lines)), "config": config()} | components_panel(report))
    note = "Point 0 is the theta given, the others are random, near it."
    return Figure("components", (chart,), caption, Table(headings, tuple(lines), note))


def _told(ratio: float) -> str:
    return f"{ratio:.2g}" if isfinite(ratio) else "not finite"


def _witness(report: GradientReport) -> str:
    """Return what differences of the loss say; "" where NumPy cannot run the loss."""
    w = report.witness
    if w is None:
        return ""
    how = "exact for a quadratic" if w.quadratic else f"give or take {w.error:.1g}"
    return (
        f"Without autodiff, differences of the loss give {w.derivative:.10g} along a line ({how}); yours gives "
        f"{w.hand:.10g}, autodiff {w.autodiff:.10g}. They side with {w.sides_with}."
    )
