"""Rows in a file: the numbers of a fit in memory, from a few blocks at a time, whatever the file and the backend."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import run_command

from gdbackends import LinearRegression, fit, get_backend, read
from gdbackends.backends import Backend, names
from gdbackends.backends.numpy_backend import NumpyBackend
from gdbackends.descent import ProblemOptions, descend, learning_rates, prepare
from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives import AbsoluteError, Huber, Logistic, Poisson, Quantile
from gdbackends.reading import stream
from gdbackends.rounding import evaluate
from gdbackends.streaming import Rows, mapped_rows, over_rows, quantile_of, row_blocks
from gdbackends.streaming import parquet as parquet_room
from gdbackends.streaming import rows as rows_room
from gdbackends.streaming.prefetch import prefetched

ROWS, FEATURES = 1_003, 6


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stream what is small, in 8 blocks of 142 rows and one of 9, or nearly."""
    monkeypatch.setattr("gdbackends.descent.streaming_backend.STREAMED", 0)
    monkeypatch.setattr(rows_room, "ELEMENTS", 142 * (FEATURES + 1))


def arrays(rows: int = ROWS, features: int = FEATURES) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    X = generator.normal(size=(rows, features)) * np.arange(1, features + 1) + 5.0
    return X, X @ np.linspace(-1, 1, features) + generator.normal(size=rows)


def mapped(folder: Path, array: np.ndarray, name: str = "a.npy", mode: str = "r") -> np.memmap:
    np.save(folder / name, array)
    return np.load(folder / name, mmap_mode=mode)


def parquet(folder: Path, X: np.ndarray, y: np.ndarray, group: int = 300) -> Path:
    columns = {f"f{j}": column for j, column in enumerate(X.T)} | {"y": y}
    pl.DataFrame(columns).write_parquet(folder / "t.parquet", row_group_size=group)
    return folder / "t.parquet"


def close(backend: Backend) -> float:
    return 1e-11 if backend.dtype == "float64" else 2e-4


LOSSES = [
    LinearRegression(l2=0.1),
    LinearRegression("sum"),
    LinearRegression("half", row_loss=Huber(0.7)),
    LinearRegression(row_loss=AbsoluteError()),
    LinearRegression(row_loss=Quantile(0.9)),
    LinearRegression(row_loss=Logistic(), l2=0.01),
    LinearRegression(row_loss=Poisson()),
]


def suited(objective: LinearRegression, y: np.ndarray) -> np.ndarray:
    if isinstance(objective.row_loss, Logistic):
        return np.where(y > np.median(y), 7.0, 3.0)
    return np.floor(np.abs(y)) if isinstance(objective.row_loss, Poisson) else y


@pytest.mark.parametrize("objective", LOSSES, ids=lambda o: f"{o.convention}-{type(o.row_loss).__name__}")
def test_the_gradient_is_within_rounding_and_the_fit_that_in_memory(backend64: Backend, tmp_path, objective) -> None:
    within_rounding_and_as_in_memory(backend64, tmp_path, objective)


@pytest.mark.parametrize("objective", LOSSES[2::2], ids=lambda o: f"{o.convention}-{type(o.row_loss).__name__}")
@pytest.mark.parametrize("name", names())
def test_so_it_is_in_float32(name: str, tmp_path, objective, require) -> None:
    require(name)
    within_rounding_and_as_in_memory(get_backend(name, dtype="float32"), tmp_path, objective)


def within_rounding_and_as_in_memory(backend: Backend, tmp_path: Path, objective: LinearRegression) -> None:
    X, y = arrays()
    y = suited(objective, y)
    pair = mapped(tmp_path, X), mapped(tmp_path, y, "y.npy")
    problem = prepare(*pair, backend, objective)
    assert isinstance(problem.X, Rows)
    theta = np.linspace(-0.1, 0.1, problem.theta0.size).astype(backend.dtype)
    value, gradient = problem.backend.value_and_grad(problem.objective)(theta, *problem.data)
    held = prepare(X, y, backend, objective)
    at = evaluate(problem.objective, theta, problem.X, problem.y, backend.dtype)
    assert abs(float(value) - at.loss) <= at.loss_bound
    assert (np.abs(gradient - at.gradient) <= at.gradient_bound).all()
    np.testing.assert_allclose(problem.theta0, held.theta0, rtol=close(backend), atol=1e-12)
    rates = [learning_rates(p, "auto", 40) for p in (problem, held)]
    np.testing.assert_allclose(*rates, rtol=close(backend))
    here, there = (fit(*data, backend=backend, objective=objective, steps=40) for data in (pair, (X, y)))
    assert (here.steps, here.stop, here.labels, here.note) == (there.steps, there.stop, there.labels, there.note)
    np.testing.assert_allclose(here.theta, there.theta, rtol=close(backend), atol=10 * close(backend))
    np.testing.assert_allclose(here.losses, there.losses, rtol=close(backend))
    assert here.plan == "streamed in 8 blocks of 142 rows, feature-major"


