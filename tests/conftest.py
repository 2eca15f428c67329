"""The backend fixture: every backend in both precisions; one that is required and missing fails, never skips."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial

import pytest

# Idle threads of OpenBLAS and OpenMP sleep rather than spin, which takes the cores from the other processes of tests
# that run in parallel; read when NumPy, SciPy and PyTorch are loaded, also by the processes that tests start.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from gdbackends.backends import DTYPES, Backend, check_installed, get_backend, installed, names
from gdbackends.comparison import backend_run, trajectory
from gdbackends.errors import MissingBackendError
from gdbackends.measurement.timing import marginal_steps

# The processes that tests start read compiled modules, also where the environment says to write none.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-backends", default="", help="comma-separated; fail, not skip, when one is missing")


def pytest_configure(config: pytest.Config) -> None:
    unknown = set(filter(None, config.getoption("--require-backends").split(","))) - set(names())
    if unknown:
        raise pytest.UsageError(f"--require-backends: no such backend: {', '.join(sorted(unknown))}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A GPU test runs where a GPU is; nothing else is ever skipped for it."""
    for item in items:
        if item.get_closest_marker("gpu") and not _gpu():
            item.add_marker(pytest.mark.skip(reason="no GPU here"))


def _gpu() -> bool:
    if "torch" not in installed():
        return False
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def require(request: pytest.FixtureRequest):
    """Return require(name): skips where the backend is not installed, fails where it is required."""

    def require(name: str) -> None:
        try:
            check_installed(name)
        except MissingBackendError as error:
            if name in request.config.getoption("--require-backends").split(","):
                pytest.fail(f"{name} is required: {error}")
            pytest.skip(str(error))

    return require


@pytest.fixture(params=[f"{name}-{dtype}" for name in names() for dtype in DTYPES])
def backend(request: pytest.FixtureRequest, require) -> Backend:
    name, dtype = request.param.split("-")
    require(name)
    return get_backend(name, dtype=dtype)


@pytest.fixture(params=names())
def backend64(request: pytest.FixtureRequest, require) -> Backend:
    require(request.param)
    return get_backend(request.param)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory):
    """Chromium, one for all tests; where it is missing they fail with what to install."""
    from chromium import Browser, missing  # needs selenium, which no other test needs

    if missing():
        pytest.fail(missing())
    with Browser(tmp_path_factory.mktemp("downloads")) as started:
        yield started


@pytest.fixture(autouse=True)
def short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time a step of `compare` in milliseconds rather than a second: tests of its times run the command."""
    monkeypatch.setattr(backend_run, "marginal_steps", partial(marginal_steps, least=0.002, rounds=3))


@pytest.fixture(autouse=True)
def fewer_fixed_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge a comparison by 200 fixed steps rather than 1,000, of which test_trajectory.py has the tests."""
    monkeypatch.setattr(trajectory, "STEPS", 200)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile 4 steps of PyTorch into one call rather than 32, which takes tens of seconds."""
    if "torch" in installed():
        from gdbackends.backends import torch_compiled

        monkeypatch.setattr(torch_compiled, "STEPS", 4)


@pytest.fixture(scope="module")
def few_turns() -> Iterator[None]:
    """Time a case of `bench` in 6 slices of a launch rather than 24, where no test is of its times."""
    from gdbackends.cli import bench_command

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_command, "Plan", partial(bench_command.Plan, turns=6))
        yield


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray]:
    """A well-conditioned table of 40 rows and 3 features."""
    generator = np.random.default_rng(7)
    X = generator.normal(size=(40, 3)) * [1.0, 5.0, 0.2] + [0.0, 30.0, -4.0]
    return X, X @ [2.0, -1.0, 7.0] + 3.0 + generator.normal(size=40)
