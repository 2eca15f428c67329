"""Options and parameters of the pytest-benchmark suite: the backend and the sizes.

Run one backend per process, because two frameworks in one process slow each other down.
"""

from __future__ import annotations

import pytest

from gdbackends.backends import installed

QUICK = [(100, 1), (10_000, 100)]
FULL = [(100, 1), (1000, 10), (10_000, 10), (10_000, 100), (100_000, 100), (1_000_000, 10)]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="", help="the only backend to time (default: all installed)")
    parser.addoption("--full", action="store_true", help="time all six sizes instead of two")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend_name" not in metafunc.fixturenames:
        return
    backend = metafunc.config.getoption("--backend")
    metafunc.parametrize("backend_name", [backend] if backend else installed())
    sizes = FULL if metafunc.config.getoption("--full") else QUICK
    metafunc.parametrize(("rows", "features"), sizes, ids=[f"{n}x{d}" for n, d in sizes])