def as_c(folder: Path, X: np.ndarray, y: np.ndarray) -> tuple:
    return mapped(folder, X), y


def as_fortran(folder: Path, X: np.ndarray, y: np.ndarray) -> tuple:
    return mapped(folder, np.asfortranarray(X)), mapped(folder, y, "y.npy")


def as_swapped(folder: Path, X: np.ndarray, y: np.ndarray) -> tuple:
    return mapped(folder, X.astype(">f8")), mapped(folder, y.astype(">f8"), "y.npy")


def as_views(folder: Path, X: np.ndarray, y: np.ndarray) -> tuple:
    table = mapped(folder, np.column_stack((np.zeros(len(y)), X, y)).repeat(2, 0))
    return table[1::2, 1:-1], table[1::2, -1]


def as_copy_on_write(folder: Path, X: np.ndarray, y: np.ndarray) -> tuple:
    changed = mapped(folder, X * 0, mode="c")
    changed[...] = X
    return changed, y


def as_reversed(folder: Path, X: np.ndarray, y: np.ndarray) -> tuple:
    return mapped(folder, X[::-1, ::-1])[::-1, ::-1], list(y)


def as_renamed(folder: Path, X: np.ndarray, y: np.ndarray) -> tuple:
    found = mapped(folder, X)
    (folder / "a.npy").rename(folder / "b.npy")
    np.save(folder / "a.npy", X * 2)  # the name is now another file's
    return found, y


def as_table(folder: Path, X: np.ndarray, y: np.ndarray) -> tuple:
    np.save(folder / "t.npy", np.column_stack((X[:, :2], y, X[:, 2:])))
    data = stream(folder / "t.npy", target="c3")
    return data.X, data.y


def as_fields(folder: Path, X: np.ndarray, y: np.ndarray) -> tuple:
    table = np.zeros(len(y), [("y", "f8"), ("skip", "U3"), *((f"f{j}", "f8") for j in range(X.shape[1]))])
    table["y"] = y
    for j, column in enumerate(X.T):
        table[f"f{j}"] = column
    np.save(folder / "t.npy", table)
    data = stream(folder / "t.npy", target="y", features=[f"f{j}" for j in range(X.shape[1])])
    return data.X, data.y


def as_parquet(folder: Path, X: np.ndarray, y: np.ndarray) -> tuple:
    data = stream(parquet(folder, X, y), target="y")
    return data.X, data.y


KINDS = [as_c, as_fortran, as_swapped, as_views, as_copy_on_write, as_reversed, as_renamed, as_table, as_fields]


@pytest.mark.parametrize("store", [*KINDS, as_parquet])
def test_every_layout_gives_the_same_bits(tmp_path, store) -> None:
    X, y = arrays()
    backend = get_backend("numpy")
    problem = prepare(*store(tmp_path, X, y), backend)
    held = prepare(X, y, backend)
    blocks = [(X.copy(), y.copy()) for X, y in row_blocks(problem.X, problem.y)]
    assert (np.concatenate([y for _, y in blocks]) == y).all()
    rescaled = problem.scaling.apply(X)
    assert (np.concatenate([X for X, _ in blocks])[:, :-1] == rescaled).all()
    np.testing.assert_allclose(problem.scaling.center, held.scaling.center, rtol=1e-14)
    np.testing.assert_allclose(problem.scaling.spread, held.scaling.spread, rtol=1e-14)
    plain = prepare(*store(tmp_path, X, y), backend, options=ProblemOptions(standardize=False))
    assert (np.concatenate([X.copy() for X, _ in row_blocks(plain.X, plain.y)])[:, :-1] == X).all()


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool", "float16"])
def test_every_dtype_is_the_nearest_float64_first(backend64: Backend, tmp_path, dtype) -> None:
    X = (np.random.default_rng(0).normal(size=(ROWS, FEATURES)) * 50).astype(dtype)
    if dtype == "int64":
        X = X + 2**53 + 1
    y = np.arange(ROWS, dtype=np.float64)
    here, there = (
        prepare(x, y, backend64, options=ProblemOptions(standardize=False)) for x in (mapped(tmp_path, X), X)
    )
    width = there.X.shape[1]
    assert (np.concatenate([X.copy() for X, _ in row_blocks(here.X, here.y)])[:, :width] == there.X).all()


