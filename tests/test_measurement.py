"""The clock measures what it is given; a process that dies is an outcome."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from math import inf
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gdbackends.errors import InputError
from gdbackends.measurement.environment import (
    affinity,
    cpu_quota,
    environment,
    forget_peak,
    last_cache,
    machine,
    peak_memory,
)
from gdbackends.measurement.statistics import change, estimate, middle, quantile, two_sided
from gdbackends.measurement.subprocess_worker import Crashed, Failed, Killed, TimedOut, Worker, in_fresh_process
from gdbackends.measurement.timing import Stopped, marginal_step, marginal_steps, measure, seconds


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
    texts = {p.name: p.read_text(encoding="utf8") for p in package.rglob("*.py")}
    clock, limit = re.compile(r"perf_counter|time\.time|process_time|timeit"), re.compile(r"monotonic")
    assert [name for name, text in texts.items() if clock.search(text)] == ["timing.py"]
    waiting = {name for name, text in texts.items() if limit.search(text)}  # for how long, which is no measurement
    assert waiting <= {"timing.py", "checkpoint.py", "rank_launcher.py", "rank_process.py"}


def test_students_t_is_that_of_scipy() -> None:
    for freedom in range(1, 60):
        for t in (0.0, 0.1, 1.0, 2.0, 4.6, 20.0):
            assert two_sided(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), abs=1e-14)
        assert quantile(0.99, freedom) == pytest.approx(stats.t.ppf(0.995, freedom), rel=1e-9)


@pytest.mark.parametrize("launches", [3, 5, 10])
def test_the_interval_holds_what_it_promises(launches: int) -> None:
    """In 99 % of 4,000 experiments, and of ratios also where one launch in ten is slowed."""
    generator = np.random.default_rng(launches)

    def slowed() -> np.ndarray:
        shape = 4000, launches
        return generator.normal(0, 0.05, shape) + (generator.random(shape) < 0.1) * generator.exponential(0.3, shape)

    for drawn in (generator.normal(0, 0.05, (4000, launches)), slowed() - slowed()):
        held = [(e := estimate(list(row))).low <= 1 <= e.high for row in drawn]
        assert np.mean(held) >= 0.985


@pytest.mark.parametrize("count", [8, 30, 200])
def test_the_interval_of_a_median_holds_it(count: int) -> None:
    drawn = np.random.default_rng(count).lognormal(0, 1, (2000, count))
    estimates = [middle(list(row)) for row in drawn]
    assert np.mean([e.low <= 1 <= e.high for e in estimates]) >= 0.985
    assert all(e.low <= e.value <= e.high for e in estimates)


def test_a_change_between_two_files() -> None:
    generator = np.random.default_rng(0)
    pairs = [(generator.normal(0, 0.02, 5), generator.normal(0, 0.06, 7)) for _ in range(2000)]
    found = [change(list(old), list(new)) for old, new in pairs]
    assert 0.98 <= np.mean([e.low <= 1 <= e.high for e in found]) <= 0.998
    assert change([0.0, 0.01], [1.0]).high == inf
    assert estimate([2.0]).low == 0


def test_measure() -> None:
    timing = measure(lambda: time.sleep(0.002), budget=0.3)
    low, high = timing.interval
    assert 0.002 <= low <= timing.median <= high
    assert timing.calls >= 3
    assert timing.stopped in (Stopped.PRECISE, Stopped.BUDGET)
    assert measure(lambda: time.sleep(0.05), budget=0.01).stopped is Stopped.BUDGET
    for wrong in ({"budget": 0}, {"precision": float("nan")}):
        with pytest.raises(InputError, match="must be a positive number"):
            measure(lambda: None, **wrong)
    with pytest.raises(InputError, match="function of no arguments"):
        measure(3)


def test_steps_that_take_no_time_are_refused() -> None:
    with pytest.raises(ArithmeticError, match="took no longer"):
        marginal_steps(lambda steps: time.sleep(0.001), most=8)


def test_a_worker_is_held_to_its_cores_and_answers_again() -> None:
    with Worker(affinity()[:1], quiet=True) as worker:
        assert worker.ask(affinity) == affinity()[:1]
        assert worker.ask(os.getenv, "OMP_NUM_THREADS") == "1"
        with pytest.raises(InputError, match="no"):
            worker.ask(refuse)
        first = worker.ask(pid)
        assert worker.ask(pid) == first
        assert worker.alive
        with pytest.raises(Crashed, match="with code 3"):
            worker.ask(die)
        assert not worker.alive


def test_a_process_that_the_system_kills_is_short_of_memory() -> None:
    with pytest.raises(Killed), Worker(quiet=True) as worker:
        worker.ask(kill_me)


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_last_line_that_a_crashed_process_printed_is_told() -> None:
    with pytest.raises(Crashed, match="with code 3, without an answer: the last words"), Worker(quiet=True) as worker:
        worker.ask(speak_and_die)


def speak_and_die() -> None:
    print("the last words", flush=True)
    os._exit(3)


def grown() -> tuple[int, int, int]:
    """Return the bytes of an array, by how much the peak rose for it, and what is left of that when it is forgotten."""
    forget_peak()
    before = peak_memory()
    held = np.ones(8_000_000)
    size, rise = held.nbytes, peak_memory() - before
    del held
    forget_peak()
    return size, rise, peak_memory() - before


def test_memory_at_its_highest() -> None:
    """In a process of its own: in a large one, memory that was freed before is taken again."""
    size, rise, left = in_fresh_process(grown)
    assert 0.9 * size <= rise <= 1.2 * size
    assert left <= 0.1 * size
    assert last_cache() >= 1 << 18


@pytest.mark.parametrize("slow", [0.3, 0.05])
def test_the_budget_ends_a_slow_call(slow: float) -> None:
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        time.sleep(slow)

    timing = measure(call, budget=0.02)
    assert (calls, timing.calls, timing.stopped) == (2, 1, Stopped.BUDGET)  # one of them untimed
    assert timing.median == pytest.approx(slow, rel=0.3)
    assert timing.interval == (0.0, float("inf"))


class Odd(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)


def raise_odd() -> None:
    raise Odd(1, 2)


def refuse_by_memory() -> None:
    raise MemoryError


def test_an_exception_that_cannot_be_sent_is_told_in_words() -> None:
    with Worker() as worker:
        with pytest.raises(Failed, match="Odd: 3"):
            worker.ask(raise_odd)
        with pytest.raises(MemoryError):
            worker.ask(refuse_by_memory)
        assert worker.ask(add, 1, 1) == 2


def test_a_platform_without_affinity_is_served(tmp_path: Path) -> None:
    """macOS lacks both functions."""
    lines = "import os\nfor name in ('sched_setaffinity', 'sched_getaffinity'):\n    delattr(os, name)\n"
    (tmp_path / "sitecustomize.py").write_text(lines, encoding="utf8")
    out = str(tmp_path / "r.jsonl")
    command = ["bench", "--backends", "numpy", "--rows", "10", "--features", "1", "--work", "step,loss", "--out", out]
    full = [sys.executable, "-m", "gdbackends", *command, "--launches", "2", "--most", "2", "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    shown = subprocess.run(full, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "crashed" not in shown.stdout
