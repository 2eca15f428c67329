"""How the commands show things: the terminal, messages, JSON, figures, text that came from files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console


def console() -> Console:
    """Return the terminal: no markup is read from text, and no emoji."""
    return Console(markup=False, emoji=False, highlight=False)


def echo(text: str) -> None:
    """Print a message to stderr."""
    click.echo(text, err=True)


def document_text(document: Mapping[str, Any]) -> str:
    """Return one JSON document as text."""
    return json.dumps(document, allow_nan=False, indent=2) + "\n"


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document to stdout."""
    click.echo(document_text(document), nl=False)


def labels_line(labels: tuple[str, str]) -> str:
    """Say what 0 and 1 stand for."""
    return f"labels: 0 is {printable(labels[0])}, 1 is {printable(labels[1])}"


def printable(text: str, width: int = 40) -> str:
    """Return text from a file with what does not print escaped, cut to the width."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= width else safe[: width - 1] + "…"


def count_of_rows(count: int) -> str:
    """Return the count of rows in words."""
    return f"{count:,} row{'s' if count != 1 else ''}"


def format_number(value: float) -> str:
    """Return six significant digits."""
    return f"{value:.6g}"


def environment_line(environment: Mapping[str, Any], dtype: str) -> str:
    """Return the line that every result with a time carries."""
    names = {"python": "Python", "numpy": "NumPy", "jax": "JAX", "torch": "PyTorch"}
    versions = [f"{name} {environment[key]}" for key, name in names.items() if environment[key]]
    return ", ".join((*versions, f"{environment['cpu']}, {environment['cores']} cores", dtype))
