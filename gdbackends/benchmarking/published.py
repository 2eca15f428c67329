"""Results as one JSON document to publish: versions, machine, runs and records, without paths or names of people."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from getpass import getuser
from typing import Any, cast

from gdbackends.benchmarking.case import Case
from gdbackends.benchmarking.record_fields import known_fields
from gdbackends.errors import InputError
from gdbackends.measurement.environment import VARIABLES

FORMAT = "gdbackends results"
_SHARED = ("schema", "gdbackends", "commit", "environment", "machine")
"""The fields of a run that are written once, since all runs of a file have the same."""
_ENVIRONMENT = ("python", "numpy", "jax", "torch", "cpu", "cores")
_MACHINE = ("cpu", "cores", "machine_cores", "cpu_quota", "memory_bytes")
_ROOT = r"(?:file:/*)?(?:~[\w.-]*[/\\]|/|[A-Za-z]:[/\\]|\\\\)"
_QUOTED = re.compile(rf"(?<=['\"]){_ROOT}[^'\"]+(?=['\"])")
_PATH = re.compile(rf"(?<![\w./\\]){_ROOT}[^\s'\"`,;:<>()\[\]{{}}]+")
_ADDRESS = re.compile(r"[\w.+-]+@[\w.-]+")
_COMMON = ("root", "localhost")


def redact(text: str) -> str:
    """Return a text with "<path>" in place of absolute paths.

    >>> redact("--xla_dump_to=/home/me/dump")
    '--xla_dump_to=<path>'
    """
    return _PATH.sub("<path>", _QUOTED.sub("<path>", text))


def redacted(texts: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables without absolute paths."""
    return {name: redact(text) for name, text in texts.items()}


def publish(records: Iterable[Mapping[str, Any]]) -> str:
    """Return records of results as a JSON document from which `read_results` gets the same rows.

    It holds the known fields only. Absolute paths, and the names of this user and host in reasons, are replaced; files
    of objectives lose their folders.

    Raises:
        InputError: two cases differ only in the folder of their objective or backend.
    """
    every = list(records)
    runs = [record for record in every if record["record"] == "run"]
    last = runs[-1]
    variables = last["machine"].get("variables", {})
    head = {
        "format": FORMAT,
        "schema": runs[0]["schema"],
        "gdbackends": last["gdbackends"],
        "commit": last.get("commit"),
        "environment": _some(last["environment"], _ENVIRONMENT),
        "machine": _some(last["machine"], _MACHINE) | {"variables": redacted(_some(variables, VARIABLES))},
        "runs": [_public_run(run) for run in runs],
    }
    _check_distinct(every)
    names = _names()
    lines = [json.dumps(_public(each, names), allow_nan=False) for each in every if each["record"] != "run"]
    start = json.dumps(head, allow_nan=False, indent=1).removesuffix("\n}")
    return start + ',\n "records": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"


def read_document(path: str, content: bytes) -> dict[str, Any] | None:
    """Return the document that a file holds, or None if it holds something else.

    Raises:
        InputError: it is a damaged document.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        if content.lstrip().startswith(b"{") and FORMAT.encode() in content[:200]:
            raise InputError(
                f"{path}: is a published document, but not whole JSON; make it again with gdbackends export"
            ) from None
        return None
    known = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    return known if known.get("format") == FORMAT else None


def document_records(path: str, document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the records of a document, each with its place, such as "record 3"; their fields are not checked.

    Raises:
        InputError: the document has no list of runs or of records.
    """
    for name in ("runs", "records"):
        if not isinstance(document.get(name), list) or (name == "runs" and not document[name]):
            raise InputError(f"{path}: its {name!r} is no list of {name}; make it again with gdbackends export")
    shared = {name: document[name] for name in _SHARED if name in document}
    for number, run in enumerate(document["runs"], 1):
        yield f"run {number}", {**run, **shared, "record": "run"} if isinstance(run, dict) else run
    for number, record in enumerate(document["records"], 1):
        yield f"record {number}", record


def _some(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _public_run(run: Mapping[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {"run": run["run"], "at": run["at"]}
    known |= {"plan": _numbers(run["plan"])} if "plan" in run else {}
    known |= {"paired": True} if run.get("paired") else {}
    files = {_without_folder(name): digest for name, digest in run.get("files", {}).items()}
    return known | ({"files": files} if files else {})


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not isinstance(value, str)}


def _names() -> list[str]:
    """Return the names of this user and host, where they are told."""
    names: list[str] = []
    with suppress(Exception):  # a container may have neither
        names.append(getuser())
    with suppress(OSError):
        names += [socket.gethostname(), socket.gethostname().partition(".")[0]]
    return [name for name in names if len(name) > 2 and name not in _COMMON]


def _public(record: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the known fields of a record without private texts."""
    known = _some(record, known_fields(record["record"]))
    for name, value in known.items():
        if name == "case":
            known[name] = _public_case(value)
        elif name == "reason":
            known[name] = _anonymous(value, names)
        elif isinstance(value, str) and name != "run":
            known[name] = redact(value)
    return known


def _anonymous(text: str, names: Iterable[str]) -> str:
    """Return a reason without paths, addresses, or the names of this user and host."""
    text = _ADDRESS.sub("<name>", redact(text))
    for name in names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<name>", text)
    return text


def _public_case(case: dict[str, Any]) -> dict[str, Any]:
    """Return a case whose objective and backend have no folder of an absolute path."""
    known = Case.from_dict(case).to_dict()
    return known | {name: _without_folder(known[name]) for name in ("backend", "objective")}


def _without_folder(text: str) -> str:
    return re.split(r"[/\\]", text)[-1] if re.match(_ROOT, text) else text


def _check_distinct(records: Iterable[Mapping[str, Any]]) -> None:
    """Refuse cases that would become one."""
    seen: dict[str, dict[str, Any]] = {}
    for record in records:
        if "case" in record:
            own = Case.from_dict(record["case"]).to_dict()
            other = seen.setdefault(json.dumps(_public_case(own)), own)
            if other != own:
                both = " and ".join(f"{case['backend']} {case['objective']}" for case in (other, own))
                raise InputError(f"{both} have one name without their folders; rename a file, and measure again")