@pytest.mark.parametrize(
    ("store", "batch_size"), [(as_c, 1), (as_c, 50), (as_fortran, 50), (as_views, 1), (as_table, 50)]
)
def test_batches_are_the_same_rows(backend: Backend, tmp_path, store, batch_size) -> None:
    X, y = arrays()
    pair = store(tmp_path, X, y)
    fits = [fit(*p, backend=backend, batch_size=batch_size, steps=45, record_path=True) for p in (pair, (X, y))]
    np.testing.assert_allclose(fits[0].losses, fits[1].losses, rtol=100 * close(backend))
    np.testing.assert_allclose(fits[0].path, fits[1].path, rtol=close(backend), atol=10 * close(backend))
    assert fits[0].plan.startswith("batches gathered from the file; all rows streamed in ")


@pytest.mark.parametrize("group", [1, 7, 142, 300, 5000])
@pytest.mark.parametrize("held", [0, 1 << 22])
def test_row_groups_of_any_size(tmp_path, monkeypatch, group, held) -> None:
    """Those that are not held go through a temporary file."""
    monkeypatch.setattr(parquet_room, "_HELD", held)
    X, y = arrays(ROWS if group > 1 else 150)
    data = stream(parquet(tmp_path, X, y, group))
    blocks = [(X.copy(), y.copy()) for X, y in data.X.blocks()]
    assert (np.concatenate([X for X, _ in blocks]) == X).all()
    assert (np.concatenate([y for _, y in blocks]) == y).all()


