"""The doctor names what is broken and what to type, on broken and bare machines too, and starts no framework itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gdbackends.backends import installed, names
from gdbackends.backends.numpy_backend import NumpyBackend
from gdbackends.cli import doctor_command
from gdbackends.doctor import Device, Diagnostics, Package, Trial, check_up, checks
from gdbackends.doctor.trial import examine
from gdbackends.measurement.environment import machine

ROOT = Path(__file__).parent.parent
BARE = ("jax", "jaxlib", "torch", "polars", "pyarrow", "sklearn", "threadpoolctl")
HIDE = """
import importlib.machinery
find = importlib.machinery.PathFinder.find_spec
def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in {hidden} else find(name, path, target)
importlib.machinery.PathFinder.find_spec = classmethod(find_spec)
"""


def doctor(folder: Path, *arguments: str, hidden: tuple[str, ...] = BARE, **fakes: str):
    """Run it on a machine without the hidden modules and with fake ones in place of the real."""
    (folder / "sitecustomize.py").write_text(HIDE.format(hidden=set(hidden)), encoding="utf8")
    for name, code in fakes.items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code, encoding="utf8")
    path = os.pathsep.join(filter(None, (str(folder), str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "gdbackends", "doctor", *arguments]
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "2\x1b[2J"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)


def test_tested_versions_are_those_of_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    assert {name: tested for name, (tested, _, _) in checks.TESTED.items()} == {n: pinned[n] for n in checks.TESTED}
    assert names() == checks.BACKENDS
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    extras = project["optional-dependencies"] | {None: project["dependencies"]}
    packages = {extra: {re.split(r"[>=<]", line)[0] for line in lines} for extra, lines in extras.items()}
    for name, (_, _, extra) in checks.TESTED.items():
        assert name in packages[extra] or name == "jaxlib", "the line to type must bring it"
    assert packages[None] <= set(checks.TESTED)


def test_everything_here_works() -> None:
    found = check_up()
    assert found.problems == ()
    assert tuple(trial.backend for trial in found.trials) == installed()
    for trial in found.trials:
        assert trial.devices[0].name == "cpu"
        for device in trial.devices:
            assert device.float64
            assert device.float32
            assert device.coefficients == pytest.approx((3.45, -5251 / 60), rel=1e-12)
    assert found.trials[0].library


def test_a_bare_machine_is_told_what_to_type(tmp_path: Path) -> None:
    shown = doctor(tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "jax - 0.10.2 pip install 'gdbackends[jax]'" in lines
    assert "torch - 2.13.0 pip install 'gdbackends[torch]'" in lines
    assert "polars - 2.1.0 pip install 'gdbackends[data]'" in lines
    assert "numpy cpu works works 3.45, -87.5167" in lines
    assert "OMP_NUM_THREADS 2\\x1b[2J" in lines
    assert lines[-1] == "Everything installed works."
    assert "\x1b" not in shown.stdout
    assert max(len(line.rstrip()) for line in shown.stdout.splitlines()) <= 80


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("print('noise')\nraise OSError('libcudart.so.13: cannot\\n open')", "OSError: libcudart.so.13: cannot open"),
        ("class E(ImportError): ...\nraise E('own class')", "E: own class"),
        ("import os; os._exit(3)", "its process ended with code 3, without an answer"),
        ("import sys; sys.exit('leaving')", "SystemExit: leaving"),
        ("", "ImportError: cannot import name 'device' from 'torch'"),
    ],
)
def test_a_broken_torch_is_a_line_and_exit_code_1(tmp_path: Path, code: str, text: str) -> None:
    shown = doctor(tmp_path, "--json", hidden=("jax", "jaxlib", "polars", "sklearn"), torch=code)
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr
    document = json.loads(shown.stdout)
    assert (document["schema"], document["works"]) == (1, False)
    (problem,) = document["problems"]
    assert problem["text"].startswith(f"torch does not work: {text}")
    assert problem["run"] == "pip install --force-reinstall torch==2.13.0"
    numpy, torch = document["backends"]
    assert (numpy["backend"], numpy["problem"], numpy["devices"][0]["float64"]) == ("numpy", None, True)
    assert (torch["backend"], torch["devices"]) == ("torch", [])
    assert set(document) == {"schema", "works", "problems", "packages", "backends", "machine"}


def test_a_broken_numpy_is_a_line_too(tmp_path: Path) -> None:
    shown = doctor(tmp_path, numpy="raise ImportError('DLL load failed')")
    assert (shown.returncode, shown.stderr) == (1, "")
    assert "numpy does not work: ImportError: DLL load failed" in shown.stdout
    assert shown.stdout.endswith("run: pip install --force-reinstall numpy==2.4.6\n")
    shutil.rmtree(tmp_path / "numpy")
    gone = doctor(tmp_path, hidden=(*BARE, "numpy"))
    assert gone.returncode == 1
    assert "numpy is needed and not installed\nrun: pip install 'numpy==2.4.6'\n" in gone.stdout


def test_a_broken_optional_package_is_a_line_too(tmp_path: Path) -> None:
    for name, code in (("polars", "raise ImportError('no binary')"), ("narwhals", "import os; os._exit(3)")):
        shown = doctor(tmp_path, hidden=tuple(set(BARE) - {name}), **{name: code})
        assert shown.returncode == 1
        assert f"{name} does not work: " in shown.stdout
        assert f"run: pip install --force-reinstall {name}==2." in shown.stdout


def test_the_command_itself_starts_no_framework() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from gdbackends.cli.doctor_command import command\n"
        "if __name__ == '__main__':\n"
        "    code = CliRunner().invoke(command).exit_code\n"
        "    print(code, sorted({'numpy', 'jax', 'jaxlib', 'torch', 'polars', 'sklearn'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert shown.stdout == "0 []\n"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda value, gradient: (value, gradient * (1 + 1e-12)), "a wrong gradient in float64"),
        (lambda value, gradient: (value, gradient.astype("float32")), "a wrong gradient in float64"),
        (lambda value, gradient: (value, gradient.astype("float64")), "a wrong gradient in float32"),
        (
            lambda value, gradient: (value, gradient + 1),
            "wrong coefficients: 3.33427, -80.4944, expected 3.45, -87.5167",
        ),
        (lambda value, gradient: (value, gradient * np.nan), "wrong coefficients: nan, nan, expected 3.45, -87.5167"),
        (lambda value, gradient: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_wrong_arithmetic_is_found_out(monkeypatch, wrong, text: str) -> None:
    right = NumpyBackend.value_and_grad
    monkeypatch.setattr(
        NumpyBackend, "value_and_grad", lambda self, objective: lambda *a: wrong(*right(self, objective)(*a))
    )
    monkeypatch.setattr(checks, "in_fresh_process", lambda function, *arguments, timeout: function(*arguments))
    monkeypatch.setattr(checks, "BACKENDS", ("numpy",))
    monkeypatch.setattr(checks, "IMPORTED", ())
    shown = CliRunner().invoke(doctor_command.command, ["--json"])
    assert shown.exit_code == 1
    problem = json.loads(shown.stdout)["problems"][0]["text"]
    assert problem.startswith("numpy does not work on cpu: ")
    assert text in problem


def test_how_versions_and_devices_are_shown(monkeypatch) -> None:
    torch = Package("torch", "2.13.0", "torch", "2.13.0+cpu")
    assert torch.as_tested
    assert Package("python", "3.11", None, "3.11.7").as_tested
    for other in ("2.13.1", "2.13", "2.130.0", "unknown", None):
        assert not replace(torch, version=other).as_tested
    gpu = Device("cuda:0", "A \x1b[31mGPU", 150_000_000_000, float32=True, coefficients=(None, 2.0), problem="no")
    shown = Diagnostics(
        (replace(torch, version="2.12.0"),), (Trial("torch", (gpu,), 8),), machine() | {"cpu_quota": 1.5}
    )
    monkeypatch.setattr(doctor_command, "check_up", lambda: shown)
    result = CliRunner().invoke(doctor_command.command)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert "torch 2.12.0 2.13.0 differs" in lines
    assert "torch cuda:0 FAILS works FAILS A \\x1b[31mGPU, 150 GB" in lines
    assert any("1.5 by quota" in line for line in lines)
    assert lines[-2:] == [
        "torch does not work on cuda:0: no",
        "run: pip install --force-reinstall torch==2.13.0",
    ]


def test_a_backend_that_hangs_is_a_line(monkeypatch) -> None:
    monkeypatch.setattr(checks, "PATIENCE", 0.01)
    monkeypatch.setattr(checks, "BACKENDS", ("numpy",))
    monkeypatch.setattr(checks, "IMPORTED", ())
    (problem,) = check_up().problems
    assert problem.text == "numpy does not work: its process gave no answer within 0.01 s"


def test_a_switch_that_hides_the_processor_from_jax_is_named() -> None:
    for platforms, run in (("cuda", "unset JAX_PLATFORMS"), ("cuda,cpu", "pip install --force-reinstall jax==1")):
        packages = (Package("jax", "1", "jax", "1"),)
        found = Diagnostics(packages, (Trial("jax", problem="no"),), {"variables": {"JAX_PLATFORMS": platforms}})
        assert [problem.run for problem in found.problems] == [run]


def test_bad_use() -> None:
    assert CliRunner().invoke(doctor_command.command, ["now"]).exit_code == 2


def test_examine_needs_no_threadpoolctl(monkeypatch) -> None:
    monkeypatch.setattr("gdbackends.backends.numpy_backend.find_spec", lambda name: None)
    assert examine("numpy").threads is None
