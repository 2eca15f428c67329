"""The options of `gdbackends bench`, and the cases that they ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from math import inf
from typing import Any

import click

from gdbackends.backends import check_installed, installed
from gdbackends.benchmarking.bench import Plan
from gdbackends.benchmarking.case import SUITES, Case
from gdbackends.cli.source import split
from gdbackends.errors import InputError
from gdbackends.measurement.environment import affinity

_LONGEST = 1e6
_BUDGETS = {"quick": 150.0, "full": None}

_OPTIONS = [
    click.option("--suite", default="quick", show_default=True, help="quick (12 cases a backend) or full (152)."),
    click.option("--backends", metavar="A,B,...", help="numpy, jax, torch, module:name.  [default: all installed]"),
    click.option("--rows", metavar="N,N,...", help="Rows, as in 1e2,1e4.  [default: the suite's]"),
    click.option("--features", metavar="D,D,...", help="Features.  [default: the suite's]"),
    click.option("--work", metavar="A,B,...", help="loss, gradient, step, fit.  [default: the suite's]"),
    click.option("--objective", metavar="A,B,...", help="squared, huber:1, logistic, ...  [default: squared]"),
    click.option("--dtype", metavar="A,B", help="float64, float32.  [default: the suite's]"),
    click.option("--device", metavar="A,B,...", help="cpu; gpu, cuda:0.  [default: cpu]"),
    click.option("--threads", metavar="N,N,...", help="Cores, and threads, a process may use.  [default: all]"),
    click.option(
        "--tuning",
        metavar="A,B",
        help="best, idiomatic (as people usually write it), compiled (PyTorch).  [default: best]",
    ),
    click.option("--launches", type=int, default=5, show_default=True, help="Processes of each backend at least."),
    click.option("--most", type=int, help="Processes of each backend at most.  [default: 10]"),
    click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds a case may take."),
    click.option("--time-budget", type=float, help="Seconds for all.  [default: quick 150, full none]"),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the data and the order."),
]


def bench_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen(options: Mapping[str, Any]) -> tuple[list[Case], Plan]:
    """Return the cases and the plan.

    Raises:
        InputError: an option is no such thing.
    """
    if options["suite"] not in SUITES:
        raise InputError(f"--suite must be quick or full, got {options['suite']!r}")
    given: dict[str, Any] = {"backends": _backends(options["backends"])}
    for name, key in (
        ("work", "works"),
        ("objective", "objectives"),
        ("dtype", "dtypes"),
        ("device", "devices"),
        ("tuning", "tunings"),
    ):
        if options[name] is not None:
            given[key] = tuple(split(f"--{name}", options[name]))
    for name in ("rows", "features", "threads"):
        if options[name] is not None:
            given[name] = tuple(_count(f"--{name}", text) for text in split(f"--{name}", options[name]))
    at_hand = len(affinity())
    if max(given.get("threads", (1,))) > at_hand:
        raise InputError(f"--threads must be at most the {at_hand} cores at hand, got {options['threads']}")
    given["largest"] = inf if {"rows", "features"} & given.keys() else SUITES[options["suite"]].largest
    cases = replace(SUITES[options["suite"]], **given, seed=options["seed"]).cases()
    if not cases:
        raise InputError("these options leave no case, as NumPy has the CPU alone; give other --backends")
    return cases, _plan(options)


def _plan(options: Mapping[str, Any]) -> Plan:
    budget = _BUDGETS[options["suite"]] if options["time_budget"] is None else options["time_budget"]
    launches, most = options["launches"], max(10, options["launches"]) if options["most"] is None else options["most"]
    plan = Plan(launches, most, timeout_s=options["timeout"], budget_s=budget, seed=options["seed"])
    for name, value, least in (("--launches", launches, 1), ("--most", most, launches), ("--seed", options["seed"], 0)):
        if value < least:
            raise InputError(f"{name} must be at least {least}, got {value}")
    for name, value in (("--timeout", plan.timeout_s), ("--time-budget", plan.budget_s)):
        if value is not None and not 0 < value <= _LONGEST:
            raise InputError(f"{name} must be a positive number of seconds, {_LONGEST:g} at most, got {value}")
    return plan


def _backends(text: str | None) -> tuple[str, ...]:
    if text is None:
        return installed()
    names = tuple(split("--backends", text))
    for name in names:
        module, colon, function = name.partition(":")
        if not colon:
            check_installed(name)
        elif not function or not _found(module):
            raise InputError(f"--backends takes module:name of what can be imported, got {name!r}; see PYTHONPATH")
    return names


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _count(option: str, text: str) -> int:
    """Return a whole number of at least 1, written as 1000 or 1e3."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (1 <= value < 1e15 and value == int(value)):
        raise InputError(f"{option} must be whole numbers of at least 1, such as 100,1e4, got {text!r}")
    return int(value)
