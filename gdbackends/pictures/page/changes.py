"""The changes between two files for the report page: versions, counts, and the cases that changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gdbackends.benchmarking.regressions import Change, version_changes
from gdbackends.benchmarking.table_cells import shown_ratio
from gdbackends.pictures.page.wording import ResultFile

_LISTED = ("slower", "faster", "fails now", "works now", "fails")


@dataclass(frozen=True)
class Changed:
    """The changes from one file to another.

    Attributes:
        old: the name of the first file.
        new: the name of the later file.
        versions: the versions that differ.
        counts: the number of cases by outcome, in words.
        reasons: the reasons why cases cannot be compared, with their numbers.
        lines: the cases that changed: backend, case, ratio of new to old, outcome.
    """

    old: str
    new: str
    versions: tuple[str, ...]
    counts: str
    reasons: tuple[str, ...]
    lines: tuple[tuple[str, str, str, str], ...]


def changed(old: ResultFile, new: ResultFile, every: Sequence[Change]) -> Changed:
    """Return the summary of the changes between two files."""
    counts = Counter(change.word for change in every)
    reasons = Counter(change.reason for change in every if change.reason)
    lines = [
        (change.case.config.label, _case(change), shown_ratio(change.ratio), change.word)
        for change in every
        if change.word in _LISTED
    ]
    return Changed(
        old.name,
        new.name,
        tuple(version_changes(old.results, new.results)),
        f"{len(every)} cases: {', '.join(f'{count} {word}' for word, count in counts.items())}.",
        tuple(f"{count} case{'s' if count > 1 else ''}: {reason}" for reason, count in reasons.items()),
        tuple(lines),
    )


def _case(change: Change) -> str:
    spec = change.case.spec
    return f"{change.case.work}, {spec.rows:,} x {spec.features:,}, {spec.objective}, {spec.dtype}"
