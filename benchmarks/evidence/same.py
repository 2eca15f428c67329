"""Compare every backend with itself under another name (an A/A test): `python benchmarks/evidence/same.py [FILE]`.

Two times count as different if the 99 % interval of their ratio is outside [0.95, 1.05], which should happen in at most
1 of 100 comparisons of a backend with itself. Launches that are in FILE (by default benchmarks/results/same.jsonl) are
not repeated. The table is written to the same path with the suffix .md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gdbackends.benchmarking.bench import Plan, begin, bench
from gdbackends.benchmarking.case import Grid
from gdbackends.benchmarking.result_rows import Row, beside, by_case, ratio, result_rows
from gdbackends.benchmarking.results import ResultsFile
from gdbackends.measurement.provenance import TIMED, measured

TWINS = {
    name: f"gdbackends.backends.{name}_backend:{kind}"
    for name, kind in (("numpy", "NumpyBackend"), ("jax", "JaxBackend"), ("torch", "TorchBackend"))
}
ROWS = (100, 200, 400, 1000, 2000, 4000, 10_000, 20_000, 40_000)
PLAN = Plan(launches=5, most=5, slice_s=0.003)


def table(found: list[Row]) -> str:
    """Return a table with a line for each backend."""
    lines = [
        "| backend | comparisons | called different | median half width | largest ratio |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, twin in TWINS.items():
        rows = [row for row in found if row.case.config.backend == name]
        ratios = [
            r for row in rows if (other := beside(row, by_case(found), backend=twin)) and (r := ratio(other, row))
        ]
        spreads, largest = sorted(r.spread for r in ratios), max(max(r.value, 1 / r.value) for r in ratios)
        different = sum(r.differs() for r in ratios)
        lines.append(f"| {name} | {len(ratios)} | {different} | {spreads[len(spreads) // 2]:.0%} | {largest:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the missing launches, and write the table."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/results/same.jsonl")
    backends = [*TWINS, *TWINS.values()]
    steps = Grid(backends, ROWS, (1, 5, 20), threads=[1]).cases()
    gradients = Grid(backends, ROWS, (1, 5, 20, 50), works=("gradient",), threads=[1]).cases()
    cases = [*steps, *gradients, *Grid(backends, ROWS[:5], (50,), threads=[1]).cases()]
    line = measured(TIMED, cores=1)
    with ResultsFile(str(path), resume=path.exists()) as file:
        bench(cases, file, PLAN, begin(file, PLAN, cases), lambda done, text: print(f"{done:.1%} {text}", end="\r"))
        text = f"{table(result_rows(file.results))}\n{line}\n"
    path.with_suffix(".md").write_text(text, encoding="utf8")
    print(f"\n{text}")


if __name__ == "__main__":
    main()