def test_uneven_row_groups_fit(backend: Backend, tmp_path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    X, y = arrays()
    table = pa.table({**{f"f{j}": X[:, j] for j in range(FEATURES)}, "y": y})
    with ParquetWriter(tmp_path / "t.parquet", table.schema) as writer:
        for start, stop in ((0, 3), (3, 500), (500, 501), (501, ROWS)):
            writer.write_table(table.slice(start, stop - start))
    data = stream(tmp_path / "t.parquet")
    fits = [fit(*pair, backend=backend, steps=30) for pair in ((data.X, data.y), (X, y))]
    np.testing.assert_allclose(fits[0].theta, fits[1].theta, rtol=close(backend), atol=10 * close(backend))


def test_text_labels_of_parquet(tmp_path) -> None:
    X, y = arrays()
    texts = np.where(y > 0, "yes", "no")
    for kind in (pl.String, pl.Categorical):
        pl.DataFrame({"a": X[:, 0], "t": texts}).with_columns(pl.col("t").cast(kind)).write_parquet(tmp_path / "l.pq")
        data = stream(tmp_path / "l.pq", labels=True)
        assert data.labels == ("no", "yes")
        fitted = fit(data.X, data.y, backend="numpy", objective=LinearRegression(row_loss=Logistic()), steps=20)
        held = fit(X[:, :1], texts, backend="numpy", objective=LinearRegression(row_loss=Logistic()), steps=20)
        np.testing.assert_allclose(fitted.theta, held.theta, rtol=1e-9)


@pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("rows", [1, 2, 300, 301])
def test_quantiles_are_those_of_numpy(tmp_path, q, rows) -> None:
    generator = np.random.default_rng(rows)
    many = np.round(generator.normal(size=rows), 1) * 10.0 ** generator.integers(-300, 300, rows)
    for y in (many, np.zeros(rows), -np.abs(many), np.round(many)):
        found = quantile_of(mapped_rows(mapped(tmp_path, y[:, None]), y), q)
        assert found == pytest.approx(float(np.quantile(y, q)), rel=1e-13, abs=0)


def test_power_iteration_and_poisson_curvature_stream_too(tmp_path) -> None:
    X, y = arrays(60, 2100)
    problem = prepare(mapped(tmp_path, X), y, get_backend("numpy"))
    np.testing.assert_allclose(
        learning_rates(problem, "auto", 3), learning_rates(prepare(X, y, get_backend("numpy")), "auto", 3), rtol=1e-5
    )


def test_a_separable_stream_is_named(tmp_path) -> None:
    X = np.arange(600.0)[:, None]
    y = (X[:, 0] > 300) * 1.0
    logistic = LinearRegression(row_loss=Logistic())
    fits = [fit(x, y, backend="numpy", objective=logistic, steps=200) for x in (mapped(tmp_path, X), X)]
    assert "separable" in fits[0].note
    assert fits[0].note == fits[1].note


def test_an_objective_of_the_users_says_that_it_splits(tmp_path) -> None:
    class Mean:
        def loss(self, theta, X, y):
            r = X @ theta[:-1] + theta[-1] - y
            return (r * r).mean()

        def gradient(self, theta, X, y):
            r = X @ theta[:-1] + theta[-1] - y
            return 2 * np.append(r @ X, r.sum()) / len(y)

    class Splitting(Mean):
        splits = True

    X, y = arrays()
    with pytest.raises(InputError, match="mean over rows; if it is, declare splits = True"):
        fit(mapped(tmp_path, X), y, backend="numpy", objective=Mean(), learning_rate=0.1)
    pair = [fit(x, y, backend="numpy", objective=Splitting(), learning_rate=0.1) for x in (mapped(tmp_path, X), X)]
    np.testing.assert_allclose(pair[0].theta, pair[1].theta, rtol=1e-11)


def test_a_backend_with_nothing_besides_the_protocol(tmp_path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Minimal:
        dtype: str = "float64"
        name: str = "minimal"
        device: str = "cpu"
        asarray = NumpyBackend.asarray
        to_numpy = NumpyBackend.to_numpy
        value_and_grad = NumpyBackend.value_and_grad
        repeat = NumpyBackend.repeat
        synchronize = NumpyBackend.synchronize
        tuning = "best"

    X, y = arrays()
    fitted = fit(mapped(tmp_path, X), y, backend=Minimal(), steps=5)
    assert fitted.plan == "streamed in 8 blocks of 142 rows"
    np.testing.assert_allclose(fitted.theta, fit(X, y, backend=Minimal(), steps=5).theta, rtol=1e-11)


def refused(kind: type[Exception], text: str, *pair, **settings) -> None:
    with pytest.raises(kind) as caught:
        fit(*pair, backend="numpy", **settings)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [t for t in threading.enumerate() if t.name.startswith("gdbackends-reader")]


def test_what_is_refused_in_memory_is_refused_here(tmp_path) -> None:
    X, y = arrays()
    bad = X.copy()
    bad[700, 2], bad[800, 1] = np.nan, np.inf
    refused(InputError, "X has 2 missing or non-finite values, the first X[700, 2] = nan", mapped(tmp_path, bad), y)
    hole = y.copy()
    hole[3] = -np.inf
    refused(InputError, "y has 1 missing or non-finite values, the first y[3] = -inf", mapped(tmp_path, X), hole)
    pq = stream(parquet(tmp_path, bad, y))
    refused(
        InputError, "t.parquet: 2 missing or non-finite values, the first in row 700 (from 0), column 'f2'", pq.X, pq.y
    )
    whole = mapped(tmp_path, X)
    refused(InputError, "X and y must have the same number of rows, got 1003 and 1002", whole, y[1:])
    refused(InputError, "must have shape (1003,), one number per row, got (1003, 1); try y.ravel()", whole, y[:, None])
    refused(InputError, "X must have shape (rows, features), got (1003,)", mapped(tmp_path, y), y)
    refused(InputTypeError, "X must hold real numbers, got dtype complex128", mapped(tmp_path, X + 1j), y)
    refused(InputTypeError, "y must hold real numbers", mapped(tmp_path, X), ["a"] * ROWS)
    refused(InputError, "batch_size must be from 1 to the number of rows, 1003", mapped(tmp_path, X), y, batch_size=0)
    refused(InputError, "theta0 must be 7 numbers", mapped(tmp_path, X), y, theta0=[1.0])
    logistic = LinearRegression(row_loss=Logistic())
    refused(InputError, "needs a target of two labels, got more (", mapped(tmp_path, X), y, objective=logistic)
    poisson = LinearRegression(row_loss=Poisson())
    refused(InputError, "needs counts of at least 0, got -", mapped(tmp_path, X), y, objective=poisson)
    refused(InputError, "needs a count above 0", mapped(tmp_path, X), y * 0, objective=poisson)


def test_what_is_out_of_range_in_float32(tmp_path) -> None:
    X, y = arrays()
    with pytest.raises(InputError, match="the data exceed the range of float32"):
        fit(mapped(tmp_path, X * 1e300), y, backend=get_backend("numpy", dtype="float32"), standardize=False)


def test_what_only_a_stream_refuses(tmp_path, monkeypatch) -> None:
    X, y = arrays()
    data = stream(parquet(tmp_path, X, y))
    refused(InputError, "which Parquet does not support; use all rows, or save it as NPY", data.X, data.y, batch_size=5)
    refused(InputError, "y must belong to the same dataset", data.X, y)
    refused(InputError, "X must belong to the same dataset", X, data.y)
    monkeypatch.setattr("gdbackends.descent.streaming_backend._DRAWN", 1000)
    refused(InputError, "batches from a file need at most 1,000 rows, got 1,003", mapped(tmp_path, X), y, batch_size=5)
    monkeypatch.undo()
    for path, text in (
        ("nothing.npy", "no such file"),
        ("t.csv", "only NPY and Parquet files can be streamed"),
        ("women", "only NPY and Parquet"),
    ):
        (tmp_path / "t.csv").write_text("a,b\n1,2\n")
        with pytest.raises(InputError, match=text):
            stream(tmp_path / path if path != "women" else tmp_path / "t.csv")
    with pytest.raises(InputError, match="no column 'z'; the columns are"):
        stream(tmp_path / "t.parquet", target="z")
    pl.DataFrame({"a": ["x", "y"], "b": [1, 2]}).write_parquet(tmp_path / "text.parquet")
    with pytest.raises(InputError, match="column 'a' holds no numbers"):
        stream(tmp_path / "text.parquet")


def test_a_file_that_is_cut_short_or_changes(tmp_path) -> None:
    X, y = arrays()
    kept = mapped(tmp_path, X)
    os.truncate(tmp_path / "a.npy", 20_000)
    refused(InputError, "a.npy: was truncated at byte 20,000", kept, y)
    path = parquet(tmp_path, X, y)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is not a complete Parquet file"):
        stream(path)
    whole = parquet(tmp_path, X, y).read_bytes()
    path.write_bytes(whole[:100] + bytes(3000) + whole[3100:])
    data = stream(path)
    refused(InputError, "t.parquet: cannot be read", data.X, data.y)
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-8])
    with pytest.raises(InputError, match="is truncated: its header announces"):
        stream(tmp_path / "cut.npy")


