"""The timer is kept honest: known times, late compilers, a backend against itself, and four times the rows.

A shared machine may stop any of these for a while, so a verdict is on the median of several tries in turn, or on the
best of three.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import pytest

from gdbackends.backends import names
from gdbackends.benchmarking.bench import Plan, begin, bench
from gdbackends.benchmarking.case import Grid
from gdbackends.benchmarking.result_rows import beside, by_case, ratio, result_rows
from gdbackends.benchmarking.results import ResultsFile
from gdbackends.measurement.environment import affinity
from gdbackends.measurement.subprocess_worker import Worker
from gdbackends.measurement.timing import batches, marginal_step, measure

pytestmark = pytest.mark.timing


def best_of_three(closure) -> float:
    return min(closure() for _ in range(3))


def spin(duration: float) -> None:
    end = time.perf_counter() + duration
    while time.perf_counter() < end:
        pass


@pytest.mark.parametrize("known", [0.001, 0.01, 0.05])
def test_a_known_sleep_is_measured_as_that_time(known: float) -> None:
    measured = best_of_three(lambda: measure(lambda: time.sleep(known), budget=0.5).median)
    assert known <= measured <= 1.05 * known + 1e-3


def test_the_harness_adds_two_percent_at_most_to_a_step_of_100_us() -> None:
    measured = best_of_three(lambda: min(batches(lambda: spin(1e-4), 0.3)[0]))
    assert 1e-4 <= measured <= 1.02e-4


class Compiled:
    """5 us a call, and 100 ms more for the first."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        spin(0.1 if self.calls == 1 else 5e-6)


def test_a_compile_of_100_ms_does_not_change_a_step_of_5_us() -> None:
    """A calibration that sees the compiler gives ten rounds of one call."""
    timings = [measure(Compiled(), budget=0.5) for _ in range(3)]
    plain = best_of_three(lambda: measure(lambda: spin(5e-6), budget=0.5).median)
    assert min(t.median for t in timings) <= 1.2 * plain
    assert min(t.calls for t in timings) > 5000


def test_what_is_paid_once_is_not_in_a_step() -> None:
    def run(steps: int) -> None:
        spin(0.005)
        for _ in range(steps):
            spin(2e-5)

    assert 2e-5 <= best_of_three(lambda: marginal_step(run)) <= 2.4e-5


@pytest.mark.parametrize("name", names())
def test_four_times_the_rows_take_three_to_six_times_as_long(name: str, require, monkeypatch) -> None:
    """A missing synchronisation shows as no growth. On one core: two wait for each other where another program runs."""
    require(name)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import fakes

    with Worker(affinity()[:1]) as worker:
        factors = worker.ask(fakes.four_times_the_rows, name)
    assert 3 <= median(factors) <= 6, factors


@pytest.mark.parametrize("name", names())
def test_a_backend_is_not_called_different_from_itself(name: str, require, tmp_path) -> None:
    """24 comparisons; `make same` makes 204."""
    require(name)
    kind = {"numpy": "NumpyBackend", "jax": "JaxBackend", "torch": "TorchBackend"}[name]
    twin = f"gdbackends.backends.{name}_backend:{kind}"
    cases = Grid([name, twin], rows=[100, 1000, 3000, 10_000], features=[1, 10], threads=[1]).cases()
    plan = Plan(launches=5, most=5)
    with ResultsFile(str(tmp_path / "r.jsonl")) as file:
        bench(cases, file, plan, begin(file, plan, cases))
        table = result_rows(file.results)
    found = [ratio(beside(row, by_case(table), backend=twin), row) for row in table if row.case.config.backend == name]
    assert len(found) == 8
    assert sum(r.differs() for r in found) <= 1
