"""The pytest-benchmark suite, run, saved and held against the last saved: `python benchmarks/speed/suite.py [--full]`.

Each backend has a process of its own. A run is a folder of --storage with a file for each backend, as pytest-benchmark
writes it (`pytest-benchmark compare` reads them too); one that failed is not kept. Two single runs differ by whatever
else the machine does; whether something is slower is for `gdbackends bench` and `gdbackends diff` to say.
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

from alternatives import duration

from gdbackends.backends import installed, names
from gdbackends.measurement.environment import affinity
from gdbackends.measurement.subprocess_worker import THREADS

HERE = Path(__file__).parent
QUICK = ("--benchmark-max-time=0.4", "--benchmark-min-rounds=3")
"""A case takes about so long; the whole must be done in 90 s on two cores."""
Run = dict[str, dict[str, Any]]
"""For each backend the benchmarks of its file, by group."""


def record(backend: str, file: Path, options: Sequence[str]) -> int:
    """Run the suite for a backend and save it; return pytest's exit code. What it says is shown if it fails."""
    command = [sys.executable, "-m", "pytest", str(HERE / "test_benchmarks.py"), "--quiet", "--no-header", "--tb=line"]
    command += ["--benchmark-only", "--benchmark-quiet", f"--backend={backend}", f"--benchmark-json={file}", *options]
    command += ["-W", "ignore:Not saving anything"]  # where all fail, which is said already
    done = subprocess.run(command, cwd=HERE.parents[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout)
    return done.returncode


def load(folder: Path) -> Run:
    """Return a saved run."""
    files = {path.stem: json.loads(path.read_text(encoding="utf8")) for path in folder.glob("*.json")}
    return {b: {c["group"]: c for c in files[b]["benchmarks"]} for b in names() if b in files}


def changes(new: Run, old: Run) -> list[str]:
    """Return what differs between the environments of two runs."""
    now, then = ({k: v for cases in r.values() for b in cases.values() for k, v in _environment(b)} for r in (new, old))
    return [f"{key} {then.get(key)}, now {now.get(key)}" for key in now | then if now.get(key) != then.get(key)]


def markdown(new: Run, old: Run) -> list[str]:
    """Return a line for each case: the median on each backend, and in brackets that over the last saved."""
    groups = list(dict.fromkeys(group for cases in new.values() for group in cases))
    lines = [f"| | {' | '.join(new)} |", "|---|" + "--:|" * len(new)]
    for group in groups:
        cells = [_cell(cases.get(group), old.get(backend, {}).get(group)) for backend, cases in new.items()]
        lines.append(f"| {group} | {' | '.join(cells)} |")
    return lines


def _environment(benchmark: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(benchmark["extra_info"]["environment"].items())


def _cell(new: dict[str, Any] | None, old: dict[str, Any] | None) -> str:
    if new is None:
        return ""
    seconds = new["stats"]["median"]
    return duration(seconds) + ("" if old is None else f" ({seconds / old['stats']['median']:.2f})")


def main(arguments: list[str]) -> int:
    """Run, save, compare; pytest's exit code where it fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all sizes, up to 1,000,000 x 10; minutes")
    parser.add_argument("--backends", default=",".join(installed()), help="only these, by comma (all installed)")
    parser.add_argument("--storage", type=Path, default=Path(".benchmarks"), help="where runs are saved (.benchmarks)")
    parser.add_argument("--select", default="", help="only the cases whose names pytest's -k finds by this")
    parser.add_argument("--threads", type=int, help="cores, and threads, that each backend may use (all)")
    given = parser.parse_args(arguments)
    if given.threads:
        os.sched_setaffinity(0, affinity()[: given.threads])  # as the processes inherit, before anything is imported
        os.environ |= dict.fromkeys(THREADS, str(given.threads))
    storage = given.storage.resolve()
    saved = sorted(storage.glob("[0-9][0-9][0-9][0-9]"))
    folder = storage / f"{int(saved[-1].name) + 1 if saved else 1:04}"
    options = [*(["--full"] if given.full else QUICK), *(["-k", given.select] if given.select else [])]
    load_before = os.getloadavg()[0]
    with TemporaryDirectory() as fresh:
        for backend in given.backends.split(","):
            if code := record(backend, Path(fresh) / f"{backend}.json", options):
                return code
        shutil.copytree(fresh, folder)
    new, old = load(folder), load(saved[-1]) if saved else {}
    print(f"Median times; saved in {folder}. Load of the machine before: {load_before:.1f}.\n")
    print(*markdown(new, old), sep="\n", end="\n\n")
    if not old:
        print("No earlier run is saved there: nothing to compare with.")
    elif different := changes(new, old):
        print(f"In brackets: over {saved[-1].name}, in another environment: {'; '.join(different)}.")
    else:
        print(f"In brackets: over {saved[-1].name}, in the same environment.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
