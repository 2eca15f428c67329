"""The pytest plugin as the author of another library meets it: a project of its own, pytest in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = {
    "pyproject.toml": """\
[project]
name = "ridge"
version = "1"

[tool.pytest.ini_options]
filterwarnings = "error"
""",
    "ridge.py": """\
def loss(theta, X, y, lam):
    r = X @ theta - y
    return r @ r / y.shape[0] + lam * (theta @ theta)


def gradient(theta, X, y, lam):
    return 2 * X.T @ (X @ theta - y) / y.shape[0] + 2 * lam * theta


def wrong(theta, X, y, lam):
    return X.T @ (X @ theta - y) / y.shape[0] + lam * theta


def unfinished(theta, X, y, lam):
    return X.T @ y.reshape(3)
""",
    "test_ridge.py": """\
import numpy as np
import pytest
from ridge import gradient, loss, unfinished, wrong

X, y = np.arange(12.0).reshape(6, 2) % 5, np.arange(6.0)


def test_right(assert_gradient):
    assert assert_gradient(loss, gradient, [1.0, -2.0], X, y, params={"lam": 0.1}).verdict == "pass"


@pytest.mark.parametrize("lam", [0.5])
def test_wrong(assert_gradient, lam):
    assert_gradient(loss, wrong, [1.0, -2.0], X, y, params={"lam": lam}, seed=3)


def test_unfinished(assert_gradient):
    assert_gradient(loss, unfinished, [1.0, -2.0], X, y, params={"lam": 0.1})
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text, encoding="utf8")
    return tmp_path


def run(folder: Path, *arguments: str, path: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a project with this plugin alone, named by its module: it need not be installed."""
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "gdbackends.pytest_plugin"} | environment
    paths = os.pathsep.join(map(str, dict.fromkeys((folder, path, ROOT))))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_right_and_wrong_gradients_of_another_project(project: Path, require) -> None:
    for name in ("jax", "torch"):
        require(name)
    shown = run(project)
    assert (shown.returncode, "2 failed, 1 passed" in shown.stdout) == (1, True), shown.stdout + shown.stderr
    told = [line.removeprefix("E").strip() for line in shown.stdout.splitlines() if line.startswith("E ")]
    assert told[0].endswith(
        "FAIL: the gradient differs from jax and torch by more than rounding allows; look for a wrong factor."
    )
    assert any("a factor 1/2" in line for line in told)
    again = "repeat it: pytest 'test_ridge.py::test_wrong[0.5]' --gradient-backends=jax,torch  # seed 3, float64"
    assert again in told
    at = next(k for k, line in enumerate(told) if "InputError: the gradient raises ValueError: cannot reshape" in line)
    assert "in unfinished, line 15 of" in told[at]
    frames = [line for line in told[at + 1 :] if line.startswith("File ")]
    assert (len(frames), "line 15, in unfinished" in frames[0]) == (1, True)
    assert "def _call" not in shown.stdout  # no wall of what is inside
    assert "def assert_gradient" not in shown.stdout


@pytest.mark.parametrize("setting", ["option", "ini"])
def test_one_framework_is_insisted_on(project: Path, setting: str, require) -> None:
    require("torch")
    chosen = ["--gradient-backends=torch"] if setting == "option" else ["-o", "gradient_backends=torch"]
    shown = run(project, *chosen, "-k", "wrong")
    assert "the gradient differs from torch by more" in shown.stdout
    assert "jax" not in shown.stdout
    assert "--gradient-backends=torch  # seed 3, float64" in shown.stdout


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("jax", "--gradient-backends=jax needs the package jax, which is not installed; run: pip install "),
        ("numpy", "--gradient-backends must be of jax, torch, got 'numpy'"),
        ("", "--gradient-backends must be of jax, torch, got ''"),
    ],
)
def test_a_framework_that_is_missing_is_a_usage_error(project: Path, names: str, text: str) -> None:
    hide = "import importlib.util as u\nf = u.find_spec\nu.find_spec = lambda n, *a: None if n == 'jax' else f(n, *a)\n"
    (project / "sitecustomize.py").write_text(hide, encoding="utf8")
    shown = run(project, f"--gradient-backends={names}")
    assert (shown.returncode, shown.stdout) == (4, "")
    assert shown.stderr.startswith(f"ERROR: {text}")
    assert len(shown.stderr.strip().splitlines()) == 1


def test_the_entry_point_loads_the_plugin_and_nothing_heavy(project: Path) -> None:
    """The distribution is made up of what pyproject.toml declares, so that it need not be installed."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]["entry-points"]
    folder = project / "installed" / "declared-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 1\n")
    points = "".join(f"{name} = {module}\n" for name, module in declared["pytest11"].items())
    (folder / "entry_points.txt").write_text(f"[pytest11]\n{points}")
    (project / "test_ridge.py").write_text(
        "import sys\n\n\ndef test_light(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.get_plugin('gdbackends').__name__ == 'gdbackends.pytest_plugin'\n"
        "    assert not {'numpy', 'jax', 'torch', 'gdbackends.errors'} & set(sys.modules)\n"
    )
    shown = run(project, "-p", "gdbackends", path=folder.parent, PYTEST_PLUGINS="")
    assert shown.returncode == 0, shown.stdout + shown.stderr
