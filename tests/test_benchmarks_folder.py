"""Tests of benchmarks/speed: a wrong backend or alternative gets no time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gdbackends.backends import names
from gdbackends.benchmarking.results import read_results
from gdbackends.measurement.environment import affinity
from gdbackends.measurement.provenance import TIMED, code_digest, digest_in
from gdbackends.measurement.subprocess_worker import in_fresh_process

ROOT = Path(__file__).parents[1]
WRONG_GRADIENT = """
from gdbackends.backends.numpy_backend import NumpyBackend
correct = NumpyBackend.value_and_grad
def wrong(self, objective):
    def value_and_grad(*arguments):
        value, gradient = correct(self, objective)(*arguments)
        return value, gradient * {factor}
    return value_and_grad
NumpyBackend.value_and_grad = wrong
"""
WRONG_LOSS = """
from gdbackends.backends.numpy_backend import NumpyBackend
NumpyBackend.value = lambda self, objective: lambda *arguments: 1.01 * objective.loss(*arguments)
"""


@pytest.fixture
def alternatives(monkeypatch) -> ModuleType:
    """Import alternatives.py; its processes inherit the path of worker_tasks.py and implementations.py."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "speed"))
    return import_module("alternatives")


def python_path(first: Path | None) -> str:
    return os.pathsep.join(filter(None, (str(first or ""), str(ROOT), os.environ.get("PYTHONPATH"))))


def pytest_benchmark(backend: str, *options: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "benchmarks/speed/test_benchmarks.py",
        "-o",
        "addopts=--import-mode=importlib",
    ]
    command += ["--benchmark-disable", "-k", "100x1", f"--backend={backend}", "-p", "no:cacheprovider", *options]
    env = os.environ | {"PYTHONPATH": python_path(path)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=env)


def test_the_table_in_the_readme_is_of_the_present_code_and_of_the_saved_results() -> None:
    """A change of backends or descent makes it stale; a change of comments does not."""
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    assert digest_in(readme) == code_digest(TIMED), "the table in README.md is stale; run make results"
    run = list(read_results(str(ROOT / "benchmarks" / "results" / "quick.jsonl")).runs.values())[-1]
    assert f"(Measured at commit {run['commit']} on {run['at'][:10]}, " in readme, "run make results"


@pytest.mark.parametrize("module", ["optax", "pytest_benchmark", "scipy", "sklearn"])
def test_requirements_of_the_benchmarks_are_installed(module: str) -> None:
    """The dev extra installs them, so the test fails instead of being skipped."""
    import_module(module)


def test_dev_extra_pins_the_requirements_of_the_benchmarks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    dev = {re.split(r"[>=<\[]", line)[0] for line in project["optional-dependencies"]["dev"]}
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf8"), re.MULTILINE)
    assert {"optax", "pytest-benchmark", "scikit-learn", "scipy"} <= dev
    assert dev - {"gdbackends"} <= {name.replace("_", "-") for name in pinned}


@pytest.mark.parametrize("name", names())
def test_suite_runs_on_every_backend(require, name: str) -> None:
    require(name)
    completed = pytest_benchmark(name)
    assert (completed.returncode, "8 passed" in completed.stdout) == (0, True), completed.stdout


def test_plain_command_shows_all_backends_side_by_side(tmp_path: Path, require) -> None:
    """As a user types it: no option but those that make it short."""
    for name in names():
        require(name)
    saved = tmp_path / "saved.json"
    command = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-only", "-k", "100x1 and gradient"]
    command += ["--benchmark-max-time=0.01", "--benchmark-min-rounds=1", f"--benchmark-json={saved}"]
    command += ["-p", "no:cacheprovider"]
    env = os.environ | {"PYTHONPATH": python_path(None)}
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=env)
    assert (completed.returncode, "6 passed" in completed.stdout) == (0, True), completed.stdout
    assert "benchmark 'gradient 100 x 1 float64': 3 tests" in completed.stdout
    assert [len(re.findall(rf"^{name} ", completed.stdout, re.MULTILINE)) for name in names()] == [2, 2, 2]
    assert "numpy, jax, torch ran in one process, in this order." in completed.stdout
    document = json.loads(saved.read_text(encoding="utf8"))
    described = document["machine_info"]["gdbackends"]
    assert (described["numpy"], described["cores"]) == (np.__version__, len(affinity()))
    infos = [case["extra_info"] for case in document["benchmarks"]]
    assert [info["backend"] for info in infos] == [name for name in names() for _ in range(2)]
    assert [infos[k]["imported"] for k in (0, 2, 4)] == [["numpy"], ["numpy", "jax"], ["numpy", "jax", "torch"]]


