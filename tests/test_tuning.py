"""Every backend at its best computes what it computes as people usually write it, whatever the size and the layout."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

from gdbackends import LinearRegression, blocks, fit, get_backend
from gdbackends.backends import TUNINGS, Backend, capabilities, installed, tunings
from gdbackends.blocks import BYTES
from gdbackends.descent import ProblemOptions, descend, prepare
from gdbackends.errors import InputError
from gdbackends.objectives import Huber, Logistic
from gdbackends.rounding import evaluate

RAGGED = (4 * BYTES // 8 + 12345, 2)
"""Rows and features that make NumPy and PyTorch cut blocks, the last of them short."""
WIDER = (9 * BYTES // 160 + 4321, 40)
"""That make JAX cut them too, in both precisions."""


def large(backend: Backend, shape: tuple[int, int], objective: LinearRegression) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    X = generator.normal(size=shape)
    y = X @ np.linspace(1, 2, shape[1]) + generator.normal(size=shape[0])
    return X, (y > 0) * 1.0 if isinstance(objective.row_loss, Logistic) else y


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 1 MB instead of 8, for data of an eighth of the size; test_large_idiomatic_data_agree has the real."""
    monkeypatch.setattr(blocks, "BYTES", BYTES // 8)
    rooms = {"numpy": "numpy_backend", "jax": "jax_blocks", "torch": "torch_blocks"}
    for name in installed():
        room = import_module(f"gdbackends.backends.{rooms[name]}")
        monkeypatch.setattr(room, "_LARGE", room._LARGE // 8)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("shape", "row_loss"),
    [((WIDER[0] // 8, 40), row_loss) for row_loss in (None, Huber(0.5), Logistic())] + [((RAGGED[0] // 8, 2), None)],
    ids=["wider", "wider-huber", "wider-logistic", "ragged"],
)
def test_blocks_give_the_gradient_within_rounding(backend: Backend, shape: tuple[int, int], row_loss) -> None:
    """A last block that weighs as much as the others, or is left out, is far outside of the bound."""
    objective = LinearRegression("sum", l2=0.5) if row_loss is None else LinearRegression(row_loss=row_loss)
    problem = prepare(*large(backend, shape, objective), backend, objective, ProblemOptions(standardize=False))
    assert "blocks of" in problem.plan or (backend.name == "jax" and shape[1] == RAGGED[1])
    theta = np.linspace(0.5, 1.5, problem.theta0.size).astype(backend.dtype)
    value, gradient = backend.value_and_grad(problem.objective)(backend.asarray(theta), *problem.data)
    truth = evaluate(problem.objective, theta, problem.X, problem.y, backend.dtype)
    assert abs(float(value) - truth.loss) <= truth.loss_bound
    assert (np.abs(backend.to_numpy(gradient) - truth.gradient) <= truth.gradient_bound).all()


@pytest.mark.parametrize("batch_size", [None, 7])
def test_idiomatic_descends_as_best_does(backend: Backend, table, batch_size) -> None:
    plain = get_backend(backend.name, dtype=backend.dtype, tuning="idiomatic")
    fits = [fit(*table, backend=b, batch_size=batch_size, steps=60, tolerance=0) for b in (backend, plain)]
    close = 1e-12 if backend.dtype == "float64" else 2e-5
    np.testing.assert_allclose(fits[0].theta, fits[1].theta, rtol=close, atol=close)
    assert fits[1].plan.startswith("row-major")
    assert fits[0].plan.startswith("feature-major" if batch_size is None else "row-major")


def test_large_idiomatic_data_agree(backend64: Backend) -> None:
    X, y = large(backend64, (2 * BYTES // 8 + 12345, 2), LinearRegression())
    plain = get_backend(backend64.name, tuning="idiomatic")
    ends = [descend(prepare(X, y, b), np.full(3, 0.3)).theta for b in (backend64, plain)]
    np.testing.assert_allclose(*ends, rtol=1e-11)


@pytest.mark.usefixtures("small_blocks")
def test_an_objective_of_the_users_is_taken_whole(backend64: Backend) -> None:
    """Nothing says that it is a mean over rows: blocks would be wrong for one that is not."""

    @dataclasses.dataclass(frozen=True)
    class Largest:
        def loss(self, theta, X, y):
            r = X @ theta[:-1] + theta[-1] - y
            return (r * r).max()

        def gradient(self, theta, X, y):
            r = X @ theta[:-1] + theta[-1] - y
            k = np.argmax(r * r)
            return 2 * r[k] * np.append(X[k], 1.0)

    X, y = large(backend64, (RAGGED[0] // 8, 2), LinearRegression())
    theta = np.ones(3)
    value, _ = backend64.value_and_grad(Largest())(*map(backend64.asarray, (theta, X, y)))
    assert float(value) == pytest.approx(Largest().loss(theta, X, y), rel=1e-12)


@pytest.mark.usefixtures("small_blocks")
def test_a_sum_that_was_not_told_of_the_whole_is_no_mean_of_its_parts(backend64: Backend) -> None:
    X, y = large(backend64, (RAGGED[0] // 8, 2), LinearRegression())
    objective, theta = LinearRegression("sum"), np.ones(3)
    value, _ = backend64.value_and_grad(objective)(*map(backend64.asarray, (theta, X, y)))
    assert float(value) == pytest.approx(float(objective.loss(theta, X, y)), rel=1e-12)


def test_an_unknown_tuning_is_refused(backend64: Backend) -> None:
    with pytest.raises(InputError, match=r"must be best or idiomatic(?: or \w+)*, got 'fast'"):
        get_backend(backend64.name, tuning="fast")


def test_torch_threads_are_as_they_were_and_work_after_a_fork(require) -> None:
    require("torch")
    code = f"""
import os, threading, numpy as np, torch
from gdbackends import get_backend
from gdbackends.descent import descend, prepare
torch.set_num_threads(2)
X = np.random.default_rng(0).normal(size=({BYTES // 4}, 2)); problem = prepare(X, X[:, 0], get_backend("torch"))
descend(problem, np.full(2, 0.1))
seen = []
thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads())); thread.start(); thread.join()
print(torch.get_num_threads(), seen, torch.get_float32_matmul_precision(), torch.is_grad_enabled())
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert shown.stdout == "2 [2] highest True\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone pins processes")
def test_one_core_computes_the_same(require) -> None:
    require("torch")
    code = f"""
import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
import numpy as np
from gdbackends import get_backend
from gdbackends.descent import descend, prepare
X = np.random.default_rng(0).normal(size=({BYTES // 4}, 2)); problem = prepare(X, X[:, 0], get_backend("torch"))
print(problem.plan, descend(problem, np.full(3, 0.1)).theta.round(3).tolist()[0])
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert shown.stdout == "feature-major, whole 0.488\n"


@pytest.mark.usefixtures("few_steps")
def test_compiled_steps_are_the_steps(require, table) -> None:
    """Also where their number is no multiple of what one call makes."""
    require("torch")
    settings = dict(learning_rate=0.01, tolerance=0)
    compiled, eager = (
        fit(table[0], table[1], backend=get_backend("torch", tuning=tuning), steps=10, **settings)
        for tuning in ("compiled", "best")
    )
    assert compiled.plan == "feature-major, whole, compiled"
    np.testing.assert_allclose(compiled.losses, eager.losses, rtol=1e-12)
    np.testing.assert_allclose(compiled.theta, eager.theta, rtol=1e-12)


def test_what_the_compiler_refuses_is_one_line(require, table) -> None:
    require("torch")

    class Printing(LinearRegression):
        def loss(self, theta, X, y, weights=None):
            return super().loss(theta, X, y) * float(input("factor? "))

    with pytest.raises(InputError, match=r"PyTorch cannot compile the steps: .*; use tuning='best'") as caught:
        get_backend("torch", tuning="compiled").repeat(
            lambda theta, x, X, y: (theta, (Printing().loss(theta, X, y),)),
            *(get_backend("torch").asarray(np.ones(4)), [np.ones(40)]),
            [get_backend("torch").asarray(a) for a in table],
        )
    assert "\n" not in str(caught.value)


def test_each_backend_refuses_the_tunings_of_the_others(backend64: Backend) -> None:
    own = tunings(backend64.name)
    for tuning in set(TUNINGS) - set(own):
        with pytest.raises(InputError, match=f"must be {' or '.join(own)}, got '{tuning}'"):
            get_backend(backend64.name, tuning=tuning)


def test_compiled_functions_compile_once_for_each_shape(require) -> None:
    """In any mode of the caller, and again after the code has been dropped."""
    require("torch")
    import torch
    from torch._dynamo.utils import counters

    backend, generator = get_backend("torch", tuning="compiled"), np.random.default_rng(0)
    function = backend.gradient(LinearRegression())
    assert backend.gradient(LinearRegression()) is function
    shapes = [[backend.asarray(generator.normal(size=s)) for s in ((3,), (n, 2), (n,))] for n in (5, 6)]

    def compiled() -> int:
        before = counters["stats"]["unique_graphs"]
        for arrays in shapes:
            function(*arrays)
        return counters["stats"]["unique_graphs"] - before

    assert compiled() == 2
    assert compiled() == 0
    with torch.no_grad():
        assert compiled() == 0
    with torch.inference_mode():
        assert compiled() == 0
    backend.clear_cache()
    assert backend.gradient(LinearRegression()) is not function
    counters.clear()
    assert compiled() == 2


def test_a_compiled_function_that_the_compiler_refuses_is_one_line(require) -> None:
    require("torch")

    class Asking(LinearRegression):
        def loss(self, theta, X, y, weights=None):
            return super().loss(theta, X, y) * float(input("factor? "))

    backend = get_backend("torch", tuning="compiled")
    arrays = [backend.asarray(np.ones(shape)) for shape in ((3,), (5, 2), (5,))]
    with pytest.raises(InputError, match=r"PyTorch cannot compile the objective: .*; use tuning='best'") as caught:
        backend.value(Asking())(*arrays)
    assert "\n" not in str(caught.value)


def test_eager_compiles_no_step(require) -> None:
    """Each step runs the Python code; a compiled loop would run it once, to trace it."""
    require("jax")
    backend, seen = get_backend("jax", tuning="eager"), []

    def step(theta, x):
        seen.append(float(x[0]))
        return theta + x[0], (theta,)

    _, (path,) = backend.repeat(step, backend.asarray(np.zeros(2)), (np.ones(5),), ())
    assert seen == [1.0] * 5
    assert (path[:, 0] == np.arange(5)).all()


@pytest.mark.parametrize("tuning", ["eager", "functional"])
def test_the_variants_descend_as_best_does(require, table, tuning: str) -> None:
    name = "jax" if tuning == "eager" else "torch"
    require(name)
    fits = [fit(*table, backend=get_backend(name, tuning=t), steps=20, tolerance=0) for t in ("best", tuning)]
    np.testing.assert_allclose(fits[0].theta, fits[1].theta, rtol=1e-12, atol=1e-12)
    assert fits[1].plan.startswith("row-major")


@pytest.mark.usefixtures("small_blocks")
def test_a_step_sees_a_large_matrix_as_it_is(backend64: Backend) -> None:
    """JAX stores it in blocks, which only the functions of the backend read."""
    X, y = large(backend64, (WIDER[0] // 8, 40), LinearRegression())
    gradient, theta = capabilities(backend64).gradient(LinearRegression()), np.linspace(0, 1, 41)

    def step(theta, x, X, y):
        return theta - x[0] * gradient(theta, X, y), ((X[:3] @ theta[:-1]).sum(),)

    end, (sums,) = backend64.repeat(
        step, backend64.asarray(theta), (np.full(2, 0.1),), [*map(backend64.asarray, (X, y))]
    )
    at, expected = theta, []
    for _ in range(2):
        expected.append((X[:3] @ at[:-1]).sum())
        at = at - 0.1 * LinearRegression().gradient(at, X, y)
    np.testing.assert_allclose(backend64.to_numpy(end), at, rtol=1e-10)
    np.testing.assert_allclose(sums, expected, rtol=1e-10)
    other = LinearRegression().gradient(theta, X[::-1], y)
    found = gradient(backend64.asarray(theta), backend64.asarray(X[::-1]), backend64.asarray(y))
    np.testing.assert_allclose(backend64.to_numpy(found), other, rtol=1e-10)
