"""Where and on which code a published figure was measured: a line for the page, and a digest of the code.

The digest ignores comments, docstrings and layout, so that only a change of the code makes a page stale. It needs no
Git, and is the same in every version of Python.
"""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from gdbackends.errors import InputError
from gdbackends.measurement.environment import commit, environment, version_of
from gdbackends.measurement.timing import now

TIMED = ("backends", "blocks.py", "descent", "objectives")
"""The parts of the package on which the time of a step depends."""
CHECKED = ("gradcheck",)
"""The parts on which a verdict of `check_gradient` depends."""
_PACKAGE = Path(__file__).parents[1]
_NAMES = {"python": "Python", "numpy": "NumPy", "jax": "JAX", "torch": "PyTorch", "scipy": "SciPy"}
_UNREAD = ("kind", "type_comment", "type_ignores")
_DIGEST = re.compile(r"\bcode ([0-9a-f]{12})\b")


def measured(parts: Sequence[str], packages: Sequence[str] = (), cores: int | None = None) -> str:
    """Return the line of a measurement that begins now.

    Args:
        parts: files and folders of the package that are measured, such as TIMED.
        packages: distributions whose versions are given beside those of NumPy, JAX and PyTorch.
        cores: the cores used; None means those this process may use.
    """
    described = environment() | {name: version_of(name) for name in packages}
    return measured_line(described | ({"cores": cores} if cores else {}), commit(), now(), code_digest(parts))


def measured_line(described: Mapping[str, object], measured_commit: str | None, at: str, digest: str) -> str:
    """Return the line of a measurement.

    Args:
        described: the environment, as `environment` returns it, and further versions.
        measured_commit: the commit, or None if unknown.
        at: the time in UTC, beginning with the date.
        digest: that of `code_digest` or `digest_at`.
    """
    versions = {name: value for name, value in described.items() if name not in ("cpu", "cores") and value}
    listed = ", ".join(f"{_NAMES.get(name, name)} {value}" for name, value in versions.items())
    cores = "1 core" if described["cores"] == 1 else f"{described['cores']} cores"
    return (
        f"Measured at commit {measured_commit or 'unknown'} on {at[:10]}, {described['cpu']}, {cores}; {listed}; "
        f"code {digest}"
    )


def digest_in(text: str) -> str | None:
    """Return the digest in a line of `measured_line`; None if the text has none."""
    found = _DIGEST.search(text)
    return found and found[1]


def code_digest(parts: Sequence[str], package: Path = _PACKAGE) -> str:
    """Return 12 hexadecimal digits of the code in these files and folders of the package, as they are on disk."""
    files = {
        path.relative_to(package).as_posix(): path.read_text(encoding="utf8")
        for part in parts
        for path in ([package / part] if part.endswith(".py") else (package / part).rglob("*.py"))
    }
    return _digest(files)


def digest_at(measured_commit: str | None, parts: Sequence[str]) -> str:
    """Return `code_digest` of the package at a commit, from Git.

    Args:
        measured_commit: as `environment.commit` returns it. With "+", files differed from the commit, so that the
            code is known only if it is now that of the commit.
        parts: as in `code_digest`.

    Raises:
        InputError: the code is unknown, or Git does not have the commit.
    """
    known = (measured_commit or "").rstrip("+")

    def git(*words: str) -> str:
        command = ["git", "-C", str(_PACKAGE.parent), *words]
        try:
            return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, encoding="utf8")
        except (OSError, subprocess.SubprocessError):
            raise InputError(
                f"Git has no commit {measured_commit!r} here, so the code is unknown; measure again"
            ) from None

    folders = [f"{_PACKAGE.name}/{part}" for part in parts]
    paths = [path for path in git("ls-tree", "-r", "--name-only", known, *folders).split("\n") if path.endswith(".py")]
    digest = _digest({path.partition("/")[2]: git("show", f"{known}:{path}") for path in paths})
    if known != measured_commit and digest != code_digest(parts):
        raise InputError(f"the code measured at {measured_commit} was not committed; commit it, and measure again")
    return digest


def _digest(files: Mapping[str, str]) -> str:
    hashed = hashlib.sha256()
    for name in sorted(files):
        hashed.update(f"{name}\n{''.join(_tokens(ast.parse(files[name])))}\n".encode())
    return hashed.hexdigest()[:12]


def _tokens(value: object) -> Iterator[str]:
    """Yield a syntax tree as text; ast.dump differs between versions of Python."""
    if isinstance(value, ast.AST):
        yield f"({type(value).__name__}"
        for name, item in ast.iter_fields(value):
            if name not in _UNREAD and (read := _read(value, item)) not in (None, []):
                yield f" {name}="
                yield from _tokens(read)
        yield ")"
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _tokens(item)
            yield ","
    else:
        yield repr(value)


def _read(parent: ast.AST, item: object) -> object:
    """Return a field without strings that stand alone, such as docstrings, and without empty pieces of f-strings."""
    if not isinstance(item, list):
        return item
    items = cast("list[object]", item)
    if isinstance(parent, ast.JoinedStr):
        return [each for each in items if _string(each) != ""]
    return [each for each in items if not (isinstance(each, ast.Expr) and _string(each.value) is not None)]


def _string(node: object) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
