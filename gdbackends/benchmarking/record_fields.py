"""The fields of the records in a file of results: what a file that was edited by hand must still satisfy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, TypeAlias, cast

from gdbackends.backends import DTYPES
from gdbackends.measurement.timing import Stopped

Check: TypeAlias = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(least: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63


def _number(least: float) -> Check:
    def check(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value and isfinite(value)

    return check


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _one_of(*values: str | None) -> Check:
    def check(value: Any) -> bool:
        return (value is None or isinstance(value, str)) and value in values

    return check


def _list_of(check: Check, least: int = 0) -> Check:
    def accept(value: Any) -> bool:
        if not isinstance(value, list):
            return False
        values = cast("list[Any]", value)
        return len(values) >= least and all(map(check, values))

    return accept


def _dict_of(check: Check, fields: Mapping[str, Check] | None = None) -> Check:
    """Accept a dictionary whose named fields, which must be there, and other values pass."""
    fields = fields or {}

    def accept(value: Any) -> bool:
        if not isinstance(value, dict) or not fields.keys() <= cast("dict[Any, Any]", value).keys():
            return False
        return all(fields.get(name, check)(each) for name, each in cast("dict[Any, Any]", value).items())

    return accept


def _anything(_: Any) -> bool:
    return True


_SCALAR: Check = _optional(lambda value: isinstance(value, (str, bool)) or _number(float("-inf"))(value))
_CASE_FIELDS: dict[str, Check] = (
    dict.fromkeys(("backend", "device", "objective", "work"), _text)
    | {"threads": _whole(0), "rows": _whole(1), "features": _whole(1), "seed": _whole(0)}
    | {"dtype": _one_of(*DTYPES)}
)
_CASE = _dict_of(_anything, _CASE_FIELDS)
_COMMON: dict[str, Check] = {"record": _text, "run": _text}
FIELDS: dict[str, dict[str, Check]] = {
    "run": _COMMON
    | {
        "at": _text,
        "gdbackends": _text,
        "environment": _dict_of(_SCALAR, {"python": _text, "cores": _whole(1), "cpu": _text}),
        "machine": _dict_of(_SCALAR, {"variables": _dict_of(_text)}),
    },
    "planned": _COMMON | {"case": _CASE},
    "bandwidth": _COMMON | {"launch": _whole(0), "threads": _whole(0), "bytes_per_s": _number(1.0)},
    "launch": _COMMON
    | {"case": _CASE, "launch": _whole(0), "affinity": _list_of(_whole(0)), "threads_seen": _optional(_whole(0))}
    | {"device_name": _text, "cache_bytes": _whole(0), "load": _number(0.0), "agreement": _optional(_number(0.0))}
    | {name: _number(0.0) for name in ("import_s", "hidden_s", "transfer_s", "first_call_s")}
    | {"batches_s": _list_of(_number(1e-12), least=1)}
    | {"calls": _whole(1), "passes": _number(0.0)}
    | {name: _optional(_whole(0)) for name in ("peak_bytes", "device_peak_bytes")},
    "case": _COMMON | {"case": _CASE, "status": _text, "reason": _text, "agreement": _optional(_number(0.0))},
}
"""The checks of the fields that each kind of record must have; records may have others."""
_PLAN = _dict_of(_SCALAR, {"launches": _whole(1), "most": _whole(1), "precision": _number(0.0)})
_OTHERS: dict[str, dict[str, Check]] = {
    "run": {"commit": _optional(_text), "plan": _PLAN, "files": _dict_of(_text), "paired": _flag},
    "planned": {},
    "bandwidth": {},
    "launch": {"plan": _optional(_text), "worst": _optional(_text)}
    | {"answer": _optional(_number(0.0)), "cpu_s": _number(0.0), "fastest_s": _number(1e-12), "alone": _flag},
    "case": {"stopped": _one_of(None, *Stopped.__members__)},
}
"""The checks of fields that not every version writes."""


def known_fields(kind: str) -> tuple[str, ...]:
    """Return the names of the fields that records of this kind may have."""
    return (*FIELDS[kind], *_OTHERS[kind])


def wrong_field(record: Any) -> str | None:
    """Return the name of the first field that is missing or has an invalid value; None if all are right."""
    if not isinstance(record, dict):
        return "record"
    known = cast("dict[str, Any]", record)
    kind = known.get("record")
    if not isinstance(kind, str) or kind not in FIELDS:
        return "record"
    if kind == "case" and known.get("status") == "ok" and known.get("stopped") is None:
        return "stopped"
    others = (name for name, check in _OTHERS[kind].items() if name in known and not check(known[name]))
    wrong = (name for name, check in FIELDS[kind].items() if name not in known or not check(known[name]))
    return next(wrong, next(others, None))
