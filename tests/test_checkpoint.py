"""Checkpoints: the same bits after an interruption at any moment, and what is refused in one line."""

from __future__ import annotations

import errno
import io
import json
import logging
import pickle
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_command

from gdbackends import LinearRegression, fit
from gdbackends.backends import Backend, get_backend
from gdbackends.descent import Fit, checkpoint, driver, rates
from gdbackends.descent.checkpoint import Checkpoint, read_checkpoint
from gdbackends.descent.fingerprint import describe_data, fingerprint
from gdbackends.errors import InputError
from gdbackends.objectives import Logistic, parse_loss
from gdbackends.reading import stream
from gdbackends.schedules import cosine, inverse_time

GENERATOR = np.random.default_rng(3)
X = GENERATOR.normal(size=(40, 3)) * [1.0, 5.0, 0.2] + [0.0, 30.0, -4.0]
Y = X @ [2.0, -1.0, 7.0] + 3.0 + GENERATOR.normal(size=40)
FIT = {"learning_rate": 0.01, "steps": 240, "tolerance": 0}


class Interrupted(Exception):
    """What stands for the end of the process."""


def interrupted(at: int, *data: Any, path: Path, **arguments: Any) -> None:
    """Begin or resume a fit that ends once the checkpoint of so many steps has been written."""
    real = Checkpoint.offer

    def offer(self: Checkpoint, theta: Any, progress: Any, order: Any) -> None:
        real(self, theta, progress, order)
        if progress.steps >= at:
            raise Interrupted(str(progress.steps))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "offer", offer)
        with pytest.raises(Interrupted):
            fit(*data, checkpoint=path, every=0, resume=True, **arguments)


def resumed(*data: Any, path: Path, **arguments: Any) -> Fit:
    return fit(*data, checkpoint=path, every=0, resume=True, **arguments)


def assert_same(a: Fit, b: Fit) -> None:
    assert a.theta.dtype == b.theta.dtype
    assert a.losses.dtype == b.losses.dtype
    assert a.theta.tobytes() == b.theta.tobytes()
    assert a.losses.tobytes() == b.losses.tobytes()
    for name in ("loss", "steps", "stop", "gradient_norm", "learning_rate", "note", "plan", "labels", "names"):
        assert getattr(a, name) == getattr(b, name), name


@pytest.mark.parametrize("batch_size", [None, 7])
def test_the_same_bits_on_every_backend(backend: Backend, batch_size: int | None, tmp_path: Path) -> None:
    how = FIT | {"backend": backend, "batch_size": batch_size, "learning_rate": "auto"}
    whole, path = fit(X, Y, **how), tmp_path / "run.npz"
    for at in (8, 60, 100):
        interrupted(at, X, Y, path=path, **how)
        assert at <= read_checkpoint(path).progress.steps < 240
    assert_same(resumed(X, Y, path=path, **how), whole)
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_same_bits_from_a_file(backend64: Backend, dtype: str, batch_size: int | None, tmp_path: Path) -> None:
    backend = get_backend(backend64.name, dtype=dtype)
    np.save(tmp_path / "table.npy", np.column_stack((X, Y)))
    table, path = stream(tmp_path / "table.npy"), tmp_path / "run.npz"
    how = FIT | {"backend": backend, "batch_size": batch_size, "steps": 60}
    whole = fit(table.X, table.y, **how)
    assert "streamed" in whole.plan
    interrupted(12, table.X, table.y, path=path, **how)
    assert_same(resumed(table.X, table.y, path=path, **how), whole)


@pytest.mark.parametrize(
    "how",
    [
        {"tolerance": 1e-6, "learning_rate": 0.05, "steps": 5000},
        {"tolerance": None, "learning_rate": 0.4, "steps": 5000},
        {"standardize": False, "learning_rate": 1e-3, "theta0": [1.0, 2.0, 3.0, 4.0], "seed": 5},
        {"learning_rate": cosine(0.1, 240)},
        {"learning_rate": inverse_time(0.1, 0.01), "batch_size": 9},
        {"objective": LinearRegression(convention="sum", l2=0.1), "learning_rate": 1e-4},
    ],
)
def test_the_same_bits_with_other_settings(how: dict[str, Any], tmp_path: Path) -> None:
    how = FIT | {"backend": "numpy"} | how
    whole, path = fit(X, Y, **how), tmp_path / "run.npz"
    interrupted(8, X, Y, path=path, **how)
    assert_same(resumed(X, Y, path=path, **how), whole)


