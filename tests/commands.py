"""The command line, run in the process of the tests: a process of its own imports NumPy and the frameworks anew."""

from __future__ import annotations

import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from gdbackends.cli.entry import run


def run_command(*arguments: str, cwd: Path | str = ".") -> CompletedProcess[str]:
    """Run `gdbackends` with these arguments in a folder; return what a process would: exit code, stdout and stderr."""
    out, err = (TextIOWrapper(BytesIO(), encoding="utf8", write_through=True) for _ in range(2))
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", ["gdbackends", *arguments]):
        try:
            run()
        except SystemExit as end:
            code = end.code or 0
    shown = [stream.buffer.getvalue().decode("utf8") for stream in (out, err)]
    return CompletedProcess(list(arguments), code, *shown)
