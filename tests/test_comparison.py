"""compare(): the verdict, and that a wrong, missing or dying backend is found and named."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gdbackends import Dataset, LinearRegression, compare, fit
from gdbackends.comparison import backend_run, comparing, judging, trajectory
from gdbackends.comparison.backend_run import BackendRun, run_backend
from gdbackends.datasets import women
from gdbackends.errors import InputError, InputTypeError, MissingBackendError
from gdbackends.objectives import parse_loss


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_three_agree(dtype: str, monkeypatch: pytest.MonkeyPatch, require) -> None:
    for name in ("jax", "torch"):
        require(name)
    monkeypatch.setattr(trajectory, "STEPS", 1000)  # as users have it
    result = compare(dtype=dtype, backends=["numpy", "jax", "torch"])
    assert result.verdict == "agree"
    assert result.sentence.startswith("numpy, jax and torch agree: ")
    assert result.exact == pytest.approx([3.45, -87.51666666666667])
    assert result.exact_loss == pytest.approx(2.0155555555555555)
    for row in result.rows:
        assert row.status == "ok"
        assert row.gradient_ratio <= 1
        assert row.trajectory_ratio <= 1
        assert row.first_call_s > row.step_s > 0
        assert row.step_low_s <= row.step_s <= row.step_high_s
        assert row.step_spread == pytest.approx((row.step_high_s / row.step_low_s) ** 0.5 - 1)
        assert row.fit.theta.dtype == dtype
    assert result.sensitivity < 1e-12


def test_the_contract_of_the_document() -> None:
    document = compare(backends=["numpy"]).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema"] == 1
    assert document["verdict"] == "agree"
    assert document["dataset"] == {"name": "women", "rows": 15, "features": ["height"], "target": "weight"}
    assert {"settings", "environment", "exact", "backends"} <= set(document)
    assert set(document["exact"]) == {"coefficients", "intercept", "loss"}
    (row,) = document["backends"]
    wanted = "backend device dtype status coefficients intercept loss steps stop gradient_ratio trajectory_ratio"
    assert set(row) >= {*wanted.split(), "first_call_s", "step_s", "step_low_s", "step_high_s"}
    assert 0 < row["step_low_s"] <= row["step_s"] <= row["step_high_s"]
    assert document["load"] >= 0
    assert row["coefficients"] == pytest.approx({"height": 3.45})
    assert (row["steps"], row["stop"]) == (1, "CONVERGED")


def test_a_lone_backend_is_held_against_exact_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    result = compare(backends=["numpy"])
    assert "agrees with exact arithmetic" in result.sentence
    assert result.rows[0].trajectory_ratio is None
    monkeypatch.setattr(judging, "EXACT_LIMIT", 10)
    assert compare(backends=["numpy"]).verdict == "inconclusive"


@pytest.mark.usefixtures("untimed")
def test_an_interval_of_one_round_is_unknown() -> None:
    result = compare(backends=["numpy"], steps=5)
    (row,), (shown,) = result.rows, result.to_dict()["backends"]
    assert (row.step_s, row.step_low_s, row.step_high_s, row.step_spread) == (1e-6, 0.0, np.inf, np.inf)
    assert (shown["step_s"], shown["step_low_s"], shown["step_high_s"]) == (1e-6, None, None)


def tampered(o: BackendRun, how: str) -> BackendRun:
    if how == "gradient":
        wrong = o.values.gradients * ([1 + 1e-9] + [1] * (o.values.gradients.shape[1] - 1))
        return dataclasses.replace(o, values_in_float64=dataclasses.replace(o.values, gradients=wrong))
    if how == "loss":
        return dataclasses.replace(o, values=dataclasses.replace(o.values, losses=o.values.losses * 1.001))
    if how == "nan":
        return dataclasses.replace(o, values=dataclasses.replace(o.values, losses=o.values.losses * np.nan))
    return dataclasses.replace(o, trajectory=dataclasses.replace(o.trajectory, path=o.trajectory.path * (1 + 1e-9)))


@pytest.mark.parametrize("how", ["gradient", "loss", "nan", "trajectory"])
@pytest.mark.usefixtures("untimed")
def test_the_one_that_errs_is_named_and_gets_no_time(how: str, monkeypatch: pytest.MonkeyPatch, require) -> None:
    for name in ("jax", "torch"):
        require(name)

    def observed(name: str, *arguments):
        o = run_backend(name, *arguments)
        return tampered(o, how) if name == "torch" else o

    monkeypatch.setattr(comparing, "run_backend", observed)
    result = compare(backends=["numpy", "jax", "torch"])
    assert result.verdict == "disagree"
    assert result.sentence.startswith("torch disagrees: ")
    assert [row.status for row in result.rows] == ["ok", "ok", "disagrees"]
    assert result.rows[2].step_s is None
    assert result.rows[0].step_s is not None
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.usefixtures("untimed")
def test_two_that_differ_are_both_named(monkeypatch: pytest.MonkeyPatch, require) -> None:
    require("torch")

    def observed(name: str, *arguments):
        o = run_backend(name, *arguments)
        return tampered(o, "gradient") if name == "torch" else o

    monkeypatch.setattr(comparing, "run_backend", observed)
    result = compare(backends=["numpy", "torch"])
    assert result.sentence.startswith("numpy and torch disagree: ")
    assert all(row.step_s is None for row in result.rows)


def kill(*_) -> None:
    os._exit(9)


def test_a_backend_that_dies_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "run_backend", kill)
    result = compare(backends=["numpy"], isolate=True)
    assert result.verdict == "inconclusive"
    assert (result.rows[0].status, result.rows[0].fit) == ("failed", None)
    assert result.sentence == "numpy gave no answer: its process ended with code 9, without an answer."
    json.dumps(result.to_dict(), allow_nan=False)


def test_each_backend_in_its_own_process(require) -> None:
    require("torch")
    result = compare(backends=["numpy", "torch"], isolate=True, batch_size=4, steps=50)
    assert result.verdict == "agree"
    assert result.isolated
    assert not any("one process" in note for note in result.notes)
    assert any("one process" in note for note in compare(backends=["numpy", "torch"], steps=5).notes)


def test_divergence() -> None:
    result = compare(backends=["numpy"], learning_rate=1.5)
    assert result.verdict == "diverged"
    assert "the largest stable rate is 1; 1.5 was used" in result.sentence
    assert result.rows[0].step_s is None


def test_an_unstable_rate_is_said() -> None:
    result = compare(backends=["numpy"], learning_rate=1.0001, steps=50)
    assert result.verdict == "agree"
    assert "For these data the largest stable rate is 1; 1.0001 was used." in result.notes


def test_no_single_answer_is_said() -> None:
    X = np.c_[np.arange(6.0), 2 * np.arange(6.0)]
    result = compare(Dataset(X, np.arange(6.0) ** 2), backends=["numpy"])
    assert result.verdict == "agree"
    assert any("solution is not unique" in note for note in result.notes)
    np.testing.assert_allclose(result.rows[0].fit.theta, result.exact, rtol=1e-8, atol=1e-8)


@pytest.mark.usefixtures("untimed")
def test_blindness_is_not_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 million rows in float32: the bound on a sum is as large as the sum."""
    monkeypatch.setattr(trajectory, "STEPS", 10)  # the gradients decide
    generator = np.random.default_rng(0)
    X = generator.normal(size=(1_800_000, 1)).astype(np.float32)
    result = compare(Dataset(X, X[:, 0]), backends=["numpy", "torch"], dtype="float32", steps=1)
    assert result.verdict == "inconclusive"
    assert "1,800,000 rows in float32" in result.sentence


