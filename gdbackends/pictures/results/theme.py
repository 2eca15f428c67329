"""Charts of results dressed as all of ours are: for a page, where each is made once, and for notebooks, by altair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt

from gdbackends.pictures.palette import dressed
from gdbackends.pictures.results.panels import Spec


@cache
def config() -> Spec:
    """Return the configuration of every chart, as altair writes it."""
    found: Any = dressed(alt.Chart(alt.InlineData(values=[])).mark_point())
    return found.to_dict()["config"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A chart of a page, which asks nothing of a chart but its JSON.

    Attributes:
        spec: in Vega-Lite.
    """

    spec: Spec

    def to_dict(self) -> Spec:
        """Return the JSON."""
        return self.spec


def alone(spec: Spec, width: int = 560, height: int = 320) -> Any:
    """Return a chart of altair, dressed."""
    return alt.Chart.from_dict({"width": width, "height": height, "config": config()} | spec)


def together(panels: Mapping[str, Spec]) -> Any:
    """Return panels under their titles as one chart of altair, three in a row."""
    named: Sequence[Spec] = [{"width": 300, "height": 260, "title": title} | panel for title, panel in panels.items()]
    return alt.ConcatChart.from_dict({"concat": named, "columns": 3, "config": config()})
