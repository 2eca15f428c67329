"""Terminal output of the commands: messages, tables, JSON, numbers, and text from files."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def console() -> Console:
    """Return a console for stdout that interprets neither markup nor emoji codes."""
    nothing = os.environ.get("COLUMNS", "").strip() == "0"  # some programs set it where there is no terminal
    return Console(markup=False, emoji=False, highlight=False, width=80 if nothing else None)


def width_to_fit(terminal: Console) -> int | None:
    """Return the columns of the terminal, or of the variable COLUMNS; None if stdout is neither, such as a pipe."""
    limited = terminal.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return terminal.width or None if limited else None


def plain_table(*titles: str, right: Collection[str] = (), gap: int = 3) -> Table:
    """Return a table without borders; `right` contains the titles of the right-aligned columns."""
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=any(titles))
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left")
    return table


def print_unwrapped(terminal: Console, table: Table) -> None:
    """Print a table at its full width even if the terminal is narrower, so that no figure is cut off."""
    width = Measurement.get(terminal, terminal.options.update(max_width=1000), table).maximum
    terminal.width = max(terminal.width, width)
    terminal.print(table)


def echo(text: str) -> None:
    """Print a message to stderr."""
    click.echo(text, err=True)


@contextmanager
def silence_stderr() -> Generator[None]:
    """Discard all output to file descriptor 2: polars prints a long report before its error on damaged Parquet."""
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def json_text(document: Mapping[str, Any]) -> str:
    """Return a document as JSON text."""
    return json.dumps(document, allow_nan=False, indent=2) + "\n"


def print_json(document: Mapping[str, Any]) -> None:
    """Print a document as JSON to stdout."""
    click.echo(json_text(document), nl=False)


def labels_line(labels: tuple[str, str]) -> str:
    """Return the line that explains the labels 0 and 1."""
    return f"labels: 0 is {printable(labels[0])}, 1 is {printable(labels[1])}"


def printable(text: str, width: int = 40) -> str:
    """Return text from a file with unprintable characters escaped, truncated to the width."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return escaped if len(escaped) <= width else escaped[: width - 1] + "…"


def count_of_rows(count: int) -> str:
    """Return the number of rows as text."""
    return f"{count:,} row{'s' if count != 1 else ''}"


def format_number(value: float) -> str:
    """Return a number with six significant digits."""
    return f"{value:.6g}"


def environment_line(environment: Mapping[str, Any], detail: str) -> str:
    """Return the line of versions, processor and a further detail that accompanies every reported time."""
    names = {"python": "Python", "numpy": "NumPy", "jax": "JAX", "torch": "PyTorch"}
    versions = [f"{name} {environment[key]}" for key, name in names.items() if environment[key]]
    return ", ".join((*versions, f"{environment['cpu']}, {environment['cores']} cores", detail))