def test_labels_of_text(tmp_path: Path) -> None:
    labels = np.where(np.median(Y) < Y, "yes", "no")
    how = FIT | {"backend": "numpy", "objective": LinearRegression(row_loss=Logistic(), l2=0.1)}
    interrupted(30, X, labels, path=tmp_path / "run.npz", **how)
    with pytest.raises(InputError, match="other numbers"):
        resumed(X, labels[::-1], path=tmp_path / "run.npz", **how)
    assert_same(resumed(X, labels.tolist(), path=tmp_path / "run.npz", **how), fit(X, labels, **how))


@dataclass(frozen=True)
class Quartic:
    """A function of one number for both features, and no intercept."""

    power: int = 4

    def loss(self, theta: Any, X: Any, y: Any) -> Any:
        return ((theta[0] * X.sum(axis=1) - y) ** self.power).mean()

    def gradient(self, theta: Any, X: Any, y: Any) -> Any:
        sums = X.sum(axis=1)
        return np.array([(self.power * (theta[0] * sums - y) ** (self.power - 1) * sums).mean()])


def test_an_objective_of_ones_own(tmp_path: Path) -> None:
    small, target = X[:, :2] / 40, Y / 100
    how = FIT | {"backend": "numpy", "objective": Quartic(), "standardize": False, "theta0": [0.1]}
    interrupted(30, small, target, path=tmp_path / "run.npz", **how)
    with pytest.raises(InputError, match=r"objective .*Quartic\{'power': 4\}, got .*\{'power': 2\}"):
        resumed(small, target, path=tmp_path / "run.npz", **(how | {"objective": Quartic(2)}))
    assert_same(resumed(small, target, path=tmp_path / "run.npz", **how), fit(small, target, **how))


def test_rates_that_are_too_many_to_keep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rates, "_LAID_OUT", 100)
    how = FIT | {"backend": "numpy", "learning_rate": cosine(0.1, 240)}
    interrupted(30, X, Y, path=tmp_path / "run.npz", **how)
    assert read_checkpoint(tmp_path / "run.npz").rates is None
    with pytest.raises(InputError, match="another learning_rate"):
        resumed(X, Y, path=tmp_path / "run.npz", **(how | {"learning_rate": cosine(0.2, 240)}))
    assert_same(resumed(X, Y, path=tmp_path / "run.npz", **how), fit(X, Y, **how))


@pytest.mark.parametrize("batch_size", [None, 8])
def test_another_backend_continues(batch_size: int | None, require, tmp_path: Path) -> None:
    how = FIT | {"batch_size": batch_size, "learning_rate": "auto"}
    whole, path = fit(X, Y, backend="numpy", **how), tmp_path / "run.npz"
    for at, name in ((8, "numpy"), (60, "jax"), (100, "torch")):
        require(name)
        interrupted(at, X, Y, path=path, backend=name, **how)
    ended = resumed(X, Y, path=path, backend="numpy", **how)
    np.testing.assert_allclose(ended.theta, whole.theta, rtol=1e-12)
    np.testing.assert_allclose(ended.losses, whole.losses, rtol=1e-12)
    assert ended.learning_rate == whole.learning_rate