def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gdbackends.backends.find_spec", lambda package: object() if package == "numpy" else None)
    result = compare()
    assert [row.backend for row in result.rows] == ["numpy"]
    assert sum("pip install" in note for note in result.notes) == 2
    with pytest.raises(MissingBackendError):
        compare(backends=["numpy", "jax"])


def test_bad_settings() -> None:
    with pytest.raises(InputTypeError, match="compare has no setting 'stepps'; it takes device, dtype"):
        compare(stepps=3)
    for backends in ([], "numpy", ["nunpy"]):
        with pytest.raises(InputError, match="numpy, jax, torch"):
            compare(backends=backends)
    with pytest.raises(InputError, match="steps must be at least 1"):
        compare(steps=0)
    with pytest.raises(InputError, match="dtype must be one of"):
        compare(dtype="float16")


def sabotage(repeat, how: str):
    """Return TorchBackend.repeat with a fault that gradients at probe points cannot show."""

    def wrong(self, step, carry, xs, data):
        if how == "row 0 alone" and len(xs) == 2:
            xs = (xs[0], np.zeros_like(xs[1]))
        if how == "the first rate alone":
            xs = (np.full_like(xs[0], xs[0][0]), *xs[1:])
        end, outputs = repeat(self, step, carry, xs, data)
        if how == "nothing where no path is kept" and len(outputs) == 1:
            end = carry
        if how == "losses" or (how == "losses where no path is kept" and len(outputs) == 1):
            outputs = (outputs[0] * 1.001, *outputs[1:])
        if how == "constant rates halved" and (xs[0] == xs[0][0]).all():
            end, outputs = repeat(self, step, carry, (xs[0] / 2, *xs[1:]), data)
        return end, outputs

    return wrong


