"""Run the command that the user names; a user error becomes one line on stderr and exit code 2."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from io import TextIOWrapper

import click

from gdbackends.errors import InputError, in_one_line
from gdbackends.launchers import refuse_launcher

_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE, errno.ENXIO)
"""Errors of writing to stdout; others have been reported with the name of their file."""
_FRAMEWORKS = ("jax", "jaxlib", "torch")
_MOST_TEXT = 500
_COMMANDS = {
    "bench": ("gdbackends.cli.bench_command", "Time every backend at every size: which is fastest, and by how much?"),
    "check": ("gdbackends.cli.check_command", "Check a gradient derived by hand, and name the mistake."),
    "compare": ("gdbackends.cli.compare_command", "Fit on every backend, check that they agree, and time them."),
    "derive": ("gdbackends.cli.derive_command", "Derive the gradient of a loss step by step."),
    "diff": ("gdbackends.cli.diff_command", "Compare two files of benchmark results."),
    "doctor": ("gdbackends.cli.doctor_command", "Check what is installed and whether it works."),
    "export": ("gdbackends.cli.export_command", "Convert benchmark results to CSV, Markdown or JSON."),
    "fit": ("gdbackends.cli.fit_command", "Fit on one backend."),
    "page": ("gdbackends.cli.page_command", "Write benchmark results as an HTML page: advice, charts, a table."),
    "lesson": ("gdbackends.cli.lesson_command", "Explain gradient descent on your data, as an HTML page with sliders."),
    "predict": ("gdbackends.cli.predict_command", "Predict from a saved fit."),
    "show": ("gdbackends.cli.show_command", "Print benchmark results as a table with advice."),
}


class _Commands(click.Group):
    """A group of commands that are imported only when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command and return it."""
        if cmd_name == "ranks":  # which only the package itself starts
            return import_module("gdbackends.cli.ranks_command").command
        return import_module(_COMMANDS[cmd_name][0]).command if cmd_name in _COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gdbackends", prog_name="gdbackends")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Fit one linear regression by hand-derived NumPy gradients, JAX and PyTorch; compare and time the results."""
    if ctx.invoked_subcommand not in ("fit", "ranks"):
        refuse_launcher(ctx.invoked_subcommand or "this command")


def run() -> None:
    """Run the command line and exit: 0 success, 1 a check failed, 2 invalid usage or input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # escape characters that the terminal cannot encode
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
    except BrokenPipeError:  # such as `| head`; keep Python from flushing into it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except MemoryError:
        _fail("out of memory; choose fewer rows or features, or free memory")
    except OSError as error:
        if error.errno not in _WRITING:
            _fail(in_one_line(error))
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"cannot write: {(error.strerror or str(error)).lower()}")
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _FRAMEWORKS:
            raise
        _fail(in_one_line(error)[:_MOST_TEXT])


def _fail(text: str) -> None:
    """Print an error as one line, with unprintable characters from files escaped, and exit with code 2."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split("\n")))
    click.echo(f"gdbackends: {line}", err=True)
    sys.exit(2)
