"""The SOURCE of a command: its options, and the table that they ask for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from gdbackends.cli.console import echo
from gdbackends.datasets import Dataset, synthetic, women
from gdbackends.errors import InputError
from gdbackends.reading import BUNDLED, StreamedDataset, is_large, read, stream

_COLUMNS = [
    click.option("--target", help="The column to predict.  [default: the last]"),
    click.option("--features", metavar="A,B,...", help="The columns to predict from.  [default: all others]"),
]
_MARKS = [
    click.option(
        "--delimiter", help="Between the cells of CSV; ' ' is blanks, \\t a tab.  [default: told from line 1]"
    ),
    click.option("--decimal", default=".", show_default=True, help="The decimal mark of CSV: . or a comma."),
    click.option("--header/--no-header", default=None, help="Whether CSV has a header.  [default: told from line 1]"),
]
_SYNTHETIC = click.option("--synthetic", metavar="ROWSxFEATURES", help="Random rows instead of a SOURCE: 10000x20.")
_PLAIN = {"delimiter": None, "decimal": ".", "header": None}


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add SOURCE, and the options that say what to take of it and how it is written."""
    return click.argument("source", required=False)(table_options(command))


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what to take of a source and how it is written, or to do without one."""
    for option in reversed([*_COLUMNS, *_MARKS, _SYNTHETIC]):
        command = option(command)
    return command


def mark_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a source is written."""
    for option in reversed(_MARKS):
        command = option(command)
    return command


def marks(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the source is written, as `read` takes it."""
    delimiter = "\t" if options["delimiter"] == "\\t" else options["delimiter"]
    return {"delimiter": delimiter, "decimal": options["decimal"], "header": options["header"]}


def dataset(options: Mapping[str, Any], labels: bool = False) -> Dataset:
    """Return the table that was asked for, in memory; say on stderr which column is predicted if nobody chose."""
    data = table({**options, "stream": False}, labels)
    assert isinstance(data, Dataset)
    return data


def table(options: Mapping[str, Any], labels: bool = False) -> Dataset | StreamedDataset:
    """Return the table that was asked for; in its file, if --stream asks for that, or it is large and nothing does."""
    source, target, features, given = options["source"], options["target"], options["features"], marks(options)
    chosen = (target, features, *given.values()) != (None, None, None, ".", None)
    if options["synthetic"] is not None:
        if source is not None or chosen or options["stream"]:
            raise InputError("--synthetic makes its own table; leave out SOURCE and the options that read one")
        return _synthetic(options["synthetic"])
    if source is None:
        if chosen or options["stream"]:
            raise InputError(
                "--target and --features choose columns of a SOURCE, --delimiter, --decimal, --header and --stream "
                "read one, and none was given; name a file"
            )
        return women()
    names = None if features is None else split("--features", features)
    streamed = options["stream"] is not False and given == _PLAIN and source not in ("-", *BUNDLED)
    if options["stream"] and not streamed:
        raise InputError("--stream reads NPY and Parquet files row by row, and no other SOURCE; leave it out")
    with unheard():
        if streamed and (options["stream"] or is_large(source)):
            data = stream(source, target=target, features=names, labels=labels)
        else:
            data = read(source, target=target, features=names, labels=labels, **given)
    if header_is_missing(data):
        echo("line 1 is data, so the columns are c1, c2, ...; if it is a header say --header")
    if target is None and source not in BUNDLED:
        echo(f"predicting {data.target!r}, the last column; choose another with --target")
    return data


def header_is_missing(data: Dataset | StreamedDataset) -> bool:
    """Say whether every column is named by its position."""
    return all(re.fullmatch(r"c\d+", name) for name in (*data.names, data.target))


@contextmanager
def unheard() -> Generator[None]:
    """Send to nowhere what is written to stderr: polars prints pages before its error on a damaged Parquet file."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
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


def split(option: str, text: str) -> list[str]:
    """Return the names in a comma-separated list."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"{option} must be names separated by commas, got {text!r}")
    return names