@pytest.mark.parametrize(
    ("how", "batch_size"),
    [
        ("row 0 alone", 4),
        ("the first rate alone", 4),
        ("nothing where no path is kept", 4),
        ("nothing where no path is kept", None),
        ("losses", None),
        ("losses where no path is kept", 4),
        ("losses where no path is kept", None),
        ("constant rates halved", None),
    ],
)
@pytest.mark.usefixtures("untimed")
def test_a_loop_that_errs_is_found(how: str, batch_size: int | None, monkeypatch: pytest.MonkeyPatch, require) -> None:
    for name in ("jax", "torch"):
        require(name)
    from gdbackends.backends.torch_backend import TorchBackend

    monkeypatch.setattr(TorchBackend, "repeat", sabotage(TorchBackend.repeat, how))
    rate = 0.1 if batch_size is None else "auto"
    result = compare(backends=["numpy", "jax", "torch"], batch_size=batch_size, steps=100, learning_rate=rate)
    assert result.verdict == "disagree"
    assert result.sentence.startswith("torch disagrees: ")


@pytest.mark.usefixtures("untimed")
def test_tiny_targets_under_a_heavy_penalty_are_no_disagreement(require) -> None:
    require("jax")
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(19, 4)), generator.normal(size=19)
    for dtype, size in (("float64", 1e-150), ("float32", 1e-16)):
        data, objective = Dataset(X, y * size), LinearRegression(l2=1e3)
        assert compare(data, backends=["numpy", "jax"], objective=objective, steps=5, dtype=dtype).verdict == "agree"


@pytest.mark.usefixtures("untimed")
def test_random_tables_are_agreed_on(require) -> None:
    """No correct backend is called wrong: scales, offsets, collinear and constant columns, batches, conventions."""
    require("torch")
    generator = np.random.default_rng(1)
    for k in range(12):
        n, d = int(generator.integers(1, 60)), int(generator.integers(1, 8))
        X = generator.normal(size=(n, d)) * 10.0 ** generator.integers(-6, 7, size=d) + 10.0 ** generator.integers(0, 6)
        X[:, 0] = X[:, -1] if k % 3 == 0 else X[:, 0]
        objective = LinearRegression(("mean", "half", "sum")[k % 3], l2=0.3 * (k % 2))
        options = {"batch_size": (None, 1, n)[k % 3], "standardize": k % 4 > 0, "dtype": ("float64", "float32")[k % 2]}
        data = Dataset(X, generator.normal(size=n))
        result = compare(data, backends=["numpy", "torch"], objective=objective, steps=50, **options)
        assert result.verdict in ("agree", "inconclusive"), result.sentence


def test_scale_and_offset_take_nothing_from_the_exact_answer() -> None:
    """Badly scaled columns of full rank were called collinear, and the exact answer was wrong."""
    x = np.arange(10.0)
    for X in (1e9 + x[:, None], np.c_[x, x**2 * 1e-9] * [1.0, 1e-3]):
        y = 3 * x + 1
        result = compare(Dataset(X, y), backends=["numpy"], standardize=False, steps=5)
        assert not any("solution is not unique" in note for note in result.notes)
        assert result.exact[0] == pytest.approx(3, rel=1e-6)


def test_parameters_that_rounding_hides_are_said_to_be_hidden() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=200)
    X = np.c_[x, x + 1e-3 * generator.normal(size=200)]
    result = compare(Dataset(X, X @ [1.0, 1e-9]), backends=["numpy", "torch"], dtype="float32", steps=10)
    assert result.trajectory_sensitivity > 1
    assert "cannot be judged, as rounding allows" in result.sentence or result.verdict == "inconclusive"


