"""Time a step over several processes beside one process with the same cores: `python benchmarks/speed/processes.py`.

Each launch times one engine at one size: the seconds that one more step takes, by longer and shorter descents in turn,
and those of an all-reduce of d + 2 numbers, which is all that a step exchanges. Launches of one process with all cores
and of several with one core each take turns; a ratio is the median of the ratios of two launches in turn, with their
minimum and maximum. Nothing else should run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

from pages import replace_section
from worker_tasks import times_of_ranks

from gdbackends.measurement.environment import load
from gdbackends.measurement.formatting import duration
from gdbackends.measurement.provenance import TIMED, measured
from gdbackends.measurement.rank_launcher import run_on_ranks

SIZES = ["100x10", "10000x100", "1000000x10", "400000x100"]
ENGINES = {"numpy": "MPI", "jax": "JAX's runtime, gloo", "torch": "torch.distributed, gloo"}


def main() -> int:
    """Run the launches in turn, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="*", default=SIZES, metavar="ROWSxFEATURES")
    parser.add_argument("--backends", nargs="*", default=list(ENGINES))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="the page whose table is replaced")
    options = parser.parse_args()
    lines = [
        f"| size | engine | one process | {options.processes} processes | ratio | exchange | share of a step |",
        "|---|---|---|---|---|---|---|",
    ]
    busy = load()
    for size in options.size:
        rows, features = map(int, size.split("x"))
        for name in options.backends:
            pairs = [
                [run_on_ranks(name, count, times_of_ranks, name, rows, features) for count in (1, options.processes)]
                for _ in range(options.rounds)
            ]
            ratios = sorted(several["step"] / one["step"] for one, several in pairs)
            one, several = (median(pair[k]["step"] for pair in pairs) for k in (0, 1))
            exchange = median(pair[1]["exchange"] for pair in pairs)
            lines.append(
                f"| {rows:,} x {features} | {name}, {ENGINES[name]} | {duration(one)} | {duration(several)} "
                f"| {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | {duration(exchange)} "
                f"| {min(1.0, exchange / several):.0%} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    loaded = "" if busy is None else f"\n\nThe load was {busy:.1f} before it began."
    text = "\n".join([f"{measured(TIMED, ('mpi4py', 'mpich'))}{loaded}", "", *lines, ""])
    if options.out is None:
        print(text)
    else:
        replace_section(options.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
