"""`gdbackends fit`: a fit on one backend."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from gdbackends.backends import Backend, capabilities, get_backend
from gdbackends.cli.console import (
    console,
    count_of_rows,
    echo,
    environment_line,
    format_number,
    json_text,
    labels_line,
    plain_table,
    printable,
)
from gdbackends.cli.options import (
    can_stream,
    checkpoint_options,
    checkpoint_settings,
    fit_options,
    fit_settings,
    needs_labels,
    problem_maker,
    ranks_options,
    read_table,
    source_options,
)
from gdbackends.cli.output import check_output, predictions_csv, same_file, write_atomically
from gdbackends.cli.rank_process import ending, quiet_unless_first, ranks_of
from gdbackends.comparison.function_comparison import Make
from gdbackends.comparison.function_problem import is_function, on_backend
from gdbackends.datasets import Dataset
from gdbackends.descent import Check, Fit, ProblemOptions, Stop, fit, fit_prepared
from gdbackends.errors import InputError
from gdbackends.launchers import place
from gdbackends.measurement.environment import environment
from gdbackends.measurement.formatting import jsonable
from gdbackends.measurement.rank_launcher import RankError, launch
from gdbackends.objectives import format_loss
from gdbackends.preparation import NOTHING, Preparation
from gdbackends.ranks import Ranks, all_or_none, check_same, own_rows, shared
from gdbackends.reading import StreamedDataset, is_large_table

_MOST_COEFFICIENTS = 100


@dataclass(frozen=True)
class Fitted:
    """What is fitted: its name, size and columns; a loss function has names of parameters, and no target."""

    name: str
    rows: int
    names: tuple[str, ...]
    target: str
    preparation: Preparation = NOTHING


@click.command("fit")
@source_options
@fit_options
@click.option("--backend", default="numpy", show_default=True, help="numpy, jax, torch or module:name.")
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Read NPY or Parquet from disk at every step.  [default: if it would fill an eighth of the memory]",
)
@ranks_options
@checkpoint_options
@click.option("--holdout", type=float, metavar="FRACTION", help="Keep these rows from the fit, and score it on them.")
@click.option("--save", metavar="FILE", help="Write the fit to a JSON file for `gdbackends predict`.")
@click.option("--predict", metavar="FILE", help="Write the predictions for SOURCE to a CSV file.")
@click.pass_context
def command(ctx: click.Context, **options: Any) -> None:
    """Fit SOURCE on one backend.

    SOURCE is a file, - for standard input, women (the default) or diabetes. A loss of your own is --objective
    FILE.py:NAME, as for `gdbackends compare`.

    With --checkpoint FILE --resume, the same command continues where it was killed.

    Several processes divide the rows: --processes N starts them on this machine, and torchrun, mpiexec and srun on
    many. Each reads its own rows of NPY and Parquet; the first one prints and saves.

    Exit code: 0 success; 1 the fit diverged; 2 invalid usage or input.
    """
    _check_outputs(options)
    settings = fit_settings(options)
    checkpoint_settings(options)
    if (processes := _to_start(options)) is not None:
        again = f"; continue with --checkpoint {options['checkpoint']} --resume" if options["checkpoint"] else ""
        try:
            done = launch(options["backend"], processes, sys.argv[1:], again)
        except RankError as error:  # perhaps of a file that could not be written after the result was shown
            click.echo(error.out, nl=False)
            raise
        click.echo(done.err, nl=False, err=True)
        click.echo(done.out, nl=False)
        ctx.exit(done.code)
    ranks = ranks_of(options, options["backend"])
    with ending(None if ranks is None else ranks.rank), quiet_unless_first(ranks):
        code = _fit(settings, options, ranks)
    ctx.exit(code)


def _check_outputs(options: Mapping[str, Any]) -> None:
    """Refuse output files that are inputs, cannot be written, or are one file."""
    given = [name for name in ("save", "predict", "checkpoint") if options[name] is not None]
    for name in given:
        check_output(f"--{name}", options[name], options["source"])
    for first, second in combinations(given, 2):
        if same_file(options[first], options[second]):
            raise InputError(
                f"--{first} and --{second} must be different files, got {options[first]} for both; give two names"
            )
    if options["checkpoint"] and Path(options["checkpoint"]).exists() and not options["resume"]:
        raise InputError(f"--checkpoint {options['checkpoint']} exists; add --resume, or give another file")


def _to_start(options: Mapping[str, Any]) -> int | None:
    """Return the number of processes to start; None if this process makes the fit, or is one of them."""
    processes = options["processes"]
    if processes is None and options["coordinator"] is None and place() is None:
        return None
    for name in ("predict", "holdout"):
        if options[name] is not None:
            raise InputError(f"--{name} needs all rows in one process; save the fit, and leave --{name} out")
    if options["source"] == "-":
        raise InputError("several processes cannot share standard input; name a file")
    if is_function(options["objective"]):
        raise InputError(f"several processes need a bundled loss, got {options['objective']}; leave --processes out")
    one_of_them = options["process"] is not None or options["coordinator"] is not None or place() is not None
    return None if one_of_them or processes == 1 else processes


def _fit(settings: dict[str, Any], options: Mapping[str, Any], ranks: Ranks | None) -> int:
    """Fit, show and write what was asked for, and return the exit code."""
    backend = _backend(settings, options, ranks)
    with redirect_stdout(sys.stderr):  # what a file prints does not belong to the result
        make = problem_maker(options)
    if make is not None:
        return _fit_function(make, backend, settings, options)
    data = _read(options, ranks)
    if options["predict"] is not None and isinstance(data, StreamedDataset):
        raise InputError("--predict needs SOURCE in memory, but it is streamed; use --save or --no-stream")
    kept = checkpoint_settings(options)
    if kept["resume"] and not Path(kept["checkpoint"]).exists():
        echo(f"{printable(kept['checkpoint'])} does not exist yet; starting from the beginning")
    table, held_out = data, None
    if options["holdout"] is not None:
        data, held_out = _split(data, options["holdout"], options["seed"])
    with _progress(0 if ranks else settings["steps"]) as on_check:
        fitted = fit(data.X, data.y, backend=backend, on_check=on_check, ranks=ranks, **kept, **settings)
    fitted = replace(fitted, labels=data.labels or fitted.labels, names=data.names)
    positive = float(table.y.max()) if isinstance(table, Dataset) else 1.0  # the greater of two labels
    quality = {"fitted rows": {} if ranks else _quality(fitted, data, positive)}
    quality |= {} if held_out is None else {"held-out rows": _quality(fitted, held_out, positive)}
    rows = data.y.size if ranks is None else shared(ranks, data.y.size).rows
    described = Fitted(data.name, rows, data.names, data.target, data.preparation)
    if ranks is not None and ranks.rank > 0:
        return 1 if fitted.stop is Stop.DIVERGED else 0
    document = _document(described, fitted, backend, quality)
    if options["as_json"]:
        click.echo(document, nl=False)
    else:
        _show(described, fitted, f"{backend.name} on {backend.device}", backend.dtype, quality)
    if options["save"] is not None:  # after the result is shown, which a full disk would otherwise lose
        write_atomically(options["save"], document)
    if options["predict"] is not None and isinstance(table, Dataset):
        write_atomically(options["predict"], predictions_csv(fitted, table.X))
    return 1 if fitted.stop is Stop.DIVERGED else 0


def _backend(settings: dict[str, Any], options: Mapping[str, Any], ranks: Ranks | None) -> Backend:
    """Return the backend asked for, whose settings are taken out; a process takes the GPU of its own."""
    device, dtype, tuning = (settings.pop(name) for name in ("device", "dtype", "tuning"))
    if options["backend"] == "numpy" and device not in (None, "cpu"):
        device = None
        echo("numpy stays on the CPU")
    at = place()
    if ranks is not None and at is not None and options["backend"] == "torch" and device in ("gpu", "cuda"):
        device = f"cuda:{at.local_rank}"
    return get_backend(options["backend"], device, dtype, tuning)


def _read(options: Mapping[str, Any], ranks: Ranks | None) -> Dataset | StreamedDataset:
    """Return the table, or the rows of this process; of NPY and Parquet no others are read."""
    labels = needs_labels(options)
    if ranks is None:
        return read_table(options, labels=labels)
    with all_or_none(ranks):
        data = read_table({**options, "stream": can_stream(options)}, labels=labels)
    check_same(ranks, {"table": (data.name, data.y.size, data.names, data.target)})
    if data.y.size < ranks.size:
        raise InputError(f"{data.y.size} rows cannot be divided among {ranks.size} processes; use fewer")
    rows = own_rows(data.y.size, ranks)
    if isinstance(data, Dataset):
        return replace(data, X=data.X[rows], y=data.y[rows])
    part = data.X.part(rows)
    streamed = options["stream"] or (options["stream"] is None and is_large_table(part.size))
    part = replace(part, in_memory=not streamed)
    return replace(data, X=part, y=part.targets)


def _fit_function(make: Make, backend: Backend, settings: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """Fit a loss of a file, show the fit, and return the exit code."""
    for name in ("predict", "holdout", "stream", "checkpoint"):
        if options[name]:
            raise InputError(f"--{name} needs a bundled loss, got {options['objective']}; leave it out")
    order = ProblemOptions(settings["batch_size"], False, settings["seed"])
    with redirect_stdout(sys.stderr):
        whole = make().in_dtype(backend.dtype)
        order.check((whole.rows, 1))
        if backend.name == "numpy" and not whole.by_hand:
            raise InputError(f"{whole.name} has no gradient by hand, which NumPy needs; give --backend jax or torch")
        with capabilities(backend).default_dtype(), _progress(settings["steps"]) as on_check:
            found = on_backend(whole, backend)
            problem = replace(found.problem, **order.order)
            how = settings["learning_rate"], settings["steps"], settings["tolerance"]
            fitted = replace(fit_prepared(problem, *how, on_check=on_check), plan=found.plan)
    data = Fitted(whole.name, whole.rows, tuple(whole.names), "")
    document = _document(data, fitted, backend, {})
    if options["as_json"]:
        click.echo(document, nl=False)
    else:
        _show(data, fitted, f"{backend.name} on {backend.device}", backend.dtype, {})
    if options["save"] is not None:
        write_atomically(options["save"], document)
    return 1 if fitted.stop is Stop.DIVERGED else 0


def _split(data: Dataset | StreamedDataset, holdout: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return the rows to fit and those held out, drawn at random."""
    if isinstance(data, StreamedDataset):
        raise InputError("--holdout needs SOURCE in memory, but it is streamed; use --no-stream")
    count = round(holdout * data.y.size) if 0 < holdout < 1 else 0
    if not 0 < count < data.y.size:
        raise InputError(f"--holdout must leave rows on both sides of {data.y.size:,}, got {holdout}; try 0.2")
    order = np.random.default_rng(seed).permutation(data.y.size)
    parts = (np.sort(order[count:]), np.sort(order[:count]))
    fitted, held_out = (replace(data, X=data.X[rows], y=data.y[rows]) for rows in parts)
    return fitted, held_out