@pytest.mark.parametrize(
    ("code", "failed", "quantity"),
    [
        (WRONG_GRADIENT.format(factor="float('nan')"), 8, ""),  # NaN must not pass the comparison
        (WRONG_LOSS, 8, "loss alone"),
    ],
)
def test_wrong_backend_fails(tmp_path: Path, code: str, failed: int, quantity: str) -> None:
    """The test below covers an error of 1 %."""
    (tmp_path / "wrong_backend.py").write_text(code, encoding="utf8")
    completed = pytest_benchmark("numpy", "-p", "wrong_backend", path=tmp_path)
    assert (completed.returncode, f"{failed} failed" in completed.stdout) == (1, True), completed.stdout
    assert f"numpy is wrong: the error of its {quantity}" in completed.stdout


def test_run_is_saved_and_compared_with_the_last_unless_it_fails(tmp_path: Path) -> None:
    selected = ["--backends", "numpy", "--select", "100x1 and gradient"]
    command = [sys.executable, "benchmarks/speed/suite.py", *selected, "--storage", str(tmp_path / "saved")]
    (tmp_path / "wrong_backend.py").write_text(WRONG_GRADIENT.format(factor="1.01"), encoding="utf8")

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"PYTHONPATH": python_path(tmp_path)} | variables
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=env, check=False)

    first, second, wrong = run(), run(), run(PYTEST_ADDOPTS="-p wrong_backend")
    assert first.stdout.splitlines()[-1] == "There is no earlier run to compare with."
    assert second.stdout.splitlines()[-1] == "In parentheses: the ratio to 0001, in the same environment."
    line = r"\| gradient 100 x 1 float(64|32) \| [\d.]+ [um]s"
    assert len(re.findall(line + r" \|", first.stdout)) == 2
    assert len(re.findall(line + r" \([\d.]+\) \|", second.stdout)) == 2
    assert (first.returncode, second.returncode, wrong.returncode) == (0, 0, 1)
    assert "numpy is wrong: the error of its " in wrong.stdout
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["0001", "0002"]
    (saved,) = json.loads((tmp_path / "saved/0001/numpy.json").read_text(encoding="utf8"))["benchmarks"][:1]
    info = saved["extra_info"]
    assert (info["backend"], info["work"], info["bytes"]) == ("numpy", "gradient", 2400)
    assert 0 < info["agreement"] <= 1
    assert info["environment"]["numpy"] == np.__version__


def test_differences_between_environments_are_listed(alternatives: ModuleType) -> None:
    suite = import_module("suite")
    new, old = ({"numpy": {"fit": {"extra_info": {"environment": {"numpy": v, "cores": 2}}}}} for v in ("2.4", "2.3"))
    assert suite.changes(new, old) == ["numpy 2.3, now 2.4"]
    assert suite.changes(new, new) == []


@pytest.mark.parametrize("framework", ["numpy", "jax", "torch", "scikit-learn, scipy"])
def test_alternatives_are_correct_and_timed(alternatives: ModuleType, framework: str) -> None:
    tasks = alternatives.worker_tasks
    data = [alternatives.DataSpec(60, 3), alternatives.DataSpec(60, 3, 0.5)]
    settings = in_fresh_process(tasks.choose_settings, framework, data, timeout=120)
    arguments = (framework, data, ["fit", "step"], settings, 0, 0.01)
    results = in_fresh_process(tasks.time_implementations, *arguments, timeout=120)
    counts = {"numpy": (3, 3), "jax": (4, 2), "torch": (3, 2), "scikit-learn, scipy": (0, 4)}[framework]
    uncorrelated, correlated = data
    assert [len(results[uncorrelated, "step"]), len(results[uncorrelated, "fit"])] == list(counts)
    assert (correlated, "step") not in results
    for (_, workload), by_label in results.items():
        for label, result in by_label.items():
            if "SGDRegressor" not in label:  # its learning-rate schedule may stop it earlier
                assert result.failure == "", label
                assert result.error <= (1e-9 if workload == "step" else 1e-6), label
                assert min(result.times) > 0, label


