"""Ready problems: the objectives of public autodiff benchmarks, each a module like a user's own file of a loss.

Each module defines `loss(theta, *data)`, `gradient(theta, *data)` by hand, and the functions `theta` and `data` of
(rows, features, seed), which return a start and a tuple of further arguments. They are the objectives of ADBench
(https://github.com/microsoft/ADBench, arXiv 1807.10129) and gradbench (https://github.com/gradbench/gradbench).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import NamedTuple

from gdbackends.errors import InputError


class ReadyProblem(NamedTuple):
    """What is known of a ready problem without importing its module.

    Attributes:
        parameter: the further keyword of its functions `theta` and `data`; None if there is none.
        description: one line.
    """

    parameter: str | None
    description: str


PROBLEMS: Mapping[str, ReadyProblem] = MappingProxyType(
    {
        "gmm": ReadyProblem("clusters", "Gaussian mixture with a Wishart prior (ADBench, gradbench)"),
        "kmeans": ReadyProblem("clusters", "squared distances of points to the nearest of k centroids (gradbench)"),
        "llsq": ReadyProblem(None, "least-squares fit of a polynomial to a sign function (gradbench, cmpad)"),
        "lse": ReadyProblem(None, "logarithm of a sum of exponentials (gradbench)"),
    }
)
"""The ready problems by name."""


def parse_problem(text: str) -> tuple[str, dict[str, int]] | None:
    """Return the name of a ready problem and its parameter by name: "gmm:25" is ("gmm", {"clusters": 25}).

    Args:
        text: NAME, or NAME:NUMBER for a problem with a parameter.

    Returns:
        The name and the parameter, if one is given; None if NAME is no ready problem.

    Raises:
        InputError: the problem has no parameter, or the parameter is not a whole number above 0.
    """
    name, colon, number = text.partition(":")
    if name not in PROBLEMS:
        return None
    if not colon:
        return name, {}
    parameter = PROBLEMS[name].parameter
    if parameter is None:
        raise InputError(f"the problem {name} takes no parameter, got {text!r}; use {name}")
    if not (number.isascii() and number.isdecimal() and len(number) < 10 and int(number) > 0):
        raise InputError(
            f"the parameter {parameter} of the problem {name} must be a whole number above 0, got {text!r}; "
            f"use {name} or, for example, {name}:25"
        )
    return name, {parameter: int(number)}


def load_problem(name: str) -> ModuleType:
    """Return the module of a ready problem.

    Raises:
        InputError: there is no problem of that name.
    """
    if name not in PROBLEMS:
        raise InputError(f"no ready problem is called {name!r}; the names are {', '.join(PROBLEMS)}")
    return import_module(f"{__name__}.{name}")
