"""Charts of results with the fonts and colours of the package, as JSON for pages and as altair charts for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from gdbackends.pictures.palette import config
from gdbackends.pictures.results.panels import Spec


@dataclass(frozen=True, eq=False)
class Drawn:
    """A chart that is given as JSON and has the only method of altair charts that a page needs.

    Attributes:
        spec: the chart in Vega-Lite.
    """

    spec: Spec

    def to_dict(self) -> Spec:
        """Return the JSON."""
        return self.spec


def alone(spec: Spec, width: int = 560, height: int = 320) -> Any:
    """Return an altair chart."""
    return alt.Chart.from_dict({"width": width, "height": height, "config": config()} | spec)


def together(panels: Mapping[str, Spec]) -> Any:
    """Return panels with their titles as one altair chart, three in a row."""
    named: Sequence[Spec] = [{"width": 300, "height": 260, "title": title} | panel for title, panel in panels.items()]
    return alt.ConcatChart.from_dict({"concat": named, "columns": 3, "config": config()})
