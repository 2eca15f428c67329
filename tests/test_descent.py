"""The driver: the same steps everywhere, exact answers, why it stops, and what it refuses."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from gdbackends import Fit, LinearRegression, fit, get_backend
from gdbackends.backends import Backend, names
from gdbackends.datasets import women
from gdbackends.descent import Check, ProblemOptions, Stop, learning_rates, prepare, rates
from gdbackends.descent.chunks import chunks
from gdbackends.descent.spectrum import spectrum
from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives import parse_loss
from gdbackends.schedules import cosine, inverse_time

WOMEN = women()
LONGLEY = np.array(  # NIST StRD Longley: y and six features
    """60323 83.0 234289 2356 1590 107608 1947
    61122 88.5 259426 2325 1456 108632 1948
    60171 88.2 258054 3682 1616 109773 1949
    61187 89.5 284599 3351 1650 110929 1950
    63221 96.2 328975 2099 3099 112075 1951
    63639 98.1 346999 1932 3594 113270 1952
    64989 99.0 365385 1870 3547 115094 1953
    63761 100.0 363112 3578 3350 116219 1954
    66019 101.2 397469 2904 3048 117388 1955
    67857 104.6 419180 2822 2857 118734 1956
    68169 108.4 442769 2936 2798 120445 1957
    66513 110.8 444546 4681 2637 121950 1958
    68655 112.6 482704 3813 2552 123366 1959
    69564 114.2 502601 3931 2514 125368 1960
    69331 115.7 518173 4806 2572 127852 1961
    70551 116.9 554894 4007 2827 130081 1962""".split(),
    float,
).reshape(16, 7)
LONGLEY_CERTIFIED = np.array(
    [15.0618722713733, -0.0358191792925910, -2.02022980381683, -1.03322686717359, -0.0511041056535807, 1829.15146461355]
    + [-3482258.63459582]
)


def test_the_bundled_data_in_one_step(backend: Backend) -> None:
    fitted = fit(WOMEN.X, WOMEN.y, backend=backend)
    rtol = 1e-13 if backend.dtype == "float64" else 1e-6
    np.testing.assert_allclose(fitted.theta, [3.45, -87.51666666666667], rtol=rtol)
    assert fitted.loss == pytest.approx(2.0155555555555555, rel=1e-11 if backend.dtype == "float64" else 1e-4)
    assert (fitted.steps, fitted.stop) == (1, Stop.CONVERGED)
    assert fitted.theta.dtype == fitted.losses.dtype == backend.dtype
    assert fitted.losses.shape == (1,)
    np.testing.assert_allclose(fitted.predict([[70.0]]), [3.45 * 70 - 87.51666666666667], rtol=rtol * 10)


def test_longley_to_the_certified_digits(backend64: Backend) -> None:
    X, y = LONGLEY[:, 1:], LONGLEY[:, 0]
    exact = prepare(X, y, backend64)
    certified = exact.scaling.to_data_units(exact.objective.minimum(exact.X, exact.y, np.zeros(7)))
    np.testing.assert_allclose(certified, LONGLEY_CERTIFIED, rtol=1e-9)
    fitted = fit(X, y, backend=backend64, steps=200_000)
    np.testing.assert_allclose(fitted.theta, LONGLEY_CERTIFIED, rtol=1e-7)
    assert fitted.stop in (Stop.CONVERGED, Stop.FLOOR)


def test_the_path_is_the_closed_form(backend64: Backend, table) -> None:
    """On a quadratic theta_k = theta* + sum c_i (1 - a l_i)^k v_i, for every rate and step, an unstable one too."""
    X, y = table
    problem = prepare(X, y, backend64)
    eigenvalues, vectors = np.linalg.eigh(problem.objective.curvature(np.eye(4), problem.X))
    best = problem.objective.minimum(problem.X, problem.y, np.zeros(4))
    for rate in (0.02, 0.3, 1.9 / eigenvalues[-1], 2.05 / eigenvalues[-1]):
        fitted = fit(X, y, backend=backend64, learning_rate=rate, steps=60, tolerance=0, record_path=True)
        factors = (1 - rate * eigenvalues) ** np.arange(61)[:, None]
        expected = best + (factors * (vectors.T @ -best)) @ vectors.T
        np.testing.assert_allclose(fitted.path, problem.scaling.to_data_units(expected), rtol=1e-10, atol=1e-9)
        assert fitted.losses[0] == pytest.approx((y**2).mean(), rel=1e-13)
        assert (fitted.theta == fitted.path[-1]).all()


@pytest.mark.parametrize("batch_size", [1, 7, 20, 39])
def test_batches_are_the_same_rows_on_every_backend(batch_size: int, table, require) -> None:
    X, y = table
    paths, losses = [], []
    for name in names():
        require(name)
        fitted = fit(X, y, backend=name, batch_size=batch_size, steps=100, record_path=True, seed=3, tolerance=0)
        paths.append(fitted.path)
        losses.append(fitted.losses)
    for path, loss in zip(paths[1:], losses[1:], strict=True):
        np.testing.assert_allclose(path, paths[0], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(loss, losses[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 40, None])
@pytest.mark.parametrize("steps", [1, 5, 6, 61, 300])
def test_an_epoch_visits_every_row_once(batch_size: int | None, steps: int, table) -> None:
    problem = prepare(*table, get_backend("numpy"), options=ProblemOptions(batch_size=batch_size))
    made = list(chunks(problem, np.arange(steps)))
    assert (np.concatenate([piece[0] for piece, _ in made]) == np.arange(steps)).all()
    assert made[-1][1], "the last piece is checked"
    if batch_size not in (None, 40):
        visited = np.concatenate([piece[1].ravel() for piece, _ in made])
        for start in range(0, len(visited) - 39, 40):
            assert sorted(visited[start : start + 40]) == list(range(40))
        sizes = [piece[1].shape[1] for piece, _ in made for _ in piece[0]]
        assert sizes == (problem.batches * steps)[:steps]


def test_stochastic_descent_comes_near(backend: Backend) -> None:
    for batch_size in (1, 4):
        fitted = fit(WOMEN.X, WOMEN.y, backend=backend, batch_size=batch_size, steps=3000)
        assert 2.01555 < fitted.loss < 2.0157  # 2.015556 is the least


@pytest.mark.parametrize("case", ["more features than rows", "collinear", "constant", "duplicate rows", "huge offset"])
def test_degenerate_data_are_fitted_to_the_least_cost(case: str, backend64: Backend) -> None:
    generator = np.random.default_rng(5)
    X, y = generator.normal(size=(30, 3)), generator.normal(size=30)
    if case == "more features than rows":
        X, y = generator.normal(size=(10, 20)), generator.normal(size=10)
    elif case == "collinear":
        X = np.c_[X, X[:, 0] + X[:, 1]]
    elif case == "constant":
        X = np.c_[X, np.full(30, 0.1)]  # the mean of thirty 0.1 is not 0.1
    elif case == "duplicate rows":
        X, y = np.repeat(X[:2], 15, axis=0), np.repeat(y[:2], 15)
    else:
        X = X + 1e6
    fitted = fit(X, y, backend=backend64, steps=20_000)
    best = LinearRegression().minimum(X - X.mean(0), y, np.zeros(X.shape[1] + 1))
    least = LinearRegression().loss(best, X - X.mean(0), y)
    assert fitted.stop in (Stop.CONVERGED, Stop.FLOOR)
    assert fitted.loss == pytest.approx(least, rel=1e-9, abs=1e-20)
    residual = y - fitted.predict(X)
    assert (residual**2).mean() == pytest.approx(least, rel=1e-6, abs=1e-15)
    if case == "constant":
        assert fitted.coef[-1] == 0


def test_penalty_and_conventions_reach_their_closed_minimum(backend64: Backend, table) -> None:
    X, y = (table[0] - table[0].mean(0)) / table[0].std(0), table[1]
    for convention in ("mean", "half", "sum"):
        objective = LinearRegression(convention, l2=0.8)
        fitted = fit(X, y, backend=backend64, objective=objective, standardize=False, steps=3000)
        assert fitted.stop in (Stop.CONVERGED, Stop.FLOOR)
        np.testing.assert_allclose(fitted.theta, objective.minimum(X, y, np.zeros(4)), rtol=1e-9, atol=1e-9)
        batched = fit(X, y, backend=backend64, objective=objective, batch_size=8, steps=400)
        whole = fit(X, y, backend=backend64, objective=objective)
        assert batched.loss < 1.1 * whole.loss


def test_divergence_is_named_alike_and_without_a_warning(backend: Backend) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit(WOMEN.X, WOMEN.y, backend=backend, learning_rate=1.2, record_path=True)
    assert (fitted.stop, fitted.steps) == (Stop.DIVERGED, 21)
    assert fitted.losses.shape == (21,)
    assert fitted.path.shape == (22, 2)
    assert (fitted.losses <= 1e6 * fitted.losses[0]).all()
    assert fitted.loss > 1e6 * fitted.losses[0]
    assert fitted.note == "For these data the largest stable rate is 1; 1.2 was used."
    assert fitted.message.startswith(Stop.DIVERGED.value)


def test_divergence_in_the_first_step_and_out_of_range(backend: Backend) -> None:
    fitted = fit(WOMEN.X, WOMEN.y, backend=backend, learning_rate=1e30)
    assert (fitted.stop, fitted.steps) == (Stop.DIVERGED, 1)
    large = 1e200 if backend.dtype == "float64" else 1e30
    beyond = fit(WOMEN.X, WOMEN.y * large, backend=backend)
    assert (beyond.stop, beyond.steps) == (Stop.DIVERGED, 0)


def test_a_rate_barely_too_large_ends_with_a_note(backend64: Backend) -> None:
    fitted = fit(WOMEN.X, WOMEN.y, backend=backend64, learning_rate=1.0001, steps=50)
    assert fitted.stop is Stop.STEPS
    assert fitted.note == "For these data the largest stable rate is 1; 1.0001 was used."
    assert fit(WOMEN.X, WOMEN.y, backend=backend64, learning_rate=0.9, steps=5).note == ""


def test_stopping(backend: Backend) -> None:
    X, y = WOMEN.X, WOMEN.y
    all_steps = fit(X, y, backend=backend, steps=50, tolerance=0)
    assert (all_steps.steps, all_steps.stop) == (50, Stop.STEPS)
    floor = fit(X, y, backend=backend, tolerance=1e-300)
    assert floor.stop is Stop.FLOOR
    assert floor.steps < 1000
    at_minimum = fit(np.array([[-1.0], [1.0]]), np.array([0.0, 0.0]), backend=backend)
    assert (at_minimum.steps, at_minimum.stop, at_minimum.loss) == (0, Stop.CONVERGED, 0.0)
    assert fit(X, y, backend=backend, theta0=floor.theta, tolerance=1e-300).steps <= floor.steps


def test_checks_come_at_the_same_steps(backend: Backend) -> None:
    seen: list[Check] = []
    fit(WOMEN.X, WOMEN.y, backend=backend, learning_rate=0.01, steps=100, on_check=seen.append)
    assert [check.step for check in seen] == [0, 1, 2, 4, 8, 16, 32, 64, 100]
    assert all(a.loss > b.loss for a, b in itertools.pairwise(seen))
    seen.clear()
    fit(WOMEN.X, WOMEN.y, backend=backend, learning_rate=0.01, steps=50, batch_size=4, on_check=seen.append)
    assert [check.step for check in seen] == [0, 4, 8, 16, 32, 50]


def test_nothing_given_is_changed_or_shared(backend: Backend) -> None:
    from tests.test_backends import aligned

    X, y, theta0 = aligned(WOMEN.X), aligned(WOMEN.y), np.array([1.0, 2.0])
    kept = [a.copy() for a in (X, y, theta0)]
    for standardize in (True, False):
        fitted = fit(X, y, backend=backend, theta0=theta0, standardize=standardize, steps=3, record_path=True)
        for a, b in zip((X, y, theta0), kept, strict=True):
            assert (a == b).all()
        results = [fitted.theta, fitted.losses, fitted.path, fitted.coef]
        for result in results:
            assert result.flags.writeable
            assert not any(np.shares_memory(result, a) for a in (X, y, theta0))
        theta = fitted.theta.copy()
        X[0], y[0] = -1, -1
        assert (fitted.theta == theta).all()
        X[...], y[...] = kept[0], kept[1]


def test_a_second_fit_compiles_nothing(require) -> None:
    """A process of its own: other tests' compilations must not count. The listener is JAX's public monitoring."""
    require("jax")
    code = """
