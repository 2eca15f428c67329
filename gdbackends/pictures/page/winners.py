"""The report page's table of who is fastest where: a line a number of features, a column a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gdbackends.benchmarking.case import BackendConfig
from gdbackends.benchmarking.crossovers import Series, Winner
from gdbackends.pictures.results.table_rows import features


@dataclass(frozen=True)
class Cell:
    """Who is fastest at a size.

    Attributes:
        name: of the one, or of those that no one beats.
        note: how many times faster than the next; or that no difference was seen, or noise hides it.
        backends: as results name them.
    """

    name: str
    note: str
    backends: tuple[str, ...]


@dataclass(frozen=True)
class Winners:
    """The table.

    Attributes:
        sizes: the headings.
        lines: what each is of, and its cells; None where nothing was timed.
    """

    sizes: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Cell | None, ...]], ...]


def winners(found: Sequence[Series]) -> Winners:
    """Return who is fastest at each size, for series of one work, objective and dtype."""
    sizes = sorted({at.rows for each in found for at in each.winners})
    several = len({each.tuning for each in found}) > 1
    lines: list[tuple[str, tuple[Cell | None, ...]]] = []
    for each in found:
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
    """Return what a config is called on a line that says its tuning."""
    return BackendConfig(config.backend, config.device, config.threads).label
