"""`gdbackends check`: compare a gradient derived by hand with autodiff, and name the mistake in it.

The gradient is that of a bundled loss or comes from a Python file, which is run.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import ModuleType, NoneType
from typing import Any, cast

import click
import numpy as np
from rich.text import Text

from gdbackends.backends import check_installed
from gdbackends.cli.console import console, count_of_rows, echo, plain_table, print_json, printable
from gdbackends.cli.options import TABLE_DEFAULTS, read_dataset, split, table_options
from gdbackends.cli.output import check_output, write_atomically
from gdbackends.datasets import Dataset, synthetic
from gdbackends.errors import InputError
from gdbackends.gradcheck import GradientReport, PortReport, check_gradient, check_jacobian, compare_ports
from gdbackends.gradcheck.ports import framework_of
from gdbackends.measurement.formatting import jsonable
from gdbackends.objectives import Array, LinearModel, RowLoss, parse_loss
from gdbackends.python_files import lookup, loss_and_gradient, made, run_file, split_target

_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}
_ROWS, _FEATURES = 60, 4
"""The size of data that a file makes."""
_MAX_WIDTH = 2000
"""The width at which a line from a file or a report is truncated."""


@click.command("check")
@click.argument("checked", metavar="TARGET")
@click.option("--data", "source", metavar="SOURCE", help="X and y.  [default: the data in the file, or else women]")
@table_options
@click.option("--param", "params", metavar="NAME=VALUE", multiple=True, help="A hyper-parameter, passed by name.")
@click.option("--argument", metavar="NAME", help="The parameter of the functions that is theta.  [default: the first]")
@click.option("--jacobian", is_flag=True, help="NAME returns an array, and its derivative is a Jacobian.")
@click.option("--port", "ports", metavar="NAME", multiple=True, help="Compare NAME, or FILE.py:NAME, with the target.")
@click.option("--backends", metavar="A,B", help="jax, torch: require these.  [default: all installed]")
@click.option("--dtype", default="float64", show_default=True, help="float64 or float32.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed of all random values.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--page", metavar="FILE", help="Also write the report as an HTML page.")
@click.pass_context
def command(ctx: click.Context, **options: Any) -> None:
    """Check a gradient derived by hand; if it is wrong, report the mistake that it is consistent with.

    TARGET is FILE.py:NAME, where NAME is an objective, its class, or a loss whose gradient is called NAME_gradient,
    NAME_grad, gradient or grad; FILE.py:LOSS,GRADIENT; FILE.py for the functions loss and gradient; or a bundled loss,
    such as huber:1.5. The file is run with your permissions, so check only files that you trust. It may define theta
    and data (a tuple of arguments), or functions (rows, features, seed) that return them, and params. By default theta
    is random, with a number for each feature and the intercept. A loss may be plain NumPy code, and may return (loss,
    gradient).

    With --port no gradient is needed: the values and gradients of the target and of the same function in another
    framework are compared.

    Exit code: 0 the gradient is right; 1 it is wrong, or the result is inconclusive; 2 invalid usage or input.
    """
    params = dict(map(_param, options["params"]))
    if options["page"] is not None:
        import_module("gdbackends.pictures")  # report a missing package before the check
        check_output("--page", options["page"], options["source"], options["checked"].partition(":")[0])
    with redirect_stdout(sys.stderr):  # output of the file does not belong to the report
        target = _find_target(options["checked"], options)
        table = _table_of(target, options)
        try:
            checked = _compare_ports if options["ports"] else _check
            report: Any = checked(target, table, params, options)
        except InputError as error:  # if the gradient raises, the notes are the frames in the file
            for line in "\n".join(getattr(error, "__notes__", ())).splitlines():
                click.echo(printable(line, _MAX_WIDTH), err=True)
            raise
    if options["ports"]:
        _show_ports(report, options)
        ctx.exit(0 if report.verdict == "pass" else 1)
    report = replace(report, again=_shell_command(options))
    data_name = "its own data" if table is None else f"{table.name}, {count_of_rows(table.y.size)}"
    if options["page"] is not None:
        from gdbackends.pictures.page.gradient_page import gradient_page

        write_atomically(options["page"], gradient_page(report, f"{options['checked']} on {data_name}"))
        echo(f"wrote {options['page']}; open it in a browser")
    if options["as_json"]:
        print_json({"target": options["checked"]} | jsonable(report.to_dict()))
    else:
        _show(report, f"{options['checked']} on {data_name}")
    ctx.exit(0 if report.verdict == "pass" else 1)


def _shell_command(options: Mapping[str, Any]) -> str:
    """Return the command line that repeats the check."""
    options = {name: None if TABLE_DEFAULTS.get(name) == value else value for name, value in options.items()}
    words = ["gdbackends", "check", options["checked"], "--seed", str(options["seed"]), "--dtype", options["dtype"]]
    names = {"source": "--data", "params": "--param"}
    words += ["--jacobian"] if options["jacobian"] else []
    for name in ("source", "synthetic", *TABLE_DEFAULTS, "params", "argument", "backends"):
        option = options[name]
        values = cast("tuple[Any, ...]", option) if isinstance(option, tuple) else (option,)
        for value in values if option is not None else ():
            flag = names.get(name, f"--{name}")
            words += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [flag, str(value)]
    return shlex.join(words)


def _param(text: str) -> tuple[str, int | float]:
    """Return NAME=VALUE as a pair."""
    name, _, value = text.partition("=")
    for kind in (int, float) if name else ():
        with suppress(ValueError):
            return name, kind(value)
    raise InputError(f"--param must be NAME=VALUE with a number, such as lam=0.1, got {text!r}")


def _table_of(target: _Target, options: Mapping[str, Any]) -> Dataset | None:
    """Return the table to check on; None if the file has its own data and no option asks for other data."""
    if all(options[name] == TABLE_DEFAULTS.get(name) for name in ("source", "synthetic", *TABLE_DEFAULTS)):
        if target.data is not None:
            return None
        if target.bundled is not None and target.bundled.target != "real":
            return _random_table(target.bundled, options["seed"])
    table = read_dataset(options, labels=target.bundled is not None and target.bundled.target == "label")
    return table if target.bundled is None else replace(table, y=target.bundled.encode(table.y)[0])


def _random_table(row_loss: RowLoss, seed: int) -> Dataset:
    """Return a small random table of labels or of counts."""
    table = synthetic(40, 3, seed=seed)
    return replace(table, y=table.y > 0 if row_loss.target == "label" else np.floor(np.abs(table.y)))


def _check(target: _Target, table: Dataset | None, params: dict[str, Any], options: dict[str, Any]) -> GradientReport:
    """Check the gradient of the target on the table, or on its own data."""
    data = (target.data or ()) if table is None else (table.X, table.y)
    params = {**target.params, **params}
    theta = _random_theta(target, data, params, options) if target.theta is None else target.theta
    if options["jacobian"]:
        return check_jacobian(
            target.loss,
            target.gradient,
            theta,
            *data,
            backends=("jax", "torch") if options["backends"] is None else _autodiff_backends(options["backends"]),
            argument=options["argument"],
            params=params,
            seed=options["seed"],
        )
    return check_gradient(
        target.loss,
        target.gradient,
        theta,
        *data,
        argument=options["argument"],
        backends=("jax", "torch") if options["backends"] is None else _autodiff_backends(options["backends"]),
        params=params,
        names=_names(table, theta),
        dtype=options["dtype"],
        seed=options["seed"],
    )


def _names(table: Dataset | None, theta: Any) -> tuple[str, ...] | None:
    """Return the names of the components of theta, if they are those of a linear model of the table."""
    if table is None or isinstance(theta, (dict, tuple)):
        return None
    every = (*table.names, "intercept")
    return {len(every) - 1: every[:-1], len(every): every}.get(np.size(theta))


def _compare_ports(
    target: _Target, table: Dataset | None, params: dict[str, Any], options: Mapping[str, Any]
) -> PortReport:
    """Compare the target with the same function in other frameworks."""
    data = (target.data or ()) if table is None else (table.X, table.y)
    theta = _random_theta(target, data, params, options) if target.theta is None else target.theta
    given = {**target.params, **params}
    ports: dict[str, Any] = {}
    for function in (target.loss, *(_port(target, options["checked"], name) for name in options["ports"])):
        ports[framework_of(function, theta, *data, params=given, taken=tuple(ports))] = function
    return compare_ports(ports, theta, *data, params=given, seed=options["seed"])


def _show_ports(report: PortReport, options: Mapping[str, Any]) -> None:
    """Print the report on ports, as text or as JSON."""
    if options["as_json"]:
        print_json({"target": options["checked"]} | jsonable(report.to_dict()))
        return
    terminal = console()
    verdict, *lines = str(report).splitlines()
    terminal.print(Text(printable(verdict, _MAX_WIDTH), style=_STYLES[report.verdict]))
    for line in lines:
        terminal.print(printable(line, _MAX_WIDTH))


def _port(target: _Target, checked: str, name: str) -> Any:
    """Return the function NAME of the target's file, or that of FILE.py:NAME."""
    if ".py:" in name:
        path, _, own = name.rpartition(":")
        return lookup(path, run_file(path), own)
    if target.module is None:
        raise InputError(f"--port needs a TARGET in a file, or FILE.py:NAME, got {name!r} for {checked}")
    return lookup((split_target(checked) or (checked,))[0], target.module, name)