@pytest.mark.parametrize("change", ["shrink", "write", "remove"])
def test_a_file_that_changes_between_two_steps(tmp_path, change) -> None:
    X, y = arrays()
    np.save(tmp_path / "a.npy", X)
    problem = prepare(np.load(tmp_path / "a.npy", mmap_mode="r"), y, get_backend("numpy"))

    def meddle(check) -> None:
        if check.step == 2:
            if change == "remove":
                (tmp_path / "a.npy").unlink()
            elif change == "shrink":
                os.truncate(tmp_path / "a.npy", 500)
            else:
                with (tmp_path / "a.npy").open("r+b") as stream:
                    stream.seek(300)
                    stream.write(b"12345678")
                os.utime(tmp_path / "a.npy", ns=(1, 1))

    with pytest.raises(InputError, match=r"changed while it was being read|no such file"):
        descend(problem, np.full(9, 0.1), on_check=meddle)


def test_a_reader_that_dies_is_heard_and_no_thread_is_left() -> None:
    def load(k: int, slot: int) -> int:
        if k == 5:
            raise MemoryError("no more")
        return k

    seen = []
    with pytest.raises(MemoryError, match="no more"):
        for k in prefetched(load, 100, 2):
            seen.append(k)
    assert seen == [0, 1, 2, 3, 4]
    assert list(prefetched(lambda k, slot: k, 3, 4)) == [0, 1, 2]
    half = prefetched(lambda k, slot: k, 100, 2)
    assert next(half) == 0
    half.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("gdbackends-reader")]


def test_reading_goes_on_while_a_block_is_used() -> None:
    """The next block is ready before it is asked for: the consumer waits for it and asks no one."""
    read = [threading.Event() for _ in range(10)]
    for k in prefetched(lambda k, slot: (read[k].set(), k)[1], 10, 1):
        assert read[min(k + 1, 9)].wait(10)


def test_a_place_is_used_by_one_block_at_a_time() -> None:
    taken: dict[int, int] = {}
    before = None
    for k, slot in prefetched(lambda k, slot: (k, slot), 50, 3):
        taken[slot] = k
        assert slot != before
        before = slot
    assert sorted(taken) == [0, 1, 2, 3, 4]