import jax.monitoring, numpy as np
from gdbackends import fit
from gdbackends.schedules import exponential
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compiled.append(event) if event.endswith("backend_compile_duration") else None)
generator = np.random.default_rng(0)
def once(steps, batch, rate):
    fit(generator.normal(size=(50, 2)), generator.normal(size=50), backend="jax", steps=steps, batch_size=batch,
        learning_rate=rate, tolerance=0)
    count = len(compiled)
    compiled.clear()
    return count
print(once(10, None, 0.1), once(10, None, 0.1), once(9000, None, exponential(0.1, 0.99)), once(77, None, "auto"),
      once(20, 8, "auto"), once(33, 8, 0.01), once(3, 8, 0.01))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    counts = [int(c) for c in run.stdout.split()]
    assert counts[0] > 0
    assert counts[4] > 0
    assert [counts[i] for i in (1, 2, 3, 5, 6)] == [0] * 5


def test_rates_are_rounded_once_and_auto_towards_zero(table) -> None:
    problem = prepare(*table, get_backend("numpy", dtype="float32"))
    rates = learning_rates(problem, "auto", 3)
    best = spectrum(problem.objective, problem.X, 4).best_rate
    assert rates.dtype == np.float32
    assert best * (1 - 2.0**-23) <= float(rates[0]) <= best
    assert learning_rates(problem, 0.1, 2).tolist() == [float(np.float32(0.1))] * 2
    schedule = learning_rates(problem, cosine(0.3, 4), 4)
    assert schedule.tolist() == [float(np.float32(cosine(0.3, 4)(k))) for k in range(4)]
    batched = prepare(*table, get_backend("numpy"), options=ProblemOptions(batch_size=7))
    decaying = learning_rates(batched, "auto", 1000)
    assert (np.diff(decaying) < 0).all()
    for size in (7, 5):  # stable for every batch that can be drawn, the worst five rows too
        worst = np.argsort((batched.X**2).sum(1))[-size:]
        largest = np.linalg.eigvalsh(batched.objective.curvature(np.eye(4), batched.X[worst]))[-1]
        assert decaying[0] <= 1 / largest


