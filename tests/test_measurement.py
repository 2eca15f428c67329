"""The clock measures what it is given; a process that dies is an outcome."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from gdbackends.errors import InputError
from gdbackends.measurement.environment import environment
from gdbackends.measurement.runner import Crashed, in_fresh_process
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


def refuse() -> None:
    raise InputError("no")


def test_a_fresh_process() -> None:
    assert in_fresh_process(add, 2, 3) == 5
    assert in_fresh_process(pid) != os.getpid()
    with pytest.raises(Crashed):
        in_fresh_process(die)
    with pytest.raises(InputError, match="no"):
        in_fresh_process(refuse)


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
