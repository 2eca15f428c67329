"""Atomic replacement: the old file or the new one, and no temporary file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from gdbackends import atomic_files
from gdbackends.atomic_files import check_replaceable, replace_file


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")

    def write(stream: IO[bytes]) -> None:
        stream.write(b"ne")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        replace_file(target, write)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "old")]
    check_replaceable(target)
    replace_file(target, lambda stream: stream.write(b"new"))
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "new")]


def test_content_and_name_reach_the_disk_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[str] = []
    real, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        made.append(Path(f"/proc/self/fd/{descriptor}").readlink().suffix)
        real(descriptor)

    def replaced(self: Path, target: Path) -> Any:
        made.append("replace")
        return replace(self, target)

    monkeypatch.setattr(atomic_files.os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replaced)
    replace_file(tmp_path / "a", lambda stream: stream.write(b"new"))
    assert made == [".part", "replace", ""]


@pytest.mark.parametrize(
    ("function", "moment", "content"),
    [
        ("fdopen", "before", "old"),
        ("fsync", "before", "old"),
        ("replace", "before", "old"),
        ("replace", "after", "new"),
    ],
)
def test_a_writer_killed_at_each_step(function: str, moment: str, content: str, tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from gdbackends.atomic_files import replace_file
real = os.{function}
def killed(*arguments, **options):
    if {moment!r} == "after":
        real(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
os.{function} = killed
replace_file(Path("a"), lambda stream: stream.write(b"new"))
"""
    (tmp_path / "a").write_text("old")
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    assert (ended.returncode, (tmp_path / "a").read_text()) == (-signal.SIGKILL, content)
    replace_file(tmp_path / "a", lambda stream: stream.write(b"newer"))
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "newer")]


def test_only_leftovers_of_this_machine_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    own, other = (f".gdbackends-{ended.pid}-{node}-x.part" for node in (atomic_files._node(), "00000000"))
    for name in (own, other):
        (tmp_path / name).touch()
    replace_file(tmp_path / "a", lambda stream: stream.write(b"new"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [other, "a"]


def test_a_handler_of_the_program_is_kept(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        replace_file(tmp_path / "a", lambda stream: os.kill(os.getpid(), signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