def test_an_objective_of_the_users_own_gets_a_rate_from_the_curvature_at_the_start(backend64: Backend, table) -> None:
    """1 / (2 L), in two digits, which are the same on every backend."""
    from tests.test_backends import Quartic

    X, y = table
    y = (y - y.mean()) / y.std()
    automatic = fit(X, y, backend=backend64, objective=Quartic(), steps=50)
    Z = (X - X.mean(0)) / X.std(0)
    design = np.c_[Z, np.ones(len(Z))]
    largest = np.linalg.eigvalsh(12 * design.T @ (design * (y**2)[:, None]) / len(Z))[-1]
    assert automatic.learning_rate == float(f"{1 / (2 * largest):.1e}")
    assert automatic.loss < 0.5 * automatic.losses[0]
    fitted = fit(X, y, backend=backend64, objective=Quartic(), learning_rate=inverse_time(0.05, 0.01), steps=300)
    assert fitted.loss < 0.05 * fitted.losses[0]
    assert fit(X, y, backend=backend64, objective=Quartic(), learning_rate=10.0).stop is Stop.DIVERGED


def test_an_objective_that_is_no_linear_model_may_have_any_number_of_parameters(backend64: Backend, table) -> None:
    class Scaled:
        def loss(self, theta, X, y):
            return ((theta[0] * X[:, 0] + theta[1] * X[:, 1] + theta[2] * X[:, 0] * X[:, 1] - y) ** 2).mean()

        def gradient(self, theta, X, y):
            design = np.c_[X[:, :2], X[:, 0] * X[:, 1]]
            return 2 * design.T @ (design @ theta - y) / len(y)

    X = np.random.default_rng(0).normal(size=(40, 5))
    y = 2 * X[:, 0] - X[:, 1] + 3 * X[:, 0] * X[:, 1]
    fitted = fit(X, y, backend=backend64, objective=Scaled(), theta0=np.zeros(3), standardize=False, steps=300)
    np.testing.assert_allclose(fitted.theta, [2, -1, 3], atol=1e-6)
    with pytest.raises(InputError, match="theta0 must be 6 numbers"):
        fit(X, y, backend=backend64, objective=Scaled(), theta0=np.zeros(3))


