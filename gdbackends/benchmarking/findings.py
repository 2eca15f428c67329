"""What the rows say: who is fastest at each size, where that changes, and the advice in a sentence.

"Faster" is said only when the 99 % interval of the ratio lies outside [0.95, 1.05]; else no difference was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, sqrt

from gdbackends.benchmarking.case import Place, Task
from gdbackends.benchmarking.rows import Row, ratio


@dataclass(frozen=True)
class Winner:
    """Who is fastest at a size.

    Attributes:
        rows: of the problem.
        first: the places that no other beats, the fastest first: more than one where no difference was seen.
        ahead: by how much the first beats the next that it does beat; None: it beats none.
    """

    rows: int
    first: tuple[Place, ...]
    ahead: float | None


@dataclass(frozen=True)
class Crossover:
    """Where one place ceases to be the faster of two.

    Attributes:
        small: the place that is faster below.
        large: the place that is faster above.
        rows: where the two take as long, times taken as linear in the rows between two sizes that were timed.
        low: the least that the 99 % intervals allow.
        high: the most.
    """

    small: Place
    large: Place
    rows: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """All sizes of one work and number of features (objective, dtype), and what they show.

    Attributes:
        work: of the cases.
        task: of the cases, its rows the least.
        winners: one a size, in their order.
        crossovers: between any two places.
        places: of the rows.
    """

    work: str
    task: Task
    winners: tuple[Winner, ...]
    crossovers: tuple[Crossover, ...]
    places: tuple[Place, ...]


def series(table: Sequence[Row]) -> list[Series]:
    """Return what the rows show, in the order in which they were asked for; rows without a time show nothing."""
    timed = sorted((row for row in table if row.timing is not None), key=lambda row: row.case.task.rows)
    groups: dict[tuple[str, Task], list[Row]] = {}
    for row in timed:
        groups.setdefault((row.case.work, replace(row.case.task, rows=1)), []).append(row)
    order = sorted(groups, key=lambda key: (key[0], key[1].objective, key[1].dtype, key[1].features))
    return [_series(work, groups[work, task]) for work, task in order]


def _series(work: str, rows: list[Row]) -> Series:
    sizes = {n: [row for row in rows if row.case.task.rows == n] for n in sorted({r.case.task.rows for r in rows})}
    places = list(dict.fromkeys(row.case.place for row in rows))
    found = [
        crossing
        for j, a in enumerate(places)
        for b in places[j + 1 :]
        for crossing in _crossovers(*({row.case.task.rows: row for row in rows if row.case.place == p} for p in (a, b)))
    ]
    winners = tuple(winner(n, at) for n, at in sizes.items())
    return Series(work, rows[0].case.task, winners, tuple(found), tuple(places))


def winner(size: int, rows: Sequence[Row]) -> Winner:
    """Return who is fastest among the rows of one size."""
    ordered = sorted(rows, key=_seconds)
    fastest = ordered[0]
    against = {row.case.place: ratio(row, fastest) for row in ordered[1:]}
    beaten = [r for r in against.values() if r and r.low > 1.05]
    equal = [place for place, r in against.items() if not (r and r.low > 1.05)]
    return Winner(size, (fastest.case.place, *equal), min((r.value for r in beaten), default=None))


def _crossovers(a: dict[int, Row], b: dict[int, Row]) -> list[Crossover]:
    """Return where two places change order for certain: between a size where one is faster and one where the other is.

    With t = f + g n between two sizes, t_a - t_b is linear in n and 0 where the ends weigh it so. The interval is where
    the ends of the ratios' intervals put it.
    """
    sizes = [n for n in sorted(a) if n in b]
    decided = [(n, r) for n in sizes if (r := ratio(a[n], b[n])) and r.differs()]
    found: list[Crossover] = []
    for (n, before), (m, after) in pairwise(decided):
        if (before.value < 1) == (after.value < 1):
            continue
        between = [k for k in sizes if n <= k <= m]
        curves = [[_apart(a[k], b[k], end) for k in between] for end in ("low", "value", "high")]
        roots = sorted(_root(between, curve) for curve in curves)
        small, large = (a, b) if before.value < 1 else (b, a)
        places = small[n].case.place, large[n].case.place
        found.append(Crossover(*places, _root(between, curves[1]), max(n, roots[0]), min(m, roots[2])))
    return found


def _apart(a: Row, b: Row, end: str) -> float:
    """Return by how much a takes longer than b, in seconds: as measured, or at an end of the ratio's interval."""
    r = ratio(a, b)
    assert r is not None
    middle = sqrt(_seconds(a) * _seconds(b))
    root = sqrt(getattr(r, end))
    return middle * (root - 1 / root) if 0 < root < inf else middle * (inf if root else -inf)


