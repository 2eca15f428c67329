"""Summarise the launches of each case in a Row, and compute ratios between rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

from gdbackends.benchmarking.case import EVALUATED, Case
from gdbackends.benchmarking.results import Results
from gdbackends.measurement.statistics import MIN_LAUNCHES, Estimate, estimate
from gdbackends.measurement.timing import Stopped, Timing

WIDEST = 100.0
"""The largest ratio of the ends of an interval; an estimate with a wider one counts as unknown."""


@dataclass(frozen=True)
class Row:
    """The results of one case. Times are in seconds, medians over the launches unless stated otherwise.

    Attributes:
        case: the case.
        status: "ok", "unfinished", "not reached" (no launch yet), or one of FAILURES in `results`.
        reason: the reason for a failure, otherwise "".
        timing: the time in the steady state, or None.
        by_launch: the logarithm of the time of each launch by run and launch, for ratios within a round.
        cpu_s: CPU time of a call, of all threads, or None if unknown.
        agreement: the largest error over what rounding allows, or None if the case has not been judged.
        import_s: the time to import the framework.
        transfer_s: the time to transfer X and y.
        first_call_s: the first call, compilation included, in launches without a preceding check if there are any.
        peak_bytes: the peak memory of the process; the minimum over launches, since earlier work may affect it.
        device_peak_bytes: the peak memory of the device.
        share: the fraction of the read bandwidth, if the data exceed the last cache.
        device: the product name of the device.
        plan: how the backend computes the work, or "" if unknown.
    """

    case: Case
    status: str
    reason: str = ""
    timing: Timing | None = None
    by_launch: Mapping[tuple[str, int], float] | None = None
    cpu_s: float | None = None
    agreement: float | None = None
    import_s: float | None = None
    transfer_s: float | None = None
    first_call_s: float | None = None
    peak_bytes: int | None = None
    device_peak_bytes: int | None = None
    share: float | None = None
    device: str = ""
    plan: str = ""


def result_rows(results: Results) -> list[Row]:
    """Return a row for each case, in the order of the file.

    A backend that failed to synchronize once has no time for a loss or a gradient at any size.
    """
    rows = [_row(results, case) for case in results.cases]
    late = {row.case.config: row for row in rows if row.status == "unsynchronised"}
    return [
        Row(row.case, "unsynchronised", f"at another size {late[row.case.config].reason}")
        if row.timing and row.case.work in EVALUATED and row.case.config in late
        else row
        for row in rows
    ]


def _row(results: Results, case: Case) -> Row:
    launches, end = results.of(case), results.ends.get(case)
    records = list(launches.values())
    judged = [*records, *([end] if end else [])]
    agreement = _largest(r.get(name) for r in judged for name in ("agreement", "answer"))
    if end and end["status"] != "ok":
        return Row(case, end["status"], end["reason"], agreement=agreement)
    if not records:
        return Row(case, "not reached", "its time ended before the first launch, or noise hid it; --resume continues")
    alone = [r for r in records if r.get("alone", True)] or records
    fresh = [r for r in alone if r["agreement"] is None] or alone
    timing = Timing(
        tuple((r["fastest_s"],) if "fastest_s" in r else tuple(r["batches_s"]) for r in records),
        sum(r["calls"] for r in records),
        Stopped[end["stopped"]] if end else Stopped.BUDGET,
    )
    return Row(
        case,
        "ok" if end else "unfinished",
        "" if end else f"{len(records)} launch{'es' if len(records) > 1 else ''} so far; --resume continues",
        timing if agreement is not None else None,
        {(r["run"], r["launch"]): log for r, log in zip(records, timing.logs, strict=True)},
        median(spent) if (spent := [r["cpu_s"] for r in records if "cpu_s" in r]) else None,
        agreement,
        import_s=median(r["import_s"] for r in alone),
        transfer_s=median(r["transfer_s"] for r in alone),
        first_call_s=median(r["first_call_s"] for r in fresh),
        peak_bytes=min((r["peak_bytes"] for r in fresh if r["peak_bytes"] is not None), default=None),
        device_peak_bytes=_largest(r["device_peak_bytes"] for r in records),
        share=_share(results, case, records, timing),
        device=records[0]["device_name"],
        plan=records[0].get("plan", ""),
    )


def _largest(values: Iterable[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


def _share(results: Results, case: Case, records: Sequence[Mapping[str, Any]], timing: Timing) -> float | None:
    """Return the fraction of the bandwidth used, on the CPU and for data larger than the last cache.

    The bandwidth is the maximum over the launches, since other load on the machine can only reduce it.
    """
    runs, first = {record["run"] for record in records}, records[0]
    speeds = [
        v for (run, _, threads), v in results.bandwidths.items() if run in runs and threads == case.config.threads
    ]
    if case.config.device != "cpu" or case.spec.is_function or not speeds or case.spec.bytes <= first["cache_bytes"]:
        return None
    return first["passes"] * case.spec.bytes / timing.median / max(speeds)


def ratio(row: Row, base: Row) -> Estimate | None:
    """Return the ratio of the times of two rows, from launches in the same rounds."""
    if row.timing is None or base.timing is None or not row.by_launch or not base.by_launch:
        return None
    both = [number for number in row.by_launch if number in base.by_launch]
    return estimate([row.by_launch[number] - base.by_launch[number] for number in both]) if both else None


def common_launches(row: Row, base: Row) -> int:
    """Return the number of launches from which `ratio` of the two rows is computed."""
    return len((row.by_launch or {}).keys() & (base.by_launch or {}).keys())


def known_ratio(row: Row, base: Row) -> Estimate | None:
    """Return the ratio of the times of two rows, or None if it is unknown.

    It is unknown without both times, with fewer than MIN_LAUNCHES launches in common, and if its interval is wider
    than WIDEST.
    """
    return known(ratio(row, base), common_launches(row, base))


def known_time(row: Row) -> Estimate | None:
    """Return the seconds of a call with the interval over launches, or None if the interval is unknown."""
    return known(row.timing.estimate, len(row.timing.launches)) if row.timing else None


def known(found: Estimate | None, launches: int = MIN_LAUNCHES) -> Estimate | None:
    """Return an estimate, or None if it has too few launches or too wide an interval for anything to be concluded."""
    few = launches < MIN_LAUNCHES
    return None if found is None or few or not found.high <= WIDEST * found.low else found


def beside(row: Row, others: Mapping[Case, Row], **changed: Any) -> Row | None:
    """Return the row whose case differs only in the given fields, or None."""
    return others.get(Case.from_dict(row.case.to_dict() | changed))


def by_case(table: Iterable[Row]) -> dict[Case, Row]:
    """Return the rows by their cases."""
    return {row.case: row for row in table}


def spread(row: Row) -> float:
    """Return the relative half width of the interval over launches; infinite for a single launch."""
    return row.timing.estimate.spread if row.timing and len(row.timing.launches) > 1 else inf


def paid_after(row: Row, base: Row) -> float | None:
    """Return the number of steps after which a slower first call has paid off, or None if it never does.

    Both rows must be of the workload "step", whose first call makes one step.
    """
    if row.timing is None or base.timing is None or row.first_call_s is None or base.first_call_s is None:
        return None
    saved, dearer = base.timing.median - row.timing.median, row.first_call_s - base.first_call_s
    return max(0.0, dearer / saved) if saved > 0 else None


def records(results: Results) -> list[dict[str, Any]]:
    """Return a flat record of each row for export, with its ratio to NumPy and its environment.

    Times are in seconds. Intervals, and the ratio, are None where they are unknown: see `known_ratio`.
    """
    table = result_rows(results)
    others = by_case(table)
    return [_record(row, beside(row, others, backend="numpy", device="cpu"), results) for row in table]


def _record(row: Row, base: Row | None, results: Results) -> dict[str, Any]:
    timing, against, time = row.timing, known_ratio(row, base) if base else None, known_time(row)
    first = next(iter(results.of(row.case).values()), results.ends.get(row.case, {}))
    run = results.runs.get(first.get("run", ""), {})
    return {
        **row.case.to_dict(),
        "status": row.status,
        "reason": row.reason,
        "median_s": timing.median if timing else None,
        "low_s": time.low if time else None,
        "high_s": time.high if time else None,
        "launches": len(timing.launches) if timing else 0,
        "calls": timing.calls if timing else 0,
        "stopped": timing.stopped.name.lower() if timing else None,
        "ratio_to_numpy": against.value if against else None,
        "ratio_low": against.low if against else None,
        "ratio_high": against.high if against else None,
        **{
            name: getattr(row, name)
            for name in ("agreement", "import_s", "transfer_s", "first_call_s", "peak_bytes", "device_peak_bytes")
        },
        "bandwidth_share": row.share,
        "device_name": row.device,
        "plan": row.plan,
        "at": run.get("at"),
        **{name: run.get("environment", {}).get(name) for name in ("python", "numpy", "jax", "torch", "cpu", "cores")},
    }
