"""The page of a gradient report: verdict, cause, agreement of each pair, largest differences, how to repeat it."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from gdbackends.gradcheck import GradientReport
from gdbackends.pictures.document import Figure, Table, document
from gdbackends.pictures.results.gradient import components_panel, height, votes_panel
from gdbackends.pictures.results.theme import Drawn

_FOLDER = Path(__file__).parent
_MARKS = "Left of the red line the two agree: a disc agrees, a cross differs, an arrow is not finite. Logarithmic axis."


def gradient_page(report: GradientReport, title: str = "Gradient check") -> str:
    """Return a gradient report as HTML.

    Args:
        report: the result of `check_gradient`.
        title: the title of the page, such as what was checked on which data.
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
    lines = [(a, b, "agree" if ratio <= 1 else "differ", _format(ratio)) for (a, b), ratio in report.agreements.items()]
    headings = ("first", "second", "they", "of what rounding allows")
    caption = f"The largest difference between any two gradients, over what rounding allows. {_MARKS}"
    chart = Drawn({"height": height(len(lines))} | votes_panel(report))
    return Figure("votes", (chart,), caption, Table(headings, tuple(lines)))


def _components(report: GradientReport) -> Figure | None:
    if not report.components:
        return None
    lines = [
        (c.name, str(c.point), f"{c.hand:.10g}", f"{c.autodiff:.10g}", f"{c.allowed:.2g}", _format(c.ratio))
        for c in report.components
    ]
    headings = ("component", "point", "yours", "autodiff", "rounding allows", "of what rounding allows")
    caption = f"The components that differ most, each at the point of its largest difference. {_MARKS}"
    chart = Drawn({"height": height(len(lines))} | components_panel(report))
    note = "Point 0 is the given theta; the other points are random, near it."
    return Figure("components", (chart,), caption, Table(headings, tuple(lines), note))


def _format(ratio: float) -> str:
    return f"{ratio:.2g}" if isfinite(ratio) else "not finite"


def _witness(report: GradientReport) -> str:
    """Return a sentence on finite differences of the loss, or "" if NumPy cannot run the loss."""
    w = report.witness
    if w is None:
        return ""
    how = "exact for a quadratic" if w.quadratic else f"± {w.error:.1g}"
    return (
        f"Without autodiff, finite differences of the loss give {w.derivative:.10g} along a line ({how}); yours gives "
        f"{w.hand:.10g}, autodiff {w.autodiff:.10g}. They support {w.sides_with}."
    )
