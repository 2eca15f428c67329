"""The command line: `gdbackends compare`, `bench`, `check` and others. No other package prints or exits."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit; Ctrl-C gives exit code 130 even while modules are being imported."""
    interruptible = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # ignored in background jobs
    if interruptible:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))  # no output needs flushing yet
    from gdbackends.cli.entry import run

    try:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(130)