@pytest.mark.parametrize("learning_rate", [0.05, 1e3])
def test_a_finished_fit_returns_at_once(learning_rate: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    how = FIT | {"backend": "numpy", "tolerance": 1e-6, "learning_rate": learning_rate, "steps": 5000}
    ended = fit(X, Y, checkpoint=str(tmp_path / "run.npz"), **how)
    assert ended.steps < 5000
    written = (tmp_path / "run.npz").stat().st_mtime_ns
    monkeypatch.setattr(driver, "_advance", None)
    assert_same(resumed(X, Y, path=tmp_path / "run.npz", **how), ended)
    assert (tmp_path / "run.npz").stat().st_mtime_ns == written


def test_it_is_written_at_times_and_at_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real, clock, steps = Checkpoint._write, [0.0], []

    def write(self: Checkpoint, theta: Any, progress: Any, order: Any) -> None:
        real(self, theta, progress, order)
        steps.append(progress.steps)

    def monotonic() -> float:
        clock[0] += 1
        return clock[0]

    monkeypatch.setattr(Checkpoint, "_write", write)
    monkeypatch.setattr(checkpoint.time, "monotonic", monotonic)
    how = FIT | {"backend": "numpy"}
    fit(X, Y, checkpoint=tmp_path / "a.npz", every=2.5, **how)
    assert steps == [4, 32, 240]
    steps.clear()
    fit(X, Y, checkpoint=tmp_path / "b.npz", every=1e6, **how)
    assert steps == [240]


@pytest.mark.parametrize("tolerance", [0, 1e-9])
@pytest.mark.parametrize("short", [64, 100])
def test_more_steps(short: int, tolerance: float, backend64: Backend, tmp_path: Path) -> None:
    """The check after the last step of the shorter fit is none of the longer one."""
    how = FIT | {"backend": backend64, "tolerance": tolerance}
    fit(X, Y, checkpoint=tmp_path / "run.npz", **(how | {"steps": short}))
    assert_same(resumed(X, Y, path=tmp_path / "run.npz", **how), fit(X, Y, **how))
    with pytest.raises(InputError, match="written with steps 240, got 239"):
        resumed(X, Y, path=tmp_path / "run.npz", **(how | {"steps": 239}))


def test_more_steps_of_batches_need_whole_epochs(tmp_path: Path) -> None:
    how = FIT | {"backend": "numpy", "batch_size": 10}
    for short in (100, 102):
        fit(X, Y, checkpoint=tmp_path / f"{short}.npz", **(how | {"steps": short}))
    assert_same(resumed(X, Y, path=tmp_path / "100.npz", **how), fit(X, Y, **how))
    with pytest.raises(InputError, match="within an epoch of 4 steps, after 102"):
        resumed(X, Y, path=tmp_path / "102.npz", **how)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"batch_size": 64}, "batch_size None, got 64"),
        ({"seed": 1}, "seed 0, got 1"),
        ({"steps": 100}, "steps 240, got 100"),
        ({"steps": 300}, r"steps 240, got 300; give the same \(more need a learning rate that is a number\), or"),
        ({"standardize": False}, "standardize True, got False"),
        ({"tolerance": None}, "tolerance 0, got 1e-12"),
        ({"learning_rate": 0.01}, "learning_rate auto, got 0.01"),
        ({"learning_rate": cosine(0.1, 9)}, "learning_rate auto, got a schedule"),
        ({"theta0": [0.0, 0.0, 0.0, 1.0]}, "another theta0"),
        ({"objective": LinearRegression(l2=0.1)}, "l2 0.0, got 0.1"),
        ({"objective": LinearRegression(convention="half")}, "convention mean, got half"),
        ({"objective": LinearRegression(row_loss=parse_loss("huber:1"))}, "objective squared, got huber:1.0"),
        ({"backend": get_backend("numpy", dtype="float32")}, "dtype float64, got float32"),
    ],
)
def test_other_settings_are_refused(other: dict[str, Any], message: str, tmp_path: Path) -> None:
    how = FIT | {"backend": "numpy", "learning_rate": "auto"}
    interrupted(30, X, Y, path=tmp_path / "run.npz", **how)
    before = (tmp_path / "run.npz").read_bytes()
    with pytest.raises(InputError, match=f"run.npz: the checkpoint was written with {message}") as refused:
        resumed(X, Y, path=tmp_path / "run.npz", **(how | other))
    assert "\n" not in str(refused.value)
    assert (tmp_path / "run.npz").read_bytes() == before