def test_minimum_loss_and_closed_form_are_exact(alternatives: ModuleType) -> None:
    """Compare them with the loss and with the steps in extended precision."""
    tasks, implementations = alternatives.worker_tasks, import_module("implementations")
    X, y = alternatives.DataSpec(40, 3, 0.5).arrays()
    assert np.corrcoef(alternatives.DataSpec(20_000, 3, 0.5).arrays()[0].T)[0, 1:] == pytest.approx(0.5, abs=0.03)
    A, theta = implementations.with_ones(X).astype(np.longdouble), np.zeros(4, np.longdouble)
    for _ in range(50):
        theta = theta - np.longdouble(implementations.RATE) * 2 / 40 * A.T @ (A @ theta - y)
    assert np.abs(tasks._closed_form(X, y)(50) - theta).max() < 1e-14
    loss_error, solution = tasks._loss_error(X, y), implementations.least_squares(X, y)
    assert loss_error(solution) == 0
    moved = solution + [1e-3, 0, 0, 0]
    expected = ((A @ moved - y) ** 2).mean() / ((A @ solution - y) ** 2).mean() - 1
    assert loss_error(moved) == pytest.approx(float(expected), rel=1e-8)


@pytest.mark.parametrize(
    ("alter", "expected"),
    [
        (lambda theta: theta + 1e-2, ("wrong: 1.0e-02", "loss too high: ")),
        (lambda theta: theta * np.nan, ("wrong: nan", "loss too high: nan")),
        (lambda theta: 1 / 0, ("failed: ZeroDivisionError: division by zero",) * 2),
    ],
)
def test_wrong_alternative_gets_no_time(alternatives: ModuleType, monkeypatch, alter, expected) -> None:
    implementations, tasks = import_module("implementations"), alternatives.worker_tasks
    correct = implementations.numpy_implementations

    def with_wrong_ones(X: np.ndarray, y: np.ndarray):
        steps, fits = correct(X, y)
        wrong_step = implementations.Implementation("a wrong step", lambda k: alter(steps[1].run(k)))
        wrong_fit = implementations.Implementation("a wrong fit", lambda _: alter(fits[1].run(None)))
        return [*steps, wrong_step], [*fits, wrong_fit]

    monkeypatch.setattr(tasks, "IMPLEMENTATIONS", {"numpy": with_wrong_ones})
    monkeypatch.setattr(alternatives, "IMPLEMENTATIONS", {"numpy": with_wrong_ones})
    monkeypatch.setattr(alternatives, "run_in_process", lambda function, *arguments, cores: function(*arguments))
    results = alternatives.collect([alternatives.DataSpec(60, 3)], ["step", "fit"], 2, 0.01, [])
    for ((_, workload), rows), text, count in zip(results.items(), expected, (3, 3), strict=True):
        lines = alternatives.markdown(rows, workload)
        assert lines[-1].startswith(f"| numpy | a wrong {workload} | {text}")
        assert lines[-1].endswith(" | | |")
        assert len([line for line in lines if re.search(r"\d [um]s \|", line)]) == count


def test_missing_framework_is_a_row(alternatives: ModuleType, monkeypatch) -> None:
    monkeypatch.setattr(alternatives, "IMPLEMENTATIONS", {"no such framework": None})
    ((_, rows),) = alternatives.collect([alternatives.DataSpec(60, 3)], ["fit"], 2, 0.01, []).items()
    (line,) = alternatives.markdown(rows, "fit")[2:]
    assert line == "| no such framework |  | failed: KeyError: 'no such framework' | | |"
