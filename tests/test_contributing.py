"""CONTRIBUTING.md stays true: its loss and its backend are added to a copy of the package and used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
LOSS, BACKEND = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def run(tmp_path: Path):
    """Return a function that runs Python with a copy of the package, which may be changed."""
    shutil.copytree(ROOT / "gdbackends", tmp_path / "gdbackends", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


def test_a_loss_is_one_class(tmp_path: Path, run) -> None:
    path = tmp_path / "gdbackends/objectives/row_losses.py"
    before, marker, after = path.read_text(encoding="utf8").partition(
        "@dataclass(frozen=True)\nclass Logistic(RowLoss)"
    )
    assert marker
    path.write_text(f"{before}{LOSS}\n\n{marker}{after}", encoding="utf8")
    assert "agree: gradients differ by at most" in run(
        "-m", "gdbackends", "compare", "--backends", "numpy,jax", "--objective", "pseudohuber"
    )
    assert "PASS" in run("-m", "gdbackends", "check", "pseudohuber")
    assert "J = (1/n) sum" in run("-m", "gdbackends", "derive", "pseudohuber")


def test_a_backend_is_one_file_and_one_line(tmp_path: Path, run) -> None:
    (tmp_path / "gdbackends/backends/complexstep_backend.py").write_text(BACKEND, encoding="utf8")
    path = tmp_path / "gdbackends/backends/__init__.py"
    text, line = (
        path.read_text(encoding="utf8"),
        '    "numpy": ("numpy", "gdbackends.backends.numpy_backend", "NumpyBackend"),\n',
    )
    assert line in text
    added = '    "complexstep": ("numpy", "gdbackends.backends.complexstep_backend", "ComplexStepBackend"),\n'
    path.write_text(text.replace(line, line + added), encoding="utf8")
    shown = run("-m", "gdbackends", "compare", "--backends", "numpy,complexstep")
    assert "numpy and complexstep agree: gradients differ by at most" in shown
    for name in ("conftest.py", "chromium.py", "test_backends.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu\n    browser\n    timing\n", encoding="utf8")
    shown = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_backends.py", "-k", "complexstep-float64")
    assert int(re.findall(r"(\d+) passed", shown)[0]) >= 20