def _autodiff_backends(text: str) -> list[str]:
    """Return the names of the required frameworks; raise InputError if one is not installed or cannot differentiate."""
    names = split("--backends", text)
    for name in names:
        if name == "numpy":
            raise InputError("--backends must be from jax and torch, got 'numpy', which has no autodiff")
        check_installed(name)
    return names


def _random_theta(target: _Target, data: Sequence[Any], params: Mapping[str, Any], options: Mapping[str, Any]) -> Array:
    """Return a random number for each feature, and one for the intercept unless the gradient takes none."""
    shape = np.shape(data[0]) if data else ()
    if len(shape) != 2:
        raise InputError(
            "data in the file do not begin with X (n, d), so the length of theta is unknown; define theta there"
        )
    theta = cast(Array, np.random.default_rng(options["seed"]).normal(size=shape[1] + 1))
    own = target.bundled is None and options["argument"] is None and callable(target.gradient)
    if own and not _takes(target.gradient, theta, data, params) and _takes(target.gradient, theta[:-1], data, params):
        echo(f"theta has {shape[1]} numbers, one for each feature, as the gradient takes none for an intercept")
        return theta[:-1]
    return theta


def _takes(gradient: Callable[..., Any], theta: Array, data: Sequence[Any], params: Mapping[str, Any]) -> bool:
    """Return whether the gradient takes a theta of this length; its other errors are reported by the check."""
    try:
        with np.errstate(all="ignore"):
            return np.shape(gradient(theta.copy(), *data, **params)) == theta.shape
    except Exception:
        return False


