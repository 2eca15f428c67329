"""The pytest-benchmark suite over the works that `gdbackends bench` times, prepared alike. Run it by `make bench`.

Every closure ends in the backend's `synchronize`, or in NumPy arrays, and is called by hand before it is timed, so that
no calibration sees the compiler. A backend that does not compute the right thing fails, and has no time.
"""

from __future__ import annotations

from functools import lru_cache, partial

import pytest

from gdbackends import get_backend
from gdbackends.backends import DTYPES
from gdbackends.benchmarking.case import WORKS, ProblemSpec
from gdbackends.benchmarking.workloads import work
from gdbackends.comparison.referee import judge_backend
from gdbackends.descent import Fit, Problem, ProblemOptions, prepare
from gdbackends.measurement.environment import environment

STEPS = 100


@lru_cache(maxsize=1)
def judged(backend_name: str, spec: ProblemSpec) -> tuple[Problem, float, str]:
    """Return the problem as it is placed, and how far its backend agrees; for all works of a spec, which follow."""
    data = spec.table()
    problem = prepare(
        data.X,
        data.y,
        get_backend(backend_name, dtype=spec.dtype),
        objective=spec.model,
        options=ProblemOptions(standardize=False),
    )
    return problem, *judge_backend(problem, get_backend(backend_name))


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")  # where the backend disagrees
@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_benchmark(benchmark, backend_name: str, rows: int, features: int, dtype: str, name: str) -> None:
    spec = ProblemSpec(rows=rows, features=features, dtype=dtype)
    problem, ratio, what = judged(backend_name, spec)
    prepared = work(name, problem)
    if not ratio <= 1:
        pytest.fail(f"{backend_name} computes something else: its {what} is {ratio:.3g} times what rounding allows off")
    run = partial(prepared.run, STEPS) if name == "step" else prepared.run
    answer = run()
    passes = answer.steps if isinstance(answer, Fit) else 1
    benchmark.group = f"{STEPS} steps" if name == "step" else name
    benchmark.group += f" {rows:,} x {features} {dtype}"
    benchmark.extra_info |= {
        "backend": backend_name,
        "work": name,
        "rows": rows,
        "features": features,
        "dtype": dtype,
        "agreement": ratio,
        "bytes": spec.bytes * passes,  # that must be read, at least
        "environment": environment(),
    }
    benchmark(run)
