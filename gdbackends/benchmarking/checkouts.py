"""Time another version of this package beside this one: a folder with a checkout, or a revision of Git."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gdbackends.benchmarking.worker_tasks import PROTOCOL, protocol
from gdbackends.errors import InputError
from gdbackends.measurement.environment import commit, environment, machine, version_of
from gdbackends.measurement.subprocess_worker import Checkout, Worker

_ROOT = Path(__file__).parents[2]


@contextmanager
def checkout(text: str) -> Generator[Checkout]:
    """Yield the checkout that a text names.

    Args:
        text: a folder that contains the package, whose virtual environment `.venv` runs it if there is one; or a
            revision of the repository of this checkout, which is copied to a temporary folder.

    Raises:
        InputError: there is no such folder or revision.
    """
    if Path(text, "gdbackends").is_dir():
        folder = Path(text).resolve()
        python = folder / ".venv" / "bin" / "python"
        yield Checkout(str(folder), *_interpreter(str(python)) if python.exists() else (sys.executable, _path()))
        return
    if not (_ROOT / ".git").exists():
        raise InputError(f"{text!r} is no folder with a checkout, and this version is not in a Git repository")
    command = ["git", "-C", str(_ROOT), "archive", "--format=tar", text, "gdbackends"]
    archived = subprocess.run(command, capture_output=True, check=False)
    if archived.returncode:
        raise InputError(f"{text!r} is neither a folder with a checkout nor a revision of {_ROOT}; give one of them")
    with TemporaryDirectory(prefix="gdbackends-") as folder:
        with tarfile.open(fileobj=BytesIO(archived.stdout)) as files:
            files.extractall(folder, filter="data")
        yield Checkout(folder, sys.executable, _path())


def described(other: Checkout, text: str) -> dict[str, Any]:
    """Return the version, commit, environment and machine of a checkout, as its own interpreter finds them.

    Raises:
        InputError: it cannot be timed by this version.
    """
    try:
        with Worker(quiet=True, checkout=other) as worker:
            spoken = worker.ask(protocol)
            made_with: dict[str, Any] = {
                "gdbackends": worker.ask(version_of, "gdbackends"),
                "commit": worker.ask(commit) or _revision(text),
                "environment": worker.ask(environment),
                "machine": machine(),
            }
    except Exception as error:  # an older version lacks the functions, or its environment the packages
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{text} cannot be timed by this version ({reason}); give a newer one") from None
    if spoken != PROTOCOL:
        raise InputError(f"{text} times by protocol {spoken}, this version by {PROTOCOL}; give a version with the same")
    return made_with


def _revision(text: str) -> str:
    """Return the short name of the commit of a revision, or the text if it is none."""
    command = ["git", "-C", str(_ROOT), "rev-parse", "--short", "--verify", "--quiet", f"{text}^{{commit}}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or text


def _path() -> tuple[str, ...]:
    return tuple(entry for entry in sys.path if entry and Path(entry).resolve() != _ROOT)


def _interpreter(python: str) -> tuple[str, tuple[str, ...]]:
    """Return an interpreter and its module path."""
    command = [python, "-P", "-c", "import json, sys; print(json.dumps(sys.path))"]
    try:
        found = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout
        return python, tuple(json.loads(found))
    except (OSError, subprocess.SubprocessError, ValueError):
        raise InputError(f"{python} does not run; make the environment again, or remove it") from None
