"""Charts of results for notebooks and files: each function takes Results or rows and returns an altair chart.

`.save("x.png")` needs no browser. InputError is raised if the results do not contain what a chart shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gdbackends.benchmarking.advice import paid
from gdbackends.benchmarking.case import BackendConfig
from gdbackends.benchmarking.crossovers import Crossover, Series, series
from gdbackends.benchmarking.result_rows import Row
from gdbackends.benchmarking.table_cells import USUAL
from gdbackends.errors import InputError
from gdbackends.pictures.results.compile_cost import crossover_panel, first_call_panel, paid_panel, paid_points
from gdbackends.pictures.results.encodings import look
from gdbackends.pictures.results.panels import agreement_panel, bandwidth_panel, memory_panel, ratio_panel, time_panel
from gdbackends.pictures.results.table_rows import Table, by_features, features, groups, ratio_points, rows_in
from gdbackends.pictures.results.theme import alone, together


def times(table: Table) -> Any:
    """Return time against rows with 99 % intervals, for the first group, with a panel for each number of features."""
    found = next(iter(groups(rows_in(table)).values()))
    panels = {d: time_panel(some, series(some), look(found), found) for d, some in by_features(found).items()}
    return together({features(d): panel for d, panel in panels.items()})


def gradient_over_loss(table: Table) -> Any:
    """Return the time of a gradient with its loss over that of the loss alone."""
    found = rows_in(table)
    text = "no gradient was timed beside its loss; give bench --work loss,gradient"
    return _ratios([row for row in found if row.case.work == "gradient"], found, "x loss", text, work="loss")


def over_idiomatic(table: Table) -> Any:
    """Return the time of each backend over its time with idiomatic tuning."""
    found = rows_in(table)
    text = "nothing was timed with both tunings; give bench --tuning best,idiomatic"
    return _ratios(found, found, "x idiomatic", text, tuning="idiomatic")


def first_calls(table: Table) -> Any:
    """Return stacked bars of the first call, compilation included, and a selected number of later calls."""
    found = next(iter(groups(rows_in(table)).values()))
    return alone(first_call_panel(found, look(found)), height=bars(found))


def paid_for(table: Table) -> Any:
    """Return the number of steps after which a slower first call than NumPy's pays off."""
    found = rows_in(table)
    points, shown = paid_points(paid(found)), look(found)
    if not points:
        raise InputError("no slower first call pays off in these rows; give results of bench --work step")
    counts = sorted({p["features"] for p in points})
    some = {d: [p for p in points if p["features"] == d] for d in counts}
    return together({features(d): paid_panel(each, shown, like=points) for d, each in some.items()})


def crossovers(table: Table) -> Any:
    """Return the crossovers of two backends with their intervals."""
    found = rows_in(table)
    every = [(c, crossover_name(of, c)) for of in series(found) for c in of.crossovers]
    if not every:
        raise InputError("no two backends change order in these rows; give more sizes")
    crossings, names = zip(*every, strict=True)
    return alone(crossover_panel(crossings, names, look(found)), height=lanes(len(every)))


def agreement_and_speed(table: Table) -> Any:
    """Return the agreement of each case against its speed."""
    found = rows_in(table)
    return alone(agreement_panel(found, look(found)))


def memory(table: Table) -> Any:
    """Return the peak memory of the process against the bytes of the data."""
    found = rows_in(table)
    _need(found, "peak_bytes")
    return alone(memory_panel(found, look(found)))


def bandwidth(table: Table) -> Any:
    """Return the fraction of the read bandwidth used, for data that exceed the last cache."""
    found = rows_in(table)
    _need(found, "share")
    return alone(bandwidth_panel(found, look(found)))


def crossover_name(of: Series, crossing: Crossover) -> str:
    """Return the title of a crossover."""
    unusual = [t for t in (of.spec.objective, of.spec.dtype) if t not in USUAL]
    return ", ".join([of.work, features(of.spec.features), *unusual]) + in_turn(of, crossing)


def in_turn(of: Series, crossing: Crossover) -> str:
    """Return the tuning, unless it is the default, and the two backends that change order."""
    first, then = (BackendConfig(p.backend, p.device, p.threads).label for p in (crossing.small, crossing.large))
    return f"{'' if of.tuning in USUAL else f', {of.tuning}'}: {first}, then {then}"


def bars(table: Sequence[Row]) -> int:
    """Return the height of a bar chart of these backends, in pixels."""
    return 40 + 38 * len({row.case.config for row in table})


def lanes(count: int) -> int:
    """Return the height of a chart of `count` crossovers, in pixels."""
    return 30 + 50 * count


def _ratios(some: Sequence[Row], table: Sequence[Row], title: str, missing: str, **other: str) -> Any:
    """Return the ratios of the first group that has some."""
    for found in groups(some).values():
        points = ratio_points(found, table, **other)
        if points:
            counts, shown = sorted({p["features"] for p in points}), look(found)
            panels = {
                d: ratio_panel([p for p in points if p["features"] == d], shown, title, like=points) for d in counts
            }
            return together({features(d): panel for d, panel in panels.items()})
    raise InputError(missing)


def _need(table: Sequence[Row], name: str) -> None:
    if all(getattr(row, name) is None for row in table):
        raise InputError(f"no row has a {name}, so there is nothing to draw; time larger data on the CPU")