def test_many_rows_in_float32_are_fitted_all_the_same() -> None:
    """The worst case of rounding exceeded the gradient from the start, and the fit stopped before its first step."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(300_000, 3))
    y = X @ [1.0, 0.3, 0.01] + 5 + 0.1 * generator.normal(size=300_000)
    fitted = fit(X, y, backend=get_backend("numpy", dtype="float32"))
    np.testing.assert_allclose(fitted.theta, np.linalg.lstsq(np.c_[X, np.ones(300_000)], y)[0], atol=1e-5)


def test_nearly_collinear_features_reach_the_least_cost() -> None:
    """At 2 / (l_min + l_max) the largest mode swung for ever: the cost was 4 where 0.01 can be had."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 1))
    X = np.c_[x, x + 1e-7 * generator.normal(size=(200, 1))]
    y = X @ [1.0, 1.0] + 5 + 0.1 * generator.normal(size=200)
    fitted = fit(X, y, backend="numpy")
    least = LinearRegression().loss(np.linalg.lstsq(np.c_[X, np.ones(200)], y)[0], X, y)
    assert fitted.loss < 1.05 * least


@pytest.mark.parametrize("factor", [1e-165, 1e-300, 1e150])
def test_tiny_and_huge_targets_converge_to_their_coefficients(factor: float) -> None:
    """Squares in the norm of the gradient underflowed, and 0 counted as converged."""
    fitted = fit(WOMEN.X, WOMEN.y * factor, backend="numpy")
    np.testing.assert_allclose(fitted.theta, np.array([3.45, -87.51666666666667]) * factor, rtol=1e-9)


def test_more_steps_than_memory_holds_cost_nothing_unless_made() -> None:
    assert fit(WOMEN.X, WOMEN.y, backend="numpy", steps=10**12).steps == 1
    assert fit(WOMEN.X, WOMEN.y, backend="numpy", steps=10**12, learning_rate=1.2).stop is Stop.DIVERGED


@dataclasses.dataclass(frozen=True)
class Shaped:
    """A gradient of another shape than theta's, or a loss of rows."""

    shape: tuple[int, ...] = (2,)
    rows: bool = False

    def loss(self, theta, X, y):
        losses = (X @ theta[:-1] + theta[-1] - y) ** 2
        return losses if self.rows else losses.mean()

    def gradient(self, theta, X, y):
        return np.ones(self.shape)


@pytest.mark.parametrize("objective", [Shaped(()), Shaped((1,)), Shaped((2, 1)), Shaped(rows=True)])
def test_shapes_of_an_objective_are_checked(objective: Shaped) -> None:
    with pytest.raises(InputError, match="gradient have theta's shape"):
        fit(WOMEN.X, WOMEN.y, backend="numpy", objective=objective, learning_rate=0.1)


