"""The command line: `gdbackends compare`, `doctor`, `fit`. Only this package prints and exits."""

from gdbackends.cli.entry import main

__all__ = ["main"]
