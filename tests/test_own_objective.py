"""A loss of one's own, from a file or from Python: fitted, compared, timed, and judged as strictly as a bundled one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from commands import run_command as run

from gdbackends import compare, get_backend
from gdbackends.backends import Backend, capabilities
from gdbackends.benchmarking.bench import Plan, begin, bench
from gdbackends.benchmarking.case import Case, Grid, ProblemSpec
from gdbackends.benchmarking.result_rows import result_rows
from gdbackends.benchmarking.results import ResultsFile, read_results
from gdbackends.comparison.expected import expect, judge_function
from gdbackends.comparison.function_problem import (
    CannotRunError,
    function_problem,
    on_backend,
    problem_from_file,
    with_library,
)
from gdbackends.errors import InputError
from gdbackends.objectives import FunctionObjective, NoGradientError

LOGCOSH = (
    (Path(__file__).parents[1] / "docs/own_loss.py").read_text(encoding="utf8").replace("logcosh", "loss")
    + """

def residuals(theta, X, y):
    return X @ theta - y
"""
)


class Layers(NamedTuple):
    W: np.ndarray
    b: np.ndarray


def cauchy(theta, X, y):
    return np.mean(np.log(1 + (X @ theta - y) ** 2))


def cauchy_gradient(theta, X, y):
    r = X @ theta - y
    return X.T @ (2 * r / (1 + r * r)) / y.size


def nearly(theta, X, y):
    return cauchy_gradient(theta, X, y) * (1 + 1e-6)


def network(theta, X, labels):
    z = X @ theta.W + theta.b
    return ((z - labels[:, None]) ** 2).mean()


def network_gradient(theta, X, labels):
    slope = 2 * (X @ theta.W + theta.b - labels[:, None]) / labels.size / theta.b.size
    return Layers(X.T @ slope, slope.sum(0))


def lonely(theta):
    return (theta**4).sum() / 4 + (theta[1:] * theta[:-1]).sum()


def lonely_gradient(theta):
    gradient = theta**3
    gradient[1:] += theta[:-1]
    gradient[:-1] += theta[1:]
    return gradient


def table(rows: int = 60, features: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, features))
    return X, X @ np.arange(1.0, features + 1) + 0.1 * rng.normal(size=rows)


LABELS = np.random.default_rng(1).integers(0, 3, 60)
PROBLEMS = {
    "NumPy code": (cauchy, cauchy_gradient, np.array([0.5, 1.0, 2.0]), table()),
    "a structure": (network, network_gradient, Layers(np.ones((3, 2)), np.array([0.5, 1.5])), (table()[0], LABELS)),
    "no data": (lonely, lonely_gradient, np.linspace(0.5, 2, 7), ()),
    "a matrix": (
        lambda theta, X: ((X @ theta) ** 2).mean(),
        lambda theta, X: 2 * X.T @ (X @ theta) / X.shape[0] / 2,
        np.arange(1.0, 7).reshape(3, 2),
        (table()[0],),
    ),
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float64") for name in PROBLEMS), ("a structure", "float32"), ("no data", "float32")],
)
def test_every_backend_computes_what_is_expected(name: str, dtype: str) -> None:
    loss, gradient, theta, data = PROBLEMS[name]
    problem = function_problem(name, loss, gradient, theta, data)
    expected = expect(problem, dtype, ("jax", "torch"))
    assert expected.sensitivity() < (1e-9 if dtype == "float64" else 0.05)
    for framework in ("numpy", "jax", "torch"):
        placed = on_backend(problem.in_dtype(dtype), get_backend(framework, dtype=dtype)).problem
        wide = on_backend(problem.in_dtype(dtype), get_backend(framework)).problem
        ratios = judge_function(placed, expected, lambda wide=wide: wide)
        assert {"gradient", "loss alone", "descent"} <= ratios.keys()
        assert max(ratios.values()) <= 1, (framework, ratios)


def test_losses_of_several_files_are_compiled_by_pytorch(tmp_path) -> None:
    """A compiler looks up the names of a function in its module, so every file must be a module of its own."""
    (tmp_path / "a.py").write_text(LOGCOSH)
    (tmp_path / "b.py").write_text(
        "import numpy as np\ndef inner(r): return np.log(1 + r * r)\ntheta = {'w': np.ones(2), 'b': np.array(0.5)}\n"
        "def loss(theta, X, y): return np.mean(inner(X @ theta['w'] + theta['b'] - y))\n"
        "data = (np.arange(12.0).reshape(6, 2), np.arange(6.0))\n"
    )
    problems = [problem_from_file(f"{tmp_path / name}.py:loss", 20, 2, 0) for name in ("a", "b")]
    expected = [expect(problem, "float64", ("torch",)) for problem in problems]
    for problem, known in zip(problems, expected, strict=True):
        placed = on_backend(problem, get_backend("torch", tuning="compiled")).problem
        assert max(judge_function(placed, known, lambda: None).values()) <= 1


def test_a_hand_gradient_that_errs_by_a_part_in_a_million_disagrees() -> None:
    problem = function_problem("cauchy", cauchy, nearly, np.array([0.5, 1.0, 2.0]), table())
    expected = expect(problem, "float64", ("jax", "torch"))
    ratios = judge_function(on_backend(problem, get_backend("numpy")).problem, expected, lambda: None)
    assert ratios["gradient"] > 100
    assert ratios["descent"] > 1


def test_the_plan_says_how_a_loss_is_run() -> None:
    def plan(loss, backend: str) -> str:
        return on_backend(function_problem("f", loss, None, np.ones(3), table()), get_backend(backend)).plan

    assert plan(cauchy, "jax") == "with jax.numpy for numpy"
    assert plan(cauchy, "torch") == "with torch for numpy"
    assert plan(lambda theta, X, y: ((X @ theta - y) ** 2).mean(), "torch") == "as written"
    assert plan(cauchy, "numpy") == "as written"

    def compiled(theta, X, y):
        return np.float64(sum(float(t) for t in theta))

    with pytest.raises(CannotRunError, match="use functions of theta's own library, or give a dictionary of losses"):
        plan(compiled, "torch")


def test_each_framework_may_have_a_loss_of_its_own() -> None:
    import torch

    def of_torch(theta, X, y):
        return torch.log1p((X @ theta - y) ** 2).mean()

    problem = function_problem("f", {"torch": of_torch, "numpy": cauchy}, cauchy_gradient, np.ones(3), table())
    expected = expect(problem, "float64", ("jax", "torch"))
    assert expected.by == ("torch",)
    for name in ("numpy", "torch"):
        ratios = judge_function(on_backend(problem, get_backend(name)).problem, expected, lambda: None)
        assert max(ratios.values()) <= 1
    with pytest.raises(CannotRunError, match="no loss was given for jax"):
        on_backend(problem, get_backend("jax"))


def test_the_library_of_the_array_stands_in_for_numpy_in_the_whole_file() -> None:
    space: dict = {}
    exec(
        "import numpy as np\nscale = np.pi\n"
        "def inner(z, *, power=2):\n    return np.abs(z) ** power\n"
        "def make(k):\n    def loss(theta):\n        return np.sum(inner(theta)) * scale * k\n    return loss\n"
        "loss = make(3)\n",
        space,
    )

    class Library:
        abs = staticmethod(lambda z: ("abs", z))
        sum = staticmethod(lambda z: 7)

    with pytest.raises(TypeError):  # the power of a tuple: inner took its abs from the library
        with_library(space["loss"], Library)(np.ones(2))
    space["inner"] = len
    assert with_library(space["loss"], Library)([1.0, 2.0]) == 7 * np.pi * 3
    assert with_library(np.sum, Library) is np.sum


class TestFile:
    """What a file may define."""

    def write(self, tmp_path: Path, text: str) -> str:
        (tmp_path / "own.py").write_text(text)
        return f"{tmp_path / 'own.py'}:"

    def test_its_data_have_the_size_that_is_asked_for(self, tmp_path) -> None:
        problem = problem_from_file(f"{self.write(tmp_path, LOGCOSH)}loss", 30, 4, 5)
        assert [a.shape for a in problem.checked.data] == [(30, 4), (30,)]
        assert problem.by_hand
        assert problem.start.shape == (4,)
        assert problem.residuals()(problem.start, *problem.checked.data).shape == (30,)
        again = problem_from_file(f"{tmp_path / 'own.py'}:loss", 30, 4, 5)
        assert np.array_equal(problem.start, again.start)
        other = problem_from_file(f"{tmp_path / 'own.py'}:loss", 30, 4, 6)
        assert not np.array_equal(problem.checked.data[0], other.checked.data[0])

    def test_without_data_they_are_random(self, tmp_path) -> None:
        path = self.write(tmp_path, "def loss(theta, X, y): return ((X @ theta - y) ** 2).mean()\n")
        problem = problem_from_file(f"{path}loss", 20, 3, 0)
        assert [a.shape for a in problem.checked.data] == [(20, 3), (20,)]

    def test_residuals_take_theta_as_the_loss_does(self, tmp_path) -> None:
        """Also a structure, and in NumPy code that PyTorch runs with its own functions."""
        path = self.write(
            tmp_path,
            "import numpy as np\ntheta = {'w': np.ones((2, 1)), 'b': np.array(0.5)}\n"
            "data = (np.arange(6.0).reshape(3, 2),)\n"
            "def residuals(t, X): return np.exp(np.sum(X @ t['w'], axis=1) / 9 + t['b'])\n"
            "def loss(t, X): return np.mean(residuals(t, X) ** 2)\n",
        )
        problem = problem_from_file(f"{path}loss", 0, 0, 0)
        X, value = problem.checked.data[0], problem.residuals()(problem.start, *problem.checked.data)
        right = value[:, None] * np.c_[X / 9, np.ones(3)]
        for name in ("jax", "torch"):
            backend = get_backend(name)
            placed = on_backend(problem, backend)
            jacobian = capabilities(backend).jacobian(placed.residuals, "reverse")
            found = backend.to_numpy(jacobian(backend.asarray(problem.start), *placed.problem.data))
            np.testing.assert_allclose(found, right, rtol=1e-12)

    def test_a_loss_that_returns_its_gradient_runs_once_on_numpy(self) -> None:
        calls = []

        def both(theta, X, y):
            calls.append(1)
            return cauchy(theta, X, y), cauchy_gradient(theta, X, y)

        placed = on_backend(function_problem("f", both, True, np.ones(3), table()), get_backend("numpy")).problem
        calls.clear()
        loss, gradient = placed.value_and_grad(np.ones(3), *placed.data)
        assert (loss, len(calls)) == (cauchy(np.ones(3), *table()), 1)
        np.testing.assert_array_equal(gradient, cauchy_gradient(np.ones(3), *table()))
        assert (
            compare(table(), objective=FunctionObjective(both, both=True), theta0=np.ones(3), steps=5).verdict
            == "agree"
        )

    def test_an_object_a_class_a_tuple_and_both_at_once(self, tmp_path) -> None:
        path = self.write(
            tmp_path,
            "import numpy as np\ndata = (np.ones((3, 2)), np.ones(3))\ntheta = np.ones(2)\n"
            "class Model:\n    def loss(self, t, X, y): return ((X @ t - y) ** 2).mean()\n"
            "    def gradient(self, t, X, y): return 2 * X.T @ (X @ t - y) / 3\n"
            "class Alone:\n    def loss(self, t, X, y): return ((X @ t - y) ** 2).mean()\n"
            "model = Model()\nreturns_gradient = True\n"
            "def both(t, X, y): return model.loss(t, X, y), model.gradient(t, X, y)\n",
        )
        for name, by_hand in (("Model", True), ("model", True), ("Alone", False), ("both", True)):
            problem = problem_from_file(path + name, 0, 0, 0)
            assert (problem.by_hand, problem.rows) == (by_hand, 3)
            objective = problem.objective("numpy")
            assert objective.loss(np.ones(2), *problem.checked.data) == pytest.approx(1)
            if by_hand:
                assert objective.gradient(np.ones(2), *problem.checked.data) == pytest.approx([2, 2])

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("data = [1]\ndef loss(t): return 1\n", "data must be a tuple of arguments"),
            ("def data(rows): return ()\ndef loss(t): return 1\n", r"data\(rows, features, seed\) fails: TypeError"),
            ("data = ()\ndef loss(t): return 1\n", "so theta is unknown; define theta there"),
            ("data = ()\ntheta = 'x'\ndef loss(t): return 1\n", "theta"),
            ("data = ()\nloss = 3\n", "is neither a function nor an object with a loss"),
            ("data = ()\n", "no name 'loss'"),
            ("data = ()\nparams = 3\ndef loss(t): return 1\n", "params must be a dictionary"),
        ],
    )
    def test_a_mistake_is_one_line(self, tmp_path, text: str, reason: str) -> None:
        with pytest.raises(InputError, match=reason) as error:
            problem_from_file(f"{self.write(tmp_path, text)}loss", 10, 2, 0)
        assert "\n" not in str(error.value)


def test_a_loss_without_a_gradient_says_so() -> None:
    objective = FunctionObjective(cauchy)
    with pytest.raises(NoGradientError, match="no gradient by hand, which NumPy needs"):
        objective.gradient(np.ones(3), *table())
    both = FunctionObjective(lambda *arguments: (cauchy(*arguments), cauchy_gradient(*arguments)), both=True)
    assert both.value_and_grad(np.ones(3), *table())[0] == cauchy(np.ones(3), *table())


class TestCompare:
    """compare() with a loss of one's own."""

    def test_the_backends_agree_and_reach_the_same_end(self) -> None:
        found = compare(table(), objective=FunctionObjective(cauchy, cauchy_gradient), theta0=np.ones(3), steps=300)
        assert found.verdict == "agree", found.sentence
        ends = np.array([row.fit.theta for row in found.rows])
        assert [row.status for row in found.rows] == ["ok"] * 3
        assert all(row.step_s for row in found.rows)
        np.testing.assert_allclose(ends, np.broadcast_to(ends[0], ends.shape), rtol=1e-9)
        assert all(row.fit.loss < 0.6 * row.fit.losses[0] for row in found.rows)
        document = json.loads(json.dumps(found.to_dict()))
        assert document["settings"]["objective"] == {"function": "cauchy"}
        assert set(document["backends"][0]["coefficients"]) == {"theta[0]", "theta[1]", "theta[2]"}

    def test_an_object_with_a_loss_and_a_gradient_is_one_too(self) -> None:
        class Cauchy:
            loss, gradient = staticmethod(cauchy), staticmethod(cauchy_gradient)

        found = compare(table(), objective=Cauchy(), theta0=np.ones(3), steps=10)
        assert [row.status for row in found.rows] == ["ok"] * 3

    def test_without_a_gradient_numpy_is_a_row_and_the_others_are_compared(self) -> None:
        found = compare(table(), objective=cauchy, theta0=np.ones(3), steps=20, batch_size=16)
        assert found.verdict == "agree"
        assert [row.status for row in found.rows] == ["unsupported", "ok", "ok"]
        assert found.rows[0].step_s is None
        assert "numpy is left out: there is no gradient by hand." in str(found)

    def test_a_wrong_gradient_has_no_time(self) -> None:
        found = compare(table(), objective=FunctionObjective(cauchy, nearly), theta0=np.ones(3), steps=20)
        assert (found.verdict, found.rows[0].status, found.rows[0].step_s) == ("disagree", "disagrees", None)
        assert "numpy disagrees" in found.sentence
        assert "check_gradient may name the mistake" in found.sentence

    def test_a_rate_that_is_too_large_diverges(self) -> None:
        def steep(theta, X, y):
            return ((X @ theta - y) ** 2).sum()

        found = compare(table(), objective=steep, theta0=np.ones(3), learning_rate=1.0, backends=["jax", "torch"])
        assert found.verdict == "diverged"
        assert "learning rate below" in found.sentence

    def test_what_cannot_be_sent_to_another_process_is_one_line(self) -> None:
        with pytest.raises(InputError, match="define it at the top level of an importable module"):
            compare(table(), objective=lambda t, X, y: ((X @ t - y) ** 2).mean(), theta0=np.ones(3), isolate=True)

    def test_a_loss_that_nothing_differentiates_is_one_line(self) -> None:
        def opaque(theta, X, y):
            return float(str(theta.sum()))

        with pytest.raises(InputError, match="no framework can differentiate the loss"):
            compare(table(), objective=opaque, theta0=np.ones(3))


