"""`gdbackends bench`: which backend is fastest here, for which problem, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gdbackends.benchmarking.bench import begin, bench
from gdbackends.benchmarking.result_rows import result_rows
from gdbackends.benchmarking.results import BAD, ResultsFile
from gdbackends.cli.bench_options import bench_options, chosen
from gdbackends.cli.bench_showing import show, show_plan


@click.command("bench")
@bench_options
@click.option("--out", default="bench.jsonl", show_default=True, help="The file of results.")
@click.option("--resume", is_flag=True, help="Continue the file; nothing that is there is repeated.")
@click.option("--dry-run", is_flag=True, help="Show the cases, and time nothing.")
@click.pass_context
def command(ctx: click.Context, out: str, resume: bool, dry_run: bool, **options: Any) -> None:
    """Time every backend at every size, each time beside a passed agreement.

    Each backend runs in fresh processes of its own, in turn with the others. Results are appended to a file as they
    come: `gdbackends diff` compares two of them, `gdbackends export` makes tables of one.

    Exit code: 0 fine; 1 a backend disagrees, does not wait for its answer, or crashed; 2 bad use or input.
    """
    cases, plan = chosen(options)
    if dry_run:
        show_plan(cases, plan)
        return
    with ResultsFile(out, resume=resume) as file:
        run = begin(file, plan)
        with _progress() as tell:
            bench(cases, file, plan, run, tell)
        table = [row for row in result_rows(file.results) if row.case in set(cases)]
        show(table, file.results)
    ctx.exit(1 if any(row.status in BAD for row in table) else 0)


@contextmanager
def _progress() -> Generator[Callable[[int, int, str], None]]:
    """Show on stderr, where that is a terminal, how much is done and the time left."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    terminal = Console(stderr=True)
    hidden = not terminal.is_terminal
    bar = Progress(*columns, console=terminal, transient=True, disable=hidden, auto_refresh=False)
    with bar:  # refreshed by hand: a thread that redraws would take time of a core
        task = bar.add_task("", total=None)
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text, refresh=True)
