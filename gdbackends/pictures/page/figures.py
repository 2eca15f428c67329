"""The figures of the report page, for each group of cases and for all rows, with their captions and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from gdbackends.benchmarking.advice import paid
from gdbackends.benchmarking.crossovers import Crossover, Series
from gdbackends.benchmarking.machines import ResultFile
from gdbackends.benchmarking.regressions import Change
from gdbackends.benchmarking.result_rows import Row, known
from gdbackends.benchmarking.table_cells import WRITTEN, ordered
from gdbackends.pictures.document import Figure, Table
from gdbackends.pictures.results.charts import bars, in_turn, lanes
from gdbackends.pictures.results.compile_cost import crossover_panel, first_call_panel, paid_panel, paid_points
from gdbackends.pictures.results.encodings import USUAL, Look
from gdbackends.pictures.results.panels import (
    Points,
    Spec,
    agreement_panel,
    bandwidth_panel,
    memory_panel,
    ratio_panel,
    time_panel,
)
from gdbackends.pictures.results.table_rows import Group, by_features, features, ratio_point, ratio_points
from gdbackends.pictures.results.theme import Drawn

Panel: TypeAlias = Callable[[Points, Points], Spec]
"""A function that draws points on axes with room for other points."""
HEADINGS = {
    "times": "Time against rows",
    "first": "First call, and later calls",
    "paid": "When the first call pays off",
    "crossovers": "Crossovers",
    "over-loss": "Gradient over loss",
    "over-idiomatic": "Best over idiomatic",
    "changes": "Changes",
}
"""The headings of a group's figures, by name without the number of the group."""
_WHERE = " The numbers are in the table of all rows, in the columns "
HEADINGS_OF_ALL = {
    "agreement": "Agreement and speed",
    "memory": "Peak memory",
    "device-memory": "Peak memory of the device",
    "bandwidth": "Fraction of the bandwidth",
}
"""The headings of the figures by name."""
_HEIGHT = 280
_WORKS = {"step": "a step", "fit": "a fit", "gradient": "a gradient and its loss", "loss": "a loss"}
_LOG = "both axes logarithmic"


@dataclass(frozen=True, eq=False)
class Shown:
    """The data of one group of the page.

    Attributes:
        number: the number of the group, from 0.
        group: the group.
        parts: the rows of the group, by file name.
        series: the series of the group, by file name.
        look: the look of all charts.
        changed: the changes since the first file of the same machine in this group, by file name.
        since: the name of that first file, or words for it if there are several machines with changes.
        whole: all rows, by file name.
    """

    number: int
    group: Group
    parts: Mapping[str, Sequence[Row]]
    series: Mapping[str, Sequence[Series]]
    look: Look
    changed: Mapping[str, Sequence[Change]]
    since: str
    whole: Mapping[str, Sequence[Row]]

    @property
    def every(self) -> list[Row]:
        """The rows of all files."""
        return [row for rows in self.parts.values() for row in rows]

    def of(self, name: str, d: int) -> list[Series]:
        """Return the series of a file with this number of features."""
        return [each for each in self.series[name] if each.spec.features == d]

    def titled(self, chart: Spec, name: str, title: str = "", height: int = _HEIGHT) -> Drawn:
        """Return a chart with its title, and the file name if there are several files."""
        names = [text for text in (title, name if len(self.parts) > 1 else "") if text]
        titles = {"title": dict(zip(("text", "subtitle"), names, strict=False))} if names else {}
        return Drawn(titles | {"height": height} | chart)

    def table(self, *titles: str) -> Table:
        """Return a table of these columns."""
        several = len(self.parts) > 1
        lines = [
            (*([name] if several else []), *(WRITTEN[title](row) for title in titles))
            for name, rows in self.parts.items()
            for row in ordered(rows)
        ]
        return Table((*(["file"] if several else []), *titles), tuple(lines))


def figures(shown: Shown) -> Iterator[Figure]:
    """Yield the figures of a group that have data."""
    yield _times(shown)
    if any(row.first_call_s is not None for row in shown.every):
        yield _first_calls(shown)
    for make in (_paid, _crossovers, _over_loss, _over_idiomatic, _changes):
        made = make(shown)
        if made is not None:
            yield made


def _times(shown: Shown) -> Figure:
    by_file = {name: by_features(part) for name, part in shown.parts.items()}
    panels = [
        shown.titled(time_panel(sizes[d], shown.of(name, d), shown.look, shown.every, legend=False), name, features(d))
        for d in by_features(shown.every)
        for name, sizes in by_file.items()
        if any(row.timing for row in sizes.get(d, []))
    ]
    dashed = ", dashed for variants other than the best tuning on the CPU" if len(shown.look.variants) > 1 else ""
    work = _WORKS.get(shown.group.work, shown.group.work)
    caption = (
        f"Time of {work} against rows, {_LOG}. Each line is a backend{dashed}; vertical bars are "
        "99 % intervals. Lower is faster. The fastest backend changes in the shaded intervals."
    )
    return Figure(f"times-{shown.number}", tuple(panels), caption, shown.table("features", "rows", "backend", "a call"))


