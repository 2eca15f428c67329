"""The command line: `gdbackends compare`, `gdbackends fit`. Only this package prints and exits."""

from gdbackends.cli.entry import main

__all__ = ["main"]
