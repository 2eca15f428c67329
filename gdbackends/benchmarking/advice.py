"""Summarise results in sentences: the fastest backend by size, its lead, and when compilation pays off."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from gdbackends.benchmarking.crossovers import Crossover, Series, Winner, series
from gdbackends.benchmarking.result_rows import Row, beside, by_case, known_ratio, paid_after
from gdbackends.benchmarking.table_cells import USUAL, size
from gdbackends.measurement.formatting import duration, joined
from gdbackends.measurement.statistics import MIN_LAUNCHES, Estimate

_HOW = {
    "step": "of a descent, inside a compiled loop where the backend has one",
    "batch": "one step over a batch, inside a compiled loop where the backend has one",
    "fit": "a whole descent, in a compiled loop where the backend has one",
}
"""How a work is called, where it is not a call from Python."""


def findings(table: Sequence[Row]) -> list[str]:
    """Return the summary as lines: the fastest backends, when compilation pays off, and the times of imports."""
    return [*advices(series(table)), *payments(table), *imports(table)]


def not_reached(table: Sequence[Row]) -> list[str]:
    """Return a line on how many planned cases were not reached and how to continue, or no line if all were."""
    count = sum(row.status == "not reached" for row in table)
    were = "case was" if len(table) == 1 else "cases was" if count == 1 else "cases were"
    how = "the same bench command with --resume continues, and a larger --budget reaches more"
    return [f"{count:,} of {len(table):,} {were} not reached: {how}"] if count else []


def advices(every: Sequence[Series]) -> list[str]:
    """Return the advice for each work and number of features."""
    lines: list[str] = []
    for group in every:
        if len(group.configs) == 1:
            continue
        spec = group.spec
        how = _HOW.get(group.work, "called from Python")
        what = f"{group.work} ({how}), {spec.features:,} feature{'s' if spec.features > 1 else ''}"
        usual = [text for text in (spec.objective, spec.dtype, group.tuning) if text not in USUAL]
        lines.append(f"{', '.join([what, *usual])}: {series_advice(group)}.")
    return lines


def payments(table: Sequence[Row]) -> list[str]:
    """Return for each backend the number of steps after which its first call has paid off."""
    lines: list[str] = []
    for name, after in paid(table).items():
        ends = [f"{float(f'{steps:.2g}'):,.0f} steps ({size(row)})" for steps, row in sorted(after, key=_first)]
        text = " to ".join(dict.fromkeys((ends[0], ends[-1])))
        lines.append(f"{name}: its first call pays off after {text} compared with NumPy, where it is faster.")
    return lines


def imports(table: Sequence[Row]) -> list[str]:
    """Return a line with the import time of each framework, or no line if nothing was imported."""
    taken = {row.case.config.label: row.import_s for row in table if row.import_s}
    return ["import: " + ", ".join(f"{name} {duration(seconds)}" for name, seconds in taken.items())] if taken else []


def paid(table: Sequence[Row]) -> dict[str, list[tuple[float, Row]]]:
    """Return for each backend that is significantly faster than NumPy when its slower first call has paid off."""
    by_label: dict[str, list[tuple[float, Row]]] = {}
    others = by_case(table)
    for row in table:
        base = beside(row, others, backend="numpy", device="cpu")
        steps = paid_after(row, base) if base and row.case.work == "step" else None
        if steps and base and (against := known_ratio(row, base)) and against.differs():
            by_label.setdefault(row.case.config.label, []).append((steps, row))
    return by_label


def series_advice(group: Series) -> str:
    """Return the advice in a sentence: which backend is fastest up to which size, by how much, and which never is.

    Where a backend failed its status is given beside the winner; where one has no time no winner is named.
    """
    spans: list[list[Winner]] = []
    for at in group.winners:
        if spans and _alike(spans[-1][-1]) == _alike(at):
            spans[-1].append(at)
        else:
            spans.append([at])
    for k in range(len(spans) - 2, 0, -1):  # a tie at a size between the two is part of the crossover's interval
        two = {spans[k - 1][-1].first, spans[k + 1][0].first}
        if _crossing(group, spans[k - 1], spans[k + 1]) and {(config,) for config in spans[k][0].first} == two:
            del spans[k]
    crossings = [_crossing(group, *pair) for pair in pairwise(spans)]
    ends = zip([None, *crossings], [*crossings, None], strict=True)
    parts = [f"{_where(span, *at)} {_who(span)}" for span, at in zip(spans, ends, strict=True)]
    best = {config for at in group.winners for config in at.first}
    where = "never" if all(at.first for at in group.winners) else "never at the other sizes"
    losers = [f"{config.label} {where}" for config, timed in group.configs.items() if timed and config not in best]
    return "; ".join([*parts, *(losers if best else [])])


def _alike(at: Winner) -> tuple[object, ...]:
    """Return what the sizes of a span have in common."""
    return frozenset(at.first), at.resolved, frozenset(at.failed), frozenset(at.missing), frozenset(at.few)


def _crossing(group: Series, before: Sequence[Winner], after: Sequence[Winner]) -> Crossover | None:
    """Return the crossover from the single winner of a span to that of a later span, if there is one."""
    if not len(before[-1].first) == len(after[0].first) == 1:
        return None
    (small,), (large,) = before[-1].first, after[0].first
    fits = [c for c in group.crossovers if (c.small, c.large) == (small, large)]
    return next((c for c in fits if before[-1].rows <= c.rows <= after[0].rows), None)


def _where(span: Sequence[Winner], before: Crossover | None, after: Crossover | None) -> str:
    first, last = span[0].rows, span[-1].rows
    if not before and not after:
        return f"at {first:,} rows" if first == last else f"from {first:,} to {last:,} rows"
    begin = "from there" if before else f"from {first:,}"
    end = (
        f"about {_about(after.rows)} rows ({_about(after.low)} to {_about(after.high)})" if after else f"{last:,} rows"
    )
    return f"{begin} to {end}"


def _who(span: Sequence[Winner]) -> str:
    at, names = span[0], sorted(config.label for config in span[0].first)
    failed = [f"{config.label}: {status}" for config, status in at.failed]
    if at.missing or at.few:
        return f"no winner is named: {_why_unnamed(at)}{_bracketed(failed)}"
    if not names:
        return f"no backend has a time{_bracketed(failed)}"
    if len(names) > 1:
        both = joined(names)
        found = f"no difference between {both} was found"
        return (found if at.resolved else f"{both} cannot be distinguished because of noise") + _bracketed(failed)
    factors = sorted((at.lead for at in span if at.lead), key=_factor)
    if not factors:
        return f"only {names[0]} has a time{_bracketed(failed)}"
    ends = list(dict.fromkeys(f"{factor.value:.2g}" for factor in (factors[:1] + factors[-1:])))
    least = f"at least {min(factor.low for factor in factors):.2g}"
    return f"{names[0]}, {' to '.join(ends)} times faster than the next{_bracketed([least, *failed])}"


def _why_unnamed(at: Winner) -> str:
    """Return why no winner is named at a size, such as "NumPy has no time there"."""
    parts: list[str] = []
    for configs, lack in ((at.missing, "no time there"), (at.few, f"fewer than {MIN_LAUNCHES} launches in common")):
        names = sorted(config.label for config in configs)
        parts += [f"{joined(names)} {'have' if len(names) > 1 else 'has'} {lack}"] if names else []
    return ", ".join(parts)


def _bracketed(texts: Sequence[str]) -> str:
    return f" ({'; '.join(texts)})" if texts else ""


def _about(rows: float) -> str:
    """Format a count with two significant digits."""
    return f"{float(f'{rows:.2g}'):,.0f}"


def _factor(estimate: Estimate) -> float:
    return estimate.value


def _first(pair: tuple[float, Row]) -> float:
    return pair[0]
