"""The command line: `gdbackends compare`, `bench`, `check` and the others. Only this package prints and exits."""

from gdbackends.cli.entry import main

__all__ = ["main"]
