"""Time the workloads of `gdbackends bench` with pytest-benchmark: `pytest benchmarks --benchmark-only`, `make bench`.

A group has one workload at one size, in which each row is a backend.
Every closure ends in the backend's `synchronize` or returns NumPy arrays. It is called once before it is timed, so that
compilation does not affect the calibration. A backend with a wrong result fails, and gets no time.
"""

from __future__ import annotations

import sys
from functools import lru_cache, partial

import pytest

from gdbackends import get_backend
from gdbackends.backends import DTYPES, capabilities, names
from gdbackends.benchmarking.case import ProblemSpec
from gdbackends.benchmarking.workloads import work
from gdbackends.comparison.referee import judge_backend
from gdbackends.descent import Fit, ProblemOptions, TableProblem, prepare
from gdbackends.measurement.environment import environment, load

STEPS = 100


@lru_cache(maxsize=1)
def prepared_and_judged(backend_name: str, spec: ProblemSpec) -> tuple[TableProblem, float, str]:
    """Return a problem on the backend, and the result of `judge_backend`; cached for the next tests of the spec."""
    data = spec.table()
    problem = prepare(
        data.X,
        data.y,
        get_backend(backend_name, dtype=spec.dtype),
        objective=spec.model,
        options=ProblemOptions(standardize=False),
    )
    ratios = judge_backend(problem, get_backend(backend_name))
    worst = max(ratios, key=lambda name: ratios[name])
    return problem, ratios[worst], worst


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")  # if the backend is wrong
@pytest.mark.parametrize("name", ["loss", "gradient", "step", "fit"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_benchmark(benchmark, backend_name: str, rows: int, features: int, dtype: str, name: str) -> None:
    spec = ProblemSpec(rows=rows, features=features, dtype=dtype)
    problem, ratio, quantity = prepared_and_judged(backend_name, spec)
    if not ratio <= 1:
        pytest.fail(f"{backend_name} is wrong: the error of its {quantity} is {ratio:.3g} times the rounding bound")
    workload = work(name, problem).run
    run = partial(workload, STEPS) if name == "step" else workload
    result = run()
    passes = result.steps if isinstance(result, Fit) else 1
    benchmark.group = f"{STEPS} steps" if name == "step" else name
    benchmark.group += f" {rows:,} x {features} {dtype}"
    benchmark.name = backend_name  # of the row; the full name is that of the test
    benchmark.extra_info |= {
        "backend": backend_name,
        "work": name,
        "rows": rows,
        "features": features,
        "dtype": dtype,
        "agreement": ratio,
        "bytes": spec.bytes * passes,  # the minimum to read from memory
        "threads_seen": capabilities(problem.backend).system_info().threads,
        "load": load(),
        "imported": [each for each in names() if each in sys.modules],
        "environment": environment(),
    }
    benchmark(run)
