"""The pytest plugin: the fixture `assert_gradient` for tests of hand-derived gradients.

pytest imports this module in every run, before coverage is measured, so it imports nothing else until it is used.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gdbackends.gradcheck import GradientReport

_OPTION = "--gradient-backends"
_FRAMEWORKS = ("jax", "torch")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option, and the setting with the same name."""
    text = "jax,torch: insist on these frameworks in assert_gradient (default: those that are installed)"
    parser.getgroup("gdbackends").addoption(_OPTION, metavar="A,B", help=text)
    parser.addini("gradient_backends", text, default="")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse frameworks that are not installed: requiring a missing one is a usage error, not a skip."""
    insisted = _insisted(config)
    if insisted is None:
        return
    from gdbackends.errors import InputError, require_package

    for name in insisted:
        if name not in _FRAMEWORKS:
            raise pytest.UsageError(f"{_OPTION} must be of {', '.join(_FRAMEWORKS)}, got {name!r}")
        try:
            require_package(f"{_OPTION}={name}", name, name)
        except InputError as error:
            raise pytest.UsageError(str(error)) from None


@pytest.fixture
def assert_gradient(request: pytest.FixtureRequest) -> Callable[..., GradientReport]:
    """Return a function like `check_gradient` that raises GradientError unless the gradient passes."""
    insisted = _insisted(request.config)

    def assert_gradient(loss: Any, gradient: Any, theta: Any, *data: Any, **options: Any) -> GradientReport:
        __tracebackhide__ = True
        from gdbackends.errors import InputError
        from gdbackends.gradcheck import GradientError, check_gradient

        options = {"backends": insisted or _FRAMEWORKS} | options
        try:
            report = check_gradient(loss, gradient, theta, *data, **options)
        except InputError as error:
            raise error.with_traceback(None) from None  # the message says where
        if report.verdict != "pass":
            used = ",".join(name for name in options["backends"] if name not in report.unsupported)
            option = f" {_OPTION}={used}" if used else ""
            again = f"pytest {shlex.quote(request.node.nodeid)}{option}  # seed {report.seed}, {report.dtype}"
            raise GradientError(replace(report, again=again))
        return report

    return assert_gradient


def _insisted(config: pytest.Config) -> list[str] | None:
    """Return the names from the command line, or else from the settings; None if there are none."""
    text = config.getoption(_OPTION)
    text = config.getini("gradient_backends") or None if text is None else text
    return None if text is None else [name.strip() for name in text.split(",")]
