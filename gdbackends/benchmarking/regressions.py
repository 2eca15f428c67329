"""Compare two files of results: a Change for each case, and whether any is a regression.

A case is slower (or faster) only if the Holm-corrected 99 % interval of its ratio excludes 1. It is a regression only
if it also exceeds the threshold. S. Holm, Scand. J. Statist. 6 (1979), 65.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from statistics import median
from typing import Any

from gdbackends.benchmarking.case import Case
from gdbackends.benchmarking.published import redacted
from gdbackends.benchmarking.result_rows import Row, ratio, result_rows
from gdbackends.benchmarking.results import FAILURES, Results
from gdbackends.measurement.statistics import CONFIDENCE, MIN_LAUNCHES, Estimate, change, estimate

MACHINE = ("cpu", "machine_cores", "cpu_quota", "variables")
"""The settings of a machine; times from machines of which one differs are incomparable."""
_LAUNCH = ("device_name", "affinity", "threads_seen")
_VERSIONS = ("python", "numpy", "jax", "torch")


@dataclass(frozen=True)
class Change:
    """The change of one case.

    Attributes:
        case: the case, which may be in only one file.
        word: "slower", "faster", "no difference", "cannot tell" (a regression may hide in the noise), "incomparable",
            "fails now", "works now", "fails", "only in the old", "only in the new".
        reason: why it cannot be compared or failed, otherwise "".
        ratio: the new time over the old, with its uncorrected 99 % interval, or None.
        p: the p-value of the ratio, corrected for the number of cases.
        regression: True if the case makes the comparison fail.
    """

    case: Case
    word: str
    reason: str = ""
    ratio: Estimate | None = None
    p: float = 1.0
    regression: bool = False


def changes(old: Results, new: Results, fail_above: float = 0.1) -> list[Change]:
    """Return a change for each case in either file, in the order of the new file.

    Args:
        old: the results before.
        new: the results after.
        fail_above: the relative slowdown above which a case is a regression.
    """
    before, after = ({row.case: row for row in result_rows(results)} for results in (old, new))
    every = [_change(old, new, before.get(case), after.get(case)) for case in dict.fromkeys([*after, *before])]
    compared = sorted((c for c in every if c.ratio), key=lambda c: c.ratio.p if c.ratio else 1.0)
    corrected: dict[Case, float] = {}
    highest = 0.0
    for k, c in enumerate(compared):
        highest = max(highest, min(1.0, (len(compared) - k) * (c.ratio.p if c.ratio else 1.0)))
        corrected[c.case] = highest
    return [_judged(c, corrected[c.case], fail_above) if c.ratio else c for c in every]


def regressed(changed: Sequence[Change], fail_above: float) -> bool:
    """Return whether a case is a regression, or all cases together are slower by more than the threshold."""
    together = pooled(changed)
    slower = together is not None and together.low > 1 and together.value > 1 + fail_above
    return slower or any(change.regression for change in changed)


def pooled(changed: Sequence[Change]) -> Estimate | None:
    """Return the geometric mean of new / old over the compared cases, with its 99 % interval; None of fewer than two.

    The cases are taken as a sample: the interval is Student's on their logarithms, however exact each of them is.
    """
    logs = [log(change.ratio.value) for change in changed if change.ratio]
    return estimate(logs) if len(logs) > 1 else None


def hidden(changed: Sequence[Change]) -> float:
    """Return the largest slowdown that the noise of the compared cases may hide, such as 0.34."""
    return max(
        (change.ratio.high - 1 for change in changed if change.word == "cannot tell" and change.ratio), default=0.0
    )


def _change(old: Results, new: Results, before: Row | None, after: Row | None) -> Change:
    if before is None or after is None:
        row = before or after
        assert row is not None
        return Change(row.case, f"only in the {'new' if before is None else 'old'}")
    case, differences = after.case, _differences(old, new, after.case)
    if differences:
        return Change(case, "incomparable", "; ".join(differences))
    if after.status in FAILURES:
        fails_now = before.status not in FAILURES
        return Change(
            case, "fails now" if fails_now else "fails", f"{after.status}: {after.reason}", None, 1.0, fails_now
        )
    if before.status in FAILURES:
        return Change(case, "works now", f"was {before.status}: {before.reason}")
    if not (before.by_launch and after.by_launch and before.timing and after.timing):
        return Change(case, "incomparable", "one of the files has no time")
    if min(len(row.by_launch or ()) for row in (before, after)) < MIN_LAUNCHES:
        return Change(case, "incomparable", f"it has fewer than {MIN_LAUNCHES} launches; give more --launches")
    paired = ratio(after, before) if _paired(old, new, case) else None
    return Change(case, "no difference", ratio=paired or change(before.timing.logs, after.timing.logs))


def _paired(old: Results, new: Results, case: Case) -> bool:
    """Return whether the two versions took turns in all runs of a case."""
    runs = [results.runs.get(record["run"], {}) for results in (old, new) for record in results.of(case).values()]
    return all(run.get("paired") for run in runs)


def _judged(uncorrected: Change, p: float, fail_above: float) -> Change:
    assert uncorrected.ratio is not None
    if not p < 1 - CONFIDENCE:
        return replace(
            uncorrected, word="no difference" if uncorrected.ratio.high <= 1 + fail_above else "cannot tell", p=p
        )
    word = "slower" if uncorrected.ratio.value > 1 else "faster"
    return replace(uncorrected, word=word, p=p, regression=uncorrected.ratio.value > 1 + fail_above)


def _differences(old: Results, new: Results, case: Case) -> list[str]:
    """Return the differences in machine, device or threads, which make the times of a case incomparable."""
    differences: list[str] = []
    for name in (*MACHINE, *_LAUNCH):
        was, now = (_settings(results, case, name) for results in (old, new))
        if was and now and was != now:
            differences.append(f"{name} {_list(was)} -> {_list(now)}")
    return differences


def _settings(results: Results, case: Case, name: str) -> set[str]:
    """Return the values recorded for a setting in the launches and the end of a case; empty if unknown."""
    if name in _LAUNCH:
        return {str(record[name]) for record in results.of(case).values()}
    ended = [results.ends[case]] if case in results.ends else []
    runs = [results.runs.get(record["run"]) for record in (*results.of(case).values(), *ended)]
    return {machine_setting(run, name) for run in runs if run}


def machine_setting(run: Mapping[str, Any], name: str) -> str:
    """Return a setting of the machine in the record of a run, without paths, which a published file does not have."""
    machine = run["machine"]
    return str(redacted(machine.get(name, {})) if name == "variables" else machine.get(name))


def version_changes(old: Results, new: Results) -> list[str]:
    """Return the versions that differ, such as "jax 0.10.1 -> 0.10.2", and the files that were edited."""

    def versions(results: Results) -> dict[str, set[str]]:
        keys = [*_VERSIONS, "gdbackends", "commit"]
        runs = [{**run.get("environment", {}), **run} for run in results.runs.values()]
        return {key: {str(run[key]) for run in runs if run.get(key)} for key in keys}

    was, now = versions(old), versions(new)
    changed = [f"{key} {_list(was[key])} -> {_list(now[key])}" for key in was if was[key] != now[key]]
    before, after = ({k: v for run in r.runs.values() for k, v in run.get("files", {}).items()} for r in (old, new))
    return changed + [f"{name} was edited" for name in before if after.get(name, before[name]) != before[name]]


def load_changes(old: Results, new: Results) -> list[str]:
    """Return a line if one of the two was measured while the machine was much busier than for the other, else []."""

    def load(results: Results) -> float | None:
        loads = [record["load"] for launches in results.launches.values() for record in launches.values()]
        return median(loads) if loads else None

    was, now = load(old), load(new)
    if was is None or now is None or abs(now - was) <= 1:
        return []
    return [f"load average {was:.1f} -> {now:.1f}: the busier machine is slower; measure in turn with bench --against"]


def _list(values: set[str]) -> str:
    return " and ".join(sorted(values)) or "none"
