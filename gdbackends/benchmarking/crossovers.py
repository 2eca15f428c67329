"""Find the fastest backend at each size, and the sizes at which it changes.

A backend counts as faster only if the 99 % interval of the ratio is outside [0.95, 1.05]. Otherwise there is no
difference, or noise hides it. A size has a winner only if every backend that was to be timed there has a time from
enough launches, or a reason why it failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, inf, log, sqrt

from gdbackends.benchmarking.case import WORKS, BackendConfig, ProblemSpec
from gdbackends.benchmarking.result_rows import Row, common_launches, known_ratio
from gdbackends.benchmarking.results import FAILURES
from gdbackends.measurement.statistics import MIN_LAUNCHES, Estimate

UNSEEN = 0.25
"""The largest relative difference that may remain undetected between backends that count as equal."""


@dataclass(frozen=True)
class Winner:
    """The fastest backends at one size.

    Attributes:
        rows: the number of rows of the problem.
        first: the fastest backends, in order of time; several if no difference between them was detected, none if
            no winner may be named or no backend has a time.
        lead: the ratio of the first slower backend to the fastest, or None if no backend is slower.
        resolved: True if no two of `first` can differ by more than UNSEEN; False if noise could hide such a difference.
        failed: the backends that failed at this size, each with its status, such as "out of memory".
        missing: the backends that were to be timed and have neither a time nor a failure; they may be faster.
        few: the backends with fewer than MIN_LAUNCHES launches in the rounds of the fastest.
    """

    rows: int
    first: tuple[BackendConfig, ...]
    lead: Estimate | None = None
    resolved: bool = True
    failed: tuple[tuple[BackendConfig, str], ...] = ()
    missing: tuple[BackendConfig, ...] = ()
    few: tuple[BackendConfig, ...] = ()


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
        configs: the backends that were to be timed at any size, with the sizes at which each has a time.
    """

    work: str
    tuning: str
    spec: ProblemSpec
    winners: tuple[Winner, ...]
    crossovers: tuple[Crossover, ...]
    configs: Mapping[BackendConfig, tuple[int, ...]]


def series(table: Sequence[Row]) -> list[Series]:
    """Return the series by workload, objective, dtype, features and tuning, ignoring those without any time."""
    groups: dict[tuple[str, str, ProblemSpec], list[Row]] = {}
    for row in sorted(table, key=lambda row: row.case.spec.rows):
        groups.setdefault((row.case.work, row.case.config.tuning, of_any_size(row.case.spec)), []).append(row)
    timed = [key for key, rows in groups.items() if any(row.timing for row in rows)]
    works = list(WORKS)
    order = sorted(
        timed, key=lambda key: (works.index(key[0]), key[1], key[2].objective, key[2].dtype, key[2].features)
    )
    return [_series(*key[:2], groups[key]) for key in order]


def of_any_size(spec: ProblemSpec) -> ProblemSpec:
    """Return the problem that stands for those that differ only in their number of rows."""
    return replace(spec, rows=2)  # a logistic loss needs two


def _series(work: str, tuning: str, rows: list[Row]) -> Series:
    sizes = {n: [row for row in rows if row.case.spec.rows == n] for n in sorted({r.case.spec.rows for r in rows})}
    configs = list(dict.fromkeys(row.case.config for row in rows))
    times = [row for row in rows if row.timing is not None]
    crossovers = [
        crossing
        for j, a in enumerate(configs)
        for b in configs[j + 1 :]
        for crossing in _crossovers(
            *({row.case.spec.rows: row for row in times if row.case.config == p} for p in (a, b))
        )
    ]
    timed = {config: tuple(row.case.spec.rows for row in times if row.case.config == config) for config in configs}
    winners = tuple(winner(n, at, configs) for n, at in sizes.items())
    return Series(work, tuning, rows[0].case.spec, winners, tuple(crossovers), timed)


def winner(size: int, rows: Sequence[Row], asked: Sequence[BackendConfig] = ()) -> Winner:
    """Return the fastest backends at one size, or why none may be named.

    Args:
        size: the number of rows of the problem.
        rows: the rows of this size, with and without a time.
        asked: all backends that were to be timed; one without a row here has no time here.
    """
    ordered = sorted((row for row in rows if row.timing is not None), key=_seconds)
    failed = {row.case.config: row.status for row in rows if row.timing is None and row.status in FAILURES}
    known = {row.case.config for row in ordered} | failed.keys()
    missing = [config for config in dict.fromkeys([*asked, *(row.case.config for row in rows)]) if config not in known]
    several = len(ordered) > 1
    few = [row.case.config for row in ordered if several and common_launches(row, ordered[0]) < MIN_LAUNCHES]
    left_out = Winner(size, (), resolved=False, failed=tuple(failed.items()), missing=tuple(missing), few=tuple(few))
    if missing or few or not ordered:
        return left_out
    against = {row.case.config: known_ratio(row, ordered[0]) for row in ordered[1:]}
    slower = [r for r in against.values() if r and r.low > 1.05]
    equal = {config: r for config, r in against.items() if not (r and r.low > 1.05)}
    resolved = all(r is not None and r.high <= 1 + UNSEEN for r in equal.values())
    lead = min(slower, key=_value, default=None)
    return replace(left_out, first=(ordered[0].case.config, *equal), lead=lead, resolved=resolved)


def _value(estimate: Estimate) -> float:
    return estimate.value


def _crossovers(a: dict[int, Row], b: dict[int, Row]) -> list[Crossover]:
    """Return the crossovers of two backends, each between sizes at which one and the other is significantly faster.

    With t = f + g n between two sizes, t_a - t_b is linear in n, and the crossover is its root. The interval contains
    the roots for both ends of the ratios' intervals, and the root for a ratio that is a power of n.
    """
    sizes = [n for n in sorted(a) if n in b]
    decided = [(n, r) for n in sizes if (r := known_ratio(a[n], b[n])) and r.differs()]
    crossovers: list[Crossover] = []
    for (n, before), (m, after) in pairwise(decided):
        if (before.value < 1) == (after.value < 1):
            continue
        between = [k for k in sizes if n <= k <= m and known_ratio(a[k], b[k])]
        curves = [[_apart(a[k], b[k], end) for k in between] for end in ("low", "value", "high")]
        powers = [log(r.value) for k in between if (r := known_ratio(a[k], b[k]))]
        roots = sorted([*(_root(between, curve) for curve in curves), exp(_root([log(k) for k in between], powers))])
        small, large = (a, b) if before.value < 1 else (b, a)
        configs = small[n].case.config, large[n].case.config
        crossovers.append(Crossover(*configs, _root(between, curves[1]), max(n, roots[0]), min(m, roots[-1])))
    return crossovers


def _apart(a: Row, b: Row, end: str) -> float:
    """Return how many seconds a takes longer than b, at the value or at an end of the ratio's interval."""
    r = known_ratio(a, b)
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