def _quality(fitted: Fit, data: Dataset | StreamedDataset, positive: float) -> dict[str, float]:
    """Return how well the predictions meet the target: R^2 and the root mean squared error, or the accuracy of labels.

    R^2 is 1 - mean(residual^2) / var(y); it is left out where the target does not vary.
    """
    target = None if fitted.row_loss is None else fitted.row_loss.target
    if isinstance(data, StreamedDataset) or fitted.stop is Stop.DIVERGED or target not in ("real", "label"):
        return {}
    predicted = fitted.predict(data.X).astype(np.float64)
    if target == "label":
        return {"accuracy": float(((predicted > 0.5) == (data.y == positive)).mean())}
    squares, variance = float(np.square(data.y - predicted).mean()), float(data.y.var())
    return ({"R2": 1 - squares / variance} if variance else {}) | {"RMSE": squares**0.5}


def _document(data: Fitted, fitted: Fit, backend: Backend, quality: Mapping[str, dict[str, float]]) -> str:
    """Return a fit as JSON text."""
    table = {"name": data.name, "rows": data.rows, "features": list(data.names), "target": data.target}
    config = {"backend": backend.name, "device": backend.device, "dtype": backend.dtype, "dataset": table}
    made: dict[str, Any] = {
        "quality": {rows.replace(" ", "_").replace("-", "_"): numbers for rows, numbers in quality.items()}
    }
    made |= {"preparation": data.preparation.to_dict()} if data.preparation else {}
    fit = fitted.to_dict(data.names)
    return json_text(jsonable({"schema": 1} | config | fit | made | {"environment": environment()}))


