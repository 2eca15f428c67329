"""Several processes of one fit: the same numbers as one, however the rows are divided.

Threads stand for processes here; tests/test_processes.py runs the engines themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from gdbackends import fit, get_backend
from gdbackends.backends import Backend
from gdbackends.comparison.trajectory import end_bound
from gdbackends.descent import ProblemOptions, TableProblem, descend, learning_rates, prepare
from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives import LinearModel, parse_loss
from gdbackends.ranks import RelayedError, Share, all_or_none, check_same, exchanged, flat, own_rows, shared, split
from gdbackends.reading import stream
from gdbackends.streaming import Rows, over_rows

ROWS = 1003
SHARDS = [(501, 502), (1, 1002), (400, 301, 302)]
LOSSES = ["squared", "absolute", "huber:1.5", "logcosh", "quantile:0.9", "logistic", "poisson"]


@pytest.fixture(autouse=True)
def threads_compute_properties_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 computes a cached property of one object at a time, while the others wait in the exchange."""
    spectrum = vars(TableProblem)["spectrum"]
    if hasattr(spectrum, "lock"):
        monkeypatch.setattr(spectrum, "lock", nullcontext())


@dataclass(eq=False)
class Together:
    """What threads exchange."""

    barrier: Barrier
    given: list[Any]


class ThreadRanks:
    """A thread that stands for a process."""

    def __init__(self, rank: int, size: int, together: Together) -> None:
        self.rank, self.size, self.together = rank, size, together

    def gathered(self, array: np.ndarray) -> np.ndarray:
        self.together.given[self.rank] = np.array(array)
        self.together.barrier.wait(5)
        found = np.stack(self.together.given)
        self.together.barrier.wait(5)
        return found

    def mean(self, parts: tuple[Any, ...], share: float) -> tuple[Any, ...]:
        whole = self.gathered(flat([np.asarray(part) for part in parts]) * share).sum(0)
        found = split(whole, [np.asarray(part) for part in parts])
        if isinstance(parts[0], (np.ndarray, np.generic)):
            return found
        import torch

        return tuple(torch.from_numpy(np.array(part)) for part in found)

    def check(self, backend: Any) -> None:
        pass

    def sharded(self, backend: Any, share: Share) -> None:
        pass


def on_ranks(work: Callable[..., Any], counts: tuple[int, ...], kind: type = ThreadRanks) -> list[Any]:
    """Return what work(ranks, rows) returns in each of as many threads as there are counts; errors are results."""
    together = Together(Barrier(len(counts)), [None] * len(counts))
    ends = np.cumsum([0, *counts])

    def run(k: int) -> Any:
        try:
            return work(kind(k, len(counts), together), slice(ends[k], ends[k + 1]))
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(counts)) as pool:
        return list(pool.map(run, range(len(counts))))


def table(loss: str = "squared", rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(rows, 5)) * [1, 2, 0.5, 3, 1] + [0, 1, 0, -2, 5]
    z = 0.3 * X @ [1.0, -1, 0.5, 0.2, 0.1] + rng.normal(size=rows)
    if loss == "logistic":
        return X, np.where(z > 0, 2.0, -1.0)
    return X, rng.poisson(np.exp(np.minimum(z, 2))).astype(float) if loss == "poisson" else z


