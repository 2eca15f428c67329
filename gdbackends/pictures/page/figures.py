"""The figures of a group of the report page, each with its caption and its numbers; without data there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gdbackends.benchmarking.advice import paid
from gdbackends.benchmarking.crossovers import Crossover, Series
from gdbackends.benchmarking.regressions import Change
from gdbackends.benchmarking.result_rows import Row
from gdbackends.benchmarking.table_cells import WRITTEN, ordered
from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.results.charts import bars, in_turn, lanes
from gdbackends.pictures.results.compile_cost import crossover_panel, first_call_panel, paid_panel, paid_points
from gdbackends.pictures.results.encodings import USUAL, Look
from gdbackends.pictures.results.panels import Points, Spec, ratio_panel, time_panel
from gdbackends.pictures.results.table_rows import Group, by_features, features, ratio_point, ratio_points
from gdbackends.pictures.results.theme import Drawn, config

Panel: TypeAlias = Callable[[Points, Points], Spec]
"""A chart of some points, on axes with room for the others."""
HEADINGS = {
    "times": "Time against rows",
    "first": "First call, and calls after it",
    "paid": "When a first call is paid",
    "crossovers": "Where the order changes",
    "over-loss": "Gradient over loss",
    "over-idiomatic": "At its best, over idiomatic",
    "changes": "Changes",
}
"""Of the figures, by their names without the group's number."""
_HEIGHT = 280
_ARTICLES = {"step": "a step", "fit": "a fit", "gradient": "a gradient and its loss", "loss": "a loss"}
_LOG = "both axes logarithmic"


@dataclass(frozen=True, eq=False)
class Shown:
    """What a group of the page shows.

    Attributes:
        number: of the group, from 0.
        group: what it is.
        parts: by the file's name, its rows in the group.
        series: by the file's name, what its rows show.
        look: of all charts.
        changed: by the name of a later file, what changed since the first, in this group.
        whole: by the file's name, all its rows.
    """

    number: int
    group: Group
    parts: Mapping[str, Sequence[Row]]
    series: Mapping[str, Sequence[Series]]
    look: Look
    changed: Mapping[str, Sequence[Change]]
    whole: Mapping[str, Sequence[Row]]

    @property
    def every(self) -> list[Row]:
        """The rows of all files."""
        return [row for rows in self.parts.values() for row in rows]

    def of(self, name: str, d: int) -> list[Series]:
        """Return what the rows of a file with so many features show."""
        return [each for each in self.series[name] if each.spec.features == d]

    def titled(self, chart: Spec, name: str, title: str = "", height: int = _HEIGHT) -> Drawn:
        """Return a chart dressed, under what it shows: the title, and the file where there are several."""
        names = [text for text in (title, name if len(self.parts) > 1 else "") if text]
        told = {"title": dict(zip(("text", "subtitle"), names, strict=False))} if names else {}
        return Drawn(told | {"height": height, "config": config()} | chart)

    def table(self, *titles: str) -> Table:
        """Return these columns of the rows."""
        several = len(self.parts) > 1
        found = [
            (*([name] if several else []), *(WRITTEN[title](row) for title in titles))
            for name, rows in self.parts.items()
            for row in ordered(rows)
        ]
        return Table((*(["file"] if several else []), *titles), tuple(found))


def figures(shown: Shown) -> Iterator[Figure]:
    """Yield the figures that there is something for."""
    yield _times(shown)
    if any(row.first_call_s is not None for row in shown.every):
        yield _first_calls(shown)
    for make in (_paid, _crossovers, _over_loss, _over_idiomatic, _changes):
        found = make(shown)
        if found is not None:
            yield found


def _times(shown: Shown) -> Figure:
    by_file = {name: by_features(part) for name, part in shown.parts.items()}
    panels = [
        shown.titled(time_panel(sizes[d], shown.of(name, d), shown.look, shown.every, legend=False), name, features(d))
        for d in by_features(shown.every)
        for name, sizes in by_file.items()
        if any(row.timing for row in sizes.get(d, []))
    ]
    dashed = ", dashed what is not the best tuning on the CPU" if len(shown.look.variants) > 1 else ""
    caption = (
        f"Time of {_ARTICLES[shown.group.work]} against rows, {_LOG}: a line a backend{dashed}; upright bars are 99 % "
        "intervals. Lower is faster. Shaded is where the fastest changes."
    )
    return Figure(f"times-{shown.number}", tuple(panels), caption, shown.table("features", "rows", "backend", "a call"))


def _first_calls(shown: Shown) -> Figure:
    panels = [
        shown.titled(first_call_panel(part, shown.look, shown.every, bound=k == 0), name, height=bars(part))
        for k, (name, part) in enumerate(shown.parts.items())
        if any(row.first_call_s is not None and row.timing for row in part)
    ]
    caption = (
        "What is paid once beside what each call takes, of the size and number of calls chosen above: the first call, "
        "compiling included (dark), and the calls after it (pale)."
    )
    table = shown.table("features", "rows", "backend", "first call", "a call")
    return Figure(f"first-{shown.number}", tuple(panels), caption, table)


