"""The table of the fastest backends: a line for each number of features, a column for each number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gdbackends.benchmarking.case import BackendConfig
from gdbackends.benchmarking.crossovers import Series, Winner
from gdbackends.pictures.results.table_rows import features


@dataclass(frozen=True)
class Cell:
    """The fastest backends at one size.

    Attributes:
        name: the display names of the fastest backends.
        note: the ratio to the next one, or why there is more than one.
        backends: the names of the backends in the results.
    """

    name: str
    note: str
    backends: tuple[str, ...]


@dataclass(frozen=True)
class Winners:
    """The table of the fastest backends.

    Attributes:
        sizes: the headings of the columns.
        lines: the heading and the cells of each line; None if nothing was timed.
    """

    sizes: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Cell | None, ...]], ...]


def winners(group: Sequence[Series]) -> Winners:
    """Return the fastest backends at each size, for series of one workload, objective and dtype."""
    sizes = sorted({at.rows for each in group for at in each.winners})
    several = len({each.tuning for each in group}) > 1
    lines: list[tuple[str, tuple[Cell | None, ...]]] = []
    for each in group:
        at = {winner.rows: _cell(winner) for winner in each.winners}
        name = features(each.spec.features) + (f", {each.tuning}" if several else "")
        lines.append((name, tuple(at.get(n) for n in sizes)))
    return Winners(tuple(f"{n:,}" for n in sizes), tuple(lines))


def _cell(at: Winner) -> Cell:
    names, backends = " or ".join(_name(config) for config in at.first), tuple(config.backend for config in at.first)
    if len(at.first) > 1:
        return Cell(names, "no difference" if at.told else "hidden by noise", backends)
    return Cell(names, f"{at.ahead.value:.2g} x" if at.ahead else "", backends)


def _name(config: BackendConfig) -> str:
    """Return the label of a backend without its tuning, which the line gives."""
    return BackendConfig(config.backend, config.device, config.threads).label
