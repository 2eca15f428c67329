"""Fuzz read() with atheris: `make fuzz`, or `python benchmarks/evidence/fuzz_reading.py -max_total_time=600`.

Any input must give a Dataset or an InputError of one line, and a text table must give the same result with polars, with
NumPy and with the exact parser. The first byte selects the options, the others are the table. Parquet is excluded: for
some damaged files polars 2.1 aborts the process (an allocation of 2 EB), which Python code cannot catch.
"""

from __future__ import annotations

import gzip
import io
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import atheris
import numpy as np

with atheris.instrument_imports(include=["gdbackends"]):
    from gdbackends import Dataset, read
    from gdbackends.errors import InputError
    from gdbackends.reading import text

OPTIONS: list[dict[str, Any]] = [
    {},
    {"header": True},
    {"header": False},
    {"decimal": ","},
    {"delimiter": " "},
    {"delimiter": ";", "decimal": ","},
    {"labels": True},
    {"labels": True, "header": True},
]
FAST = text._fast


def outcome(data: bytes, options: dict[str, Any]) -> tuple[Any, ...]:
    try:
        dataset = read(io.BytesIO(data), **options)
    except InputError as error:
        assert "\n" not in str(error), str(error)
        return (str(error),)
    assert isinstance(dataset, Dataset)
    return dataset.X.tobytes(), dataset.y.tobytes(), dataset.names, dataset.target, dataset.labels


def fuzz_one(data: bytes) -> None:
    options, data = OPTIONS[data[0] % len(OPTIONS)] if data else {}, data[1:]
    if data.startswith(b"PAR1"):
        return
    first = outcome(data, options)
    if data.startswith((b"PK\x03\x04", b"\x93NUMPY")):
        return
    text.find_spec = lambda _: None
    second = outcome(data, options)
    text.find_spec = find_spec
    text._fast = lambda *_: None
    third = outcome(data, options)
    text._fast = FAST
    assert first == second == third, (first, second, third)


def seeds() -> list[bytes]:
    """Return a small table of each format, with every set of options."""
    table = np.arange(6.0).reshape(3, 2)
    texts = [
        b"a,b,y\n1,2,3\n4,5,6.5e3\n",
        b'\xef\xbb\xbf"a ""x""";y\r\n"1";-2\r\n\r\nNA;inf\r\n',
        b"1,5;2,5;3,5\n1;2;3\n",
        b"a b y\n1  2 3\n 4 5 6\n",
        b"a b y\n1 2 3\n4 5 6\n",
        b"d,y\n2024-01-01,yes\n2024-01-02,no\n",
        b"1e999,1_0,0x10\n+5,nan,\n",
    ]
    binary = []
    for save in (
        lambda file: np.save(file, table),
        lambda file: np.save(file, np.zeros(2, [("a", "f8"), ("b", "i4")])),
        lambda file: np.savez(file, X=table, y=table[:, 0]),
        lambda file: np.savez_compressed(file, X=table, y=table[:, 0], names=["a", "b"]),
    ):
        file = io.BytesIO()
        save(file)
        binary.append(file.getvalue())
    tables = [*texts, *binary, gzip.compress(texts[0])]
    return [bytes([k]) + table for table in tables for k in range(len(OPTIONS))]


def main() -> None:
    with TemporaryDirectory() as folder:
        for k, seed in enumerate(seeds()):
            (Path(folder) / str(k)).write_bytes(seed)
        atheris.Setup([*sys.argv, "-max_len=4096", "-timeout=20", folder], fuzz_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