ENDINGS = {
    "Wrong": (("loss", "value_and_gradient"), "disagrees", "gradient differs from autodiff"),
    "Cheap": (("loss",), "disagrees", "loss alone differs"),
    "Short": (("step", "fit"), "disagrees", "descent differs"),
    "Halving": (("step",), "disagrees", "descent differs"),
    "Unsynchronised": (("value_and_gradient",), "unsynchronised", "before the result was available"),
    "Dying": (("value_and_gradient",), "crashed", "SIGABRT"),
    "Raising": (("value_and_gradient",), "crashed", "RuntimeError: no kernel"),
}
HONEST = ("loss", "gradient", "value_and_gradient", "step", "batch", "fit")


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> list:
    """The rows of one benchmark of a loss in a file on the backends that lie, with an honest one among them."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(LOGCOSH)
    works = {f"fakes:{name}": works for name, (works, _, _) in ENDINGS.items()} | {"fakes:Light": HONEST}
    size = dict(sizes=[(20_000, 10)], objectives=[f"{folder / 'own.py'}:loss"])
    cases = [case for backend, each in works.items() for case in Grid([backend], works=each, **size).cases()]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        plan, path = Plan(launches=1, most=1, turns=4, timeout_s=120), str(folder / "r.jsonl")  # calls queue up
        with ResultsFile(path) as file:
            bench(cases, file, plan, begin(file, plan, cases))
        return result_rows(read_results(path))


@pytest.mark.parametrize("name", ENDINGS)
def test_a_lie_has_its_name_and_no_time(endings: list, name: str) -> None:
    works, status, reason = ENDINGS[name]
    rows = [row for row in endings if row.case.config.backend == f"fakes:{name}"]
    assert [row.status for row in rows] == [status] * len(works)
    assert all(row.timing is None and reason in row.reason for row in rows)


def test_an_honest_backend_is_timed(endings: list) -> None:
    rows = [row for row in endings if row.case.config.backend == "fakes:Light"]
    assert [row.status for row in rows] == ["ok"] * len(HONEST)
    assert all(row.agreement <= 1 for row in rows)


@pytest.mark.usefixtures("few_turns")
class TestCommands:
    """The commands with FILE.py:NAME."""

    def test_bench_times_every_work_of_a_file(self, tmp_path) -> None:
        (tmp_path / "own.py").write_text("print('printed by the file')\n" + LOGCOSH)
        works = "loss,gradient,value_and_gradient,hvp,jacobian_forward,jacobian_reverse,step,batch"
        command = ["bench", "--objective", "own.py:loss", "--size", "300x4", "--work", works, "--launches", "1"]
        done = run(*command, "--most", "1", "--out", "r.jsonl", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
        ended = {(r["case"]["backend"], r["case"]["work"]): r["status"] for r in lines if r["record"] == "case"}
        by_hand = {"loss", "gradient", "value_and_gradient", "step", "batch"}
        for work in works.split(","):
            assert ended["jax", work] == ended["torch", work] == "ok"
            assert ended["numpy", work] == ("ok" if work in by_hand else "unsupported")
        assert "printed by the file" not in done.stdout
        for form in ("csv", "md", "json", "published"):
            exported = run("export", "r.jsonl", "--to", form, cwd=tmp_path)
            assert exported.returncode == 0, exported.stderr
        (tmp_path / "own.py").write_text(LOGCOSH + "# edited\n")
        again = run(*command, "--resume", "--out", "r.jsonl", cwd=tmp_path)
        assert again.returncode == 2
        assert "own.py:loss has been edited since r.jsonl was measured; give another --out" in again.stderr
        (tmp_path / "own.py").unlink()  # the results are read without the file
        published = run("export", "r.jsonl", "--to", "published", "--out", "p.json", cwd=tmp_path)
        assert published.returncode == 0, published.stderr
        edited = (tmp_path / "r.jsonl").read_text().replace('"files": {"own.py:loss": "', '"files": {"own.py:loss": "0')
        (tmp_path / "e.jsonl").write_text(edited)
        changed = run("diff", "p.json", "e.jsonl", cwd=tmp_path)
        assert "own.py:loss was edited" in changed.stdout, changed.stderr
        assert run("page", "r.jsonl", cwd=tmp_path).returncode == 0

    def test_a_wrong_gradient_fails_and_the_others_are_timed(self, tmp_path) -> None:
        (tmp_path / "own.py").write_text(LOGCOSH.replace("/ y.size", "/ (y.size + 1)"))
        works = ("--work", "value_and_gradient", "--launches", "1", "--most", "1")
        done = run("bench", "--objective", "own.py:loss", *works, cwd=tmp_path)
        assert done.returncode == 1
        assert "NumPy, value_and_gradient, 1,000 x 10, own.py:loss: disagrees: its gradient" in done.stdout
        assert "gdbackends check own.py:loss may name the mistake" in done.stdout
        named = run("check", "own.py:loss", cwd=tmp_path)
        assert named.returncode == 1, named.stderr
        assert "factor" in named.stdout
        assert "own.py:loss: agrees with autodiff in float64, by estimated rounding bounds" in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["bench", "--objective", "no.py:loss"], "no.py: cannot be read: no such file or directory"),
            (
                ["bench", "--objective", "own.py:nothing"],
                "own.py: no name 'nothing'; it defines loss, loss_gradient, data",
            ),
            (["bench", "--objective", "own.py:loss", "--size", "10"], None),
            (["bench", "--objective", "own.py:loss", "--size", "10x"], "--size must be whole numbers"),
            (["bench", "--objective", "own.py:loss", "--size", "10x2", "--rows", "3"], "leave out --rows"),
            (["bench", "--objective", "own.py:loss", "--variants", "--tuning", "best"], "leave out --tuning"),
            (["compare", "--objective", "own.py:loss", "--l2", "1"], "add a penalty to the loss"),
            (["compare", "--objective", "own.py:loss", "--steps", "0"], "steps must be at least 1, got 0"),
            (["fit", "--objective", "own.py:loss", "--holdout", "0.2"], "--holdout needs a bundled loss"),
            (["fit", "--objective", "own.py:loss", "--batch-size", "0"], "batch_size must be from 1 to"),
            (["compare", "--objective", "own.py:loss", "--synthetic", "5"], "--synthetic must be rows x features"),
        ],
    )
    def test_a_mistake_is_one_line(self, tmp_path, arguments: list[str], text: str | None) -> None:
        (tmp_path / "own.py").write_text(LOGCOSH)
        more = ["--dry-run"] if arguments[0] == "bench" else []
        done = run(*arguments, *more, cwd=tmp_path)
        if text is None:
            assert done.returncode == 0, done.stderr
            return
        assert done.returncode == 2, done.stdout
        assert done.stderr.startswith("gdbackends: ")
        assert text in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_compare_and_fit_take_the_data_of_the_file_or_a_table(self, tmp_path) -> None:
        (tmp_path / "own.py").write_text("print('printed by the file')\n" + LOGCOSH)
        (tmp_path / "t.csv").write_text("a,b,y\n1,2,5.5\n2,1,4\n3,5,13\n4,4,12.5\n0,1,2\n5,2,9.5\n")
        found = run("compare", "t.csv", "--objective", "own.py:loss", "--json", cwd=tmp_path)
        assert found.returncode == 0, found.stderr
        document = json.loads(found.stdout)
        assert (document["verdict"], document["dataset"]["rows"]) == ("agree", 6)
        fitted = run("fit", "t.csv", "--objective", "own.py:loss", "--backend", "torch", "--json", cwd=tmp_path)
        assert fitted.returncode == 0, fitted.stderr
        coefficients = json.loads(fitted.stdout)["coefficients"]
        (ours,) = [row for row in document["backends"] if row["backend"] == "torch"]
        assert coefficients == pytest.approx(ours["coefficients"], rel=1e-6)
        own = run("fit", "--objective", "own.py:loss", "--synthetic", "50x2", "--save", "f.json", cwd=tmp_path)
        assert own.returncode == 0, own.stderr
        assert "own.py:loss: 50 rows, numpy on cpu" in own.stdout
        assert "is not a saved fit" in run("predict", "f.json", "t.csv", cwd=tmp_path).stderr


def test_a_case_of_a_file_survives_its_record() -> None:
    case = Case.from_dict(json.loads(json.dumps(Case(*_config(), work="hvp").to_dict())))
    assert case.spec.is_function
    assert case.spec.objective == "somewhere/own.py:loss"


def _config():
    (case,) = Grid(["jax"], sizes=[(10, 2)], objectives=["somewhere/own.py:loss"], works=["hvp"]).cases()
    return case.config, case.spec


def test_a_spec_of_a_row_loss_is_no_function(backend: Backend) -> None:
    assert not ProblemSpec("huber:1").is_function