def test_other_data_are_refused(tmp_path: Path) -> None:
    how, path = FIT | {"backend": "numpy"}, tmp_path / "run.npz"
    interrupted(30, X, Y, path=path, **how)
    changed, swapped = X.copy(), X.copy()
    changed[7, 1] = np.nextafter(changed[7, 1], np.inf)
    swapped[[3, 4]] = swapped[[4, 3]]
    for other in ((changed, Y), (swapped, Y), (X, Y + 1e-9), (X[::-1], Y[::-1]), (X[:, ::-1], Y), (-X, Y)):
        with pytest.raises(InputError, match="other numbers, or of another order of rows; give the same data"):
            resumed(*other, path=path, **how)
    for other in ((X[:-1], Y[:-1]), (X[:, :2], Y)):
        with pytest.raises(InputError, match="is of 40 rows and 3 features, got"):
            resumed(*other, path=path, **how)


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    path.write_text("precious")
    with pytest.raises(InputError, match=r"exists; continue from it \(resume\), or give another file"):
        fit(X, Y, backend="numpy", checkpoint=path)
    with pytest.raises(InputError, match="damaged, or not a checkpoint"):
        resumed(X, Y, backend="numpy", path=path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resume": True}, "resume needs the checkpoint"),
        ({"checkpoint": "run.npz", "resume": 1}, "resume must be True or False"),
        ({"checkpoint": "run.npz", "every": -1}, "every must be a number of seconds of at least 0, got -1"),
        ({"checkpoint": "run.npz", "every": float("nan")}, "every must be"),
        ({"checkpoint": "run.npz", "every": True}, "every must be"),
        ({"checkpoint": 3}, "checkpoint must be the name of a file, got 3"),
        ({"checkpoint": "."}, "must be a file"),
        ({"checkpoint": "/dev/null"}, "must be a file"),
        ({"checkpoint": "absent/run.npz"}, "in no existing folder"),
        ({"checkpoint": "/proc/run.npz"}, "cannot be written"),
        ({"checkpoint": "run.npz", "record_path": True}, "does not hold the path"),
    ],
)
def test_what_cannot_be_used_is_refused(
    arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as refused:
        fit(X, Y, backend="numpy", **arguments)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def saved_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("theta", np.zeros(3)),
        ("theta", np.zeros((2, 2))),
        ("theta", np.zeros(4, "float32")),
        ("theta", np.zeros(4, ">f8")),
        ("theta", np.array(["a"] * 4)),
        ("losses", np.zeros(1000)),
        ("losses", np.zeros((32, 1))),
        ("losses", np.zeros(32, "int64")),
        ("checks", np.zeros((0, 4))),
        ("checks", np.zeros((1, 3))),
        ("checks", np.array([[0, 1, 1, 1], [0.5, 1, 1, 1]])),
        ("checks", np.array([[0, 1, 1, 1], [99, 1, 1, 1.0]])),
        ("checks", np.array([[np.nan] * 4])),
        ("center", np.zeros(2)),
        ("center", np.full(3, np.nan)),
        ("spread", np.zeros(3)),
        ("spread", np.full(3, "x")),
        ("rates", np.zeros(7)),
        ("rates", np.array(-1.0)),
        ("rates", np.array(0.1, "float32")),
        ("header", np.zeros(3, np.uint8)),
        ("header", np.frombuffer(b"[" * 100_000, np.uint8)),
        ("header", np.array(3)),
        ("header", None),
        ("theta", None),
        ("checks", None),
        ("spread", None),
        ("rates", None),
    ],
)
def test_odd_arrays_are_refused(name: str, array: np.ndarray | None, tmp_path: Path) -> None:
    how, path = FIT | {"backend": "numpy"}, tmp_path / "run.npz"
    interrupted(30, X, Y, path=path, **how)
    arrays = saved_arrays(path) | {name: array}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=r"damaged, or not a checkpoint \(.*\); give another file") as refused:
        resumed(X, Y, path=path, **how)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", "other", "damaged"),
        ("schema", 2, "another version of gdbackends"),
        ("schema", [1], "another version of gdbackends"),
        ("settings", None, "damaged"),
        ("settings", {}, "damaged"),
        ("settings", 7, "damaged"),
        ("data", {"rows": "x"}, "damaged"),
        ("data", {"rows": -1, "features": 3, "fingerprint": ""}, "damaged"),
        ("schedule", 1, "damaged"),
        ("order", None, "damaged"),
        ("order", {"bit_generator": "MT19937", "state": 1}, "damaged"),
        ("order", {"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}}, "damaged"),
        ("order", {"bit_generator": "PCG64", "state": "x", "has_uint32": 0, "uinteger": 0}, "damaged"),
        ("stop", "TIRED", "damaged"),
        ("stop", 1, "damaged"),
    ],
)
def test_odd_headers_are_refused(key: str, value: Any, message: str, tmp_path: Path) -> None:
    how, path = FIT | {"backend": "numpy"}, tmp_path / "run.npz"
    interrupted(30, X, Y, path=path, **how)
    arrays = saved_arrays(path)
    header = json.loads(bytes(arrays["header"])) | {key: value}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message) as refused:
        resumed(X, Y, path=path, **how)
    assert "\n" not in str(refused.value)


