"""Run the pytest-benchmark suite and compare it with the last saved run: `python benchmarks/speed/suite.py [--full]`.

Each backend runs in its own process. A run is saved as a folder of --storage, with one pytest-benchmark file per
backend that `pytest-benchmark compare` also reads; a failed run is not saved. Two single runs also differ because of
the load of the machine: use `gdbackends bench` and `gdbackends diff` to decide whether something is slower.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gdbackends.backends import installed, names
from gdbackends.measurement.environment import affinity
from gdbackends.measurement.formatting import duration
from gdbackends.measurement.subprocess_worker import THREADS

HERE = Path(__file__).parent
QUICK = ("--benchmark-max-time=0.4", "--benchmark-min-rounds=3")
"""Limits for each case, so that the quick suite takes at most 90 s on two cores."""
Run = dict[str, dict[str, Any]]
"""The benchmarks of each backend, by group."""


def record(backend: str, file: Path, options: Sequence[str]) -> int:
    """Run and save the suite for a backend; return the exit status of pytest, and print its output if that is not 0."""
    command = [sys.executable, "-m", "pytest", str(HERE / "test_benchmarks.py"), "--quiet", "--no-header", "--tb=line"]
    command += ["--benchmark-only", "--benchmark-quiet", f"--backend={backend}", f"--benchmark-json={file}", *options]
    command += ["-W", "ignore:Not saving anything"]  # the warning if every case fails
    completed = subprocess.run(
        command, cwd=HERE.parents[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if completed.returncode:
        print(completed.stdout)
    return completed.returncode


def load(folder: Path) -> Run:
    """Return a saved run."""
    files = {path.stem: json.loads(path.read_text(encoding="utf8")) for path in folder.glob("*.json")}
    return {name: {case["group"]: case for case in files[name]["benchmarks"]} for name in names() if name in files}


def changes(new: Run, old: Run) -> list[str]:
    """Return the differences between the environments of two runs, such as "numpy 2.3, now 2.4"."""
    after, before = _environment(new), _environment(old)
    keys = [key for key in after | before if after.get(key) != before.get(key)]
    return [f"{key} {before.get(key)}, now {after.get(key)}" for key in keys]


def markdown(new: Run, old: Run) -> list[str]:
    """Return a Markdown table of the median times, with their ratios to the old run in parentheses."""
    groups = list(dict.fromkeys(group for cases in new.values() for group in cases))
    lines = [f"| case | {' | '.join(new)} |", "|---|" + "--:|" * len(new)]
    for group in groups:
        cells = [_cell(cases.get(group), old.get(backend, {}).get(group)) for backend, cases in new.items()]
        lines.append(f"| {group} | {' | '.join(cells)} |")
    return lines


def _environment(run: Run) -> dict[str, Any]:
    benchmarks = [benchmark for cases in run.values() for benchmark in cases.values()]
    return {key: value for b in benchmarks for key, value in b["extra_info"]["environment"].items()}


def _cell(new: dict[str, Any] | None, old: dict[str, Any] | None) -> str:
    if new is None:
        return ""
    seconds = new["stats"]["median"]
    return duration(seconds) + ("" if old is None else f" ({seconds / old['stats']['median']:.2f})")


def main(arguments: list[str]) -> int:
    """Run, save and compare; return the exit status of pytest if it is not 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="time all sizes up to 1,000,000 x 10, which takes minutes")
    parser.add_argument(
        "--backends", default=",".join(installed()), help="backends, separated by commas (default: all installed)"
    )
    parser.add_argument(
        "--storage", type=Path, default=Path(".benchmarks"), help="folder of the saved runs (default: .benchmarks)"
    )
    parser.add_argument("--select", default="", help="expression for -k of pytest that selects cases")
    parser.add_argument("--threads", type=int, help="cores and threads that a process may use (default: all)")
    options = parser.parse_args(arguments)
    if options.threads:
        os.sched_setaffinity(0, affinity()[: options.threads])  # inherited by the processes, before any import
        os.environ |= dict.fromkeys(THREADS, str(options.threads))
    storage = options.storage.resolve()
    saved = sorted(storage.glob("[0-9][0-9][0-9][0-9]"))
    folder = storage / f"{int(saved[-1].name) + 1 if saved else 1:04}"
    pytest_options = [*(["--full"] if options.full else QUICK), *(["-k", options.select] if options.select else [])]
    load_before = os.getloadavg()[0]
    with TemporaryDirectory() as temporary:
        for backend in options.backends.split(","):
            if code := record(backend, Path(temporary) / f"{backend}.json", pytest_options):
                return code
        shutil.copytree(temporary, folder)
    new, old = load(folder), load(saved[-1]) if saved else {}
    print(f"Median times, saved in {folder}. Load average before the run: {load_before:.1f}.\n")
    print(*markdown(new, old), sep="\n", end="\n\n")
    if not old:
        print("There is no earlier run to compare with.")
    elif differences := changes(new, old):
        print(f"In parentheses: the ratio to {saved[-1].name}, in a different environment: {'; '.join(differences)}.")
    else:
        print(f"In parentheses: the ratio to {saved[-1].name}, in the same environment.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
