"""Read and write files of results: a JSON line for each run, launch and finished case, in order of completion.

A line is written in one call, so a killed run leaves at most one truncated line. It is ignored when the file is read
and removed when the run is resumed. All reported figures are computed from the records of launches. `read_results` also
reads the documents of `published`.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from gdbackends.benchmarking.case import Case
from gdbackends.benchmarking.published import document_records, read_document
from gdbackends.benchmarking.record_fields import wrong_field
from gdbackends.errors import InputError, file_error

SCHEMA = 1
_FIRST = b'{"record": "run"'
FAILURES = ("disagrees", "unsynchronised", "implausible", "unsupported", "out of memory", "timed out", "crashed")
"""The outcomes that end a case without a time."""
BAD = ("disagrees", "unsynchronised", "implausible", "timed out", "crashed")
"""The outcomes that make the command fail."""


_SAME = ("gdbackends", "commit", "python", "numpy", "jax", "torch", "cpu", "cores", "machine_cores", "cpu_quota")


def check_same(what: str, then: Mapping[str, Any], here: Mapping[str, Any], advice: str) -> None:
    """Refuse to combine results of different versions or machines."""
    was, now = ({**run, **run["environment"], **run["machine"]} for run in (then, here))
    for name in (*_SAME, "variables"):
        if was.get(name) != now.get(name):
            raise InputError(f"{what} with {name} {was.get(name)}, the other run with {now.get(name)}; {advice}")


@dataclass(frozen=True)
class Results:
    """The content of a file of results.

    Attributes:
        path: the path of the file.
        runs: the records of runs by name.
        planned: the cases that a run was to time, in order.
        launches: the records of launches by case and number.
        ends: the final record of each finished case, with the reason for stopping or for the failure.
        bandwidths: the memory bandwidth in bytes per second by run, launch and threads.
    """

    path: str
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    planned: dict[Case, dict[str, Any]] = field(default_factory=dict)
    launches: dict[Case, dict[int, dict[str, Any]]] = field(default_factory=dict)
    ends: dict[Case, dict[str, Any]] = field(default_factory=dict)
    bandwidths: dict[tuple[str, int, int], float] = field(default_factory=dict)

    @property
    def cases(self) -> list[Case]:
        """All cases in the file, in its order."""
        return list(dict.fromkeys([*self.planned, *self.launches, *self.ends]))

    def add(self, record: dict[str, Any]) -> None:
        """Add a record of valid fields; the first of several duplicates is kept."""
        kind = record["record"]
        if kind == "run":
            self.runs.setdefault(record["run"], record)
        elif kind == "bandwidth":
            self.bandwidths.setdefault((record["run"], record["launch"], record["threads"]), record["bytes_per_s"])
        elif kind == "planned":
            self.planned.setdefault(Case.from_dict(record["case"]), record)
        elif kind == "launch":
            self.launches.setdefault(Case.from_dict(record["case"]), {}).setdefault(record["launch"], record)
        elif kind == "case":
            self.ends.setdefault(Case.from_dict(record["case"]), record)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield all records: runs, planned cases, bandwidths, launches, and the ends of cases."""
        yield from self.runs.values()
        yield from self.planned.values()
        for (run, launch, threads), speed in self.bandwidths.items():
            record = {"record": "bandwidth", "run": run, "launch": launch, "threads": threads}
            yield {**record, "bytes_per_s": speed}
        for launches in self.launches.values():
            yield from launches.values()
        yield from self.ends.values()

    def of(self, case: Case) -> dict[int, dict[str, Any]]:
        """Return the records of a case's launches by their numbers."""
        return self.launches.get(case, {})


def read_results(path: str) -> Results:
    """Return the content of a file: JSON lines of `gdbackends bench`, or a published document.

    Raises:
        InputError: the file cannot be read or is not a file of results; the message names the line or record.
    """
    results = Results(path)
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist; create it with gdbackends bench --out {path}") from None
    except OSError as error:
        raise file_error(path, "read", error) from None
    for place, record in _records(path, content):
        wrong = wrong_field(record)
        if wrong is not None:
            raise InputError(
                f"{path}: {place} is not a record of results, see its {wrong!r}; give a file of gdbackends bench"
            )
        if not results.runs and record.get("schema") != SCHEMA:
            raise InputError(f"{path}: has schema {record.get('schema')}, but this version reads {SCHEMA}")
        if record["record"] == "run" and results.runs:
            first = next(iter(results.runs.values()))
            check_same(f"{path}: {place} was measured", record, first, "give files of one machine each")
        try:
            results.add(record)
        except InputError as error:
            raise InputError(f"{path}: {place}: {error}") from None
    return results


def _records(path: str, content: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the records of a file, each with its place."""
    if not content or content.startswith(_FIRST[: len(content)]):
        yield from _lines(path, content[: content.rfind(b"\n") + 1])
        return
    document = read_document(path, content)
    if document is None:
        raise InputError(f"{path}: is not a file of results; give a file of gdbackends bench")
    yield from document_records(path, _escaped(document))


def _lines(path: str, content: bytes) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(content.splitlines(), 1):
        try:
            yield f"line {number}", _escaped(json.loads(line))
        except (ValueError, RecursionError):
            raise InputError(f"{path}: line {number} is not JSON; give a file of gdbackends bench") from None


def _escaped(value: Any) -> Any:
    """Return JSON with unprintable characters of texts escaped, so that no text controls a terminal."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    if isinstance(value, list):
        return [_escaped(each) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {_escaped(name): _escaped(each) for name, each in cast("dict[str, Any]", value).items()}
    return value


class ResultsFile:
    """A file of results open for writing and locked against other runs; a context manager."""

    def __init__(self, path: str, *, resume: bool = False) -> None:
        """Open or create the file.

        Raises:
            InputError: it cannot be written, another run is writing it, or it has results and `resume` is False.
        """
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise file_error(path, "written", error) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            content = Path(path).read_bytes()
            if content and not content.startswith(_FIRST) and read_document(path, content) is not None:
                raise InputError(f"{path} is a published document, which is not continued; give another --out")
            if content and not resume:
                raise InputError(f"{path} already contains results; use --resume to continue, or give another --out")
            self.results = read_results(path) if resume else Results(path)
            os.ftruncate(self._descriptor, content.rfind(b"\n") + 1)
        except BlockingIOError:
            os.close(self._descriptor)
            raise InputError(f"{path} is being written by another run; wait for it, or give another --out") from None
        except BaseException:
            os.close(self._descriptor)
            raise

    def write(self, record: dict[str, Any]) -> None:
        """Append a record to the file.

        Raises:
            InputError: the record cannot be written, for example because the disk is full.
        """
        line, end = (json.dumps(record, allow_nan=False) + "\n").encode(), os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):  # a full disk accepts a part, and reports the error on the second try
                os.write(self._descriptor, line[written:])
        except OSError as error:
            os.ftruncate(self._descriptor, end)
            raise file_error(self.results.path, "written", error, "use --resume to continue") from None
        self.results.add(record)

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file and release the lock."""
        os.close(self._descriptor)
