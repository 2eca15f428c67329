"""`gdbackends bench`: which backend is fastest on this machine, for which problem, and by how much."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gdbackends.backends import TUNINGS, check_installed, installed
from gdbackends.benchmarking.bench import Plan, Side, begin, bench_sides
from gdbackends.benchmarking.case import SUITES, WORKS, Case
from gdbackends.benchmarking.checkouts import checkout, described
from gdbackends.benchmarking.result_rows import result_rows
from gdbackends.benchmarking.results import BAD, ResultsFile
from gdbackends.cli.console import console, echo, plain_table, print_unwrapped
from gdbackends.cli.diff_command import show_changes
from gdbackends.cli.options import TUNINGS_HELP, fraction, split, with_options
from gdbackends.cli.result_table import WIDE, show_results
from gdbackends.comparison.function_problem import fixed_size, is_function
from gdbackends.errors import InputError
from gdbackends.measurement.environment import affinity, load
from gdbackends.measurement.timing import now
from gdbackends.problems import PROBLEMS, parse_problem

_MAX_SECONDS = 1e6
_MOST = 100
_CASE_S = 3.0
_GIGABYTE_S = 60.0
_LEAST_BUDGET = 30.0
"""Seconds of the default budget: for each case, for each gigabyte of data that a case reads, and at least."""
_SIZE = 1000, 10
_WORK = "value_and_gradient"
_OPTIONS = with_options(
    click.option("--suite", default="quick", show_default=True, help="quick (16 cases per backend) or full (152)."),
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
        help="The maximum of launches per case.  [default: as the budget allows; losses in files: --launches]",
    ),
    click.option("--timeout", type=float, default=60.0, show_default=True, help="Time limit of a case in seconds."),
    click.option(
        "--budget",
        "--time-budget",
        type=float,
        help="Time limit in seconds.  [default: by the cases; about 3 minutes for the quick suite]",
    ),
    click.option(
        "--precision",
        default="3%",
        show_default=True,
        help="Stop timing when the 99 % interval of each ratio to the fastest backend is as narrow as this.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the data and of the order."),
    click.option("--out", default="bench.jsonl", show_default=True, help="The file to append results to."),
    click.option("--resume", is_flag=True, help="Continue the file without repeating the results in it."),
    click.option(
        "--against", metavar="PATH|REV", help="Time another checkout, or a revision of this one, in turn; then diff."
    ),
    click.option(
        "--fail-above", default="10%", show_default=True, help="With --against: the slowdown that is a regression."
    ),
    click.option("--strict", is_flag=True, help="With --against: exit with 3 if the noise may hide a regression."),
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

    With --against, another version is timed in turn with this one, slice by slice, and its results are written beside
    those of this one, to OUT with ".against" before its suffix. Then the changes are printed as `gdbackends diff` does.

    Exit code: 0 success; 1 a backend disagrees, returns before its result is ready, timed out, or crashed, or with
    --against a regression; 2 invalid usage or input; 3 the budget ended before every case was reached, or --strict;
    130 interrupted.
    """
    with redirect_stdout(sys.stderr):  # what a file prints does not belong to the result
        cases = _cases(options)
    plan = _plan(options, cases)
    if options["dry_run"]:
        _show_cases(cases, plan)
        return
    threshold = fraction("--fail-above", options["fail_above"])
    with ExitStack() as stack:
        sides, run = _sides(options, plan, cases, stack)
        _say_if_busy()
        new, interrupted = sides[0].file.results, False
        try:
            with _progress() as report:
                bench_sides(cases, sides, plan, run, report)
        except KeyboardInterrupt:
            interrupted = True
        planned = set(cases)
        rows = [row for row in result_rows(new) if row.case in planned]
        show_results(rows, new, wide=options["wide"])
        changed = 0
        if len(sides) > 1:
            changed = show_changes(sides[1].file.results, new, threshold, strict=options["strict"])
    if interrupted:
        echo(f"gdbackends: interrupted; the same command with --resume continues {options['out']}")
        ctx.exit(130)
    statuses = {row.status for row in rows}
    ctx.exit(1 if statuses & set(BAD) or changed == 1 else 3 if changed == 3 or "not reached" in statuses else 0)


def _sides(options: Mapping[str, Any], plan: Plan, cases: Sequence[Case], stack: ExitStack) -> tuple[list[Side], str]:
    """Open the files of results, and return the versions that take part, this one first, and the name of the run."""
    out, resume, against = options["out"], options["resume"], options["against"]
    if against is None:
        file = stack.enter_context(ResultsFile(out, resume=resume))
        return [Side(file)], begin(file, plan, cases)
    other = stack.enter_context(checkout(against))
    made_with = described(other, against)
    file = stack.enter_context(ResultsFile(out, resume=resume))
    second = stack.enter_context(ResultsFile(str(_beside(Path(out))), resume=resume))
    run = begin(file, plan, cases, name=f"{now()} {os.getpid()}")
    begin(second, plan, cases, name=run, made_with=made_with)
    return [Side(file), Side(second, other)], run


def _say_if_busy() -> None:
    """Warn before the first launch, in a terminal; the load is in the results, and the table says it too."""
    busy, cores = load(), len(affinity())
    if sys.stderr.isatty() and busy > cores + 1:
        echo(f"gdbackends: the machine is busy (load {busy:.1f} on {cores} cores), so that intervals will be wide")


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.against{path.suffix}")


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
    if {"rows", "features"} & fields.keys():
        fields["sizes"] = ()  # in the place of those of the suite
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


def _plan(options: Mapping[str, Any], cases: Sequence[Case]) -> Plan:
    """Return how long to time, and when to stop; with functions among the cases, after the least number of launches."""
    functions = any(case.spec.is_function for case in cases)
    launches, most, budget = options["launches"], options["most"], options["budget"]
    most = (launches if functions else max(_MOST, launches)) if most is None else most
    budget = _budget(cases) * (1 if options["against"] is None else 2) if budget is None else budget
    precision = fraction("--precision", options["precision"])
    plan = Plan(launches, most, precision, timeout_s=options["timeout"], budget_s=budget, seed=options["seed"])
    for name, value, least in (("--launches", launches, 1), ("--most", most, launches), ("--seed", options["seed"], 0)):
        if value < least:
            raise InputError(f"{name} must be at least {least}, got {value}")
    for name, value in (("--timeout", plan.timeout_s), ("--budget", budget)):
        if not 0 < value <= _MAX_SECONDS:
            raise InputError(f"{name} must be a positive number of seconds up to {_MAX_SECONDS:g}, got {value}")
    return plan


def _budget(cases: Sequence[Case]) -> float:
    """Return the default budget in seconds: for about ten launches of small problems, and five of large ones."""
    large = sum(case.spec.bytes * (20 if case.work == "fit" else 1) for case in cases) / 1e9
    return float(round(max(_LEAST_BUDGET, _CASE_S * len(cases) + _GIGABYTE_S * large)))


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
    terminal.print(f"{len(cases)} cases, {plan.launches} to {plan.most} launches each, {plan.budget_s:g} s in all")
