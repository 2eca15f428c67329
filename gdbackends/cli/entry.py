"""Find the command, and turn a mistake of the user into one line on stderr and exit code 2."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from io import TextIOWrapper

import click

from gdbackends.errors import InputError

_COMMANDS = {
    "bench": ("gdbackends.cli.bench_command", "Time every backend at every size: who is fastest, and by how much."),
    "check": ("gdbackends.cli.check_command", "Check a gradient of your own, and name the mistake."),
    "compare": ("gdbackends.cli.compare_command", "Fit on every backend, prove that they agree, time them."),
    "derive": ("gdbackends.cli.derive_command", "From a loss to its gradient, step by step."),
    "diff": ("gdbackends.cli.diff_command", "What changed between two files of results."),
    "doctor": ("gdbackends.cli.doctor_command", "What is installed, does it work, what to type for what is missing."),
    "export": ("gdbackends.cli.export_command", "Results as CSV, Markdown or JSON."),
    "fit": ("gdbackends.cli.fit_command", "Fit on one backend."),
    "page": ("gdbackends.cli.page_command", "Results as one HTML page: advice, charts, a table."),
    "lesson": ("gdbackends.cli.lesson_command", "Gradient descent on your own data, as a page with sliders."),
    "predict": ("gdbackends.cli.predict_command", "Predict from a saved fit."),
}


class _Commands(click.Group):
    """Commands that are imported only when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command and return it."""
        return import_module(_COMMANDS[cmd_name][0]).command if cmd_name in _COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gdbackends", prog_name="gdbackends")
def group() -> None:
    """One linear regression by hand-derived NumPy gradients, by JAX and by PyTorch: do they agree, and how fast?"""


def run() -> None:
    """Run the command line and exit: 0 fine, 1 the answer is bad, 2 bad use or input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # show characters that the terminal cannot encode as escapes
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(group.main(prog_name="gdbackends", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        _fail(error.format_message())
    except InputError as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except BrokenPipeError:  # `| head` has closed it; keep Python from flushing into it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"cannot write: {(error.strerror or str(error)).lower()}")


def _fail(text: str) -> None:
    """Print one line; unprintable characters, which names and cells of a file may hold, are escaped."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split("\n")))
    click.echo(f"gdbackends: {line}", err=True)
    sys.exit(2)
