"""`gdbackends bench`: which backend is fastest on this machine, for which problem, and by how much."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from math import inf
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gdbackends.backends import TUNINGS, check_installed, installed
from gdbackends.benchmarking.bench import Plan, begin, bench
from gdbackends.benchmarking.case import SUITES, WORKS, Case
from gdbackends.benchmarking.result_rows import result_rows
from gdbackends.benchmarking.results import BAD, ResultsFile
from gdbackends.cli.console import console, echo, plain_table, print_unwrapped
from gdbackends.cli.options import TUNINGS_HELP, split, with_options
from gdbackends.cli.result_table import WIDE, show_results
from gdbackends.comparison.function_problem import fixed_size, is_function
from gdbackends.errors import InputError
from gdbackends.measurement.environment import affinity
from gdbackends.problems import PROBLEMS, parse_problem

_MAX_SECONDS = 1e6
_BUDGETS = {"quick": 150.0, "full": None}
_SIZE = 1000, 10
_WORK = "value_and_gradient"
_OPTIONS = with_options(
    click.option("--suite", default="quick", show_default=True, help="quick (12 cases per backend) or full (152)."),
    click.option("--backends", metavar="A,B,...", help="numpy, jax, torch, module:name.  [default: all installed]"),
    click.option("--rows", metavar="N,N,...", help="The numbers of rows, such as 1e2,1e4.  [default: the suite's]"),
    click.option("--features", metavar="D,D,...", help="The numbers of features.  [default: the suite's]"),
    click.option("--size", metavar="NxD,NxD,...", help="Rows x features, in the place of --rows and --features."),
    click.option("--work", metavar="A,B,...", help=f"What to time: {', '.join(WORKS)}.  [default: the suite's]"),
    click.option(
        "--objective",
        metavar="A,B,...",
        help="The losses: squared, huber:1, logistic, ...; or FILE.py:NAME.  [default: squared]",
    ),
    click.option(
        "--problem", metavar="A,B,...", help=f"Problems of other benchmarks: {', '.join(PROBLEMS)}; as in gmm:25."
    ),
    click.option("--dtype", metavar="A,B", help="float64, float32.  [default: the suite's]"),
    click.option("--device", metavar="A,B,...", help="cpu; gpu, cuda:0.  [default: cpu]"),
    click.option("--threads", metavar="N,N,...", help="The cores and threads that a process may use.  [default: all]"),
    click.option("--tuning", metavar="A,B", help=f"{TUNINGS_HELP}.  [default: best]"),
    click.option("--variants", is_flag=True, help="Time every variant (tuning) of each framework."),
    click.option("--launches", type=int, default=5, show_default=True, help="The minimum number of launches per case."),
    click.option(
        "--most",
        type=int,
        help="The maximum of launches per case.  [default: 10; losses in files: --launches]",
    ),
    click.option("--timeout", type=float, default=60.0, show_default=True, help="Time limit of a case in seconds."),
    click.option("--time-budget", type=float, help="Time limit in seconds.  [default: quick 150, full none]"),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the data and of the order."),
    click.option("--out", default="bench.jsonl", show_default=True, help="The file to append results to."),
    click.option("--resume", is_flag=True, help="Continue the file without repeating the results in it."),
    click.option("--dry-run", is_flag=True, help="Print the cases without timing them."),
    WIDE,
)


@click.command("bench")
@_OPTIONS
@click.pass_context
def command(ctx: click.Context, **options: Any) -> None:
    """Time every backend at every size, after checking that its results are right.

    A loss of your own is FILE.py:NAME: a function loss(theta, *data), or an object with a loss. The file is run with
    your permissions. It may define data(rows, features, seed), theta(rows, features, seed), NAME_gradient, which NumPy
    needs, and residuals(theta, *data), whose Jacobian can be timed. Without data it gets random X and y.

    Each backend runs in its own processes, in turn with the others. Results are appended to a file as they are
    measured; `gdbackends show` prints the table of a file again, `gdbackends diff` compares two, and `gdbackends
    export` converts one to a table. On Ctrl-C the table of what has been measured is printed.

    Exit code: 0 success; 1 a backend disagrees, returns before its result is ready, timed out, or crashed; 2 invalid
    usage or input; 3 the time budget ended before every case was reached; 130 interrupted.
    """
    with redirect_stdout(sys.stderr):  # what a file prints does not belong to the result
        cases = _cases(options)
    plan = _plan(options, any(case.spec.is_function for case in cases))
    if options["dry_run"]:
        _show_cases(cases, plan)
        return
    with ResultsFile(options["out"], resume=options["resume"]) as file:
        run, interrupted = begin(file, plan, cases), False
        try:
            with _progress() as report:
                bench(cases, file, plan, run, report)
        except KeyboardInterrupt:
            interrupted = True
        planned = set(cases)
        rows = [row for row in result_rows(file.results) if row.case in planned]
        show_results(rows, file.results, wide=options["wide"])
    if interrupted:
        echo(f"gdbackends: interrupted; the same command with --resume continues {options['out']}")
        ctx.exit(130)
    statuses = {row.status for row in rows}
    ctx.exit(1 if statuses & set(BAD) else 3 if "not reached" in statuses else 0)


@contextmanager
def _progress() -> Generator[Callable[[float, str], None]]:
    """Yield a callback that updates a progress bar on stderr, which is hidden unless stderr is a terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    terminal = Console(stderr=True)
    bar = Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal, auto_refresh=False)
    with bar:  # refreshed only by the callback: a refreshing thread would take time from a core
        task = bar.add_task("", total=1.0)
        yield lambda done, text: bar.update(task, completed=done, description=text, refresh=True)


