"""What the commands share: the source, the options of a fit, and how text is shown."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console

from gdbackends.datasets import Dataset, synthetic, women
from gdbackends.errors import InputError
from gdbackends.reading import BUNDLED, read

_OPTIONS = [
    click.argument("source", required=False),
    click.option("--target", help="The column to predict.  [default: the last]"),
    click.option("--features", metavar="A,B,...", help="The columns to predict from.  [default: all others]"),
    click.option(
        "--delimiter", help="Between the cells of CSV; ' ' is blanks, \\t a tab.  [default: told from line 1]"
    ),
    click.option("--decimal", default=".", show_default=True, help="The decimal mark of CSV: . or a comma."),
    click.option("--header/--no-header", default=None, help="Whether CSV has a header.  [default: told from line 1]"),
    click.option("--synthetic", metavar="ROWSxFEATURES", help="Random rows instead of a SOURCE: 10000x20."),
    click.option("--device", help="cpu; gpu (JAX), cuda or cuda:0 (both). NumPy stays on the CPU.  [default: cpu]"),
    click.option("--dtype", default="float64", show_default=True, help="float64 or float32."),
    click.option("--steps", type=int, default=1000, show_default=True, help="The most steps to make."),
    click.option("--learning-rate", default="auto", show_default=True, help="A number, or auto."),
    click.option("--batch-size", type=int, help="Rows a step; 1 is stochastic.  [default: all rows]"),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the order of rows."),
    click.option(
        "--tolerance",
        type=float,
        help="Stop when the gradient has fallen to this part of its first norm; 0 makes all steps.  [default: 1e-12, "
        "float32 1e-5]",
    ),
    click.option("--no-standardize", is_flag=True, help="Descend in the features' own units."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
]


def fit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add SOURCE and the options of a fit."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def dataset(options: Mapping[str, Any]) -> Dataset:
    """Return the table that was asked for; say on stderr which column is predicted if nobody chose."""
    source, target, features = options["source"], options["target"], options["features"]
    marks = {"delimiter": options["delimiter"], "decimal": options["decimal"], "header": options["header"]}
    marks["delimiter"] = "\t" if marks["delimiter"] == "\\t" else marks["delimiter"]
    if options["synthetic"] is not None:
        if (source, target, features, *marks.values()) != (None, None, None, None, ".", None):
            raise InputError("--synthetic makes its own table; leave out SOURCE and the options that read one")
        return _synthetic(options["synthetic"])
    if source is None:
        if (target, features, *marks.values()) != (None, None, None, ".", None):
            raise InputError(
                "--target and --features choose columns of a SOURCE, --delimiter, --decimal and --header read one, "
                "and none was given; name a file"
            )
        return women()
    names = None if features is None else split("--features", features)
    with _unheard():
        data = read(source, target=target, features=names, **marks)
    if target is None and source not in BUNDLED:
        echo(f"predicting {data.target!r}, the last column; choose another with --target")
    return data


@contextmanager
def _unheard() -> Generator[None]:
    """Send to nowhere what is written to stderr: polars prints pages before its error on a damaged Parquet file."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _synthetic(size: str) -> Dataset:
    """Return random rows: as many, and features, as `size` says."""
    found = re.fullmatch(r"(\d{1,18})x(\d{1,18})", size)
    if found is None:
        raise InputError(f"--synthetic must be rows x features, such as 10000x20, got {size!r}")
    return synthetic(int(found[1]), int(found[2]))


def fit_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a fit from the options."""
    names = ("device", "dtype", "steps", "batch_size", "seed", "tolerance")
    rate = options["learning_rate"]
    try:
        rate = rate if rate == "auto" else float(rate)
    except ValueError:
        raise InputError(f"--learning-rate must be a number or auto, got {rate!r}") from None
    return {"learning_rate": rate, "standardize": not options["no_standardize"]} | {
        name: options[name] for name in names
    }


def split(option: str, text: str) -> list[str]:
    """Return the names in a comma-separated list."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"{option} must be names separated by commas, got {text!r}")
    return names


def console() -> Console:
    """Return the terminal: no markup is read from text, and no emoji."""
    return Console(markup=False, emoji=False, highlight=False)


def echo(text: str) -> None:
    """Print a message to stderr."""
    click.echo(text, err=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document to stdout."""
    click.echo(json.dumps(document, allow_nan=False, indent=2))


def printable(text: str, width: int = 40) -> str:
    """Return text from a file with what does not print escaped, cut to the width."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= width else safe[: width - 1] + "…"


def rows(count: int) -> str:
    """Return the count of rows in words."""
    return f"{count:,} row{'s' if count != 1 else ''}"


def number(value: float) -> str:
    """Return six significant digits."""
    return f"{value:.6g}"


def duration(seconds: float | None) -> str:
    """Return a time with its unit and three digits."""
    if seconds is None:
        return "-"
    scale, unit = next(((s, u) for s, u in ((1, "s"), (1e-3, "ms"), (1e-6, "us")) if seconds >= s), (1e-9, "ns"))
    return f"{seconds / scale:.3g} {unit}"


def environment_line(environment: Mapping[str, Any], dtype: str) -> str:
    """Return the line that every result with a time carries."""
    names = {"python": "Python", "numpy": "NumPy", "jax": "JAX", "torch": "PyTorch"}
    versions = [f"{name} {environment[key]}" for key, name in names.items() if environment[key]]
    return ", ".join((*versions, f"{environment['cpu']}, {environment['cores']} cores", dtype))
