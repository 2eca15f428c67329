"""The command line: `gdbackends compare`, `check`, `doctor`, `fit`, `predict`. Only this package prints and exits."""

from gdbackends.cli.entry import main

__all__ = ["main"]
