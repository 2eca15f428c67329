"""The benchmark's results are what was measured; liars get no time; what is concluded is what the figures allow."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from gdbackends.backends import get_backend
from gdbackends.benchmarking import bench as bench_module
from gdbackends.benchmarking.advice import findings, not_reached, series_advice
from gdbackends.benchmarking.bench import Plan, begin, bench
from gdbackends.benchmarking.case import SUITES, BackendConfig, Case, Grid, ProblemSpec
from gdbackends.benchmarking.crossovers import series, winner
from gdbackends.benchmarking.markdown import markdown
from gdbackends.benchmarking.published import publish
from gdbackends.benchmarking.regressions import changes, load_changes, pooled, regressed, version_changes
from gdbackends.benchmarking.result_rows import Row, beside, by_case, paid_after, ratio, records, result_rows, spread
from gdbackends.benchmarking.results import Results, ResultsFile, read_results
from gdbackends.benchmarking.slices import hidden_seconds
from gdbackends.benchmarking.table_cells import cells, shown_ratio
from gdbackends.benchmarking.workers import outcome
from gdbackends.benchmarking.workloads import Unsupported, work
from gdbackends.comparison.referee import judge_backend
from gdbackends.descent import ProblemOptions, prepare
from gdbackends.errors import InputError
from gdbackends.measurement.statistics import Estimate
from gdbackends.measurement.subprocess_worker import Killed, TimedOut

QUICK = Plan(launches=2, most=2, turns=6, timeout_s=30)


@pytest.fixture(autouse=True)
def fakes_can_be_imported(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def study(path: Path, cases: list[Case], plan: Plan = QUICK, *, resume: bool = False) -> Results:
    with ResultsFile(str(path), resume=resume) as file:
        bench(cases, file, plan, begin(file, plan, cases))
    return read_results(str(path))


def made(
    times: dict[tuple[str, int], list[float]], *, features: int = 10, first: float = 0.0, work: str = "step", **launch
) -> Results:
    """Return results with one batch a launch, by backend and rows."""
    results = Results("made")
    results.add({"record": "run", "run": "r", "schema": 1, "environment": {}, "machine": {"cpu": "c"}})
    for (backend, n), seconds in times.items():
        case = Case(BackendConfig(backend), ProblemSpec(rows=n, features=features), work)
        for k, t in enumerate(seconds):
            record = {"import_s": 1.0, "transfer_s": 0.0, "first_call_s": t + first * (backend != "numpy")}
            record |= {"agreement": 0.1, "batches_s": [t], "calls": 1, "passes": 1, "cache_bytes": 1 << 25}
            record |= {"peak_bytes": 1, "device_peak_bytes": None, "device_name": "cpu", "affinity": [0]}
            record |= {"threads_seen": 1, "load": 1.0, "hidden_s": 0.0} | launch
            results.add({"record": "launch", "run": "r", "case": case.to_dict(), "launch": k, **record})
        end = {"record": "case", "run": "r", "case": case.to_dict(), "status": "ok", "reason": "", "agreement": 0.1}
        results.add({**end, "stopped": "PRECISE"})
    return results


def noisy(seed: int, centre: float, launches: int = 5, noise: float = 0.02) -> list[float]:
    return list(centre * np.exp(np.random.default_rng(seed).normal(0, noise, launches)))


def test_the_suites() -> None:
    assert len(SUITES["quick"].cases()) == 48
    full = SUITES["full"].cases()
    assert max(case.spec.bytes for case in full) <= 10**9
    assert len(set(full)) == len(full) > 300
    assert Case.from_dict(json.loads(json.dumps(full[-1].to_dict()))) == full[-1]
    assert [c.config.backend for c in Grid(rows=[10], features=[1], devices=["gpu"]).cases()] == ["jax", "torch"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"rows": 0}, "rows"), ({"dtype": "int8"}, "dtype"), ({"objective": "cubic"}, "the loss must be one of")],
)
def test_a_task_that_cannot_be_is_refused(settings: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        ProblemSpec(**settings)


@pytest.mark.parametrize("objective", ["squared", "absolute", "huber:1", "logistic", "poisson"])
@pytest.mark.parametrize("rows", [2, 1000])
def test_the_backends_agree_on_every_work(backend, objective: str, rows: int) -> None:
    """The closures that are timed compute what the judge has seen."""
    spec = ProblemSpec(objective, rows, 3, backend.dtype)
    data = spec.table()
    problem = prepare(data.X, data.y, backend, spec.model, ProblemOptions(standardize=False))
    assert max(judge_backend(problem, get_backend(backend.name)).values()) <= 1
    value, gradient = backend.value_and_grad(problem.objective)(backend.asarray(problem.theta0), *problem.data)
    works = {name: work(name, problem) for name in ("loss", "gradient", "value_and_gradient", "step", "fit")}
    both, alone, loss = (
        works[name].read(works[name].call(works[name].place(problem.theta0)))
        for name in ("value_and_gradient", "gradient", "loss")
    )
    assert np.array_equal(both, backend.to_numpy(gradient))
    rtol = 1e-4 if backend.dtype == "float32" else 1e-10
    np.testing.assert_allclose(alone, both, rtol=rtol, atol=rtol * abs(both).max())
    same = backend.to_numpy(value)
    assert loss == pytest.approx(same, rel=1e-4 if backend.dtype == "float32" else 1e-12)
    assert works["step"].run(7).steps == 7
    assert works["fit"].run().steps <= 100


LIGHT = ("loss", "gradient", "value_and_gradient", "step", "batch", "fit")
ENDINGS = {
    "Wrong": (("loss", "gradient"), "disagrees", "gradient differs"),
    "Cheap": (("loss",), "disagrees", "loss alone differs"),
    "Short": (("step", "fit"), "disagrees", "descent differs"),
    "Halving": (("step",), "disagrees", "descent differs"),
    "Unsynchronised": (("value_and_gradient",), "unsynchronised", "before the result was available"),
    "Lazy": (("value_and_gradient",), "unsynchronised", "before the result was available"),
    "Dying": (("gradient",), "crashed", "SIGABRT"),
    "Hungry": (("gradient",), "out of memory", "allocate"),
    "Raising": (("gradient",), "crashed", "RuntimeError: no kernel"),
    "Speechless": (("gradient", "step"), "crashed", "OSError: no /proc"),
    "Minimal": (("loss",), "unsupported", "no function for the loss alone"),
}


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """The rows of one benchmark of every fake in ENDINGS, with an honest backend among them."""
    works = {f"fakes:{name}": works for name, (works, _, _) in ENDINGS.items()} | {"fakes:Light": LIGHT}
    sizes = dict(rows=[20_000], features=[10])
    cases = [case for backend, each in works.items() for case in Grid([backend], works=each, **sizes).cases()]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        path = tmp_path_factory.mktemp("endings") / "r.jsonl"
        return result_rows(study(path, cases, Plan(launches=2, most=2, turns=4, timeout_s=120)))  # calls queue up


@pytest.mark.parametrize("name", ENDINGS)
def test_every_ending_has_its_name_and_no_time(endings: list[Row], name: str) -> None:
    works, status, reason = ENDINGS[name]
    rows = [row for row in endings if row.case.config.backend == f"fakes:{name}"]
    assert [row.status for row in rows] == [status] * len(works)
    assert all(row.timing is None and reason in row.reason and "\n" not in row.reason for row in rows)


def test_an_honest_backend_among_them_is_timed(endings: list[Row]) -> None:
    rows = [row for row in endings if row.case.config.backend == "fakes:Light"]
    assert [row.status for row in rows] == ["ok"] * len(LIGHT)


LIARS = {
    "Gram": ("gradient", 50_000, "float64", "implausible", "would read X at"),
    "HalfLazy": ("gradient", 50_000, "float64", "unsynchronised", "before the result was available"),
    "Tired": ("gradient", 1000, "float64", "disagrees", "the answer of a timed call differs"),
    "Skipping": ("step", 100, "float64", "disagrees", "the answer of a timed call differs"),
    "JudgedOnce": ("gradient", 1000, "float64", "disagrees", "in launch 2: the answer of a timed call differs"),
    "Half": ("gradient", 20_000, "float32", "disagrees", "on 32 rows differs"),
    "HalfOfMany": ("gradient", 200_000, "float32", "disagrees", "the answer of a timed call differs"),
    "SlowClock": ("gradient", 1000, "float64", "implausible", "its clock was changed"),
}


@pytest.fixture(scope="module")
def liars(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """The rows of backends that compute less than they are timed for, by name."""
    cases = [
        case
        for name, (kind, rows, dtype, *_) in LIARS.items()
        for case in Grid([f"fakes:{name}"], rows=[rows], features=[10], dtypes=[dtype], works=[kind]).cases()
    ]
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("liars")
        patch.syspath_prepend(str(Path(__file__).parent))
        patch.setenv("FAKE_MARK", str(folder / "mark"))
        table = result_rows(
            study(folder / "r.jsonl", cases, Plan(launches=3, most=3, slice_s=0.02, turns=8, timeout_s=120))
        )
    return {row.case.config.backend.removeprefix("fakes:"): row for row in table}


@pytest.mark.parametrize("name", LIARS)
def test_who_computes_less_gets_no_time(liars: dict[str, Row], name: str) -> None:
    *_, status, reason = LIARS[name]
    assert (liars[name].status, liars[name].timing) == (status, None)
    assert reason in liars[name].reason


def test_who_remembers_has_to_compute_all_the_same(tmp_path) -> None:
    """Every call starts elsewhere, so that it is as slow as one that keeps nothing."""
    cases = Grid(["fakes:Remembering", "fakes:Light"], rows=[50_000], features=[10], works=["gradient"]).cases()
    remembering, light = result_rows(study(tmp_path / "r.jsonl", cases))
    assert ratio(remembering, light).value > 0.1


def test_a_backend_that_hangs_is_timed_out(tmp_path) -> None:
    cases = Grid(["fakes:Hanging"], rows=[20], features=[2], works=("gradient", "step")).cases()
    rows = result_rows(study(tmp_path / "r.jsonl", cases, Plan(launches=2, most=2, timeout_s=3)))
    assert [(row.status, row.timing) for row in rows] == [("timed out", None)] * 2
    assert all("no answer within 3 s" in row.reason for row in rows)


def test_the_work_is_not_the_same_twice(backend) -> None:
    """A backend that remembers its last answer has to compute all the same."""
    spec = ProblemSpec(rows=50, features=3, dtype=backend.dtype)
    data = spec.table()
    problem = prepare(data.X, data.y, backend, spec.model, ProblemOptions(standardize=False))
    for kind in ("loss", "gradient"):
        prepared = work(kind, problem)
        first, second, third = (prepared.read(prepared.run()) for _ in range(3))
        assert not np.array_equal(first, second)
        assert not np.array_equal(first, third)


def test_a_backend_without_capabilities_is_timed_all_the_same(tmp_path) -> None:
    cases = Grid(["fakes:Minimal"], rows=[100], features=[2], works=["loss", "gradient", "step", "fit"]).cases()
    found = {row.case.work: row.status for row in result_rows(study(tmp_path / "r.jsonl", cases))}
    assert found == {"loss": "unsupported", "gradient": "ok", "step": "ok", "fit": "ok"}


def test_each_tuning_has_a_row_and_says_how_it_goes_about_it(tmp_path) -> None:
    cases = Grid(["numpy"], rows=[100], features=[2], tunings=["best", "idiomatic", "compiled"]).cases()
    table = result_rows(study(tmp_path / "r.jsonl", cases))
    assert {row.case.config.label: row.plan for row in table} == {
        "NumPy": "feature-major, whole",
        "NumPy, idiomatic": "row-major",
    }
    assert beside(table[0], by_case(table), tuning="idiomatic") is table[1]
    assert ratio(table[0], table[1]) is not None


def test_the_bandwidth_is_measured_for_data_that_exceed_the_cache(tmp_path, monkeypatch) -> None:
    cases = Grid(["fakes:Light"], rows=[20, 20_000], features=[10], works=["gradient"]).cases()
    one = Plan(launches=1, most=1)
    results = study(tmp_path / "small.jsonl", cases, one)
    assert results.bandwidths == {}
    assert [row.share for row in result_rows(results)] == [None, None]
    monkeypatch.setattr(bench_module, "last_cache", lambda: 1 << 20)  # less than 20,000 rows, in this process alone
    results = study(tmp_path / "large.jsonl", cases, one)
    assert [(launch, threads) for _, launch, threads in results.bandwidths] == [(0, 0)]
    assert min(results.bandwidths.values()) > 1e8


def test_what_does_not_fit_is_not_tried(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench_module, "last_cache", lambda: 1 << 60)  # the speed of the memory is not measured
    case = Case(BackendConfig("numpy"), ProblemSpec(rows=10**9, features=1000))
    (row,) = result_rows(study(tmp_path / "r.jsonl", [case]))
    assert (row.status, row.timing) == ("out of memory", None)
    assert "not tried" in row.reason


def test_the_real_backends_from_launch_to_row(tmp_path, require) -> None:
    for name in ("jax", "torch"):
        require(name)
    cases = Grid(rows=[100], features=[2], works=["loss", "gradient", "step"], threads=[1]).cases()
    results = study(tmp_path / "r.jsonl", cases)
    table = result_rows(results)
    assert [row.status for row in table] == ["ok"] * 9
    for row in table:
        assert 0 < row.timing.median < row.first_call_s + 1e-3
        assert len(row.timing.launches) == 2
        assert row.agreement <= 1
        (record, *_) = results.of(row.case).values()
        assert len(record["affinity"]) == 1
        assert record["threads_seen"] in (1, None)
        assert row.import_s > 0.001
    exported = records(results)
    assert {r["backend"] for r in exported} == {"numpy", "jax", "torch"}
    assert json.loads(json.dumps(exported, allow_nan=False)) == exported
    jax, numpy = (
        next(r for r in table if (r.case.config.backend, r.case.work) == (b, "step")) for b in ("jax", "numpy")
    )
    assert ratio(jax, numpy).value == pytest.approx(jax.timing.median / numpy.timing.median)


def test_results_are_resumed_and_nothing_is_repeated(tmp_path) -> None:
    path, cases = tmp_path / "r.jsonl", Grid(["fakes:Light"], rows=[10, 20], features=[1]).cases()
    study(path, cases)
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["record"] != "case"][:5]
    path.write_bytes(b"".join(kept) + lines[-1][:40])  # killed while it wrote
    assert sum(map(len, read_results(str(path)).launches.values())) == 2
    study(path, cases, resume=True)
    held = [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]
    launches = [(str(r["case"]), r["launch"]) for r in held if r["record"] == "launch"]
    assert len(launches) == len(set(launches)) == 4
    assert sum(r["record"] == "case" for r in held) == 2
    before = path.read_bytes()
    study(path, cases, resume=True)
    assert path.read_bytes().startswith(before)
    assert [json.loads(line)["record"] for line in path.read_bytes()[len(before) :].splitlines()] == ["run"]


def test_a_file_is_not_continued_on_another_machine(tmp_path) -> None:
    path, cases = tmp_path / "r.jsonl", Grid(["fakes:Light"], rows=[10], features=[1]).cases()
    study(path, cases)
    path.write_text(path.read_text(encoding="utf8").replace('"numpy": "', '"numpy": "0.'), encoding="utf8")
    with pytest.raises(InputError, match=r"measured with numpy 0\.\d"):
        study(path, cases, resume=True)


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "{}", '{"record": "run"\n', '{"record": "run", "schema": 9}\n'])
def test_what_is_no_file_of_results_is_refused_and_left_alone(tmp_path, content: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(content, encoding="utf8")
    with pytest.raises(InputError, match=str(path)):
        read_results(str(path))
    for resume in (True, False):
        with pytest.raises(InputError, match=str(path)), ResultsFile(str(path), resume=resume):
            pass
    assert path.read_text(encoding="utf8") == content


def test_two_runs_do_not_write_one_file(tmp_path) -> None:
    path = str(tmp_path / "r.jsonl")
    with (
        ResultsFile(path),
        pytest.raises(InputError, match="is being written by another run"),
        ResultsFile(path, resume=True),
    ):
        pass


def test_the_endings_of_a_process() -> None:
    assert outcome(TimedOut("late"))[0] == "timed out"
    assert outcome(Killed("by the system"))[0] == "out of memory"
    assert outcome(MemoryError())[0] == "out of memory"
    assert outcome(RuntimeError("RESOURCE_EXHAUSTED: 3 GB"))[0] == "out of memory"
    assert outcome(Unsupported("no device"))[0] == "unsupported"
    assert outcome(KeyError("k"))[0] == "crashed"


def test_ratios_pair_the_launches_of_a_round() -> None:
    """A drift of the machine by 30 % a launch falls out of the ratio."""
    drift = np.array([1.0, 1.3, 1.69, 2.2, 2.86])
    table = result_rows(
        made({("numpy", 100): list(1e-5 * drift), ("jax", 100): list(2e-5 * drift * [1, 1.01, 1, 0.99, 1])})
    )
    numpy, jax = table
    found = ratio(jax, numpy)
    assert found.value == pytest.approx(2, rel=0.01)
    assert found.spread < 0.03
    assert numpy.timing.estimate.spread > 1
    assert winner(100, table).first == (numpy.case.config,)


def test_no_winner_without_a_difference() -> None:
    table = result_rows(made({("numpy", 100): noisy(1, 1e-5), ("jax", 100): noisy(2, 1.02e-5)}))
    assert len(winner(100, table).first) == 2
    (found,) = series(table)
    assert "no difference between JAX and NumPy was found" in series_advice(found)


@pytest.mark.parametrize("seed", range(20))
def test_a_planted_crossover_is_found_within_its_interval(seed: int) -> None:
    """5 us + 10 ns a row against 100 us + 2 ns a row: as long at 11,875 rows."""
    sizes = [100, 1000, 10_000, 100_000, 1_000_000]
    times = {}
    for k, n in enumerate(sizes):
        times["numpy", n] = noisy(1000 * seed + k, 5e-6 + 1e-8 * n)
        times["jax", n] = noisy(1000 * seed + 500 + k, 1e-4 + 2e-9 * n)
    (found,) = series(result_rows(made(times)))
    (crossing,) = found.crossovers
    assert (crossing.small.backend, crossing.large.backend) == ("numpy", "jax")
    assert crossing.low <= 11_875 <= crossing.high
    assert crossing.high < 100_000
    assert crossing.low <= crossing.rows <= crossing.high
    text = series_advice(found)
    assert text.startswith("from 100 to about 1")
    assert "NumPy" in text.split(";")[0]
    assert "from there to 1,000,000 rows JAX" in text


def test_the_advice_names_who_never_wins() -> None:
    times = {}
    for n in (100, 1000):
        for backend, t in (("numpy", 1e-5), ("jax", 2e-6), ("torch", 1e-4)):
            times[backend, n] = noisy(n, t)
    (found,) = series(result_rows(made(times)))
    text = "from 100 to 1,000 rows JAX, 5 times faster than the next (at least 5); NumPy never; PyTorch never"
    assert series_advice(found) == text


def told(sizes: dict[int, dict[str, float]]) -> str:
    times = {(b, n): noisy(n + len(b), t, noise=0.004) for n, at in sizes.items() for b, t in at.items()}
    (found,) = series(result_rows(made(times)))
    return series_advice(found)


def test_the_advice_drops_no_winner_and_does_not_contradict_itself() -> None:
    """A winner between two that cross; an order that changes twice; ties at the ends; a size without a time."""
    middle = told(
        {
            100: {"numpy": 1.0, "jax": 3.0, "torch": 2.0},
            1000: {"numpy": 4.0, "jax": 4.4, "torch": 2.0},
            10_000: {"numpy": 9.0, "jax": 3.0, "torch": 6.0},
        }
    )
    assert "PyTorch, 2 times faster" in middle
    back = told({n: {"numpy": t, "jax": 2.0} for n, t in ((100, 1.0), (1000, 3.0), (10_000, 1.0), (100_000, 3.0))})
    parts = back.split("; ")
    assert [part.partition(" rows")[2].split(") ")[-1].split(",")[0].strip() for part in parts] == [
        "NumPy",
        "JAX",
        "NumPy",
        "JAX",
    ]
    assert parts[2].startswith("from there to about 55,000 rows")
    assert parts[3].startswith("from there to 100,000 rows")
    tie = told({100: {"numpy": 1.0, "jax": 2.0}, 1000: {"numpy": 2.0, "jax": 1.0}, 10_000: {"numpy": 1.0, "jax": 1.0}})
    assert tie.endswith("; at 10,000 rows no difference between JAX and NumPy was found")
    assert "from there to 1,000 rows JAX" in tie
    lost = told({100: {"numpy": 1.0, "jax": 3.0, "torch": 9.0}, 1000: {"numpy": 1.0, "torch": 3.0}})
    assert "at 1,000 rows no winner is named: JAX has no time there" in lost
    assert lost.endswith("; JAX never at the other sizes; PyTorch never at the other sizes")


def without(results: Results, backend: str, *sizes: int, status: str = "", planned: bool = False) -> list[Row]:
    """Return the rows of results in which a backend failed, or was not reached or never planned, at some sizes."""
    left = Results("left", runs=results.runs)
    for record in results.records():
        case = record.get("case", {})
        if case.get("backend") == backend and case["rows"] in sizes:
            end = {"record": "case", "run": "r", "case": case, "status": status, "reason": "x", "agreement": None}
            left.add(end if status else {"record": "planned" if planned else "", "run": "r", "case": case})
        else:
            left.add(record)
    return result_rows(left)


THREE = {
    (backend, n): [t * n * (1 + 1e-3 * k) for k in range(5)]
    for n in (100, 1000)
    for backend, t in (("numpy", 1e-7), ("jax", 2e-8), ("torch", 3e-7))
}


@pytest.mark.parametrize("planned", [True, False])
def test_no_winner_is_named_where_a_rival_has_no_time(planned: bool) -> None:
    table = without(made(THREE), "jax", 1000, planned=planned)
    (found,) = series(table)
    assert series_advice(found) == (
        "at 100 rows JAX, 5 times faster than the next (at least 5); at 1,000 rows no winner is named: JAX has no time "
        "there; NumPy never at the other sizes; PyTorch never at the other sizes"
    )
    assert found.winners[1].first == ()
    assert [row.status for row in table if row.timing is None] == ["not reached"] * planned
    nowhere = without(made(THREE), "jax", 100, 1000, planned=True)
    assert "JAX has no time there" in series_advice(series(nowhere)[0])
    assert "NumPy, 3 times faster" in series_advice(
        series(without(made(THREE), "jax", 100, 1000))[0]
    )  # never asked for


def test_a_rival_that_failed_is_given_beside_the_winner() -> None:
    (found,) = series(without(made(THREE), "jax", 1000, status="out of memory"))
    assert "at 1,000 rows NumPy, 3 times faster than the next (at least 3; JAX: out of memory)" in series_advice(found)
    pair = {key: times for key, times in THREE.items() if key[0] != "torch"}
    (found,) = series(without(made(pair), "jax", 100, 1000, status="crashed"))
    assert series_advice(found) == "from 100 to 1,000 rows only NumPy has a time (JAX: crashed)"
    assert found.crossovers == ()


def test_nothing_is_concluded_from_fewer_than_four_launches() -> None:
    """Two and three launches may agree by chance; what they say is that they are few."""
    for launches in (1, 2, 3):
        results = made({key: times[:launches] for key, times in THREE.items()}, first=1.0)
        table = result_rows(results)
        (found,) = series(table)
        assert series_advice(found) == (
            "from 100 to 1,000 rows no winner is named: JAX, NumPy and PyTorch have fewer than 4 launches in common"
        )
        assert found.crossovers == ()
        columns = cells(table)
        assert set(columns["x NumPy"]) == {"-", "?"}
        assert all(text.endswith(" us ?") for text in columns["a call"])
        assert columns["a call"][0] == "10 us ?"
        assert {record["ratio_to_numpy"] for record in records(results)} == {None}
        assert "x ?" in markdown(table)
        assert "?: unknown, from fewer than 4 launches" in markdown(table)
    table = result_rows(made({key: times[:4] for key, times in THREE.items()}))
    assert "JAX, 5 times faster" in series_advice(series(table)[0])
    assert "?" not in markdown(table)
    crossing = {("numpy", 100): 1.0, ("numpy", 1000): 9.0, ("jax", 100): 3.0, ("jax", 1000): 3.0}
    counts = [len(series(result_rows(made({k: [t] * n for k, t in crossing.items()})))[0].crossovers) for n in (3, 4)]
    assert counts == [0, 1]


def test_an_absurdly_wide_interval_is_unknown() -> None:
    wild = [1e-6, 1e-3, 1e-6, 1e-3, 1e-6]
    table = result_rows(made({("numpy", 100): noisy(1, 1e-5), ("jax", 100): wild}))
    assert cells(table)["x NumPy"] == ["-", "?"]
    assert cells(table)["a call"][1] == "15.8 us ?"
    assert "cannot be distinguished because of noise" in series_advice(series(table)[0])
    assert shown_ratio(Estimate(0.66, 4.3e-18, 1e17)) == "?"


def test_the_advice_says_how_a_work_is_called() -> None:
    lines = [
        line for work in ("gradient", "step") for line in findings(result_rows(made(THREE, features=1, work=work)))
    ]
    told = [line.partition(": ")[0] for line in lines if "rows JAX" in line]
    assert told == [
        "gradient (called from Python), 1 feature",
        "step (of a descent, inside a compiled loop where the backend has one), 1 feature",
    ]


def test_cases_not_reached_have_one_line_and_a_row_each() -> None:
    table = without(made(THREE), "jax", 100, 1000, planned=True)
    (line,) = not_reached(table)
    assert line.startswith("2 of 6 cases were not reached: ") and "--resume" in line and "a larger --budget" in line
    text = markdown(table)
    assert text.count("not reached |") == 2
    assert text.count("were not reached") == 1
    assert not_reached(result_rows(made(THREE))) == []


def test_a_curved_cost_crosses_within_the_interval() -> None:
    """5 ns n log2 n against 100 us + 25 ns n, past which the line between two sizes leads astray."""
    true = brentq(lambda n: 5e-9 * n * np.log2(n) - 1e-4 - 2.5e-8 * n, 100, 1e6)
    sizes = {n: {"numpy": 5e-9 * n * np.log2(n), "jax": 1e-4 + 2.5e-8 * n} for n in (100, 1000, 10_000, 100_000)}
    times = {(b, n): noisy(n + len(b), t, noise=0.002) for n, at in sizes.items() for b, t in at.items()}
    (crossing,) = series(result_rows(made(times)))[0].crossovers
    assert crossing.low <= true <= crossing.high


def test_what_noise_hides_is_not_called_equal() -> None:
    table = result_rows(made({("numpy", 100): [1e-5, 3e-5] * 2, ("jax", 100): [2e-6, 2e-5] * 2}))
    assert not winner(100, table).resolved
    assert "cannot be distinguished because of noise" in series_advice(series(table)[0])
    one = result_rows(made({("numpy", 100): [1e-5], ("jax", 100): [2e-6]}))
    assert spread(one[0]) == np.inf
    assert records(made({("numpy", 100): [1e-5]}))[0]["low_s"] is None
    (change,) = changes(made({("numpy", 100): [1e-5, 9e-5] * 2}), made({("numpy", 100): [2e-5, 9e-4] * 2}))
    assert (change.word, change.regression) == ("cannot tell", False)


def test_launches_of_different_runs_are_no_pair() -> None:
    results = made({("numpy", 100): noisy(1, 1e-5)})
    later = made({("jax", 100): noisy(2, 1.3e-5)})
    for record in later.launches[Case(BackendConfig("jax"), ProblemSpec(rows=100, features=10))].values():
        results.add(record | {"run": "another"})
    numpy, jax = result_rows(results)
    assert ratio(jax, numpy) is None


def test_a_place_that_does_not_wait_has_no_small_time_either(tmp_path) -> None:
    works = ["value_and_gradient", "step"]
    cases = Grid(["fakes:Unsynchronised"], rows=[20, 20_000], features=[10], works=works).cases()
    few = Plan(launches=1, most=1, turns=4)  # calls queue up: each slice adds seconds of computation
    rows = result_rows(study(tmp_path / "r.jsonl", cases, few))
    found = {(row.case.spec.rows, row.case.work): row.status for row in rows}
    assert {status for (_, work), status in found.items() if work != "step"} == {"unsynchronised"}
    assert {status for (_, work), status in found.items() if work == "step"} == {"ok"}


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_an_honest_backend_is_not_called_unsynchronised(name: str, require) -> None:
    require(name)
    for spec in (ProblemSpec(rows=200, features=3), ProblemSpec(rows=300_000, features=10)):
        data = spec.table()
        problem = prepare(data.X, data.y, get_backend(name), spec.model, ProblemOptions(standardize=False))
        for kind in ("loss", "gradient"):
            prepared = work(kind, problem)
            assert hidden_seconds(prepared, lambda a, b=problem.backend: b.asarray(a.ravel())) == 0


def test_a_device_that_never_was_is_unsupported(tmp_path) -> None:
    (row,) = result_rows(
        study(tmp_path / "r.jsonl", [Case(BackendConfig("fakes:Light", "nonsense"), ProblemSpec(rows=20, features=1))])
    )
    assert row.status == "unsupported"
    assert "'nonsense' is not available" in row.reason


def test_files_of_two_machines_are_not_one(tmp_path) -> None:
    path = tmp_path / "r.jsonl"
    study(path, Grid(["fakes:Light"], rows=[10], features=[1]).cases())
    text = path.read_text(encoding="utf8")
    path.write_text(text + text.replace('"cpu": "', '"cpu": "other '), encoding="utf8")
    with pytest.raises(InputError, match=r"was measured with cpu other .*give files of one machine each"):
        read_results(str(path))


@pytest.mark.parametrize("lost", ["batches_s", "load", "case", "launch"])
def test_a_record_that_lacks_something_is_refused_by_its_line(tmp_path, lost: str) -> None:
    path = tmp_path / "r.jsonl"
    study(path, Grid(["fakes:Light"], rows=[10], features=[1]).cases())
    lines = [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]
    number = next(k for k, line in enumerate(lines) if line["record"] == "launch")
    del lines[number][lost]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf8")
    with pytest.raises(InputError, match=f"line {number + 1} is not a record"):
        read_results(str(path))


def test_a_failure_on_another_machine_is_no_regression() -> None:
    old, new = made({("numpy", 10): noisy(1, 1e-5)}), made({})
    new.runs["r"]["machine"]["cpu"] = "small"
    lost = Case(BackendConfig("numpy"), ProblemSpec(rows=10, features=10)).to_dict()
    failure = {"record": "case", "run": "r", "case": lost, "status": "out of memory", "reason": "x", "agreement": None}
    new.add(failure)
    assert [(change.word, change.regression) for change in changes(old, new)] == [("incomparable", False)]


def test_a_compile_is_paid_for_after_some_steps() -> None:
    table = result_rows(made({("numpy", 100): [1e-5] * 4, ("jax", 100): [1e-6] * 4}, first=0.09))
    assert "JAX: its first call pays off after 10,000 steps (100 x 10)" in findings(table)[1]
    fewer = made({("numpy", 100): [1e-5] * 3, ("jax", 100): [1e-6] * 3}, first=0.09)
    assert not any("pays off" in line for line in findings(result_rows(fewer)))
    numpy, jax = table
    assert paid_after(jax, numpy) == pytest.approx((0.09 - 9e-6) / 9e-6)
    assert paid_after(numpy, jax) is None
    assert beside(jax, by_case(table), backend="numpy") is numpy


def test_a_change_needs_the_interval_and_the_threshold() -> None:
    base = {("numpy", n): noisy(n, 1e-5) for n in range(1, 11)}
    same = made({key: noisy(100 + key[1], 1e-5) for key in base})
    assert not any(change.regression or change.word in ("slower", "faster") for change in changes(made(base), same))
    slower = made({key: noisy(100 + key[1], 1.5e-5 if key[1] == 4 else 1e-5) for key in base})
    found = {change.case.spec.rows: change for change in changes(made(base), slower)}
    assert [n for n, change in found.items() if change.regression] == [4]
    assert found[4].word == "slower"
    assert found[4].ratio.low > 1.3
    assert not any(change.regression for change in changes(made(base), slower, fail_above=0.6))
    assert {c.word for c in changes(slower, made(base)) if c.case.spec.rows == 4} == {"faster"}


def test_what_no_case_shows_all_cases_together_may() -> None:
    """Each case is too noisy to tell; their mean is not."""
    keys = [("numpy", n) for n in range(1, 41)]
    old, same, slower = (
        made({key: noisy(1000 * k + key[1], 1e-5 * factor, noise=0.2) for key in keys})
        for k, factor in enumerate((1.0, 1.0, 1.25))
    )
    found = changes(old, slower)
    assert not any(change.regression for change in found)
    assert pooled(found).low > 1
    assert regressed(found, 0.1)
    assert not regressed(found, 0.5)
    assert not regressed(changes(old, same), 0.1)


def test_launches_that_took_turns_are_paired() -> None:
    """Drift that both versions share hides a change of 20 % from launches on their own."""
    drift = np.exp(np.random.default_rng(3).normal(0, 0.5, 6))
    old, new = (made({("numpy", 100): list(1e-5 * factor * drift)}) for factor in (1.0, 1.2))
    (alone,) = changes(old, new)
    assert (alone.word, alone.regression) == ("cannot tell", False)
    for results in (old, new):
        results.runs["r"]["paired"] = True
    (paired,) = changes(old, new)
    assert (paired.word, paired.regression) == ("slower", True)
    assert paired.ratio.value == pytest.approx(1.2)


def test_a_busier_machine_is_said() -> None:
    quiet, busy = (made({("numpy", 100): [1e-5] * 5}, load=load) for load in (0.5, 3.0))
    assert load_changes(quiet, quiet) == []
    assert "load average 0.5 -> 3.0" in load_changes(quiet, busy)[0]


def test_holm_keeps_many_cases_from_failing_by_chance() -> None:
    """Without the correction about 1 in 100 of these would be called different."""
    false = 0
    for seed in range(40):
        old, new = (
            made({("numpy", n): noisy(1000 * seed + n + k, 1e-5, noise=0.1) for n in range(1, 31)}) for k in (0, 500)
        )
        false += any(change.word in ("slower", "faster") for change in changes(old, new))
    assert false <= 3


def test_another_machine_is_never_compared_silently() -> None:
    old, new = (made({("numpy", 10): noisy(k, 1e-5)}) for k in (1, 2))
    new.runs["r"]["machine"]["cpu"] = "another"
    (change,) = changes(old, new)
    assert (change.word, change.ratio, change.regression) == ("incomparable", None, False)
    assert change.reason == "cpu c -> another"
    threads = made({("numpy", 10): noisy(3, 1e-5)}, affinity=[0, 1])
    assert "affinity" in changes(old, threads)[0].reason
    new.runs["r"]["environment"]["jax"] = "2"
    old.runs["r"]["environment"]["jax"] = "1"
    assert version_changes(old, new) == ["jax 1 -> 2"]


def test_cases_of_one_file_alone_and_failures_are_said() -> None:
    old, new = made({("numpy", 10): noisy(1, 1e-5), ("numpy", 30): [1e-5]}), made({("numpy", 20): noisy(1, 1e-5)})
    lost = Case(BackendConfig("numpy"), ProblemSpec(rows=10, features=10)).to_dict()
    failure = {"record": "case", "run": "r", "case": lost, "status": "crashed", "reason": "x", "agreement": None}
    new.add(failure)
    found = {change.case.spec.rows: change for change in changes(old, new)}
    assert {n: change.word for n, change in found.items()} == {
        10: "fails now",
        20: "only in the new",
        30: "only in the old",
    }
    assert found[10].regression


def test_tasks_are_random_but_the_same_for_all() -> None:
    a, b = (ProblemSpec(rows=50, features=3, seed=4).table() for _ in range(2))
    assert np.array_equal(a.X, b.X)
    assert np.array_equal(a.y, b.y)
    others = [ProblemSpec(rows=50, features=3, seed=k).table().X for k in range(4)]
    assert all(not np.array_equal(x, z) for x, z in pairwise(others))


def test_a_published_file_gives_the_same_rows_and_has_no_private_texts(tmp_path) -> None:
    source = Path(__file__).parent / "data" / "quick.jsonl"
    lines = [json.loads(line) for line in source.read_text(encoding="utf8").splitlines()]
    lines[0]["machine"]["variables"] = {"XLA_FLAGS": "--xla_dump_to=/home/alice/dump"}
    lines[0]["environment"]["host"] = "build-01"
    lost = lines[2]["case"] | {"backend": "m:X"}
    reason = "cannot open '/home/alice smith/x.py' of alice@build-01"
    end = {"record": "case", "run": lines[0]["run"], "case": lost, "status": "crashed", "agreement": None}
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [*lines, {**end, "reason": reason}]))
    own = read_results(str(tmp_path / "r.jsonl"))
    text = publish(own.records())
    assert not [word for word in ("/home", "alice", "smith", "build-01", str(tmp_path)) if word in text]
    (tmp_path / "r.json").write_text(text, encoding="utf8")
    again = read_results(str(tmp_path / "r.json"))
    rows, others = result_rows(own)[:-1], result_rows(again)[:-1]
    assert rows == others
    assert records(own)[:-1] == records(again)[:-1]
    assert findings(rows) == findings(others)
    assert {change.word for change in changes(own, again)} <= {"no difference", "cannot tell", "fails"}
    before = (tmp_path / "r.json").read_bytes()
    for resume in (True, False):
        with (
            pytest.raises(InputError, match="is a published document"),
            ResultsFile(str(tmp_path / "r.json"), resume=resume),
        ):
            pass
    assert (tmp_path / "r.json").read_bytes() == before


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda d: d.pop("environment"), "run 1 is not a record of results, see its 'environment'"),
        (lambda d: d.update(schema=9), "has schema 9"),
        (lambda d: d.update(runs=[]), "its 'runs' is no list of runs"),
        (lambda d: d.update(records=3), "its 'records' is no list of records"),
        (lambda d: d["records"].__setitem__(1, 5), "record 2 is not a record of results, see its 'record'"),
        (lambda d: d["records"][-1].pop("reason"), "is not a record of results, see its 'reason'"),
        (lambda d: d["records"][-1]["case"].update(work="dance"), "work must be one of"),
    ],
)
def test_a_damaged_document_is_refused_in_one_line(tmp_path, edit, text: str) -> None:
    source = Path(__file__).parent / "data" / "quick.jsonl"
    document = json.loads(publish(read_results(str(source)).records()))
    edit(document)
    path = tmp_path / "r.json"
    for content in (json.dumps(document), json.dumps(document)[:-9]):
        path.write_text(content, encoding="utf8")
        with pytest.raises(InputError) as error:
            read_results(str(path))
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
        assert text in str(error.value) or "not whole JSON" in str(error.value)
