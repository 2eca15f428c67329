"""The command line: `gdbackends compare`, `bench`, `check` and the others. Only this package prints and exits."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit; Ctrl-C gives exit code 130, also while modules are still being imported."""
    interruptible = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # as it is for a job in the background
    if interruptible:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))  # nothing has been printed yet
    from gdbackends.cli.entry import run

    try:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(130)
