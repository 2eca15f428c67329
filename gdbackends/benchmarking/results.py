"""The file of results: a JSON line for each run, launch and case, appended as they come.

A line is written in one call, so a killed run leaves at most one line that is cut; it is dropped when the file is read,
and removed when it is continued. Everything shown is computed from the launches' own numbers.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gdbackends.benchmarking.case import Case
from gdbackends.errors import InputError

SCHEMA = 1
_FIRST = b'{"record": "run"'
FAILURES = ("disagrees", "unsynchronised", "unsupported", "out of memory", "timed out", "crashed")
"""The outcomes that end a case without a time."""
BAD = ("disagrees", "unsynchronised", "crashed")
"""Those that make the command fail."""


@dataclass(frozen=True)
class Results:
    """What a file holds.

    Attributes:
        path: of the file.
        runs: by name, what each run was made with.
        launches: by case and launch, the record of it.
        ends: by case, the record that says why no more launches were made, or why it failed.
        bandwidths: by run, launch and threads, the bytes read a second.
    """

    path: str
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    launches: dict[tuple[Case, int], dict[str, Any]] = field(default_factory=dict)
    ends: dict[Case, dict[str, Any]] = field(default_factory=dict)
    bandwidths: dict[tuple[str, int, int], float] = field(default_factory=dict)

    @property
    def cases(self) -> list[Case]:
        """All of which something is known, in the order of the file."""
        return list(dict.fromkeys([*(case for case, _ in self.launches), *self.ends]))

    def add(self, record: dict[str, Any]) -> None:
        """Take a record in; of doubles the first stands."""
        kind = record["record"]
        if kind == "run":
            self.runs.setdefault(record["run"], record)
        elif kind == "bandwidth":
            self.bandwidths.setdefault((record["run"], record["launch"], record["threads"]), record["bytes_per_s"])
        elif kind == "launch":
            self.launches.setdefault((Case.from_dict(record["case"]), record["launch"]), record)
        elif kind == "case":
            self.ends.setdefault(Case.from_dict(record["case"]), record)

    def of(self, case: Case) -> dict[int, dict[str, Any]]:
        """Return the records of a case's launches by their numbers."""
        return {number: record for (other, number), record in self.launches.items() if other == case}


def read_results(path: str) -> Results:
    """Return what a file holds.

    Raises:
        InputError: it cannot be read, or is no file of results; the text says which line.
    """
    results = Results(path)
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is not there; gdbackends bench --out {path} makes one") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if content and not content.startswith(_FIRST[: len(content)]):
        raise InputError(f"{path} does not begin as results do; give a file of gdbackends bench")
    for number, record in _records(path, content[: content.rfind(b"\n") + 1]):
        try:
            if number == 1 and record["schema"] != SCHEMA:
                raise InputError(f"{path} is of schema {record['schema']}; this version reads {SCHEMA}")
            results.add(record)
        except (KeyError, TypeError):
            raise InputError(f"{path}: line {number} is no record of gdbackends bench; give its --out file") from None
    return results


def _records(path: str, content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(content.splitlines(), 1):
        try:
            yield number, json.loads(line)
        except ValueError:
            raise InputError(f"{path}: line {number} is not JSON; give a file of gdbackends bench") from None


class ResultsFile:
    """A file of results that is being written, locked against a second run. A context manager."""

    def __init__(self, path: str, *, resume: bool = False) -> None:
        """Open it, or make it.

        Raises:
            InputError: it cannot be written; another run writes it; or it has results and `resume` is False.
        """
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._descriptor).st_size and not resume:
                raise InputError(f"{path} has results already; --resume continues them, or give another --out")
            self.results = read_results(path) if resume else Results(path)
            content = Path(path).read_bytes()
            os.ftruncate(self._descriptor, content.rfind(b"\n") + 1)
        except BlockingIOError:
            os.close(self._descriptor)
            raise InputError(f"{path} is being written by another run; wait for it, or give another --out") from None
        except BaseException:
            os.close(self._descriptor)
            raise

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; it is in the file when this returns.

        Raises:
            InputError: the disk is full, or the like.
        """
        line, end = (json.dumps(record, allow_nan=False) + "\n").encode(), os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):  # a full disk takes a part first, and says why on the second try
                os.write(self._descriptor, line[written:])
        except OSError as error:
            os.ftruncate(self._descriptor, end)
            text = (error.strerror or str(error)).lower()
            raise InputError(f"{self.results.path}: cannot be written: {text}; what is there can be resumed") from None
        self.results.add(record)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, and let others write."""
        os.close(self._descriptor)