def test_damaged_files_are_refused_or_harmless(tmp_path: Path) -> None:
    """A changed byte of a file is noticed, unless it means nothing, such as a date."""
    how, path = FIT | {"backend": "numpy"}, tmp_path / "run.npz"
    interrupted(30, X, Y, path=path, **how)
    whole, expected = path.read_bytes(), fit(X, Y, **how)
    damaged = [whole[:size] for size in range(0, len(whole), 97)]
    damaged += [bytes([*whole[:k], whole[k] ^ 0x15, *whole[k + 1 :]]) for k in range(0, len(whole), 13)]
    foreign = io.BytesIO()
    np.save(foreign, X)
    damaged += [b"", foreign.getvalue(), pickle.dumps(X), b"PK\x03\x04", b"x,y\n1,2\n", whole + whole]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            ended = resumed(X, Y, path=path, **how)
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert_same(ended, expected)
    assert refused > 0.8 * len(damaged)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    with path.open("wb") as file:
        np.savez(file, header=np.array([{"a": 1}], object))
    with pytest.raises(InputError, match="Object arrays cannot be loaded"):
        resumed(X, Y, backend="numpy", path=path)


def test_a_fit_killed_at_random_moments(tmp_path: Path) -> None:
    script = """
import numpy as np, sys
from gdbackends import fit
data = np.load("data.npz")
fit(data["X"], data["y"], backend="numpy", learning_rate=1e-4, steps=60000, batch_size=10, tolerance=0,
    checkpoint="run.npz", every=0, resume=True)
"""
    np.savez(tmp_path / "data.npz", X=X, y=Y)
    moments, path, steps = random.Random(1), tmp_path / "run.npz", []
    for _ in range(5):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and (not path.exists() or path.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        assert process.communicate()[1] == ""
        steps.append(read_checkpoint(path).progress.steps)
    assert steps == sorted(steps)
    assert 0 < steps[0] < steps[-1]
    how = {"backend": "numpy", "learning_rate": 1e-4, "steps": 60000, "batch_size": 10, "tolerance": 0}
    assert_same(resumed(X, Y, path=path, **how), fit(X, Y, **how))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.npz", "run.npz"]  # and nothing else is left


def test_a_full_disk_does_not_end_the_fit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    how, path = FIT | {"backend": "numpy"}, tmp_path / "run.npz"
    interrupted(30, X, Y, path=path, **how)
    before, real = path.read_bytes(), checkpoint.replace_file

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "replace_file", full)
    with caplog.at_level(logging.WARNING):
        ended = resumed(X, Y, path=path, **how)
    assert caplog.messages == [f"{path}: cannot be written: no space left on device; the fit goes on"]
    assert ended.message.endswith("The checkpoint could not be written: no space left on device.")
    whole = fit(X, Y, **how)
    assert (ended.theta.tobytes(), path.read_bytes()) == (whole.theta.tobytes(), before)
    monkeypatch.setattr(checkpoint, "replace_file", real)
    assert_same(resumed(X, Y, path=path, **how), whole)


def test_a_symbolic_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.npz").symlink_to("folder/run.npz")
    fit(X, Y, backend="numpy", checkpoint=tmp_path / "link.npz", **FIT)
    assert (tmp_path / "link.npz").is_symlink()
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["run.npz"]


def test_the_fingerprint_does_not_depend_on_how_rows_are_divided(tmp_path: Path) -> None:
    whole = fingerprint([(X, Y)])
    assert whole == fingerprint([(X[:13], Y[:13]), (X[13:], Y[13:])])
    parts = [fingerprint([(X[a:b], Y[a:b])], a) for a, b in ((0, 1), (1, 30), (30, 40))]
    assert whole == sum(parts) % 2**64
    np.save(tmp_path / "table.npy", np.column_stack((X, Y)))
    table = stream(tmp_path / "table.npy")
    known = describe_data(X, Y, LinearRegression())
    assert known == describe_data(table.X, table.y, LinearRegression())
    assert known == describe_data(np.asfortranarray(X), Y.astype(">f8"), LinearRegression())
    assert known == {"rows": 40, "features": 3, "fingerprint": f"{whole:016x}"}


def test_the_fingerprint_of_small_whole_numbers() -> None:
    """Their bits end in many zeros; still no two of all tables of a few rows are the same."""
    tables = np.array(np.meshgrid(*[range(3)] * 8)).reshape(8, -1).T.reshape(-1, 4, 2).astype(float)
    seen = {fingerprint([(table[:, :1], table[:, 1])]) for table in tables}
    assert len(seen) == 3**8


