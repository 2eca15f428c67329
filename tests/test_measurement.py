"""The clock measures what it is given; a process that dies is an outcome."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from gdbackends.errors import InputError
from gdbackends.measurement.environment import cpu_quota, environment, machine
from gdbackends.measurement.runner import Crashed, TimedOut, in_fresh_process
from gdbackends.measurement.timing import marginal_step, seconds


def test_a_known_sleep_is_measured_as_that() -> None:
    assert seconds(lambda: time.sleep(0.05)) == pytest.approx(0.05, rel=0.2)


def test_the_marginal_step_leaves_out_what_is_paid_once() -> None:
    def run(steps: int) -> None:
        time.sleep(0.01 + 0.001 * steps)

    assert marginal_step(run, least=0.03, rounds=3) == pytest.approx(0.001, rel=0.3)


def add(a: int, b: int) -> int:
    return a + b


def pid() -> int:
    return os.getpid()


def die() -> None:
    os._exit(3)


def hold_the_lock() -> None:
    """Spin inside C, where no signal handler of Python's and no other thread gets a turn."""
    re.match("(a+)+$", "a" * 60 + "b")


def refuse() -> None:
    raise InputError("no")


def test_a_fresh_process() -> None:
    assert in_fresh_process(add, 2, 3) == 5
    assert in_fresh_process(pid) != os.getpid()
    with pytest.raises(Crashed):
        in_fresh_process(die)
    with pytest.raises(InputError, match="no"):
        in_fresh_process(refuse)


def test_a_process_that_hangs_is_ended() -> None:
    with pytest.raises(TimedOut, match=r"no answer within 1\.5 s"):
        in_fresh_process(hold_the_lock, timeout=1.5)
    assert in_fresh_process(add, 2, 3, timeout=60) == 5


def test_what_a_process_prints_stays_off_stdout(capfd) -> None:
    in_fresh_process(print, "noise")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "noise\n")


def test_the_machine() -> None:
    seen = machine()
    assert 1 <= seen["cores"] <= seen["machine_cores"]
    assert 0 < seen["memory_available_bytes"] <= seen["memory_bytes"]
    assert seen["cpu_quota"] is None or seen["cpu_quota"] > 0


def test_the_tightest_cpu_quota_of_either_version_holds(tmp_path: Path) -> None:
    own, inner = tmp_path / "own", tmp_path / "outer/inner"
    inner.mkdir(parents=True)
    own.write_text("0::/outer/inner\n", encoding="utf8")
    assert cpu_quota(own, tmp_path) is None
    (inner / "cpu.max").write_text("max 100000\n", encoding="utf8")
    (tmp_path / "outer/cpu.max").write_text("150000 100000\n", encoding="utf8")
    assert cpu_quota(own, tmp_path) == 1.5
    version1 = tmp_path / "cpu/box"
    version1.mkdir(parents=True)
    own.write_text("4:memory:/\n1:cpu,cpuacct:/box\n", encoding="utf8")
    (version1 / "cpu.cfs_period_us").write_text("100000\n", encoding="utf8")
    for quota, cores in (("-1", None), ("50000", 0.5)):
        (version1 / "cpu.cfs_quota_us").write_text(f"{quota}\n", encoding="utf8")
        assert cpu_quota(own, tmp_path) == cores
    assert cpu_quota(tmp_path / "none") is None


def test_the_environment_names_what_is_needed_to_read_a_time() -> None:
    seen = environment()
    assert set(seen) == {"python", "numpy", "jax", "torch", "cpu", "cores"}
    assert seen["cores"] >= 1
    assert seen["cpu"]


def test_nothing_else_holds_a_clock() -> None:
    package = Path(__file__).parent.parent / "gdbackends"
    clock = re.compile(r"perf_counter|monotonic|time\.time|process_time|timeit")
    holders = [p.name for p in package.rglob("*.py") if clock.search(p.read_text(encoding="utf8"))]
    assert holders == ["timing.py"]