def test_a_mapped_array_that_is_small_is_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("gdbackends.descent.streaming_backend.STREAMED", ROWS * FEATURES)
    X, y = arrays()
    assert fit(mapped(tmp_path, X), y, backend="numpy").plan == "feature-major, whole"
    assert fit(X, y, backend="numpy").plan == "feature-major, whole"  # as every array in memory, however large


def test_means_over_rows_weigh_a_short_block_less(tmp_path) -> None:
    X, y = arrays()
    rows = mapped_rows(mapped(tmp_path, X), y)
    means = over_rows(lambda X, y: (X.mean(0), y.mean()), rows, rows.targets)
    np.testing.assert_allclose(means[0], X.mean(0), rtol=1e-13)
    assert means[1] == pytest.approx(y.mean(), rel=1e-12)


MEMORY = """
import sys, numpy as np
from gdbackends import fit
from gdbackends.reading import stream
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
X = np.random.default_rng(0).normal(size=(99, 3))
fit(X, X[:, 0], backend={backend!r}, steps=2)
before = peak()
data = stream({path!r})
fitted = fit(data.X, data.y, backend={backend!r}, learning_rate=0.1, steps=2, tolerance=0)
print(peak() - before, fitted.plan)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux alone tells the peak")
@pytest.mark.parametrize(
    ("name", "kind"), [("numpy", "npy"), ("numpy", "parquet"), ("jax", "parquet"), ("torch", "npy")]
)
def test_memory_stays_below_256_mb(tmp_path, require, name: str, kind: str) -> None:
    require(name)
    path = tmp_path / f"t.{kind}"
    if kind == "npy":
        table = np.lib.format.open_memmap(path, "w+", np.float64, (400_000, 50))
        table[:, :3] = np.random.default_rng(0).normal(
            size=(len(table), 3)
        )  # 160 MB, most of it a hole; in memory it is held a few times
        table.flush()
    else:
        columns = np.random.default_rng(0).normal(size=(24, 500_000))
        pl.DataFrame({f"c{j}": column for j, column in enumerate(columns)}).write_parquet(path, row_group_size=500_000)
    code = MEMORY.format(backend=name, path=str(path))
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert shown.returncode == 0, shown.stderr
    above, plan = shown.stdout.split(" ", 1)
    assert plan.startswith("streamed in ")
    assert int(above) <= 256e6


def test_the_command_line_streams(tmp_path) -> None:
    X, y = arrays()
    path = parquet(tmp_path, X, y)

    shown = run_command("fit", str(path), "--stream")
    assert shown.returncode == 0
    assert "streamed in 8 blocks of 142 rows" in shown.stdout
    for arguments, text in (
        ((str(path), "--stream", "--predict", "p.csv"), "--predict needs SOURCE in memory"),
        (("women", "--stream"), "--stream works with NPY and Parquet files only"),
    ):
        refusal = run_command("fit", *arguments)
        assert refusal.returncode == 2
        assert refusal.stdout == ""
        assert text in refusal.stderr.splitlines()[-1]
        assert "Traceback" not in refusal.stderr


def test_a_large_file_is_streamed_unasked(tmp_path, monkeypatch) -> None:
    from gdbackends.reading import is_large, streamed

    X, y = arrays()
    paths = [parquet(tmp_path, X, y), tmp_path / "t.npy", tmp_path / "t.csv"]
    np.save(paths[1], X)
    paths[2].write_text("a,b\n1,2\n")
    assert [is_large(path) for path in paths] == [False] * 3
    monkeypatch.setattr(streamed, "PART_OF_MEMORY", 1 << 60)
    assert [is_large(path) for path in paths] == [True, True, False]
    assert not is_large(tmp_path / "none.npy")


def test_rows_say_what_they_are(tmp_path) -> None:
    X, y = arrays()
    rows = mapped_rows(mapped(tmp_path, X), y)
    assert repr(rows) == "Rows(1,003 x 6 float64, in a file)"
    assert dataclasses.replace(rows, ones=True).shape == (ROWS, FEATURES + 1)
    assert rows.targets.shape == (ROWS,)


@pytest.mark.parametrize("shape", ["(-3, 2)", "(10, -2)", f"({'1, ' * 100})", "(True, 2)", "(2.0, 3)", "(10**30, 2)"])
@pytest.mark.parametrize("open_table", [stream, read])
def test_a_header_with_an_impossible_shape_is_an_error(tmp_path: Path, open_table, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(501) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(800))
    with pytest.raises(InputError, match=r"a\.npy: is not a readable NPY file: "):
        open_table(tmp_path / "a.npy")
