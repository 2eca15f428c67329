"""The benchmarks are right before they are fast: who computes something else, or misses the loss, gets no time."""

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
from gdbackends.measurement.subprocess_worker import in_fresh_process

ROOT = Path(__file__).parents[1]
SABOTAGE = """
from gdbackends.backends.numpy_backend import NumpyBackend
right = NumpyBackend.value_and_grad
def wrong(self, objective):
    def value_and_grad(*arguments):
        value, gradient = right(self, objective)(*arguments)
        return value, gradient * {factor}
    return value_and_grad
NumpyBackend.value_and_grad = wrong
"""
SABOTAGE_OF_THE_LOSS = """
from gdbackends.backends.numpy_backend import NumpyBackend
NumpyBackend.value = lambda self, objective: lambda *arguments: 1.01 * objective.loss(*arguments)
"""


@pytest.fixture
def alternatives(monkeypatch) -> ModuleType:
    """alternatives.py, whose processes find trials.py and implementations.py where this one does."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "speed"))
    return import_module("alternatives")


def environ_path(first: Path | None) -> str:
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
    env = os.environ | {"PYTHONPATH": environ_path(path)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=env)


@pytest.mark.parametrize("module", ["optax", "pytest_benchmark", "scipy", "sklearn"])
def test_what_the_benchmarks_need_is_installed(module: str) -> None:
    """No skip: the dev extra brings them."""
    import_module(module)


def test_the_dev_extra_brings_what_the_benchmarks_need_in_tested_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    dev = {re.split(r"[>=<\[]", line)[0] for line in project["optional-dependencies"]["dev"]}
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf8"), re.MULTILINE)
    assert {"optax", "pytest-benchmark", "scikit-learn", "scipy"} <= dev
    assert dev - {"gdbackends"} <= {name.replace("_", "-") for name in pinned}


@pytest.mark.parametrize("name", names())
def test_the_suite_runs_on_every_backend(require, name: str) -> None:
    require(name)
    done = pytest_benchmark(name)
    assert (done.returncode, "8 passed" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize(
    ("code", "failed", "what"),
    [
        (SABOTAGE.format(factor="float('nan')"), 8, ""),  # which passes where one asks if a difference is too large
        (SABOTAGE_OF_THE_LOSS, 8, "loss alone"),
    ],
)
def test_a_backend_that_computes_something_else_fails(tmp_path: Path, code: str, failed: int, what: str) -> None:
    """1 % too much is in the test below."""
    (tmp_path / "sabotage.py").write_text(code, encoding="utf8")
    done = pytest_benchmark("numpy", "-p", "sabotage", path=tmp_path)
    assert (done.returncode, f"{failed} failed" in done.stdout) == (1, True), done.stdout
    assert f"numpy computes something else: its {what}" in done.stdout


def test_a_run_is_saved_and_held_against_the_last_and_a_failed_one_is_not_kept(tmp_path: Path) -> None:
    chosen = ["--backends", "numpy", "--select", "100x1 and gradient"]
    command = [sys.executable, "benchmarks/speed/suite.py", *chosen, "--storage", str(tmp_path / "saved")]
    (tmp_path / "sabotage.py").write_text(SABOTAGE.format(factor="1.01"), encoding="utf8")

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"PYTHONPATH": environ_path(tmp_path)} | variables
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=env, check=False)

    once, again, wrong = run(), run(), run(PYTEST_ADDOPTS="-p sabotage")
    assert once.stdout.splitlines()[-1] == "No earlier run is saved there: nothing to compare with."
    assert again.stdout.splitlines()[-1] == "In brackets: over 0001, in the same environment."
    line = r"\| gradient 100 x 1 float(64|32) \| [\d.]+ [um]s"
    assert len(re.findall(line + r" \|", once.stdout)) == 2
    assert len(re.findall(line + r" \([\d.]+\) \|", again.stdout)) == 2
    assert (once.returncode, again.returncode, wrong.returncode) == (0, 0, 1)
    assert "numpy computes something else: its " in wrong.stdout
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["0001", "0002"]
    (saved,) = json.loads((tmp_path / "saved/0001/numpy.json").read_text(encoding="utf8"))["benchmarks"][:1]
    given = saved["extra_info"]
    assert (given["backend"], given["work"], given["bytes"]) == ("numpy", "gradient", 2400)
    assert 0 < given["agreement"] <= 1
    assert given["environment"]["numpy"] == np.__version__


def test_another_environment_is_named(alternatives: ModuleType) -> None:
    suite = import_module("suite")
    new, old = ({"numpy": {"fit": {"extra_info": {"environment": {"numpy": v, "cores": 2}}}}} for v in ("2.4", "2.3"))
    assert suite.changes(new, old) == ["numpy 2.3, now 2.4"]
    assert suite.changes(new, new) == []


@pytest.mark.parametrize("framework", ["numpy", "jax", "torch", "scikit-learn, scipy"])
def test_the_alternatives_are_right_and_timed(alternatives: ModuleType, framework: str) -> None:
    trials = alternatives.trials
    tables = [alternatives.Table(60, 3), alternatives.Table(60, 3, 0.5)]
    chosen = in_fresh_process(trials.settings, framework, tables, timeout=120)
    found = in_fresh_process(trials.launch, framework, tables, ["fit", "step"], chosen, 0, 0.01, timeout=120)
    counts = {"numpy": (3, 3), "jax": (4, 2), "torch": (3, 2), "scikit-learn, scipy": (0, 4)}[framework]
    plain, mixed = tables
    assert [len(found[plain, "step"]), len(found[plain, "fit"])] == list(counts)
    assert (mixed, "step") not in found
    for (_, work), samples in found.items():
        for name, sample in samples.items():
            if "SGDRegressor" not in name:  # which ends where its schedule leaves it
                assert sample.trouble == "", name
                assert sample.error <= (1e-9 if work == "step" else 1e-6), name
                assert min(sample.times) > 0, name


def test_the_best_loss_and_the_path_of_a_descent_are_exact(alternatives: ModuleType) -> None:
    """Against fractions' worth of digits: the normal equations, and the steps, in extended precision."""
    trials, implementations = alternatives.trials, import_module("implementations")
    X, y = alternatives.Table(40, 3, 0.5).arrays()
    assert np.corrcoef(alternatives.Table(20_000, 3, 0.5).arrays()[0].T)[0, 1:] == pytest.approx(0.5, abs=0.03)
    A, theta = implementations.with_ones(X).astype(np.longdouble), np.zeros(4, np.longdouble)
    for _ in range(50):
        theta = theta - np.longdouble(implementations.RATE) * 2 / 40 * A.T @ (A @ theta - y)
    assert np.abs(trials._closed_form(X, y)(50) - theta).max() < 1e-14
    excess, best = trials._excess(X, y), implementations.least_squares(X, y)
    assert excess(best) == 0
    moved = best + [1e-3, 0, 0, 0]
    rise = ((A @ moved - y) ** 2).mean() / ((A @ best - y) ** 2).mean() - 1
    assert excess(moved) == pytest.approx(float(rise), rel=1e-8)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda theta: theta + 1e-2, ("differs: 1.0e-02", "does not reach it: ")),
        (lambda theta: theta * np.nan, ("differs: nan", "does not reach it: nan")),
        (lambda theta: 1 / 0, ("failed: ZeroDivisionError: division by zero",) * 2),
    ],
)
def test_a_wrong_alternative_gets_no_time(alternatives: ModuleType, monkeypatch, answer, said) -> None:
    implementations, trials = import_module("implementations"), alternatives.trials
    right = implementations.numpy_ways

    def ways(X: np.ndarray, y: np.ndarray):
        steps, fits = right(X, y)
        wrong = [implementations.Way("a wrong step", lambda k: answer(steps[1].run(k)))]
        return steps + wrong, [*fits, implementations.Way("a wrong fit", lambda _: answer(fits[1].run(None)))]

    monkeypatch.setattr(trials, "WAYS", {"numpy": ways})
    monkeypatch.setattr(alternatives, "WAYS", {"numpy": ways})
    monkeypatch.setattr(alternatives, "trial", lambda function, *arguments, cores: function(*arguments))
    found = alternatives.collect([alternatives.Table(60, 3)], ["step", "fit"], 2, 0.01, [])
    for ((_, work), rows), text, count in zip(found.items(), said, (3, 3), strict=True):
        lines = alternatives.markdown(rows, work)
        assert lines[-1].startswith(f"| numpy | a wrong {work} | {text}")
        assert lines[-1].endswith(" | | |")
        assert len([line for line in lines if re.search(r"\d [um]s \|", line)]) == count


def test_a_framework_that_is_missing_is_a_row(alternatives: ModuleType, monkeypatch) -> None:
    monkeypatch.setattr(alternatives, "WAYS", {"no such framework": None})
    ((_, rows),) = alternatives.collect([alternatives.Table(60, 3)], ["fit"], 2, 0.01, []).items()
    (line,) = alternatives.markdown(rows, "fit")[2:]
    assert line == "| no such framework |  | failed: KeyError: 'no such framework' | | |"
