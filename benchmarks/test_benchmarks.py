"""The pytest-benchmark suite: a gradient, a step and a fit on every backend. Run it by `make bench`.

Every closure is prepared once (data placed, compiled, called by hand, so that no calibration sees the compiler) and
ends in the backend's `synchronize`, or in NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gdbackends import get_backend
from gdbackends.descent import descend, prepare

SIZES = [(100, 1), (10_000, 10), (10_000, 100)]
STEPS = 100


def problem(backend_name: str, rows: int, features: int, dtype: str):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(rows, features))
    y = X @ generator.normal(size=features) + generator.normal(size=rows)
    return prepare(X, y, get_backend(backend_name, dtype=dtype))


def gradient(case) -> Callable[[], object]:
    """One value and gradient over all rows."""
    backend = case.backend
    value_and_grad, theta = backend.value_and_grad(case.objective), backend.asarray(case.theta0)

    def run() -> None:
        backend.synchronize(value_and_grad(theta, *case.data)[1])

    return run


def steps(case) -> Callable[[], object]:
    """A hundred steps, without a test of convergence."""
    rates = np.broadcast_to(np.dtype(case.backend.dtype).type(1e-3), (STEPS,))
    return lambda: descend(case, rates)


def fitted(case) -> Callable[[], object]:
    """A fit to the default tolerance."""
    rates = np.broadcast_to(np.dtype(case.backend.dtype).type(0.3), (STEPS,))
    return lambda: descend(case, rates, tolerance=None)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("rows", "features"), SIZES)
@pytest.mark.parametrize("work", [gradient, steps, fitted], ids=["gradient", "100 steps", "fit"])
def test_benchmark(benchmark, backend_name: str, rows: int, features: int, dtype: str, work) -> None:
    case = problem(backend_name, rows, features, dtype)
    run = work(case)
    run()
    benchmark.group = f"{work.__name__} {rows} x {features} {dtype}"
    benchmark.extra_info |= {"backend": backend_name, "rows": rows, "features": features, "dtype": dtype}
    benchmark(run)
