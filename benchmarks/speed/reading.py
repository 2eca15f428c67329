"""read() against polars' own reading of a CSV file: `python benchmarks/speed/reading.py`.

The file holds 1,000,000 rows of 10 columns in full precision. Each reading runs in a fresh process, in turns; the time
is the best of the rounds, the memory the largest peak above that after the imports, over the bytes of the numbers.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

ROWS, COLUMNS, ROUNDS = 1_000_000, 10, 5
COMMON = """
import sys
from time import perf_counter
import polars as pl
from gdbackends import Dataset, read
def peak():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
before, begin = peak(), perf_counter()
{reading}
print(perf_counter() - begin, peak() - before)
"""
READINGS = {
    "polars": "pl.read_csv(sys.argv[1]).to_numpy()",
    "read()": "read(sys.argv[1])",
    "read() without polars": "sys.modules['polars'] = None; read(sys.argv[1])",
}


def main() -> None:
    taken: dict[str, list[list[float]]] = {name: [] for name in READINGS}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        numbers = np.random.default_rng(0).normal(size=(ROWS, COLUMNS))
        pl.DataFrame(numbers, schema=[f"f{j}" for j in range(COLUMNS)]).write_csv(path)
        for _ in range(ROUNDS):
            for name, reading in READINGS.items():
                command = [sys.executable, "-c", COMMON.format(reading=reading), str(path)]
                shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                taken[name].append([float(figure) for figure in shown.split()])
    best = min(seconds for seconds, _ in taken["polars"])
    for name, figures in taken.items():
        seconds, peak = min(figures)[0], max(peak for _, peak in figures) / numbers.nbytes
        print(f"{name:22} {seconds:5.2f} s {seconds / best:5.2f} x polars {peak:6.2f} x the numbers in memory")


if __name__ == "__main__":
    main()
