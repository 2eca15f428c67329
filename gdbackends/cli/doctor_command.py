"""`gdbackends doctor`: what is installed, whether it works, and the commands that fix what does not."""

from __future__ import annotations

from collections.abc import Iterable

import click
from rich.table import Table
from rich.text import Text

from gdbackends.cli.console import console, format_number, plain_table, print_json, printable
from gdbackends.doctor import Device, Diagnostics, Package, Trial, check_up


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check what is installed, try every backend in its own process, and print the commands that fix problems.

    Exit code: 0 everything installed works; 1 something does not; 2 invalid usage.
    """
    diagnostics = check_up()
    if as_json:
        print_json(diagnostics.to_dict())
    else:
        _show(diagnostics)
    ctx.exit(1 if diagnostics.problems else 0)


def _show(diagnostics: Diagnostics) -> None:
    terminal = console()
    terminal.print(_table(("package", "installed", "tested with", ""), map(_package_row, diagnostics.packages)))
    terminal.print()
    trials = [row for trial in diagnostics.trials for row in _trial_rows(trial)]
    terminal.print(_table(("backend", "device", "float64", "float32", "coefficients", ""), trials))
    terminal.print()
    terminal.print(_table((), _machine_rows(diagnostics)))
    terminal.print()
    for problem in diagnostics.problems:
        terminal.print(Text(printable(problem.text, 400), style="bold red"))
        terminal.print(f"run: {problem.run}", soft_wrap=True)
    if not diagnostics.problems:
        terminal.print(Text("Everything installed works.", style="green"))


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    table = plain_table(*titles)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _package_row(package: Package) -> tuple[str, ...]:
    if package.version is None:
        return package.name, "-", package.tested, package.to_install
    status = "FAILS" if package.problem else "" if package.as_tested else "differs"
    return package.name, printable(package.version), package.tested, status


def _trial_rows(trial: Trial) -> list[tuple[str, ...]]:
    if trial.problem:
        return [(trial.backend, "-", "-", "-", "FAILS", "")]
    return [(trial.backend, device.name, *_device_cells(device)) for device in trial.devices]


def _device_cells(device: Device) -> tuple[str, ...]:
    dtypes = ["works" if works else "FAILS" for works in (device.float64, device.float32)]
    coefficients = ", ".join("nan" if value is None else format_number(value) for value in device.coefficients)
    memory = "" if device.memory_bytes is None else f", {_gigabytes(device.memory_bytes)}"
    return *dtypes, "FAILS" if device.problem else coefficients or "FAILS", printable(device.kind) + memory


def _machine_rows(diagnostics: Diagnostics) -> list[tuple[str, str]]:
    """Return the rows about processor, memory, threads and environment variables."""
    machine = diagnostics.machine
    quota = "" if machine["cpu_quota"] is None else f", {machine['cpu_quota']:g} by quota"
    free, total = (_gigabytes(machine[key]) for key in ("memory_available_bytes", "memory_bytes"))
    cores = f"{machine['cores']} of {machine['machine_cores']} cores{quota}"
    rows = [("processor", f"{printable(machine['cpu'])}, {cores}"), ("memory", f"{free} of {total} available")]
    for trial in diagnostics.trials:
        details = [printable(trial.library)] if trial.library else []
        details += [f"{trial.threads} threads"] if trial.threads else []
        rows += [(trial.backend, ", ".join(details))] if details else []
    return rows + [(name, printable(value, 60)) for name, value in machine["variables"].items()]


def _gigabytes(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e9:.3g} GB"
