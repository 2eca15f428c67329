"""Options shared by several commands, and what they describe: a table to read and the settings of a fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from gdbackends.cli.console import echo, printable, silence_stderr
from gdbackends.comparison.function_problem import FunctionProblem, data_of_file, is_function, problem_from_file
from gdbackends.datasets import Dataset, synthetic, women
from gdbackends.errors import InputError
from gdbackends.objectives import LinearModel, loss_names, parse_loss
from gdbackends.reading import BUNDLED, StreamedDataset, file_source, is_large, read, stream

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_MOST_NOTE = 300
_CSV_DEFAULTS = {"delimiter": None, "decimal": ".", "header": None, "thousands": None, "encoding": "utf-8"}
_STEPS_DEFAULTS = {"encode": False, "missing": None, "dates": False}
TUNINGS_HELP = "best; idiomatic, as usually written; JAX: eager; PyTorch: functional, compiled"
TABLE_DEFAULTS = {"target": None, "features": None, "drop": None, **_CSV_DEFAULTS, **_STEPS_DEFAULTS}
"""The options of a table by their defaults."""


def with_options(*options: Decorator) -> Decorator:
    """Return a decorator that adds click options and arguments in the given order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


csv_options = with_options(
    click.option("--delimiter", help="The delimiter of CSV; ' ' is blanks, \\t a tab.  [default: detected]"),
    click.option("--decimal", default=".", show_default=True, help="The decimal mark of CSV: . or a comma."),
    click.option("--thousands", help="The mark between thousands in CSV: a comma, a point, ' ', or an apostrophe."),
    click.option("--header/--no-header", default=None, help="Whether CSV has a header.  [default: detected]"),
    click.option("--encoding", default="utf-8", show_default=True, help="The encoding of CSV, such as latin-1."),
)
table_options = with_options(
    click.option("--target", help="The column to predict.  [default: the last]"),
    click.option("--features", metavar="A,B,...", help="The columns to predict from.  [default: all others]"),
    click.option("--drop", metavar="A,B,...", help="Columns that are neither."),
    csv_options,
    click.option("--encode", is_flag=True, help="Make 0/1 columns of texts, one for each text but the first."),
    click.option(
        "--missing", type=click.Choice(["drop", "mean"]), help="Leave out rows with missing values, or use the mean."
    ),
    click.option("--dates", is_flag=True, help="Make dates days since 1970-01-01."),
    click.option("--synthetic", metavar="ROWSxFEATURES", help="Use random rows instead of a SOURCE: 10000x20."),
)
source_options = with_options(click.argument("source", required=False), table_options)
ranks_options = with_options(
    click.option("--processes", type=click.IntRange(min=1), metavar="N", help="Divide the rows among N processes."),
    click.option("--process", type=click.IntRange(min=0), metavar="K", help="The number of this process, for JAX."),
    click.option("--coordinator", metavar="HOST:PORT", help="The address of process 0, for JAX."),
    click.option(
        "--rank-timeout",
        type=click.FloatRange(min=1),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="The longest wait for another process.",
    ),
)
checkpoint_options = with_options(
    click.option("--checkpoint", metavar="FILE", help="Write the state of the fit to this file, to resume it."),
    click.option("--every", default="30s", show_default=True, metavar="TIME", help="Between two writes: 30s, 5m, 1h."),
    click.option("--resume", is_flag=True, help="Continue from the checkpoint, if it exists."),
)
fit_options = with_options(
    click.option(
        "--objective",
        default="squared",
        show_default=True,
        help=f"The loss: {', '.join(loss_names())}; huber:1.5 and quantile:0.9 take a number; or FILE.py:NAME.",
    ),
    click.option("--l2", type=float, default=0.0, show_default=True, help="The weight of the penalty on the slopes."),
    click.option("--device", help="cpu; gpu or cuda (the same), cuda:0, ... NumPy uses the CPU only.  [default: cpu]"),
    click.option("--dtype", default="float64", show_default=True, help="float64 or float32."),
    click.option(
        "--tuning",
        default="best",
        show_default=True,
        help=f"{TUNINGS_HELP}.",
    ),
    click.option("--steps", type=int, default=1000, show_default=True, help="The maximum number of steps."),
    click.option("--learning-rate", default="auto", show_default=True, help="A number, or auto."),
    click.option("--batch-size", type=int, help="The rows per step; 1 is stochastic.  [default: all rows]"),
    click.option("--seed", type=int, default=0, show_default=True, help="The seed of the order of rows."),
    click.option(
        "--tolerance",
        type=float,
        help="Stop when the norm of the gradient has fallen to this fraction of its first value; 0 takes all steps.  "
        "[default: 1e-12, float32 1e-5]",
    ),
    click.option("--no-standardize", is_flag=True, help="Descend in the original units of the features."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
)


def csv_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the CSV options as arguments of `read`."""
    delimiter = "\t" if options["delimiter"] == "\\t" else options["delimiter"]
    return {**{name: options[name] for name in _CSV_DEFAULTS}, "delimiter": delimiter}


def read_dataset(options: Mapping[str, Any], labels: bool = False) -> Dataset:
    """Return the requested table in memory."""
    data = read_table({**options, "stream": False}, labels)
    assert isinstance(data, Dataset)
    return data


def read_table(options: Mapping[str, Any], labels: bool = False) -> Dataset | StreamedDataset:
    """Return the requested table; it is streamed with --stream, or by default if it is large.

    Default choices that the user may want to change are reported on stderr.
    """
    source, target, features, csv = options["source"], options["target"], options["features"], csv_settings(options)
    steps = {name: options[name] for name in _STEPS_DEFAULTS}
    in_memory = _needs_memory(options)
    for_a_source = (target, features, options["drop"]) != (None, None, None) or in_memory or options["stream"]
    if options["synthetic"] is not None:
        if source is not None or for_a_source:
            raise InputError("--synthetic makes its own table; leave out SOURCE and its options")
        return _synthetic(options["synthetic"])
    if source is None:
        if for_a_source:
            raise InputError("the options of a table need a SOURCE; name a file")
        return women()
    names = split("--features", features) if isinstance(features, str) else features
    columns: dict[str, Any] = {
        "target": target,
        "features": names,
        "drop": () if options["drop"] is None else split("--drop", options["drop"]),
        "labels": labels,
    }
    streamable = options["stream"] is not False and not in_memory and source not in ("-", *BUNDLED)
    if options["stream"] and not streamable:
        raise InputError(
            "--stream works with NPY and Parquet files only, and without options of CSV and steps; leave it out"
        )
    with silence_stderr():
        if streamable and (options["stream"] or is_large(source)):
            data = stream(source, **columns)
        else:
            data = read(source, **columns, **csv, **steps)
    for note in data.notes:
        echo(printable(note, _MOST_NOTE))
    if all(re.fullmatch(r"c\d+", name) for name in (*data.names, data.target)):
        echo("the columns are called c1, c2, ...; if the first line of a CSV file is a header, use --header")
    if target is None and source not in BUNDLED:
        echo(f"predicting {data.target!r}, the last column; choose another with --target")
    return data


def _needs_memory(options: Mapping[str, Any]) -> bool:
    """Return whether an option of CSV, or a named step, is given, for which the table is read as a whole."""
    steps = {name: options[name] for name in _STEPS_DEFAULTS}
    return (csv_settings(options), steps) != (_CSV_DEFAULTS, _STEPS_DEFAULTS)


def can_stream(options: Mapping[str, Any]) -> bool:
    """Return whether the rows of SOURCE can be read from disk one part at a time: NPY and Parquet."""
    source = options["source"]
    if source is None or source in ("-", *BUNDLED) or _needs_memory(options):
        return False
    try:
        return file_source(Path(source)).format in ("npy", "parquet")
    except OSError:  # which `read` reports
        return False


def _synthetic(size: str) -> Dataset:
    """Return random rows, with a size such as "10000x20"."""
    return synthetic(*_size(size))


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,18})x(\d{1,18})", text)
    if match is None:
        raise InputError(f"--synthetic must be rows x features, such as 10000x20, got {text!r}")
    return int(match[1]), int(match[2])


def split(option: str, text: str) -> list[str]:
    """Return the names in a comma-separated list."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"{option} must be names separated by commas, got {text!r}")
    return names


def problem_maker(options: Mapping[str, Any]) -> partial[FunctionProblem] | None:
    """Return a picklable function that returns the problem of a loss in a file; None for a bundled loss.

    The data are those of SOURCE, or else those of the file, of the size of --synthetic if it makes data of any size; or
    else the bundled table.
    """
    text, seed = options["objective"], options["seed"]
    if not is_function(text):
        return None
    if options["l2"]:
        raise InputError("--l2 is a penalty on the slopes of a linear model; add a penalty to the loss")
    size, held = options["synthetic"], data_of_file(text)
    if options["source"] is None and held == "function":
        rows, features = _size(size or "1000x10")
        return partial(problem_from_file, text, rows, features, seed)
    if options["source"] is None and held == "tuple" and size is None:
        return partial(problem_from_file, text, 0, 0, seed)
    table = read_dataset(options)
    return partial(problem_from_file, text, *table.X.shape, seed, (table.X, table.y))


def needs_labels(options: Mapping[str, Any]) -> bool:
    """Return whether the loss needs a target of two labels."""
    return not is_function(options["objective"]) and parse_loss(options["objective"]).target == "label"


def fit_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fit options as keyword arguments of `compare`."""
    names = ("device", "dtype", "tuning", "steps", "batch_size", "seed", "tolerance")
    rate = options["learning_rate"]
    try:
        rate = rate if rate == "auto" else float(rate)
    except ValueError:
        raise InputError(f"--learning-rate must be a number or auto, got {rate!r}") from None
    text = options["objective"]
    loss = None if is_function(text) else LinearModel(row_loss=parse_loss(text), l2=options["l2"])
    return {
        **({"objective": loss} if loss else {}),
        "learning_rate": rate,
        "standardize": not options["no_standardize"],
    } | {name: options[name] for name in names}


def checkpoint_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a checkpoint as keyword arguments of `fit`."""
    if options["resume"] and options["checkpoint"] is None:
        raise InputError("--resume needs the file to continue from; add --checkpoint FILE")
    match = re.fullmatch(r"(\d+\.?\d*)\s*([smh]?)", options["every"])
    if match is None:
        raise InputError(f"--every must be a time such as 30, 30s, 5m or 1h, got {options['every']!r}")
    seconds = float(match[1]) * {"m": 60, "h": 3600}.get(match[2], 1)
    return {"checkpoint": options["checkpoint"], "every": seconds, "resume": options["resume"]}


def fraction(option: str, text: str) -> float:
    """Return a fraction written as 10% or 0.1."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf") or (value >= 1 and not text.endswith("%")):
        raise InputError(f"{option} must be a fraction such as 10% or 0.1, got {text!r}")
    return value