def _show(report: GradientReport, title: str) -> None:
    """Print the report, with the worst components as a table."""
    terminal = console()
    terminal.print(printable(title, _MAX_WIDTH))
    verdict, *lines = str(replace(report, components=())).splitlines()
    terminal.print(Text(printable(verdict, _MAX_WIDTH), style=_STYLES[report.verdict]))
    for line in lines:
        terminal.print(printable(line, _MAX_WIDTH), soft_wrap=line == f"repeat it: {report.again}")  # for copying
    worst = [component for component in report.components if not component.ratio <= 1][:5]
    if worst:
        titles = ("", "yours", *worst[0].values, "differ in", "times allowed")
        table = plain_table(*titles, right=titles[1:])
        for c in worst:
            numbers = [f"{value:.10g}" for value in (c.hand, *c.values.values())]
            table.add_row(Text(printable(c.name, 24)), *numbers, c.digit.partition(" ")[2], f"{c.ratio:.2g}")
        terminal.print(table)


@dataclass(frozen=True, eq=False)
class _Target:
    """A loss and the gradient to check.

    Attributes:
        loss: the loss, or a loss for each framework.
        gradient: the gradient.
        bundled: the bundled loss, or None if a file defines the loss.
        theta: the parameters that the file defines, or None.
        data: the arrays that the file defines, or None.
        params: the hyper-parameters that the file defines.
        module: the file, once it has been run.
    """

    loss: Any
    gradient: Any
    bundled: RowLoss | None = None
    theta: Any = None
    data: tuple[Any, ...] | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    module: ModuleType | None = None


def _find_target(text: str, options: Mapping[str, Any]) -> _Target:
    """Return the target for FILE.py, FILE.py:NAME, FILE.py:LOSS,GRADIENT or a bundled loss; a file is run.

    With --port it needs no gradient; with --jacobian its derivative is called NAME_jacobian, NAME_jac, jacobian or jac.

    Raises:
        InputError: the target does not exist, or the file raises an error or defines unusable values.
    """
    in_file = split_target(text)
    if in_file is None:
        try:
            objective = LinearModel(row_loss=parse_loss(text))
        except InputError as error:
            raise InputError(f"{error}; or give a file as FILE.py:NAME") from None
        return _Target(objective.loss, objective.gradient, bundled=objective.row_loss)
    path, names = in_file
    module = run_file(path)
    if options["ports"]:
        loss, gradient = lookup(path, module, names), _no_gradient
    else:
        suffixes = ("jacobian", "jac") if options["jacobian"] else ("gradient", "grad")
        loss, gradient = _loss_and_gradient(path, module, names, suffixes)
    size = {"rows": _ROWS, "features": _FEATURES, "seed": options["seed"]}
    data, params = made(path, module, "data", size), getattr(module, "params", {})
    if not isinstance(data, (tuple, NoneType)) or not isinstance(params, dict):
        raise InputError(f"{path}: data must be a tuple of arguments, and params a dictionary by name")
    params = cast("dict[str, Any]", params) if not hasattr(loss, "__self__") else {}  # an object has its own parameters
    theta = made(path, module, "theta", size)
    return _Target(loss, gradient, None, theta, cast("tuple[Any, ...] | None", data), params, module)


def _no_gradient(*_: Any, **__: Any) -> Any:
    raise InputError("--port needs no gradient")


def _loss_and_gradient(
    path: str, module: ModuleType, names: str, suffixes: tuple[str, ...]
) -> tuple[Any, Callable[..., Any] | bool]:
    """Return the loss and its derivative, which must be there; True if the loss returns both."""
    loss, gradient = loss_and_gradient(path, module, names, suffixes)
    if gradient is None:
        what, advice = suffixes[0], f"give {path}:{names},{suffixes[0].upper()}"
        if what == "gradient":
            advice += ", or set returns_gradient = True if it returns (loss, gradient)"
        candidates = ", ".join((*(f"{names}_{suffix}" for suffix in suffixes), *suffixes))
        raise InputError(f"{path}: no {what} of {names}: none of {candidates}; {advice}")
    return loss, gradient
