"""Find the fastest backend at each size, and the sizes at which it changes.

A backend counts as faster only if the 99 % interval of the ratio is outside [0.95, 1.05]. Otherwise there is no
difference, or noise hides it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, inf, log, sqrt

from gdbackends.benchmarking.case import WORKS, BackendConfig, ProblemSpec
from gdbackends.benchmarking.result_rows import Row, ratio
from gdbackends.measurement.statistics import Estimate

UNSEEN = 0.25
"""The largest relative difference that may remain undetected between backends that count as equal."""


@dataclass(frozen=True)
class Winner:
    """The fastest backends at one size.

    Attributes:
        rows: the number of rows of the problem.
        first: the fastest backends, in order of time; several if no difference between them was detected.
        lead: the ratio of the first slower backend to the fastest, or None if no backend is slower.
        resolved: True if no two of `first` can differ by more than UNSEEN; False if noise or too few launches could
            hide such a difference.
    """

    rows: int
    first: tuple[BackendConfig, ...]
    lead: Estimate | None
    resolved: bool = True


@dataclass(frozen=True)
class Crossover:
    """The size at which the faster of two backends changes.

    Attributes:
        small: the backend that is faster below.
        large: the backend that is faster above.
        rows: the number of rows at which both take equally long, by linear interpolation between two timed sizes.
        low: the smallest number that the 99 % intervals allow.
        high: the largest number that the 99 % intervals allow.
    """

    small: BackendConfig
    large: BackendConfig
    rows: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """The results over all sizes for one workload, objective, dtype, tuning and number of features.

    Attributes:
        work: the workload of the cases.
        tuning: the tuning of the backends.
        spec: the problem with the fewest rows.
        winners: the winner at each size, in increasing order.
        crossovers: the crossovers between all pairs of backends.
        configs: the backends, with the sizes at which each has a time.
    """

    work: str
    tuning: str
    spec: ProblemSpec
    winners: tuple[Winner, ...]
    crossovers: tuple[Crossover, ...]
    configs: Mapping[BackendConfig, tuple[int, ...]]


def series(table: Sequence[Row]) -> list[Series]:
    """Return the series by workload, objective, dtype, features and tuning, ignoring rows without a time."""
    timed = sorted((row for row in table if row.timing is not None), key=lambda row: row.case.spec.rows)
    groups: dict[tuple[str, str, ProblemSpec], list[Row]] = {}
    for row in timed:
        alike = replace(row.case.spec, rows=2)  # of any size, but a logistic loss needs two rows
        groups.setdefault((row.case.work, row.case.config.tuning, alike), []).append(row)
    works = list(WORKS)
    order = sorted(
        groups, key=lambda key: (works.index(key[0]), key[1], key[2].objective, key[2].dtype, key[2].features)
    )
    return [_series(*key[:2], groups[key]) for key in order]


def _series(work: str, tuning: str, rows: list[Row]) -> Series:
    sizes = {n: [row for row in rows if row.case.spec.rows == n] for n in sorted({r.case.spec.rows for r in rows})}
    configs = list(dict.fromkeys(row.case.config for row in rows))
    crossovers = [
        crossing
        for j, a in enumerate(configs)
        for b in configs[j + 1 :]
        for crossing in _crossovers(
            *({row.case.spec.rows: row for row in rows if row.case.config == p} for p in (a, b))
        )
    ]
    timed = {config: tuple(row.case.spec.rows for row in rows if row.case.config == config) for config in configs}
    winners = tuple(winner(n, at) for n, at in sizes.items())
    return Series(work, tuning, rows[0].case.spec, winners, tuple(crossovers), timed)


def winner(size: int, rows: Sequence[Row]) -> Winner:
    """Return the fastest backends among the rows of one size."""
    ordered = sorted(rows, key=_seconds)
    fastest = ordered[0]
    against = {row.case.config: ratio(row, fastest) for row in ordered[1:]}
    slower = [r for r in against.values() if r and r.low > 1.05]
    equal = {config: r for config, r in against.items() if not (r and r.low > 1.05)}
    resolved = all(r is not None and r.high <= 1 + UNSEEN for r in equal.values())
    return Winner(size, (fastest.case.config, *equal), min(slower, key=_value, default=None), resolved)


def _value(estimate: Estimate) -> float:
    return estimate.value


def _crossovers(a: dict[int, Row], b: dict[int, Row]) -> list[Crossover]:
    """Return the crossovers of two backends, each between sizes at which one and the other is significantly faster.

    With t = f + g n between two sizes, t_a - t_b is linear in n, and the crossover is its root. The interval contains
    the roots for both ends of the ratios' intervals, and the root for a ratio that is a power of n.
    """
    sizes = [n for n in sorted(a) if n in b]
    decided = [(n, r) for n in sizes if (r := ratio(a[n], b[n])) and r.differs()]
    crossovers: list[Crossover] = []
    for (n, before), (m, after) in pairwise(decided):
        if (before.value < 1) == (after.value < 1):
            continue
        between = [k for k in sizes if n <= k <= m]
        curves = [[_apart(a[k], b[k], end) for k in between] for end in ("low", "value", "high")]
        powers = [log(r.value) for k in between if (r := ratio(a[k], b[k]))]
        roots = sorted([*(_root(between, curve) for curve in curves), exp(_root([log(k) for k in between], powers))])
        small, large = (a, b) if before.value < 1 else (b, a)
        configs = small[n].case.config, large[n].case.config
        crossovers.append(Crossover(*configs, _root(between, curves[1]), max(n, roots[0]), min(m, roots[-1])))
    return crossovers


def _apart(a: Row, b: Row, end: str) -> float:
    """Return how many seconds a takes longer than b, at the value or at an end of the ratio's interval."""
    r = ratio(a, b)
    assert r is not None
    middle = sqrt(_seconds(a) * _seconds(b))
    root = sqrt(getattr(r, end))
    return middle * (root - 1 / root) if 0 < root < inf else middle * (inf if root else -inf)


def _root(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the first size at which the interpolated values cross 0, or the end nearer to 0 if they do not."""
    for n, m, u, v in zip(sizes, sizes[1:], values, values[1:], strict=False):
        if (u < 0) != (v < 0) and abs(u) < inf and abs(v) < inf:
            return n + (m - n) * u / (u - v)
    return float(sizes[0] if abs(values[0]) < abs(values[-1]) else sizes[-1])


def _seconds(row: Row) -> float:
    assert row.timing is not None
    return row.timing.median