@contextmanager
def _progress(steps: int) -> Generator[Callable[[Check], None] | None]:
    """Yield a callback that updates a progress bar on stderr, or None if stderr is not a terminal, or for 0 steps."""
    if not steps or sys.stderr is None or not sys.stderr.isatty():  # None if it is closed
        yield None
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("steps", total=steps)
        yield lambda check: progress.update(bar, completed=check.step)


def _show(data: Fitted, fitted: Fit, where: str, dtype: str, quality: Mapping[str, dict[str, float]]) -> None:
    terminal, table = console(), plain_table()
    size = count_of_rows(data.rows)
    predicting = f", predicting {printable(data.target)}" if data.target else ""
    terminal.print(f"{printable(data.name)}: {size}{predicting}, {where}")
    shown = zip(data.names[:_MOST_COEFFICIENTS], fitted.theta, strict=False)
    lines = [(printable(name), format_number(value)) for name, value in shown]
    left_out = len(data.names) - len(lines)
    lines += [(f"{left_out:,} more", "(--json or --save)")] if left_out else []
    loss = "loss" if fitted.row_loss is None else f"{format_loss(fitted.row_loss)} loss"
    lines += [("intercept", format_number(fitted.intercept))] if data.target else []
    lines += [(loss, format_number(fitted.loss))]
    lines += [("steps", f"{fitted.steps:,}"), ("learning rate", format_number(fitted.learning_rate))]
    lines += [("plan", fitted.plan)] if fitted.plan else []
    for rows, numbers in quality.items():
        lines += [(name if len(quality) == 1 else f"{name}, {rows}", format_number(x)) for name, x in numbers.items()]
    for line in lines:
        table.add_row(*map(Text, line))
    terminal.print(table)
    if fitted.labels is not None:
        terminal.print(labels_line(fitted.labels))
    terminal.print(fitted.message)
    terminal.print(environment_line(environment(), dtype), style="dim")