def test_a_numpy_penalty_leaves_float32_alone(table) -> None:
    objective = LinearRegression(l2=np.float64(0.1))
    value, gradient = objective.value_and_grad(*(a.astype("f4") for a in (np.ones(4), *table)))
    assert value.dtype == gradient.dtype == np.float32


X, Y = WOMEN.X, WOMEN.y
BAD = {
    "y is a column": (dict(y=Y[:, None]), ValueError, r"y must have shape \(15,\), one number per row, got \(15, 1\)"),
    "y is short": (dict(y=Y[:-1]), ValueError, "same number of rows, got 15 and 14"),
    "X is a vector": (dict(X=X[:, 0]), ValueError, r"X must have shape \(rows, features\), got \(15,\)"),
    "X is empty": (dict(X=X[:0], y=Y[:0]), ValueError, "at least one row"),
    "X has no columns": (dict(X=X[:, :0]), ValueError, "at least one row and one feature"),
    "X has a NaN": (dict(X=np.where(X == 60, np.nan, X)), ValueError, r"X has 1 missing .* first X\[2, 0\] = nan"),
    "X is text": (dict(X=np.array([["a"]] * 15)), TypeError, "X must hold real numbers, got dtype <U1"),
    "X is complex": (dict(X=X + 1j), TypeError, "complex128"),
    "X is ragged": (dict(X=[[1], [1, 2]]), ValueError, "rows of different lengths"),
    "rate 0": (dict(learning_rate=0), ValueError, "learning_rate must be positive"),
    "rate negative": (dict(learning_rate=-0.1), ValueError, "learning_rate must be positive"),
    "rate NaN": (dict(learning_rate=float("nan")), ValueError, "learning_rate must be positive"),
    "rate is True": (dict(learning_rate=True), TypeError, "learning_rate must be a number"),
    "rate is text": (dict(learning_rate="fast"), TypeError, "learning_rate must be a number"),
    "schedule turns NaN": (dict(learning_rate=lambda k: 0.1 if k < 3 else float("nan")), ValueError, "nan at step 3"),
    "batch 0": (dict(batch_size=0), ValueError, "batch_size must be from 1 to the number of rows, 15, got 0"),
    "batch above n": (dict(batch_size=16), ValueError, "got 16"),
    "batch 2.0": (dict(batch_size=2.0), TypeError, "batch_size must be a whole number"),
    "steps 0": (dict(steps=0), ValueError, "steps must be at least 1, got 0"),
    "steps 1e30": (dict(steps=10**30), ValueError, "steps must be at most 1,000,000,000,000,000, got"),
    "steps 1.5": (dict(steps=1.5), TypeError, "steps must be a whole number"),
    "tolerance negative": (dict(tolerance=-1), ValueError, "tolerance must be a finite number"),
    "tolerance NaN": (dict(tolerance=float("nan")), ValueError, "tolerance must be a finite number"),
    "seed negative": (dict(seed=-1), ValueError, "seed must be at least 0"),
    "theta0 short": (dict(theta0=[1.0]), ValueError, "theta0 must be 2 numbers with the intercept last"),
    "theta0 infinite": (dict(theta0=[1.0, np.inf]), ValueError, r"theta0 has 1 missing or non-finite values"),
    "backend unknown": (dict(backend="numpi"), ValueError, "backend must be one of numpy, jax, torch"),
    "backend no backend": (dict(backend=3), TypeError, "backend must implement the Backend protocol, got 3"),
    "objective no objective": (dict(objective=3), TypeError, "objective must implement the Objective protocol, got 3"),
    "X is masked": (dict(X=np.ma.masked_equal(X, 60)), TypeError, "X is a masked array"),
    "theta0 complex": (dict(theta0=[1j, 0]), TypeError, "theta0 must hold real numbers"),
    "theta0 text": (dict(theta0="abc"), TypeError, "theta0 must hold real numbers"),
    "tolerance True": (dict(tolerance=True), ValueError, "tolerance must be a finite number"),
    "standardize text": (dict(standardize="no"), TypeError, "standardize must be True or False"),
    "objective class": (dict(objective=LinearRegression), TypeError, "objective must implement the Objective protocol"),
    "rate array": (dict(learning_rate=np.array([0.1, 0.2])), TypeError, "learning_rate must be a number"),
    "schedule of text": (dict(learning_rate=lambda k: "a"), TypeError, "a number, got 'a' at step 0"),
    "beyond float32": (
        dict(backend=get_backend("numpy", dtype="float32"), y=Y * 1e40),
        ValueError,
        "the data exceed the range of float32",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str) -> None:
    change, kind, text = BAD[case]
    arguments = dict(X=X, y=Y, backend="numpy") | change
    with pytest.raises(kind, match=text) as caught:
        fit(arguments.pop("X"), arguments.pop("y"), **arguments)
    assert isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value)


def test_predict_refuses_other_features() -> None:
    fitted = fit(X, Y, backend="numpy")
    with pytest.raises(InputError, match="X must have the 1 features of the fit, got 2"):
        fitted.predict([[1.0, 2.0]])
    with pytest.raises(InputTypeError):
        fitted.predict([["tall"]])


