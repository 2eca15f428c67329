"""What the report page says of a later file beside the first: versions, counts, and the cases that changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gdbackends.benchmarking.regressions import Change, version_changes
from gdbackends.benchmarking.table_cells import shown_ratio
from gdbackends.pictures.page.wording import ResultFile

_TOLD = ("slower", "faster", "fails now", "works now", "fails")


@dataclass(frozen=True)
class Changed:
    """What is said.

    Attributes:
        old: the name of the first file.
        new: of the later one.
        versions: that differ.
        counts: of the cases, in words.
        reasons: why cases cannot be compared, and how many.
        lines: the cases that changed: backend, case, new over old, in a word.
    """

    old: str
    new: str
    versions: tuple[str, ...]
    counts: str
    reasons: tuple[str, ...]
    lines: tuple[tuple[str, str, str, str], ...]


def changed(old: ResultFile, new: ResultFile, found: Sequence[Change]) -> Changed:
    """Return what is said of the changes that `changes` found."""
    counts = Counter(change.word for change in found)
    reasons = Counter(change.reason for change in found if change.reason)
    lines = [
        (change.case.config.label, _case(change), shown_ratio(change.ratio), change.word)
        for change in found
        if change.word in _TOLD
    ]
    return Changed(
        old.name,
        new.name,
        tuple(version_changes(old.results, new.results)),
        f"{len(found)} cases: {', '.join(f'{count} {word}' for word, count in counts.items())}.",
        tuple(f"{count} case{'s' if count > 1 else ''}: {reason}" for reason, count in reasons.items()),
        tuple(lines),
    )


def _case(change: Change) -> str:
    spec = change.case.spec
    return f"{change.case.work}, {spec.rows:,} x {spec.features:,}, {spec.objective}, {spec.dtype}"