def _first_calls(shown: Shown) -> Figure:
    panels = [
        shown.titled(first_call_panel(part, shown.look, shown.every, bound=k == 0), name, height=bars(part))
        for k, (name, part) in enumerate(shown.parts.items())
        if any(row.first_call_s is not None and row.timing for row in part)
    ]
    caption = (
        "Total time for the size and number of calls selected above: the first call, compilation included (dark), and "
        "the calls after it (pale)."
    )
    table = shown.table("features", "rows", "backend", "first call", "a call")
    return Figure(f"first-{shown.number}", tuple(panels), caption, table)


def _paid(shown: Shown) -> Figure | None:
    by_file = {name: paid_points(paid(part)) for name, part in shown.parts.items()}
    caption = (
        "The number of steps after which faster steps outweigh a slower first call, compared with NumPy, for backends "
        f"that are faster than NumPy; {_LOG}. Lower is earlier."
    )

    def panel(points: Points, like: Points) -> Spec:
        return paid_panel(points, shown.look, like=like, legend=False)

    return _pointed(shown, "paid", by_file, panel, caption, "steps until paid")


def _over_loss(shown: Shown) -> Figure | None:
    caption = f"The time of a gradient with its loss over that of the loss alone; {_LOG}. At 1 the gradient is free."
    if shown.group.work != "gradient":
        return None
    by_file = {name: ratio_points(part, shown.whole[name], work="loss") for name, part in shown.parts.items()}
    return _pointed(shown, "over-loss", by_file, _ratio(shown, "x loss"), caption, "x loss")


def _over_idiomatic(shown: Shown) -> Figure | None:
    caption = (
        "The time of each backend with its best tuning over its time with idiomatic tuning, with 99 % intervals; "
        f"{_LOG}. Below 1 the tuning helps."
    )
    by_file = {name: ratio_points(part, part, tuning="idiomatic") for name, part in shown.parts.items()}
    return _pointed(shown, "over-idiomatic", by_file, _ratio(shown, "x idiomatic"), caption, "x idiomatic")


def _changes(shown: Shown) -> Figure | None:
    by_file = {
        name: [ratio_point(change.case, sure) for change in found if (sure := known(change.ratio))]
        for name, found in shown.changed.items()
    }
    first = shown.since
    caption = f"The time over that in {first}, with 99 % intervals; {_LOG}. Above 1 a case has become slower."
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
        "The number of rows at which the faster of two backends changes, on a logarithmic axis: the bar is the 99 % "
        "interval, the stroke the estimate; the backend on the left is faster below, that on the right above."
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
    """Return a figure with a panel for each number of features and file, or None if there are no points."""
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


def overall(files: Sequence[ResultFile], shown: Look) -> Iterator[Figure]:
    """Yield the figures of all rows that have data."""
    if any(row.agreement is not None for file in files for row in file.rows):
        caption = (
            "Each point is a case. The horizontal axis is the largest error over what rounding allows; left of the red "
            "line a backend agrees. The vertical axis is the speed relative to NumPy. Both axes are logarithmic. Red "
            "crosses at the bottom have no time; those at the right edge are wrong by at least a hundred times more "
            "than any timed case."
        )
        yield _figure("agreement", files, shown, agreement_panel, caption + _WHERE + "agrees and x NumPy.", "agreement")
    if any(row.peak_bytes is not None for file in files for row in file.rows):
        caption = (
            "Each point is a case: the peak memory of the process, including the framework, against the bytes of the "
            "data (logarithmic). The numbers are in the table of all rows, in the column memory."
        )
        yield _figure("memory", files, shown, memory_panel, caption, "peak_bytes")
    if any(row.device_peak_bytes is not None for file in files for row in file.rows):
        caption = (
            "Each point is a case: the peak memory of the device against the bytes of the data (logarithmic). The "
            "numbers are in the table of all rows, in the column on device."
        )
        panel = partial(memory_panel, of="device_peak_bytes")
        yield _figure("device-memory", files, shown, panel, caption, "device_peak_bytes")
    if any(row.share is not None for file in files for row in file.rows):
        caption = (
            "Each point is a case whose data exceed the last cache: the bytes that must be read over the time, as a "
            "fraction of the read bandwidth measured on this machine, against the bytes of the data (logarithmic). The "
            "numbers are in the table of all rows, in the column bandwidth."
        )
        yield _figure("bandwidth", files, shown, bandwidth_panel, caption, "share")


def _figure(
    name: str,
    files: Sequence[ResultFile],
    shown: Look,
    panel: Callable[..., Spec],
    caption: str,
    needed: str,
) -> Figure:
    several, height = len(files) > 1, {"height": 340}
    known = [file for file in files if any(getattr(row, needed) is not None for row in file.rows)]
    panels = [
        Drawn(({"title": file.name} if several else {}) | height | panel(file.rows, shown, legend=False))
        for file in known
    ]
    return Figure(name, tuple(panels), caption)