def test_what_compare_cannot_take_is_one_line(require) -> None:
    for wrong in ([], {}, "a.csv", (np.zeros((3, 1)), np.zeros(3))):
        with pytest.raises(InputTypeError, match="compare takes a Dataset"):
            compare(wrong)
    with pytest.raises(InputTypeError, match="compare supports LinearModel with a bundled loss, and loss functions"):
        compare(objective=object())
    with pytest.raises(InputError, match="cannot send a schedule to another process"):
        compare(isolate=True, learning_rate=lambda k: 0.1)
    document = compare(backends=["numpy"], learning_rate=lambda k: 0.1, steps=np.int64(3)).to_dict()
    json.dumps(document, allow_nan=False)


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step is timed, which takes most of a comparison of small data."""
    monkeypatch.setattr(backend_run, "marginal_steps", lambda run: ([1e-6], 1))


LOSSES = ["absolute", "huber:0.5", "quantile:0.9", "logcosh", "logistic", "poisson"]


def suited(text: str, seed: int = 0, n: int = 120, d: int = 2) -> Dataset:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, d))
    z = X @ np.full(d, 0.5) + 0.3
    if text == "logistic":
        return Dataset(X, generator.random(n) < 1 / (1 + np.exp(-z)))
    return Dataset(X, generator.poisson(np.exp(z)) if text == "poisson" else z + generator.standard_t(3, size=n))


@pytest.mark.parametrize(
    ("text", "dtype", "batch_size"),
    [*((text, "float32", 7) for text in LOSSES), ("absolute", "float64", None), ("huber:0.5", "float64", None)],
)
@pytest.mark.usefixtures("untimed")
def test_every_loss_is_agreed_on(text: str, dtype: str, batch_size: int | None, require) -> None:
    for name in ("jax", "torch"):
        require(name)
    rate = 0.001 if text == "poisson" and batch_size else "auto"
    objective = LinearRegression(row_loss=parse_loss(text))
    settings = dict(objective=objective, dtype=dtype, batch_size=batch_size, learning_rate=rate, steps=100)
    result = compare(suited(text), backends=["numpy", "jax", "torch"], **settings)
    assert result.verdict == "agree"
    assert result.exact is None
    assert (result.spectrum is None) == (text in ("absolute", "quantile:0.9", "poisson"))
    assert result.sensitivity < 1e-10
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["exact"] is None
    assert document["settings"]["objective"] == {"row_loss": text, "convention": "mean", "l2": 0.0}


@pytest.mark.parametrize("text", LOSSES)
@pytest.mark.usefixtures("untimed")
def test_with_every_loss_the_one_that_errs_is_named(text: str, monkeypatch: pytest.MonkeyPatch, require) -> None:
    for name in ("jax", "torch"):
        require(name)
    data, objective, right = suited(text), LinearRegression(row_loss=parse_loss(text)), {}
    for how in ("gradient", "loss", "nan", "trajectory"):

        def observed(name: str, *arguments, how=how):
            right[name] = right[name] if name in right else run_backend(name, *arguments)
            return tampered(right[name], how) if name == "torch" else right[name]

        monkeypatch.setattr(comparing, "run_backend", observed)
        result = compare(data, backends=["numpy", "jax", "torch"], objective=objective, steps=50)
        assert result.verdict == "disagree", how
        assert result.sentence.startswith("torch disagrees: ")


def test_a_lone_backend_of_another_loss_is_held_against_nothing() -> None:
    result = compare(backends=["numpy"], objective=LinearRegression(row_loss=parse_loss("huber:1")), steps=5)
    assert result.verdict == "inconclusive"
    assert (
        "numpy was compared with nothing: there is no other backend, and exact arithmetic supports only squared errors"
        in str(result)
    )


@pytest.mark.usefixtures("untimed")
def test_derivatives_cut_off_alike_in_all_rows_hide_nothing() -> None:
    """Every residual of the bundled data has one sign at most random points: slopes showed nothing."""
    for text, standardize in (("huber:0.1", True), ("huber:0.1", False), ("quantile:0.75", True)):
        objective = LinearRegression(row_loss=parse_loss(text))
        settings = dict(objective=objective, standardize=standardize, learning_rate=1e-4, steps=5)
        assert compare(backends=["numpy", "torch"], **settings).sensitivity < 1e-10


@pytest.mark.usefixtures("untimed")
def test_random_tables_of_every_loss_are_agreed_on(require) -> None:
    require("torch")
    for k, text in enumerate(LOSSES):
        data = suited(text, k, n=int(10 + 20 * (k % 3)), d=1 + k % 4)
        objective = LinearRegression(row_loss=parse_loss(text), l2=[0.0, 0.1][k % 2])
        result = compare(data, backends=["numpy", "torch"], objective=objective, steps=50)
        assert result.verdict == "agree", (k, str(result))


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize(
    ("text", "factor"), [("absolute", 0.0), ("quantile:0.9", 3.0), ("poisson", 0.0), ("huber:0.5", 3.0)]
)
def test_a_descent_at_another_rate_is_found_whatever_the_loss(text: str, factor: float, monkeypatch, require) -> None:
    """One that never moved was said to agree, as nothing was known of paths over a kink."""
    for name in ("jax", "torch"):
        require(name)
    from gdbackends.backends.torch_backend import TorchBackend

    repeat = TorchBackend.repeat

    def wrong(self, step, carry, xs, data):
        return repeat(self, step, carry, (xs[0] * np.asarray(factor, xs[0].dtype), *xs[1:]), data)

    monkeypatch.setattr(TorchBackend, "repeat", wrong)
    settings = dict(objective=LinearRegression(row_loss=parse_loss(text)), steps=50)
    settings |= dict(batch_size=10, learning_rate=0.05) if text == "poisson" else {}
    result = compare(suited(text), backends=["numpy", "jax", "torch"], **settings)
    assert result.sentence.startswith("torch disagrees: ")


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize("text", ["absolute", "squared", "huber:1"])
def test_numbers_that_one_framework_flushes_to_zero_are_no_disagreement(text: str, require) -> None:
    require("jax")
    X = np.arange(8.0)[:, None]
    for y in (np.array([1, 0, 0, 1, 1, 0, 1, 1]) * 1e-39, np.linspace(1e-38, 5e-38, 8)):
        data = Dataset(X, y)
        objective = LinearRegression(row_loss=parse_loss(text))
        settings = dict(objective=objective, dtype="float32", standardize=False, learning_rate=0.01, steps=20)
        result = compare(data, backends=["numpy", "jax"], **settings)
        assert result.verdict in ("agree", "inconclusive"), result.sentence


def wampler() -> Dataset:
    """Wampler 1 of the NIST Statistical Reference Datasets: y = 1 + x + ... + x^5, certified to be all ones."""
    x = np.arange(21.0)[:, None]
    powers = x ** np.arange(1, 6)
    return Dataset(powers, 1 + powers.sum(1), tuple(f"x{k}" for k in range(1, 6)), name="wampler1")


def test_the_sentence_says_how_far_the_fit_is_from_the_exact_answer() -> None:
    compared = compare(wampler(), backends=["numpy"])
    assert compared.exact == pytest.approx(np.ones(6), rel=1e-7)
    assert (compared.verdict, compared.finished, compared.to_dict()["finished"]) == ("agree", False, False)
    said = "After 1,000 steps the fit is still far from the exact answer: x1 is 7446.47, exactly 1, and the loss is"
    assert said in compared.sentence
    assert re.search(r"The condition number is 2\.7e\+06, so about 9,224,\d+ steps are needed\.", compared.sentence)
    assert compare(women(), backends=["numpy"]).finished
    slow = compare(women(), backends=["numpy"], learning_rate=1e-3)
    assert "the learning rate is 0.001, and 0.5 is the best" in slow.sentence
    raw = compare(women(), backends=["numpy"], standardize=False)
    assert "The condition number is 9.7e+05, and 1 with standardised features: standardise them." in raw.sentence


def test_the_steps_that_are_said_to_be_needed_get_there() -> None:
    X = np.random.default_rng(0).normal(size=(50, 2))
    data = Dataset(np.c_[X[:, 0], X[:, 0] + 0.05 * X[:, 1]], X @ [1, 2] + 3)
    compared = compare(data, backends=["numpy"], steps=50)
    (needed,) = re.findall(r"so about ([\d,]+) steps are needed", compared.sentence)
    steps = int(needed.replace(",", ""))
    assert compare(data, backends=["numpy"], steps=steps).finished
    assert not compare(data, backends=["numpy"], steps=steps // 20).finished


def hang(*_) -> None:
    time.sleep(60)


class Unknown(Exception):
    """An error that cannot be pickled: its class takes two arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def fail(name: str, *arguments):
    if name == "torch":
        raise Unknown("no ", "such symbol")
    return run_backend(name, *arguments)