@pytest.mark.parametrize("counts", SHARDS)
@pytest.mark.parametrize("batch", [None, 32])
@pytest.mark.parametrize("loss", LOSSES)
def test_fits_are_those_of_one_process(loss: str, batch: int | None, counts: tuple[int, ...]) -> None:
    X, y = table(loss)
    arguments = {"objective": LinearModel(row_loss=parse_loss(loss), l2=0.01), "steps": 60, "batch_size": batch}
    arguments |= {"learning_rate": 0.001} if loss == "poisson" and batch else {}
    alone = fit(X, y, backend="numpy", **arguments)
    found = on_ranks(lambda ranks, own: fit(X[own], y[own], backend="numpy", ranks=ranks, **arguments), counts)
    for one in found:
        assert one.stop is alone.stop
        assert one.labels == alone.labels
        np.testing.assert_array_equal(one.theta, found[0].theta)  # the same bits everywhere
        np.testing.assert_allclose(one.theta, alone.theta, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(one.losses, alone.losses, rtol=1e-9)
        assert one.learning_rate == pytest.approx(alone.learning_rate, rel=1e-12)


def ratio_of_bound(counts: tuple[int, ...], kind: type, dtype: str, batch: int | None) -> float:
    """Return the distance of the fit of several from that of one, over the bound of its rounding."""
    X, y = table()
    backend = get_backend("numpy", dtype=dtype)
    options = ProblemOptions(batch, standardize=False)
    problem = prepare(X, y, backend, options=options)
    rates = learning_rates(problem, 0.002, 200)
    alone = descend(problem, rates)

    def work(ranks: Any, own: slice) -> Any:
        return descend(prepare(X[own], y[own], backend, options=replace(options, ranks=ranks)), rates)

    found = on_ranks(work, counts, kind)
    minimum = problem.objective.minimum(problem.X, problem.y.astype(float), problem.theta0.astype(float))
    bound = end_bound(problem, minimum, rates, 200)
    return float(np.linalg.norm(found[0].theta.astype(float) - alone.theta.astype(float))) / bound


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch", [None, 32])
def test_within_the_bound_of_rounding(batch: int | None, dtype: str) -> None:
    assert ratio_of_bound((501, 502), ThreadRanks, dtype, batch) <= 1


class Unweighted(ThreadRanks):
    """The classic mistake: the mean of means."""

    def mean(self, parts: tuple[Any, ...], share: float) -> tuple[Any, ...]:
        return super().mean(parts, 1 / self.size)


class Single(ThreadRanks):
    """Adds in float32."""

    def mean(self, parts: tuple[Any, ...], share: float) -> tuple[Any, ...]:
        return super().mean(tuple(np.asarray(part, np.float32).astype(float) for part in parts), share)


class Forgetful(ThreadRanks):
    """Leaves out what the last process has."""

    def mean(self, parts: tuple[Any, ...], share: float) -> tuple[Any, ...]:
        return super().mean(parts, 0.0 if self.rank == self.size - 1 else share)


@pytest.mark.parametrize("kind", [Unweighted, Single, Forgetful])
def test_mistakes_exceed_the_bound(kind: type) -> None:
    assert not ratio_of_bound((501, 502), kind, "float64", None) <= 1


def test_what_is_known_before_the_first_step_is_that_of_one_process() -> None:
    for loss in ("quantile:0.9", "absolute", "poisson", "logistic"):
        X, y = table(loss)
        objective = LinearModel(row_loss=parse_loss(loss))
        alone = prepare(X, y, get_backend("numpy"), objective)

        def work(ranks: Any, own: slice, X=X, y=y, objective=objective) -> Any:
            return prepare(X[own], y[own], get_backend("numpy"), objective, ProblemOptions(ranks=ranks))

        for found in on_ranks(work, (7, 600, 396)):
            np.testing.assert_allclose(found.theta0, alone.theta0, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(found.scaling.center, alone.scaling.center, rtol=1e-13)
            np.testing.assert_allclose(found.scaling.spread, alone.scaling.spread, rtol=1e-13)
            assert found.rows == ROWS


def test_pytorch_takes_the_usual_way(require) -> None:
    require("torch")
    X, y = table()
    for batch in (None, 32):
        arguments = {"steps": 40, "batch_size": batch, "backend": "torch"}
        alone = fit(X, y, **arguments)
        found = on_ranks(lambda ranks, own, a=arguments: fit(X[own], y[own], ranks=ranks, **a), (300, 703))
        np.testing.assert_allclose(found[1].theta, alone.theta, rtol=1e-10)
        np.testing.assert_array_equal(found[0].theta, found[1].theta)


def text_of(results: list[Any]) -> list[str]:
    assert all(isinstance(result, InputError) for result in results), results
    return [str(result) for result in results]


def test_an_error_of_one_is_known_to_all() -> None:
    X, y = table()
    broken = X.copy()
    broken[900, 2] = np.nan
    first, second = text_of(on_ranks(lambda r, own: fit(broken[own], y[own], backend="numpy", ranks=r), (501, 502)))
    assert second == "X has 1 missing or non-finite values, the first X[399, 2] = nan; drop or fill those rows"
    assert first == f"rank 1: {second}"

    def narrow(ranks: Any, own: slice) -> Any:
        return fit(X[own, : 5 - ranks.rank], y[own], backend="numpy", ranks=ranks)

    for text in text_of(on_ranks(narrow, (501, 502))):
        assert text == (
            "all processes must have the same number of features, got 5 on rank 0 and 4 on rank 1; give all the same"
        )


@pytest.mark.parametrize(
    "different",
    [
        {"steps": (10, 11)},
        {"learning_rate": ("auto", 0.1)},
        {"batch_size": (8, 16)},
        {"seed": (0, 1)},
        {"standardize": (True, False)},
        {"theta0": (None, np.zeros(6))},
        {"objective": (LinearModel(), LinearModel(l2=1.0))},
        {"on_check": (None, print)},
        {"backend": (get_backend("numpy"), get_backend("numpy", dtype="float32"))},
    ],
    ids=lambda d: next(iter(d)),
)
def test_different_settings_are_refused(different: dict[str, tuple[Any, Any]]) -> None:
    X, y = table()
    ((name, values),) = different.items()

    def work(ranks: Any, own: slice) -> Any:
        return fit(X[own], y[own], ranks=ranks, **({"backend": "numpy"} | {name: values[ranks.rank]}))

    for text in text_of(on_ranks(work, (501, 502))):
        assert text.startswith("all processes must have the same ")
        assert "\n" not in text


def test_labels_are_those_of_all() -> None:
    X, _ = table()
    y = np.array(["no"] * 501 + ["no", "yes"] * 251)  # the first process has one label only
    objective = LinearModel(row_loss=parse_loss("logistic"))
    alone = fit(X, y, backend="numpy", objective=objective, steps=5)
    found = on_ranks(
        lambda r, own: fit(X[own], y[own], backend="numpy", objective=objective, steps=5, ranks=r), (501, 502)
    )
    for one in found:
        assert one.labels == alone.labels == ("no", "yes")
        np.testing.assert_allclose(one.theta, alone.theta, rtol=1e-12)
    y[1000] = "perhaps"
    errors = on_ranks(lambda r, own: fit(X[own], y[own], backend="numpy", objective=objective, ranks=r), (501, 502))
    for text in text_of(errors):
        assert "two labels" in text


def test_the_rows_of_a_file_are_divided(tmp_path) -> None:
    X, y = table()
    np.save(tmp_path / "t.npy", np.column_stack((X, y)))
    alone = fit(X, y, backend="numpy", steps=30)
    for in_memory in (True, False):

        def work(ranks: Any, own: slice, in_memory=in_memory) -> Any:
            data = stream(tmp_path / "t.npy")
            part = replace(data.X.part(own), in_memory=in_memory)
            return fit(part, part.targets, backend="numpy", steps=30, ranks=ranks)

        found = on_ranks(work, (400, 603))
        np.testing.assert_allclose(found[0].theta, alone.theta, rtol=1e-11)
        assert "2 processes" in found[0].plan or not in_memory


def test_a_process_reads_its_own_rows_only(tmp_path, monkeypatch) -> None:
    from gdbackends.streaming.file_views import FileView

    X, y = table(rows=200_000)
    np.save(tmp_path / "t.npy", np.column_stack((X, y)))
    read: list[int] = []
    original = FileView.read

    def counted(view: FileView, descriptor: int, start: int, rows: int, buffer: np.ndarray) -> np.ndarray:
        read.append(view.span(rows))
        return original(view, descriptor, start, rows, buffer)

    monkeypatch.setattr(FileView, "read", counted)
    part = stream(tmp_path / "t.npy").X.part(slice(50_000, 100_000))
    loaded, _ = part.loaded()
    np.testing.assert_array_equal(loaded, X[50_000:100_000])
    assert sum(read) <= 1.05 * (50_000 * 6 * 8)


@pytest.mark.parametrize("span", [(0, 100), (100, 250), (130, 131), (349, 1003), (0, 1003), (1002, 1003)])
def test_a_part_of_parquet_decodes_its_row_groups_only(tmp_path, monkeypatch, span: tuple[int, int]) -> None:
    pl = pytest.importorskip("polars")
    from gdbackends.streaming import parquet

    X, y = table()
    pl.DataFrame(np.column_stack((X, y))).write_parquet(tmp_path / "t.parquet", row_group_size=100)
    groups: set[int] = set()
    original = parquet.decoded
    monkeypatch.setattr(parquet, "decoded", lambda p, group, *a: (groups.add(group), original(p, group, *a))[1])
    rows = slice(*span)
    loaded, target = stream(tmp_path / "t.parquet").X.part(rows).loaded()
    np.testing.assert_array_equal(loaded, X[rows])
    np.testing.assert_array_equal(target, y[rows])
    assert groups == set(range(span[0] // 100, -(-span[1] // 100)))


def test_missing_values_of_a_file_are_found_by_their_row_among_all(tmp_path) -> None:
    X, y = table()
    X[700, 3] = np.inf
    np.save(tmp_path / "t.npy", np.column_stack((X, y)))

    def work(ranks: Any, own: slice) -> Any:
        part = stream(tmp_path / "t.npy").X.part(own)
        return fit(part, part.targets, backend="numpy", ranks=ranks)

    first, second = on_ranks(work, (501, 502))
    assert isinstance(first, RelayedError)
    assert "row 700 (from 0), column 'c4'" in str(second)


def test_batches_of_a_file_that_is_not_in_memory_are_refused(tmp_path) -> None:
    X, y = table()
    np.save(tmp_path / "t.npy", np.column_stack((X, y)))

    def work(ranks: Any, own: slice) -> Any:
        part = stream(tmp_path / "t.npy").X.part(own)
        return fit(part, part.targets, backend="numpy", batch_size=8, ranks=ranks)

    for text in text_of(on_ranks(work, (501, 502))):
        assert text == "batches over several processes need the rows in memory; use all rows, or more processes"


def test_rows_are_divided_evenly_and_wholly() -> None:
    @dataclass
    class At:
        rank: int
        size: int

    for rows in (1, 2, 7, 1003):
        for size in (1, 2, 3, 8):
            parts = [own_rows(rows, At(rank, size)) for rank in range(size)]  # pyright: ignore
            assert [i for part in parts for i in range(part.start, part.stop)] == list(range(rows))
            lengths = [part.stop - part.start for part in parts]
            assert max(lengths) - min(lengths) <= 1


def test_exchange() -> None:
    def work(ranks: Any, own: slice) -> Any:
        said = exchanged(ranks, {"rank": ranks.rank, "text": "é" * ranks.rank})
        check_same(ranks, {"same": 1})
        with all_or_none(ranks):
            pass
        share = shared(ranks, own.stop - own.start)
        (mean,) = share.mean((np.array([float(ranks.rank), 1.0]),))
        return said, share.counts, share.start, mean

    for rank, (said, counts, start, mean) in enumerate(on_ranks(work, (1, 2, 5))):
        assert said == [{"rank": k, "text": "é" * k} for k in range(3)]
        assert counts == (1, 2, 5)
        assert start == (0, 1, 3)[rank]
        np.testing.assert_allclose(mean, [12 / 8, 1.0])


def test_the_mean_of_parts_is_weighted_by_rows(tmp_path) -> None:
    X, y = table()

    def work(ranks: Any, own: slice) -> Any:
        np.save(tmp_path / f"{ranks.rank}.npy", np.column_stack((X[own], y[own])))
        rows = stream(tmp_path / f"{ranks.rank}.npy").X
        rows = replace(rows, share=shared(ranks, rows.source.rows))
        assert isinstance(rows, Rows)
        assert rows.shape == (ROWS, 5)
        return over_rows(lambda a, b: (a.mean(0), np.asarray(b.mean())), rows, rows.targets)

    for mean_X, mean_y in on_ranks(work, (3, 1000)):
        np.testing.assert_allclose(mean_X, X.mean(0), rtol=1e-12)
        np.testing.assert_allclose(mean_y, y.mean(), rtol=1e-12)


def test_other_objects_are_refused(backend64: Backend) -> None:
    X, y = table()
    with pytest.raises(InputTypeError, match="ranks must implement the Ranks protocol"):
        fit(X, y, backend=backend64, ranks=2)  # pyright: ignore