def _cases(options: Mapping[str, Any]) -> list[Case]:
    """Return the cases that the options select."""
    if options["suite"] not in SUITES:
        raise InputError(f"--suite must be quick or full, got {options['suite']!r}")
    if options["problem"] is not None:
        options = {**options, "objective": _objectives(options["problem"], options["objective"])}
    fields: dict[str, Any] = {"backends": _backends(options["backends"])}
    for name in ("work", "objective", "dtype", "device", "tuning"):
        if options[name] is not None:
            fields[f"{name}s"] = tuple(split(f"--{name}", options[name]))
    for name in ("rows", "features", "threads"):
        if options[name] is not None:
            fields[name] = tuple(_count(f"--{name}", text) for text in split(f"--{name}", options[name]))
    fields |= _sizes(options, fields)
    cores = len(affinity())
    if max(fields.get("threads", (1,))) > cores:
        raise InputError(f"--threads must be at most {cores}, the number of available cores, got {options['threads']}")
    fields["largest"] = inf if {"rows", "features", "sizes"} & fields.keys() else SUITES[options["suite"]].largest
    if options["variants"]:
        if options["tuning"] is not None:
            raise InputError("--variants times every tuning; leave out --tuning")
        fields["tunings"] = TUNINGS
    cases = replace(SUITES[options["suite"]], **fields, seed=options["seed"]).cases()
    if not cases:
        raise InputError("these options select no cases, as NumPy runs on the CPU only; give other --backends")
    return cases


def _objectives(problems: str, objective: str | None) -> str:
    """Return the ready problems and the losses as one list."""
    for name in split("--problem", problems):
        if parse_problem(name) is None:
            raise InputError(f"--problem must be one of {', '.join(PROBLEMS)}, got {name!r}")
    return ",".join(filter(None, (problems, objective)))


def _sizes(options: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes, and for losses in files one size and one work unless others are asked for."""
    found: dict[str, Any] = {}
    functions = [text for text in fields.get("objectives", ()) if is_function(text)]
    if options["size"] is not None:
        if options["rows"] is not None or options["features"] is not None:
            raise InputError("--size is rows x features; leave out --rows and --features")
        found["sizes"] = tuple(_pair(text) for text in split("--size", options["size"]))
    held = {size for size in map(fixed_size, functions) if size is not None}
    if held:
        if options["size"] or options["rows"] or options["features"] or len(held) > 1:
            raise InputError(
                f"{functions[0]} holds data of one size; define data(rows, features, seed), or give no size"
            )
        found["sizes"] = tuple(held)
    elif functions and not {"sizes", "rows", "features"} & {*found, *fields}:
        found["sizes"] = (_SIZE,)
    if functions and options["work"] is None:
        found["works"] = (_WORK,)
    return found


def _pair(text: str) -> tuple[int, int]:
    """Return a size written as rows x features, such as 1000x10."""
    rows, cross, features = text.partition("x")
    return _count("--size", rows), _count("--size", features if cross else "1")


def _plan(options: Mapping[str, Any], functions: bool) -> Plan:
    """Return how long to time, and when to stop; with functions among the cases, after the least number of launches."""
    budget = _BUDGETS[options["suite"]] if options["time_budget"] is None else options["time_budget"]
    launches, most = options["launches"], options["most"]
    most = (launches if functions else max(10, launches)) if most is None else most
    plan = Plan(launches, most, timeout_s=options["timeout"], budget_s=budget, seed=options["seed"])
    for name, value, least in (("--launches", launches, 1), ("--most", most, launches), ("--seed", options["seed"], 0)):
        if value < least:
            raise InputError(f"{name} must be at least {least}, got {value}")
    for name, value in (("--timeout", plan.timeout_s), ("--time-budget", plan.budget_s)):
        if value is not None and not 0 < value <= _MAX_SECONDS:
            raise InputError(f"{name} must be a positive number of seconds up to {_MAX_SECONDS:g}, got {value}")
    return plan


def _backends(text: str | None) -> tuple[str, ...]:
    """Return the names of the requested backends; raise InputError if one is not installed."""
    if text is None:
        return installed()
    names = tuple(split("--backends", text))
    for name in names:
        check_installed(name)
    return names


def _count(option: str, text: str) -> int:
    """Return a whole number of at least 1, written as 1000 or 1e3."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (1 <= value < 1e15 and value == int(value)):
        raise InputError(f"{option} must be whole numbers of at least 1, such as 100,1e4, got {text!r}")
    return int(value)


def _show_cases(cases: Sequence[Case], plan: Plan) -> None:
    """Print the cases and the plan."""
    terminal = console()
    titles = ("work", "rows", "features", "dtype", "objective", "backend")
    table = plain_table(*titles, right=("rows", "features"))
    for case in cases:
        spec = case.spec
        table.add_row(case.work, f"{spec.rows:,}", f"{spec.features:,}", spec.dtype, spec.objective, case.config.label)
    print_unwrapped(terminal, table)
    budget = "no limit" if plan.budget_s is None else f"{plan.budget_s:g} s"
    terminal.print(f"{len(cases)} cases, {plan.launches} to {plan.most} launches each, {budget} in all")