def losses_table(text: str) -> tuple[np.ndarray, np.ndarray]:
    """A table whose target suits the loss."""
    generator = np.random.default_rng(5)
    X = generator.normal(size=(300, 2)) * [1.0, 5.0] + [0.0, 30.0]
    z = X @ [0.5, -0.06] + 2.3
    if text == "logistic":
        return X, (generator.random(300) < 1 / (1 + np.exp(-z))).astype(float)
    if text == "poisson":
        return X, generator.poisson(np.exp(z)).astype(float)
    return X, z + generator.standard_t(3, size=300)


@pytest.mark.parametrize("text", ["absolute", "huber:0.5", "quantile:0.9", "logistic", "poisson"])
def test_every_loss_reaches_the_answer_of_another_library(text: str, backend64: Backend) -> None:
    from scipy.optimize import minimize
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, QuantileRegressor

    X, y = losses_table(text)
    fitted = fit(X, y, backend=backend64, objective=LinearRegression(row_loss=parse_loss(text)), steps=5000)
    rtol = 1e-6
    if text == "huber:0.5":
        delta = 0.5

        def cost(t):
            r = np.abs(X @ t[:2] + t[2] - y)
            return np.where(r <= delta, r**2, 2 * delta * r - delta**2).mean()

        expected = minimize(cost, fitted.theta + 0.01, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15}).x
    else:
        model = {
            "absolute": QuantileRegressor(quantile=0.5, alpha=0),
            "quantile:0.9": QuantileRegressor(quantile=0.9, alpha=0),
            "logistic": LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000),
            "poisson": PoissonRegressor(alpha=0, tol=1e-12, max_iter=10_000),
        }[text].fit(X, y)
        expected = np.append(model.coef_, model.intercept_)
    if text in ("absolute", "quantile:0.9"):  # a subgradient descent comes near
        objective = LinearRegression(row_loss=parse_loss(text))
        assert fitted.loss <= float(objective.loss(expected, X, y)) * (1 + 1e-4)
        assert (fitted.stop, fitted.steps) == (Stop.STEPS, 5000)
        assert "The derivative of this loss jumps, so the tolerance is ignored." in fitted.message
    else:
        np.testing.assert_allclose(fitted.theta, expected, rtol=rtol)
        assert fitted.stop is Stop.CONVERGED


@pytest.mark.parametrize("text", ["huber:0.5", "logistic", "poisson"])
def test_at_the_automatic_rate_no_step_raises_the_cost(text: str) -> None:
    X, y = losses_table(text)
    for l2 in (0.0, 0.5):
        for convention in ("mean", "half", "sum"):
            objective = LinearRegression(convention, l2=l2, row_loss=parse_loss(text))
            losses = fit(X, y, backend="numpy", objective=objective, steps=300, tolerance=0).losses
            assert (np.diff(losses) <= 1e-13 * np.abs(losses[:-1])).all()


@pytest.mark.parametrize("text", ["absolute", "quantile:0.9"])
def test_the_automatic_rate_of_a_kinked_loss_falls_as_the_root_and_scales_with_the_target(text: str) -> None:
    X, y = losses_table(text)
    objective = LinearRegression(row_loss=parse_loss(text))
    rates = learning_rates(prepare(X, y, get_backend("numpy"), objective), "auto", 100)
    np.testing.assert_allclose(rates, rates[0] / np.sqrt(np.arange(1, 101)), rtol=1e-15)
    larger = learning_rates(prepare(X, 1000 * y, get_backend("numpy"), objective), "auto", 100)
    np.testing.assert_allclose(larger, 1000 * rates, rtol=1e-12)
    halved = LinearRegression("half", row_loss=parse_loss(text))
    path = [fit(X, y, backend="numpy", objective=o, steps=50).theta for o in (objective, halved)]
    np.testing.assert_allclose(path[0], path[1], rtol=1e-9)


def test_labels_are_coded_and_probabilities_and_counts_predicted() -> None:
    X, y = losses_table("logistic")
    objective = LinearRegression(row_loss=parse_loss("logistic"))
    fitted = fit(X, np.where(y == 1, "yes", "no"), backend="numpy", objective=objective)
    plain = fit(X, 2 * y - 1, backend="numpy", objective=objective)
    assert fitted.labels == ("no", "yes")
    assert plain.labels == ("-1", "1")
    assert (fitted.theta == plain.theta).all()
    assert fitted.to_dict(["a", "b"])["objective"] == "logistic"
    assert fitted.to_dict(["a", "b"])["labels"] == ["no", "yes"]
    z = X @ fitted.coef + fitted.intercept
    np.testing.assert_allclose(fitted.predict(X), 1 / (1 + np.exp(-z)), rtol=1e-12)
    X, y = losses_table("poisson")
    counts = fit(X, y, backend="numpy", objective=LinearRegression(row_loss=parse_loss("poisson")), steps=5000)
    assert counts.predict(X).mean() == pytest.approx(y.mean(), rel=1e-9)  # as the intercept's gradient is 0
    assert (counts.predict([[1e9, 0.0]]) == np.inf).all()