class ThreadRanks:
    """Processes that are threads."""

    def __init__(self, rank: int, size: int, board: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self._board, self._barrier = rank, size, board, barrier

    def gathered(self, array: np.ndarray) -> np.ndarray:
        self._board[self.rank] = np.array(array)
        self._barrier.wait(20)
        every = np.stack(self._board)
        self._barrier.wait(20)
        return every

    def mean(self, parts: Any, share: float) -> Any:
        return tuple(sum(self.gathered(share * np.asarray(part, np.float64))) for part in parts)

    def check(self, backend: Any) -> None:
        pass

    def sharded(self, backend: Any, share: Any) -> Any:
        return None


def on_ranks(size: int, work: Any) -> list[Any]:
    """Return work(ranks, rows) of every process."""
    board, barrier, found = [None] * size, threading.Barrier(size), [None] * size

    def run(rank: int) -> None:
        ranks = ThreadRanks(rank, size, board, barrier)
        try:
            found[rank] = work(ranks, slice(40 * rank // size, 40 * (rank + 1) // size))
        except Exception as error:
            found[rank] = error
            if not isinstance(error, InputError | Interrupted):
                barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_other_numbers_of_processes_continue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(driver, "advice", lambda *_: "")  # a cached property, whose lock is that of all threads
    how, path = FIT | {"backend": "numpy", "batch_size": 8}, tmp_path / "run.npz"
    interrupted(30, X, Y, path=path, **how)
    whole = fit(X, Y, **how)

    def resume(ranks: ThreadRanks, rows: slice) -> Fit:
        return resumed(X[rows], Y[rows], path=path, ranks=ranks, **how)

    for ended in on_ranks(3, resume):
        np.testing.assert_allclose(ended.theta, whole.theta, rtol=1e-12)
        np.testing.assert_allclose(ended.losses, whole.losses, rtol=1e-12)
    assert resumed(X, Y, path=path, **how).steps == 240

    def exchange(ranks: ThreadRanks, rows: slice) -> Fit:
        rows = slice(40 - rows.stop, 40 - rows.start)
        return resumed(X[rows], Y[rows], path=path, ranks=ranks, **how)

    assert all("another order of rows" in str(error) for error in on_ranks(2, exchange))
    path.write_text("damaged")
    assert all("damaged" in str(error) for error in on_ranks(2, resume))


def test_the_command_line(tmp_path: Path) -> None:
    how = ["fit", "--steps", "300", "--learning-rate", "0.01", "--tolerance", "0", "--json"]
    whole = run_command(*how)
    begun = run_command(*how, "--checkpoint", "run.npz", "--every", "0s", "--resume", cwd=tmp_path)
    assert begun.stderr == "run.npz does not exist yet; starting from the beginning\n"
    again = run_command(*how, "--checkpoint", "run.npz", "--resume", cwd=tmp_path)
    keys = ("coefficients", "intercept", "loss", "steps", "stop")
    for shown in (begun, again):
        assert shown.returncode == 0
        assert [json.loads(shown.stdout)[key] for key in keys] == [json.loads(whole.stdout)[key] for key in keys]
    assert again.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "old.npz"], "--checkpoint old.npz exists; add --resume, or give another file"),
        (["--checkpoint", "old.npz", "--resume"], "old.npz: is damaged, or not a checkpoint"),
        (["--resume"], "--resume needs the file to continue from; add --checkpoint FILE"),
        (["--checkpoint", "a.npz", "--every", "soon"], "--every must be a time such as 30, 30s, 5m or 1h, got 'soon'"),
        (["--checkpoint", "a", "--save", "a"], "--save and --checkpoint must be different files, got a for both"),
        (["--checkpoint", "."], "is a folder"),
        (["--checkpoint", "a.npz", "--objective", "own.py:loss"], "--checkpoint needs a bundled loss"),
    ],
)
def test_misuse_of_the_command_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "old.npz").write_text("old")
    (tmp_path / "own.py").write_text("def loss(theta, X, y):\n    return ((X @ theta - y) ** 2).mean()\n")
    shown = run_command("fit", *arguments, cwd=tmp_path)
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (2, "", 1)
    assert message in shown.stderr
    assert (tmp_path / "old.npz").read_text() == "old"
