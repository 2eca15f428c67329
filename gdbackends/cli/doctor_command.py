"""`gdbackends doctor`: what is installed, whether it works, and what to type for what is missing."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table
from rich.text import Text

from gdbackends.cli.console import console, number, print_json, printable
from gdbackends.doctor import Device, Diagnostics, Package, Trial, check_up


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Say what is installed, try every backend in a process of its own, and name the line to type for what is missing.

    Exit code: 0 everything installed works; 1 something does not; 2 bad use.
    """
    checkup = check_up()
    if as_json:
        print_json(checkup.to_dict())
    else:
        _show(checkup)
    ctx.exit(1 if checkup.problems else 0)


def _show(checkup: Diagnostics) -> None:
    terminal = console()
    terminal.print(_table(("package", "installed", "tested with", ""), map(_package, checkup.packages)))
    terminal.print()
    tried = [row for trial in checkup.trials for row in _rows(trial)]
    terminal.print(_table(("backend", "device", "float64", "float32", "coefficients", ""), tried))
    terminal.print()
    terminal.print(_table(None, _machine(checkup)))
    terminal.print()
    for problem in checkup.problems:
        terminal.print(Text(printable(problem.text, 400), style="bold red"))
        terminal.print(f"run: {problem.run}", soft_wrap=True)
    if not checkup.problems:
        terminal.print(Text("Everything installed works.", style="green"))


def _table(titles: tuple[str, ...] | None, lines: Any) -> Table:
    table = Table(*(titles or ()), box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=titles is not None)
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def _package(package: Package) -> tuple[str, ...]:
    if package.version is None:
        return package.name, "-", package.tested, package.to_install
    word = "FAILS" if package.problem else "" if package.as_tested else "differs"
    return package.name, printable(package.version), package.tested, word


def _rows(trial: Trial) -> list[tuple[str, ...]]:
    if trial.problem:
        return [(trial.backend, "-", "-", "-", "FAILS", "")]
    return [(trial.backend, device.name, *_did(device)) for device in trial.devices]


def _did(device: Device) -> tuple[str, ...]:
    words = ["works" if good else "FAILS" for good in (device.float64, device.float32)]
    fitted = ", ".join("nan" if value is None else number(value) for value in device.coefficients)
    memory = "" if device.memory_bytes is None else f", {_gigabytes(device.memory_bytes)}"
    return *words, fitted if fitted and not device.problem else "FAILS", printable(device.kind) + memory


def _machine(checkup: Diagnostics) -> list[tuple[str, str]]:
    """Return the lines about processor, threads and memory."""
    machine = checkup.machine
    quota = "" if machine["cpu_quota"] is None else f", {machine['cpu_quota']:g} by quota"
    free, total = (_gigabytes(machine[key]) for key in ("memory_available_bytes", "memory_bytes"))
    lines = [
        ("processor", f"{printable(machine['cpu'])}, {machine['cores']} of {machine['machine_cores']} cores{quota}")
    ]
    lines += [("memory", f"{free} of {total} available")]
    for trial in checkup.trials:
        told = [printable(trial.library)] if trial.library else []
        told += [f"{trial.threads} threads"] if trial.threads else []
        lines += [(trial.backend, ", ".join(told))] if told else []
    return lines + [(name, printable(value, 60)) for name, value in machine["variables"].items()]


def _gigabytes(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e9:.3g} GB"