def _paid(shown: Shown) -> Figure | None:
    by_file = {name: paid_points(paid(part)) for name, part in shown.parts.items()}
    caption = (
        "After how many steps a dearer first call has been paid for by faster steps, against NumPy, where the backend "
        f"is faster than NumPy; {_LOG}. Lower is sooner."
    )

    def panel(points: Points, like: Points) -> Spec:
        return paid_panel(points, shown.look, like=like, legend=False)

    return _pointed(shown, "paid", by_file, panel, caption, "steps until paid")


def _over_loss(shown: Shown) -> Figure | None:
    caption = f"The time of a gradient, and its loss, over that of the loss alone; {_LOG}. At 1 the gradient is free."
    if shown.group.work != "gradient":
        return None
    by_file = {name: ratio_points(part, shown.whole[name], work="loss") for name, part in shown.parts.items()}
    return _pointed(shown, "over-loss", by_file, _ratio(shown, "x loss"), caption, "x loss")


def _over_idiomatic(shown: Shown) -> Figure | None:
    caption = (
        "The time of each backend at its best over its own as people usually write it (idiomatic), with 99 % "
        f"intervals; {_LOG}. Below 1 the tuning helps."
    )
    by_file = {name: ratio_points(part, part, tuning="idiomatic") for name, part in shown.parts.items()}
    return _pointed(shown, "over-idiomatic", by_file, _ratio(shown, "x idiomatic"), caption, "x idiomatic")


def _changes(shown: Shown) -> Figure | None:
    by_file = {
        name: [ratio_point(change.case, change.ratio) for change in found if change.ratio is not None]
        for name, found in shown.changed.items()
    }
    first = next(iter(shown.parts))
    caption = f"The time over that of {first}, with 99 % intervals; {_LOG}. Above 1 it has become slower."
    return _pointed(shown, "changes", by_file, _ratio(shown, f"x {first}"), caption, f"x {first}")


def _crossovers(shown: Shown) -> Figure | None:
    found: dict[str, list[tuple[Series, Crossover]]] = {
        name: [(of, crossing) for of in every for crossing in of.crossovers] for name, every in shown.series.items()
    }
    found = {name: each for name, each in found.items() if each}
    if not found:
        return None
    height = lanes(max(len(each) for each in found.values()))
    panels = [
        shown.titled(crossover_panel([c for _, c in each], [_of(*one) for one in each], shown.look), name, "", height)
        for name, each in found.items()
    ]
    lines = [
        (*([name] if len(shown.parts) > 1 else []), _of(of, c), *(f"{float(f'{n:.2g}'):,.0f}" for n in _ends(c)))
        for name, each in found.items()
        for of, c in each
    ]
    headings = (*(["file"] if len(shown.parts) > 1 else []), "the faster of two", "rows, about", "at least", "at most")
    caption = (
        "Where one of two backends ceases to be the faster, in rows, on a logarithmic axis: the bar is what the 99 % "
        "intervals allow, the stroke the likeliest; left who is faster below, right who is faster above."
    )
    return Figure(f"crossovers-{shown.number}", tuple(panels), caption, Table(headings, tuple(lines)))


def _of(of: Series, crossing: Crossover) -> str:
    return f"{features(of.spec.features)}{in_turn(of, crossing)}"


def _ends(crossing: Crossover) -> tuple[float, float, float]:
    return crossing.rows, crossing.low, crossing.high


def _ratio(shown: Shown, title: str) -> Panel:
    return lambda points, like: ratio_panel(points, shown.look, title, like=like, legend=False)


def _pointed(
    shown: Shown,
    name: str,
    by_file: Mapping[str, Points],
    panel: Panel,
    caption: str,
    heading: str,
) -> Figure | None:
    """Return a figure of points, a panel for each number of features and file; None without any."""
    every = [(file, point) for file, points in by_file.items() for point in points]
    if not every:
        return None
    panels: list[Any] = []
    for d in sorted({point["features"] for _, point in every}):
        for file, points in by_file.items():
            some = [point for point in points if point["features"] == d]
            panels += [shown.titled(panel(some, [p for _, p in every]), file, features(d))] if some else []
    several = len(shown.parts) > 1
    lines = [
        (*([file] if several else []), f"{p['features']:,}", f"{p['rows']:,}", _label(p), p["text"])
        for file, p in every
    ]
    headings = (*(["file"] if several else []), "features", "rows", "backend", heading)
    return Figure(f"{name}-{shown.number}", tuple(panels), caption, Table(headings, tuple(lines)))


def _label(point: Mapping[str, Any]) -> str:
    return point["backend"] if point["variant"] == USUAL else f"{point['backend']}, {point['variant']}"