@pytest.mark.parametrize("isolate", [True, False])
def test_a_backend_that_fails_is_a_row_and_the_others_are_compared(
    isolate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "run_backend", fail)
    result = compare(backends=["numpy", "torch", "jax"], isolate=isolate)
    assert [row.status for row in result.rows] == ["ok", "failed", "ok"]
    assert result.verdict == "inconclusive"
    assert result.sentence.startswith("torch gave no answer: Unknown: no such symbol. numpy and jax agree: ")
    assert result.to_dict()["backends"][1]["reason"] == "Unknown: no such symbol"


def test_a_backend_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "run_backend", hang)
    result = compare(backends=["numpy"], isolate=True, timeout=2)
    assert result.sentence == "numpy gave no answer: its process gave no answer within 2 s."
    with pytest.raises(InputError, match="timeout must be positive, and needs isolate=True, got 2"):
        compare(backends=["numpy"], timeout=2)


BROKEN = {
    "jax": ("RuntimeError('jaxlib needs AVX')", "backend 'jax' does not work: RuntimeError: jaxlib needs AVX"),
    "torch": ("OSError('libcudart.so.13: no')", "backend 'torch' does not work: OSError: libcudart.so.13: no"),
}


def without(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where importing this framework raises."""
    (folder / f"{name}.py").write_text(f"raise {BROKEN[name][0]}", encoding="utf8")
    full = [sys.executable, "-m", "gdbackends", *arguments]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(full, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_framework_is_one_line(name: str, tmp_path: Path) -> None:
    shown = without(name, tmp_path, "fit", "--backend", name)
    assert (shown.returncode, shown.stderr) == (2, f"gdbackends: {BROKEN[name][1]}; run: gdbackends doctor\n")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_framework_does_not_take_the_others_along(name: str, tmp_path: Path) -> None:
    shown, said = without(name, tmp_path, "compare", "--json"), f"{BROKEN[name][1]}; run: gdbackends doctor."
    document = json.loads(shown.stdout)
    assert (shown.returncode, shown.stderr, document["verdict"]) == (1, "", "inconclusive")
    assert document["sentence"].startswith(f"{name} gave no answer: {said} numpy and ")
    if name == "torch":
        shown = without(name, tmp_path, "lesson", "--out", str(tmp_path / "lesson.html"))
        assert (shown.returncode, shown.stderr) == (0, f"{name} gave no answer: {said}\n")


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("JAX_DISABLE_JIT", "1", "backend 'jax' compiles, but JAX_DISABLE_JIT is set; unset JAX_DISABLE_JIT"),
        ("JAX_PLATFORMS", "cuda", "backend 'jax' needs the CPU to prepare data, and JAX_PLATFORMS is 'cuda'; unset"),
    ],
)
def test_an_environment_that_stops_jax_is_named(variable: str, value: str, reason: str) -> None:
    environment = os.environ | {variable: value}
    fitted, compared = ["fit", "--backend", "jax"], ["compare", "--backends", "numpy,jax"]
    for command in (compared if variable == "JAX_DISABLE_JIT" else fitted, ["doctor"]):
        full = [sys.executable, "-m", "gdbackends", *command]
        shown = subprocess.run(full, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert "Traceback" not in shown.stderr
        assert reason in " ".join((shown.stdout + shown.stderr).split())
    assert f"run: unset {variable}" in shown.stdout


def test_modules_in_the_current_folder_are_not_run(tmp_path: Path) -> None:
    for name in ("socket", "pickle", "json", "numpy", "jax", "signal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run from the current folder')", encoding="utf8")
    script = Path(sys.executable).parent / "gdbackends"
    compared = ["compare", "--backends", "numpy,jax", "--steps", "5"]
    for command in (compared, ["bench", "--rows", "10", "--features", "1", "--dry-run"]):
        shown = subprocess.run([script, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.parametrize("size", [6, 10, 12])
def test_the_exact_answer_says_how_uncertain_it_is(size: int) -> None:
    """On the columns of a Hilbert matrix, whose sum has the coefficients 1."""
    X = np.array([[1 / (i + j + 1) for j in range(size)] for i in range(24)])
    compared = compare(Dataset(X, X.sum(1)), backends=["numpy"])
    assert compared.exact is not None
    error = float((np.abs(compared.exact[:-1] - 1) * X.std(0)).max() / X.std(0).max())
    said = re.search(r"uncertain, by about (\S+) of its largest coefficient", " ".join(compared.notes))
    assert (said is not None) == (size > 6)
    assert error <= (1e-6 if said is None else 10 * float(said[1]))


def test_a_coefficient_out_of_range_is_said() -> None:
    X = np.array([1e-310, 2e-310, 5e-310, 7e-310])[:, None]
    fitted = fit(X, [1.0, 2, 4, 9], backend="numpy")
    assert "In the units of the data a coefficient exceeds the range of float64; multiply its feature." in fitted.note
