"""Backends of other packages, by entry point, by module:name and as values, in every command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_command as command

from gdbackends import Dataset, check_gradient, compare, fit, get_backend
from gdbackends.backends import Backend, installed
from gdbackends.backends.numpy_backend import NumpyBackend
from gdbackends.backends.plugins import plugins
from gdbackends.errors import BackendError, InputError, InputTypeError, MissingBackendError
from gdbackends.objectives import LinearModel, loss_names, parse_loss

EXAMPLE = Path(__file__).parents[1] / "docs" / "autograd-backend"
NAME = "gdbackends_autograd:AutogradBackend"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return NAME


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: str) -> Iterator[Callable[..., None]]:
    """Return a function that installs a package which declares these backends."""

    def declare(**points: str) -> None:
        info = tmp_path / "others-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[gdbackends.backends]\n{lines}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        plugins.cache_clear()

    yield declare
    monkeypatch.undo()
    plugins.cache_clear()


LOSSES = [each.replace("=1", "") for each in loss_names()]


@pytest.mark.parametrize(
    ("loss", "dtype", "batch"), [*((loss, "float64", None) for loss in LOSSES), ("logistic", "float32", 8)]
)
def test_the_example_agrees_on_every_loss(loss: str, dtype: str, batch: int | None, example: str) -> None:
    rng = np.random.default_rng(0)
    objective = LinearModel(row_loss=parse_loss(f"{loss}:0.7" if loss in ("huber", "quantile") else loss), l2=0.1)
    y = {"label": rng.integers(0, 2, 40), "count": rng.poisson(3, 40)}.get(
        objective.row_loss.target, rng.normal(size=40)
    )
    data = Dataset(rng.normal(size=(40, 3)), y)
    options: dict[str, Any] = {"dtype": dtype, "batch_size": batch, "steps": 50}
    result = compare(data, backends=["numpy", example], objective=objective, **options)
    assert [row.status for row in result.rows] == ["ok", "ok"], result.sentence


def test_a_value_a_class_and_a_name_are_the_same_backend(example: str) -> None:
    backend = get_backend(example, dtype="float32")
    assert (backend.name, backend.device, backend.dtype) == ("autograd", "cpu", "float32")
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30.0)
    by_name, by_value = (fit(X, y, backend=each) for each in (example, type(backend)()))
    assert by_name.theta.tobytes() == by_value.theta.tobytes()
    for isolate in (False, True):
        result = compare(Dataset(X, y), backends=["numpy", backend], isolate=isolate)
        assert ([row.backend for row in result.rows], result.verdict) == (["numpy", "autograd"], "agree")
    with pytest.raises(InputTypeError, match="backend must be a name"):
        compare(Dataset(X, y), backends=[type(backend)])  # the class itself is no backend
    with pytest.raises(InputError, match="two backends are called 'autograd'"):
        compare(Dataset(X, y), backends=[backend, type(backend)()])
    report = check_gradient(
        lambda t, X, y: ((X @ t - y) ** 2).mean(),
        lambda t, X, y: 2 * X.T @ (X @ t - y) / 30,
        [1.0, 2],
        X,
        y,
        backends=(example,),
    )
    assert report.verdict == "pass"


def float64_only(device: str = "cpu") -> Backend:
    return NumpyBackend(device)


def raising() -> Backend:
    raise RuntimeError("no licence")


def no_backend() -> object:
    return object()


@dataclass(frozen=True)
class Wrong(NumpyBackend):
    """A backend whose gradient is twice what it should be."""

    name: str = "wrong"

    def value_and_grad(self, objective: Any) -> Any:
        whole = super().value_and_grad(objective)
        return lambda *arguments: (whole(*arguments)[0], 2 * whole(*arguments)[1])


REFUSED = {
    "nosuch:thing": (
        MissingBackendError,
        "must be module:name of an importable module; check its spelling",
    ),
    "json:": (MissingBackendError, "must be module:name"),
    ":x": (MissingBackendError, "must be module:name"),
    "json.nosuch:x": (MissingBackendError, "must be module:name"),
    "json:nothing": (BackendError, "cannot be imported: AttributeError: module 'json' has no attribute 'nothing'"),
    "json:__name__": (BackendError, "must be a function or class that returns a backend, got 'json'"),
    f"{__name__}:raising": (BackendError, "does not work: RuntimeError: no licence"),
    f"{__name__}:no_backend": (InputError, "dtype 'float64' is not available for"),
    "numpi": (InputError, "backend must be one of numpy, jax, torch, or module:name, got 'numpi'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_backend(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    kind, message = REFUSED[name]
    with pytest.raises(kind) as caught:
        get_backend(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_backend_does_not_have_is_refused() -> None:
    assert get_backend(f"{__name__}:float64_only").dtype == "float64"
    for options in ({"dtype": "float32"}, {"device": "gpu"}, {"tuning": "idiomatic"}):
        with pytest.raises(InputError):
            get_backend(f"{__name__}:float64_only", **options)


def test_a_wrong_backend_is_found_out() -> None:
    result = compare(backends=["numpy", "jax", Wrong()])
    assert [row.status for row in result.rows] == ["ok", "ok", "disagrees"]
    assert result.sentence.startswith("wrong disagrees: ")
    assert compare(backends=["numpy", f"{__name__}:Wrong"]).verdict == "disagree"


def test_an_entry_point_stands_in_every_command(tmp_path: Path, declare) -> None:
    declare(autograd=NAME, broken="nosuch_module:Thing", numpy="nosuch_module:Thing")
    document = json.loads(command("compare", "--json").stdout)
    assert [row["backend"] for row in document["backends"]] == ["numpy", "jax", "torch", "autograd", "broken"]
    assert [row["status"] for row in document["backends"]] == ["ok", "ok", "ok", "ok", "failed"]
    reason = "backend 'broken' cannot be imported: ModuleNotFoundError: No module named 'nosuch_module'"
    assert document["sentence"].startswith(f"broken gave no answer: {reason}. numpy, jax, torch and autograd agree: ")
    shown = command("fit", "--backend", "autograd")
    assert "autograd on cpu" in shown.stdout
    shown = command("doctor", "--json")
    found = {trial["backend"]: trial for trial in json.loads(shown.stdout)["backends"]}
    assert (found["autograd"]["problem"], found["autograd"]["devices"][0]["float32"]) == (None, True)
    assert found["broken"]["problem"].startswith("backend 'broken' cannot be imported: ModuleNotFoundError")
    assert {"text": f"broken does not work: {found['broken']['problem']}", "run": "pip install --upgrade others"} in (
        json.loads(shown.stdout)["problems"]
    )
    rows = ["--rows", "20", "--features", "1", "--work", "step", "--launches", "2", "--most", "2", "--budget", "60"]
    out = str(tmp_path / "r.jsonl")
    shown = command("bench", "--backends", "numpy,autograd,broken", *rows, "--out", out)
    assert (shown.returncode, "broken, step, 20 x 1: crashed: " in shown.stdout) == (1, True)
    assert "nosuch_module" in shown.stdout
    shown = command("check", "logcosh", "--backends", "autograd")
    assert (shown.returncode, "agrees with autograd" in shown.stdout) == (0, True)


def test_the_names_are_those_of_the_environment() -> None:
    assert plugins() == {}
    assert installed() == ("numpy", "jax", "torch")
