"""The check is checked: a sample of the corpus of mistakes; `make corpus` runs the whole."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FAULTS, CORRECT = 475, 600  # 25 of each of the 19 kinds, and right ones in both precisions: 80 s on a busy machine


@pytest.fixture(scope="module")
def corpus() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "corpus.py"
    spec = importlib.util.spec_from_file_location("corpus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["corpus"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_mistakes_are_flagged_and_named_and_right_gradients_pass(corpus: ModuleType, require) -> None:
    for name in ("jax", "torch"):
        require(name)
    kept = corpus.problems()
    runner = corpus.Runner(kept, ("jax", "torch"))
    wrong = corpus.run(corpus.faults(7, kept), FAULTS, runner)
    right = corpus.run(corpus.correct(7, kept, runner.autodiff), CORRECT, runner, ("float64", "float32"))
    summary = corpus.Summary(wrong, right)
    assert not summary.alarms, str(summary.alarms[0].report)
    assert summary.flagged >= 99
    assert summary.named >= 95
    assert {o.case.fault for o in wrong} == {*corpus.FAULTS, "kink"}
    assert "| kink | 25 |" in corpus.markdown(summary, "command")