def test_separable_data_are_said_to_be() -> None:
    X, y = np.arange(10.0)[:, None], (np.arange(10) > 4).astype(int)
    objective = LinearRegression(row_loss=parse_loss("logistic"))
    assert "The data are separable" in fit(X, y, backend="numpy", objective=objective).message
    penalised = LinearRegression(row_loss=parse_loss("logistic"), l2=0.01)
    assert "separable" not in fit(X, y, backend="numpy", objective=penalised).message
    y[0] = 1
    assert "separable" not in fit(X, y, backend="numpy", objective=objective).message


def test_what_a_loss_cannot_take_is_one_line() -> None:
    X = np.arange(4.0)[:, None]
    poisson, logistic = (LinearRegression(row_loss=parse_loss(text)) for text in ("poisson", "logistic"))
    with pytest.raises(InputError, match="two labels, got 4 different values"):
        fit(X, [1, 2, 3, 4], backend="numpy", objective=logistic)
    with pytest.raises(InputError, match="counts of at least 0, got -1"):
        fit(X, [1, -1, 3, 4], backend="numpy", objective=poisson)
    with pytest.raises(InputError, match="does not support Poisson with batches; give a number"):
        fit(X, [1, 1, 3, 4], backend="numpy", objective=poisson, batch_size=2)
    assert fit(X, [1, 1, 3, 4], backend="numpy", objective=poisson, batch_size=2, learning_rate=0.01).loss < 1
    diverged = fit(X, [1, 1, 3, 4], backend="numpy", objective=poisson, learning_rate=100.0)
    assert diverged.message.endswith("Try a learning rate below 100.")
    stable = fit(X, [0, 1, 0, 1], backend="numpy", objective=LinearRegression(row_loss=parse_loss("huber:1")), steps=2)
    assert stable.stop is not Stop.DIVERGED


@pytest.mark.parametrize("text", ["quantile:0.1", "quantile:0.9", "absolute", "huber:0.01"])
def test_the_automatic_rate_comes_near_the_least_cost_of_the_bundled_data(text: str) -> None:
    """They ended far off when they started at 0, as no target is near it."""
    from sklearn.linear_model import QuantileRegressor

    objective = LinearRegression(row_loss=parse_loss(text))
    q = getattr(objective.row_loss, "q", 0.5)
    best = QuantileRegressor(quantile=q, alpha=0).fit(WOMEN.X, WOMEN.y)  # of Huber's nearly, at so small a delta
    least = float(objective.loss(np.append(best.coef_, best.intercept_), WOMEN.X, WOMEN.y))
    fitted = fit(WOMEN.X, WOMEN.y, backend="numpy", objective=objective, steps=20_000)
    assert fitted.loss <= 1.05 * least


@pytest.mark.parametrize("text", ["absolute", "quantile:0.9", "poisson", "huber:1"])
def test_an_offset_of_the_target_costs_nothing(text: str) -> None:
    X, y = losses_table("poisson") if text == "poisson" else losses_table("absolute")
    y = 1000 * y if text == "poisson" else y + 1e6
    objective = LinearRegression(row_loss=parse_loss(text))
    fitted = fit(X, y, backend="numpy", objective=objective, steps=3000)
    near = fit(X, y - (0 if text == "poisson" else 1e6), backend="numpy", objective=objective, steps=3000)
    assert fitted.loss == pytest.approx(near.loss, rel=1e-4)
    assert fitted.gradient_norm < 0.05 * (y.mean() if text == "poisson" else 1)


@pytest.mark.parametrize("l2", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("text", ["absolute", "quantile:0.9"])
def test_a_penalty_does_not_make_the_automatic_rate_of_a_kinked_loss_diverge(text: str, l2: float) -> None:
    objective = LinearRegression(row_loss=parse_loss(text), l2=l2)
    fitted = fit(WOMEN.X, WOMEN.y, backend="numpy", objective=objective)
    assert fitted.stop is Stop.STEPS
    assert fitted.loss <= fitted.losses[0]


def test_a_parameter_out_of_the_range_of_the_dtype_is_refused() -> None:
    for text, l2, name in (("huber:1e39", 0.0, "delta"), ("huber:1e-50", 0.0, "delta"), ("squared", 1e39, "l2")):
        objective = LinearRegression(row_loss=parse_loss(text), l2=l2)
        with pytest.raises(InputError, match=f"{name} must be within the range of float32"):
            fit(WOMEN.X, WOMEN.y, backend=get_backend("numpy", dtype="float32"), objective=objective)


def test_predict_refuses_ragged_rows() -> None:
    with pytest.raises(InputError, match="rows of different lengths"):
        fit(WOMEN.X, WOMEN.y, backend="numpy").predict([[1], [2, 3]])


@pytest.mark.parametrize("offset", [0.0, 1e6, 1.7e9])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 86400.0, 1e12])
def test_a_large_feature_does_not_end_the_descent_early(scale: float, offset: float, backend64: Backend) -> None:
    """Its derivative is so large that the others, which are not 0 yet, were within the tolerance beside it."""
    t = offset + scale * np.arange(60.0)
    y = 3 * np.arange(60.0) + np.sin(np.arange(60.0))
    fitted = fit(t[:, None], y, backend=backend64, standardize=False, steps=2000)
    design = np.c_[(t - t.mean()) / t.std(), np.ones(60)]
    least = float(np.mean((y - design @ np.linalg.lstsq(design, y)[0]) ** 2))
    assert fitted.stop is not Stop.CONVERGED or fitted.loss <= 1.001 * least


