"""`gdbackends check`: a gradient of the user's own against autodiff, and which mistake explains a difference."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

import click
import numpy as np
from rich.table import Table
from rich.text import Text

from gdbackends.backends import check_installed
from gdbackends.cli.console import console, count_of_rows, echo, print_json, printable
from gdbackends.cli.output import check_output, write_whole
from gdbackends.cli.source import dataset, split, table_options
from gdbackends.cli.target import Target, find_target
from gdbackends.datasets import Dataset, synthetic
from gdbackends.errors import InputError
from gdbackends.gradcheck import GradientReport, check_gradient
from gdbackends.measurement.formatting import jsonable
from gdbackends.objectives import Array, RowLoss

_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}
_LONGEST = 2000


@click.command("check")
@click.argument("subject", metavar="TARGET")
@click.option("--data", "source", metavar="SOURCE", help="X and y.  [default: what the file defines, else women]")
@table_options
@click.option("--param", "params", metavar="NAME=VALUE", multiple=True, help="A hyper-parameter, passed by name.")
@click.option("--backends", metavar="A,B", help="jax, torch: insist on these.  [default: all installed]")
@click.option("--dtype", default="float64", show_default=True, help="float64 or float32.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what is random.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--page", metavar="FILE", help="Write the report as an HTML page, too.")
@click.pass_context
def command(ctx: click.Context, **options: Any) -> None:
    """Check a gradient derived by hand; if it is wrong, say what the mistake is consistent with.

    TARGET is FILE.py:NAME, an objective (or its class) or a loss whose gradient the file calls NAME_gradient,
    NAME_grad, gradient or grad; FILE.py:LOSS,GRADIENT; FILE.py for its loss and gradient; or a bundled loss, such as
    huber:1.5. The file is run, with your rights: check none that you do not trust. It may define theta, data (a tuple
    of arrays) and params; without a theta, it is random, a number for each feature and one more.

    Exit code: 0 the gradient is right; 1 it is not, or nothing can be said; 2 bad use or input.
    """
    given = dict(map(_param, options["params"]))
    if options["page"] is not None:
        import_module("gdbackends.pictures")  # what is missing is said before the check
        check_output("--page", options["page"], options["source"], options["subject"].partition(":")[0])
    with redirect_stdout(sys.stderr):  # what the file prints is no part of the answer
        target = find_target(options["subject"])
        table = _table_for(target, options)
        try:
            report = replace(_check(target, table, given, options), again=_in_shell(options))
        except InputError as error:  # its notes are the user's frames of a gradient that raises
            for line in "\n".join(getattr(error, "__notes__", ())).splitlines():
                click.echo(printable(line, _LONGEST), err=True)
            raise
    where = "its own data" if table is None else f"{table.name}, {count_of_rows(table.y.size)}"
    if options["page"] is not None:
        from gdbackends.pictures.page.gradient_page import gradient_page

        write_whole(options["page"], gradient_page(report, f"{options['subject']} on {where}"))
        echo(f"{options['page']} is written; open it in a browser")
    if options["as_json"]:
        print_json({"target": options["subject"]} | jsonable(report.to_dict()))
    else:
        _show(report, f"{options['subject']} on {where}")
    ctx.exit(0 if report.verdict == "pass" else 1)


def _in_shell(options: Mapping[str, Any]) -> str:
    """Return the command line that does the same again, defaults that matter spelled out."""
    options = {**options, "decimal": None if options["decimal"] == "." else options["decimal"]}  # its default
    told = ["gdbackends", "check", options["subject"], "--seed", str(options["seed"]), "--dtype", options["dtype"]]
    names = {"source": "--data", "params": "--param"}
    for name in ("source", "synthetic", "target", "features", "delimiter", "decimal", "header", "params", "backends"):
        given = options[name]
        several = cast("tuple[Any, ...]", given) if isinstance(given, tuple) else (given,)
        for value in several if given is not None else ():
            flag = names.get(name, f"--{name}")
            told += [f"--{'' if value else 'no-'}header"] if isinstance(value, bool) else [flag, str(value)]
    return shlex.join(told)


def _param(text: str) -> tuple[str, int | float]:
    """Return NAME=VALUE as a pair."""
    name, _, value = text.partition("=")
    for kind in (int, float) if name else ():
        with suppress(ValueError):
            return name, kind(value)
    raise InputError(f"--param must be NAME=VALUE with a number, such as lam=0.1, got {text!r}")


def _table_for(target: Target, options: Mapping[str, Any]) -> Dataset | None:
    """Return the table to check on; None where the file brings its own data and nobody asks for others."""
    names = ("source", "synthetic", "target", "features", "delimiter", "header")
    if all(options[name] is None for name in names):
        if target.data is not None:
            return None
        if target.bundled is not None and target.bundled.target != "real":
            return _suitable_table(target.bundled, options["seed"])
    table = dataset(options, labels=target.bundled is not None and target.bundled.target == "label")
    return table if target.bundled is None else replace(table, y=target.bundled.encode(table.y)[0])


def _suitable_table(row_loss: RowLoss, seed: int) -> Dataset:
    """Return a small random table of labels or of counts."""
    table = synthetic(40, 3, seed=seed)
    return replace(table, y=table.y > 0 if row_loss.target == "label" else np.floor(np.abs(table.y)))


def _check(
    target: Target, table: Dataset | None, given: Mapping[str, Any], options: Mapping[str, Any]
) -> GradientReport:
    """Check the target's gradient on the table, or on its own data."""
    data = (target.data or ()) if table is None else (table.X, table.y)
    theta = _random_theta(data, options["seed"]) if target.theta is None else target.theta
    linear = table is not None and np.shape(theta) == (len(table.names) + 1,)
    return check_gradient(
        target.loss,
        target.gradient,
        theta,
        *data,
        backends=("jax", "torch") if options["backends"] is None else _insisted(options["backends"]),
        params={**target.params, **given},
        names=(*table.names, "intercept") if table is not None and linear else None,
        dtype=options["dtype"],
        seed=options["seed"],
    )


def _insisted(text: str) -> list[str]:
    """Return the frameworks that are insisted on; refuse what is none, and one that is not installed."""
    names = split("--backends", text)
    for name in names:
        if name == "numpy":
            raise InputError("--backends must be of jax, torch, got 'numpy', which differentiates nothing")
        check_installed(name)
    return names


def _random_theta(data: Sequence[Any], seed: int) -> Array:
    """Return a number for each feature and one for the intercept."""
    shape = np.shape(data[0]) if data else ()
    if len(shape) != 2:
        raise InputError("the file's data do not begin with X (n, d), so theta's length is unknown; define theta in it")
    return cast(Array, np.random.default_rng(seed).normal(size=shape[1] + 1))


def _show(report: GradientReport, title: str) -> None:
    """Print the report in its own words, and the worst components as a table."""
    terminal = console()
    terminal.print(printable(title, _LONGEST))
    verdict, *lines = str(replace(report, components=())).splitlines()
    terminal.print(Text(printable(verdict, _LONGEST), style=_STYLES[report.verdict]))
    for line in lines:
        terminal.print(printable(line, _LONGEST), soft_wrap=line == f"repeat it: {report.again}")  # to be copied
    worst = [component for component in report.components if not component.ratio <= 1][:5]
    if worst:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for j, name in enumerate(("", "yours", "autodiff", "of what rounding allows")):
            table.add_column(name, justify="right" if j else "left")
        for c in worst:
            table.add_row(Text(printable(c.name, 24)), f"{c.hand:.10g}", f"{c.autodiff:.10g}", f"{c.ratio:.2g}")
        terminal.print(table)
