"""The benchmark suite's option: one backend a process, for two frameworks in one slow each other down."""

from __future__ import annotations

import pytest

from gdbackends.backends import installed


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="", help="benchmark this backend alone; by default all installed")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend_name" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--backend")
        metafunc.parametrize("backend_name", [chosen] if chosen else installed())
