"""The hidden command by which `run_on_ranks` runs a function in several processes."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import click

from gdbackends.cli.options import ranks_options
from gdbackends.cli.rank_process import ending, ranks_of


@click.command("ranks", hidden=True)
@click.argument("task", type=click.Path(exists=True, dir_okay=False))
@click.option("--backend", required=True)
@click.option("--device")
@ranks_options
def command(task: str, **options: Any) -> None:
    """Run the function in the file TASK, which `run_on_ranks` has written, and write what the first process returns."""
    path, request = pickle.loads(Path(task).read_bytes())
    sys.path[:] = path
    ranks = ranks_of(options, options["backend"])
    with ending(None if ranks is None else ranks.rank):
        function, arguments = pickle.loads(request)
        result = function(ranks, *arguments)
        if ranks is None or ranks.rank == 0:
            Path(f"{task}.result").write_bytes(pickle.dumps(result))