def test_several_answers_and_exact_fits_are_said(backend64: Backend) -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(40, 2))

    def note(X: Any, y: Any, **options: Any) -> str:
        return fit(X, y, backend=backend64, **options).note

    unique, exact = "The solution is not unique", "The fit is exact: no residual is left but rounding."
    several = note(X[:2], X[:2, 0])
    assert f"{unique} (2 rows for 3 parameters); this is the one nearest to the start." in several
    assert exact in note(X, X @ [2, 3] + 1)
    assert note(X[:1], [5.0]) == f"{unique} (1 rows for 3 parameters); this is the one nearest to the start. {exact}"
    dummies = np.eye(3)[generator.integers(0, 3, 40)]
    assert f"{unique} (collinear or constant features)" in note(dummies, generator.normal(size=40))
    assert note(X, generator.normal(size=40)) == ""
    assert note(X[:2], X[:2, 0], objective=LinearRegression(l2=0.1)) == ""


def test_an_error_of_the_users_own_code_keeps_its_frames() -> None:
    def schedule(step: int) -> float:
        return 1 / (3 - step)

    with pytest.raises(ZeroDivisionError) as caught:
        fit(WOMEN.X, WOMEN.y, backend="numpy", learning_rate=schedule, steps=10)
    assert caught.traceback[-1].name == "schedule"
    assert caught.value.__notes__ == ["raised by the schedule of learning rates at step 3"]

    def on_check(check: Check) -> None:
        raise KeyError(check.step)

    with pytest.raises(KeyError, match="0") as caught:
        fit(WOMEN.X, WOMEN.y, backend="numpy", on_check=on_check)
    assert caught.traceback[-1].name == "on_check"


@pytest.mark.parametrize("rate", ["auto", inverse_time(0.3, 0.1)])
def test_rates_computed_a_piece_at_a_time_are_the_same(rate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"batch_size": 4, "steps": 500, "learning_rate": rate, "tolerance": 0}
    laid_out = fit(WOMEN.X, WOMEN.y, backend="numpy", **options)
    monkeypatch.setattr(rates, "_LAID_OUT", 10)
    lazy = fit(WOMEN.X, WOMEN.y, backend="numpy", **options)
    assert lazy.losses.tobytes() == laid_out.losses.tobytes()
    assert (lazy.learning_rate, lazy.message) == (laid_out.learning_rate, laid_out.message)
    problem = prepare(WOMEN.X, WOMEN.y, get_backend("numpy"), options=ProblemOptions(batch_size=4))
    many = learning_rates(problem, rate, 10**15)
    assert len(many) == 10**15
    assert many[10**14 : 10**14 + 3].shape == (3,)
    assert 0 < many[-1] < many[0]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_the_columns_of_a_frame_are_found_by_name(frame: Any) -> None:
    a, b = [1.0, 2.0, 4.0, 3.0], [10.0, 5.0, 1.0, 3.0]
    fitted = fit(frame({"a": a, "b": b}), [2 * x + z for x, z in zip(a, b, strict=True)], backend="numpy", steps=5000)
    saved = Fit.from_dict(json.loads(json.dumps(fitted.to_dict(fitted.names))))
    for each in (fitted, saved):
        assert each.names == ("a", "b")
        for columns in ({"a": a, "b": b}, {"b": b, "a": a}):
            assert each.predict(frame(columns)) == pytest.approx([12, 9, 9, 9], rel=1e-6)
        assert each.predict(np.c_[a, b]) == pytest.approx([12, 9, 9, 9], rel=1e-6)
        for columns, text in (
            ({"a": a}, "X must have the columns of the fit, 'a', 'b', got no column 'b'; select them"),
            ({"a": a, "b": b, "c": b}, "got column 'c'; select them"),
            ({"x": a, "y": b}, "got no column 'a', 'b' and column 'x', 'y'; select them"),
        ):
            with pytest.raises(InputError, match=text):
                each.predict(frame(columns))
    unnamed = fit(np.c_[a, b], [1.0, 2, 3, 5], backend="numpy")
    assert unnamed.predict(frame({"b": a, "a": b})).tolist() == unnamed.predict(np.c_[a, b]).tolist()
