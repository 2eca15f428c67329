"""What pytest collects here, the options and parameters of the pytest-benchmark suite, and its environment.

`pytest benchmarks --benchmark-only` times all backends in one process, one after the other, so that pytest-benchmark
shows them side by side. `make bench` runs a process per backend, in which no framework slows another down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gdbackends.backends import DTYPES, installed, names
from gdbackends.measurement.environment import affinity, busy, environment, load, machine

QUICK = [(100, 1), (10_000, 100)]
FULL = [(100, 1), (1000, 10), (10_000, 10), (10_000, 100), (100_000, 100), (1_000_000, 10)]
BEFORE = load()
"""The load average before anything was timed."""
ONE_PROCESS = "Later ones may be slowed down; `make bench` runs a process for each."


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="", help="the only backend to time (default: all installed)")
    parser.addoption("--full", action="store_true", help="time all six sizes instead of two")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Ignore the scripts beside the tests, which --doctest-modules would import."""
    return True if collection_path.suffix == ".py" and not collection_path.name.startswith("test_") else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend_name" not in metafunc.fixturenames:
        return
    backend = metafunc.config.getoption("--backend")
    metafunc.parametrize("backend_name", [backend] if backend else installed())
    sizes = FULL if metafunc.config.getoption("--full") else QUICK
    metafunc.parametrize(("rows", "features"), sizes, ids=[f"{n}x{d}" for n, d in sizes])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the cases by backend, so that a framework is imported when its turn comes, and then by problem."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[int, int, int]:
    case = _case(item)
    backend, dtype = case.get("backend_name"), case.get("dtype", DTYPES[0])
    return names().index(backend) if backend in names() else len(names()), case.get("rows", 0), DTYPES.index(dtype)


def _case(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add the versions and the limits of this process; what changes from run to run is in `extra_info`."""
    limits = {name: machine()[name] for name in ("machine_cores", "cpu_quota", "variables")}
    machine_info["gdbackends"] = environment() | limits


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say below the tables what the times of several backends in one process are worth."""
    passed = terminalreporter.stats.get("passed", [])
    timed = [name for name in names() if any(f"[{name}-" in report.nodeid for report in passed)]
    if len(timed) > 1 and not config.getoption("benchmark_disable"):
        terminalreporter.write_line(f"\n{', '.join(timed)} ran in one process, in this order. {ONE_PROCESS}")
    if timed and (sentence := busy(BEFORE, len(affinity()))):
        terminalreporter.write_line(sentence)
