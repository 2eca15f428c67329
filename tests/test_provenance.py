"""What published figures say of the code and the machine that they were measured on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gdbackends.errors import InputError
from gdbackends.measurement import provenance
from gdbackends.measurement.provenance import TIMED, code_digest, digest_at, digest_in, measured, measured_line

CODE = '''"""Docstring."""

RATE = 0.5
"""A constant."""


def step(x, rate=RATE):
    """Return the next x."""
    return f"{x - rate * x:{'.3'}g}"  # a comment
'''


def digest(folder: Path, code: str) -> str:
    (folder / "steps").mkdir(exist_ok=True)
    (folder / "steps" / "code.py").write_text(code, encoding="utf8")
    return code_digest(["steps"], folder)


def test_only_a_change_of_the_code_changes_the_digest(tmp_path: Path) -> None:
    first = digest(tmp_path, CODE)
    for old, new in (
        ("Docstring", "Another"),
        ("  # a comment", ""),
        ('"""A constant."""\n', ""),
        ("Return the next x", "Return x"),
        ("x, rate=RATE", "\n    x,\n    rate=RATE,\n"),
    ):
        assert old in CODE
        assert digest(tmp_path, CODE.replace(old, new)) == first, old
    for old, new in (("0.5", "0.25"), ("- rate", "+ rate"), ("'.3'", "'.4'"), ('f"', 'F"a')):
        assert old in CODE
        assert digest(tmp_path, CODE.replace(old, new)) != first, old
    (tmp_path / "steps" / "more.py").write_text("", encoding="utf8")
    assert digest(tmp_path, CODE) != first


def test_the_digest_is_the_same_in_every_version_of_python(tmp_path: Path) -> None:
    assert digest(tmp_path, CODE) == "6e572a629576"


def test_a_line_has_the_commit_the_machine_the_versions_and_the_digest() -> None:
    described = {"python": "3.11.7", "numpy": "2.4.6", "jax": None, "cpu": "AMD EPYC", "cores": 1, "scipy": "1.17"}
    line = measured_line(described, None, "2026-11-27T09:00:00Z", "0123456789ab")
    assert line == (
        "Measured at commit unknown on 2026-11-27, AMD EPYC, 1 core; Python 3.11.7, NumPy 2.4.6, SciPy 1.17; "
        "code 0123456789ab"
    )
    assert digest_in(f"| 1 |\n({line}; [x](x))") == "0123456789ab"
    assert digest_in("no line") is None
    assert digest_in(measured(TIMED)) == code_digest(TIMED)
    assert ", 3 cores; Python " in measured(TIMED, cores=3)


def test_the_code_of_a_commit_is_read_from_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    first = digest(package, CODE)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "First"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
    monkeypatch.setattr(provenance, "_PACKAGE", package)
    monkeypatch.setattr(provenance.code_digest, "__defaults__", (package,))
    assert digest_at(commit, ["steps"]) == digest_at(f"{commit}+", ["steps"]) == first
    digest(package, CODE.replace("0.5", "0.1"))
    assert digest_at(commit, ["steps"]) == first
    with pytest.raises(InputError, match="was not committed; commit it, and measure again"):
        digest_at(f"{commit}+", ["steps"])
    for unknown in ("abcdef0", None):
        with pytest.raises(InputError, match="Git has no commit"):
            digest_at(unknown, ["steps"])