def _root(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Return the first size at which the line through the values crosses 0; the nearer end if it does not."""
    for n, m, u, v in zip(sizes, sizes[1:], values, values[1:], strict=False):
        if (u < 0) != (v < 0) and abs(u) < inf and abs(v) < inf:
            return n + (m - n) * u / (u - v)
    return float(sizes[0] if abs(values[0]) < abs(values[-1]) else sizes[-1])


def _seconds(row: Row) -> float:
    assert row.timing is not None
    return row.timing.median


def advice(found: Series) -> str:
    """Return the advice in a sentence: who is fastest up to which size, by how much, and who never is."""
    spans: list[list[Winner]] = []
    for at in found.winners:
        if spans and set(spans[-1][-1].first) == set(at.first):
            spans[-1].append(at)
        else:
            spans.append([at])
    for k in range(len(spans) - 2, 0, -1):  # a size without a difference on the way is in the crossover's interval
        if _crossing(found, [spans[k - 1], spans[k + 1]], 0):
            del spans[k]
    parts: list[str] = []
    for k, span in enumerate(spans):
        before, after = (_crossing(found, spans, j) for j in (k - 1, k))
        parts.append(f"{_where(span, before, after)} {_who(span)}")
    best = {place for at in found.winners for place in at.first}
    never = [f"{label(place)} never" for place in found.places if place not in best]
    return "; ".join([*parts, *never])


def _crossing(found: Series, spans: Sequence[Sequence[Winner]], k: int) -> Crossover | None:
    """Return where the one winner of a span gives way to the one of the next, if that was found."""
    if not 0 <= k < len(spans) - 1:
        return None
    (small, *equal), (large, *others) = spans[k][-1].first, spans[k + 1][0].first
    if equal or others:
        return None
    return next((c for c in found.crossovers if (c.small, c.large) == (small, large)), None)


def _where(span: Sequence[Winner], before: Crossover | None, after: Crossover | None) -> str:
    if after and before:
        return f"from there to about {_about(after.rows)} rows ({_about(after.low)} to {_about(after.high)})"
    if after:
        return f"below about {_about(after.rows)} rows ({_about(after.low)} to {_about(after.high)})"
    if before:
        return "above"
    first, last = span[0].rows, span[-1].rows
    return f"at {first:,} rows" if first == last else f"from {first:,} to {last:,} rows"


def _who(span: Sequence[Winner]) -> str:
    names = [label(place) for place in span[0].first]
    if len(names) > 1:
        *most, last = sorted(names)
        return f"no difference between {', '.join(most)} and {last} was seen"
    factors = sorted(at.ahead for at in span if at.ahead)
    ends = list(dict.fromkeys(f"{factor:.2g}" for factor in (factors[:1] + factors[-1:])))
    return names[0] + (f", {' to '.join(ends)} times faster than the next" if ends else "")


def _about(rows: float) -> str:
    """Return two digits of a count."""
    return f"{float(f'{rows:.2g}'):,.0f}"


def label(place: Place) -> str:
    """Return how a place is called: its backend, and what is not usual about it."""
    name = {"numpy": "NumPy", "jax": "JAX", "torch": "PyTorch"}.get(place.backend, place.backend.rpartition(":")[2])
    device = "" if place.device == "cpu" else f" on {place.device}"
    threads = f" with {place.threads} thread{'s' if place.threads > 1 else ''}" if place.threads else ""
    return f"{name}{device}{threads}"
