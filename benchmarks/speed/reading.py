"""Time `gdbackends.read` and `polars.read_csv` on a CSV file: `python benchmarks/speed/reading.py`.

The file has 1,000,000 rows of 10 columns in full precision. The readers take turns, each in a fresh process. The time
is the minimum over the rounds. The memory is the highest peak above that after the imports, as a multiple of the bytes
of the numbers.
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
{call}
print(perf_counter() - begin, peak() - before)
"""
READERS = {
    "polars": "pl.read_csv(sys.argv[1]).to_numpy()",
    "read()": "read(sys.argv[1])",
    "read() without polars": "sys.modules['polars'] = None; read(sys.argv[1])",
}


def main() -> None:
    results: dict[str, list[list[float]]] = {name: [] for name in READERS}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        numbers = np.random.default_rng(0).normal(size=(ROWS, COLUMNS))
        pl.DataFrame(numbers, schema=[f"f{j}" for j in range(COLUMNS)]).write_csv(path)
        for _ in range(ROUNDS):
            for name, call in READERS.items():
                command = [sys.executable, "-c", COMMON.format(call=call), str(path)]
                output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                results[name].append([float(figure) for figure in output.split()])
    fastest = min(seconds for seconds, _ in results["polars"])
    for name, launches in results.items():
        seconds, peak = min(launches)[0], max(peak for _, peak in launches) / numbers.nbytes
        print(f"{name:22} {seconds:5.2f} s {seconds / fastest:5.2f} x polars, peak memory {peak:6.2f} x the numbers")


if __name__ == "__main__":
    main()
