"""The check is checked: a sample of the corpus of mistakes; `make corpus` runs the whole."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from array_api_compat import array_namespace

from gdbackends import LinearRegression, check_gradient
from gdbackends.objectives import Array, Poisson

FAULTS, CORRECT = 57, 100  # 3 of each of the 19 kinds, and correct ones in both precisions; make corpus has the bulk


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the command, whose modules lie beside it."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks" / "evidence")
    return importlib.import_module("corpus")


def test_mistakes_are_flagged_and_named_and_right_gradients_pass(corpus: ModuleType, require) -> None:
    for name in ("jax", "torch"):
        require(name)
    chosen = corpus.problems()
    runner = corpus.Runner(chosen, ("jax", "torch"))
    wrong = corpus.run(corpus.faults(7, chosen), FAULTS, runner)
    right = corpus.run(corpus.correct(7, chosen, runner.autodiff), CORRECT, runner, ("float64", "float32"))
    summary = corpus.Summary(wrong, right)
    assert not summary.alarms, str(summary.alarms[0].report)
    assert summary.flagged >= 99.9
    assert summary.named >= 95
    assert {o.case.fault for o in wrong} == {*corpus.FAULTS, "kink"}
    assert f"| kink | {FAULTS // 19} |" in corpus.markdown(summary, "command", "Measured at commit abc")
    generator = np.random.default_rng(7)
    for _ in range(10):  # that digits cancel excuses nothing else
        case = importlib.import_module("corpus_cases").cancelling(chosen, generator)
        larger = replace(case, hand=scaled(case.hand), fault="factor", kinds=("factor",), passes=False)
        outcome = runner.run(larger)
        assert outcome.report.verdict == "fail" or outcome.hidden, str(outcome)


def scaled(gradient: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *a, **k: 1.001 * gradient(*a, **k)


def test_where_a_tanh_is_saturated_its_own_rounding_is_allowed(require) -> None:
    """1 - tanh^2 is rounding alone there, and no change of theta or X shows it."""
    for name in ("jax", "torch"):
        require(name)

    def loss(theta, X, y):
        xp = array_namespace(theta)
        return xp.mean((xp.tanh(X @ theta) - y) ** 2)

    def gradient(theta, X, y):
        a = np.tanh(X @ theta)
        return 2 * X.T @ ((a - y) * (1 - a) * (1 + a)) / y.size  # as exact as 1 - a * a, and other digits

    generator = np.random.default_rng(0)
    X, y = 17.0 + generator.random((30, 2)), generator.normal(size=30)
    report = check_gradient(loss, gradient, np.array([0.5, 0.52]), X, y)
    assert report.verdict != "fail", str(report)


def test_random_points_out_of_the_range_of_float32_are_left_out(require) -> None:
    for name in ("jax", "torch"):
        require(name)
    objective, generator = LinearRegression(row_loss=Poisson()), np.random.default_rng(3)
    X, y, theta = 30 * generator.normal(size=(60, 2)), generator.poisson(3.0, size=60) * 1.0, np.array([0.5, -0.5, 1.0])
    assert check_gradient(objective.loss, objective.gradient, theta, X, y).verdict == "pass"
    report = check_gradient(objective.loss, objective.gradient, theta, X, y, dtype="float32")
    assert (report.verdict, report.dtype) == ("pass", "float32"), str(report)
