"""The functions of one launch, which the parent calls in a fresh process with `Worker.ask`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gdbackends.backends import Backend, capabilities, get_backend
from gdbackends.benchmarking.case import BATCH, BackendConfig, ProblemSpec
from gdbackends.benchmarking.slices import Slice, Timer, hidden_seconds, timer
from gdbackends.benchmarking.workloads import Unsupported, Workload, evaluation, work
from gdbackends.comparison.expected import (
    Expected,
    descent_ratio,
    evaluated,
    expect,
    judge_function,
    lacks_gradient,
    products_ratio,
)
from gdbackends.comparison.function_problem import (
    FunctionProblem,
    function_problem,
    on_backend,
    problem_from_file,
)
from gdbackends.comparison.referee import judge_backend
from gdbackends.descent import Problem, ProblemOptions, TableProblem, prepare
from gdbackends.errors import BackendError, InputError
from gdbackends.measurement.environment import affinity, forget_peak, last_cache, load, peak_memory
from gdbackends.measurement.timing import batches, seconds
from gdbackends.objectives import Array


@dataclass(frozen=True)
class WorkerInfo:
    """Information about a worker process.

    Attributes:
        import_s: seconds to import the framework and list its devices.
        affinity: the cores that the process may use.
        threads_seen: the threads that the backend reports, or None if unknown.
        device_name: the product name of the device, if it has one.
        cache_bytes: the size of the largest CPU cache.
        load: the load average over the last minute; a value above the number of cores means a busy machine.
    """

    import_s: float
    affinity: list[int]
    threads_seen: int | None
    device_name: str
    cache_bytes: int
    load: float


@dataclass(frozen=True, eq=False)
class TaskSetup:
    """The setup of a problem.

    Attributes:
        transfer_s: seconds to transfer the data.
        plan: how the backend computes, in words.
        start: (p,), the default start of descents.
        agreement: the largest error over what rounding allows; None if it was not judged.
        worst: what has this error.
    """

    transfer_s: float
    plan: str
    start: Array
    agreement: float | None
    worst: str | None


@dataclass(frozen=True)
class WorkEnd:
    """What is known of a workload after its slices.

    Attributes:
        passes: the minimum number of passes over X in a call.
        hidden_s: seconds of computation after `synchronize`, or 0.
        peak_bytes: the peak memory of the process during timing, or None if unknown.
        device_peak_bytes: the peak memory of the device, or None for the CPU or if unknown.
    """

    passes: int
    hidden_s: float
    peak_bytes: int | None
    device_peak_bytes: int | None


@dataclass(eq=False)
class _Task:
    """An open problem of a backend, with the workload that is timed."""

    spec: ProblemSpec
    problem: Problem
    residuals: Callable[..., Any] | None = None
    expected: Expected | None = None
    timed: tuple[str, Workload, Timer | None] | None = field(default=None, init=False)

    def for_batches(self) -> Problem:
        """Return the problem for steps over batches; the data of a table are then laid out by rows."""
        size = min(BATCH, self.problem.rows)
        if isinstance(self.problem, TableProblem):
            return _table_problem(self.spec, self.problem.backend, size)
        return replace(self.problem, batch_size=size)

    def workload(self, name: str) -> Workload:
        """Return a workload."""
        known = self.expected.hessian if self.expected is not None and name == "hvp" else None
        vector = None if known is None else known.vector
        return work(name, self.for_batches() if name == "batch" else self.problem, self.residuals, vector)


PROTOCOL = 1
"""The version of the functions of this module, which another version of the package must share to be timed too."""
_BATCH_STEPS = 256
"""Most steps of the shorter descent over batches, whose rounding is bounded step by step."""
_STEPS = ("step", "batch")
_FEW_ROWS = 32
_prepared: list[_Task] = []
"""The open problem; an empty list if there is none."""


def protocol() -> int:
    """Return PROTOCOL."""
    return PROTOCOL


def worker_info(config: BackendConfig) -> WorkerInfo:
    """Import the backend's framework."""
    loaded: list[Backend] = []
    import_s = seconds(lambda: loaded.append(_backend(config, "float64")))
    reported = capabilities(loaded[0]).system_info()
    kind = next((kind for name, kind, _ in reported.devices if name == loaded[0].device), "")
    return WorkerInfo(import_s, affinity(), reported.threads, kind or loaded[0].device, last_cache(), load())


def prepare_task(
    config: BackendConfig, spec: ProblemSpec, works: Sequence[str], judged: bool, expected: Expected | None
) -> TaskSetup:
    """Create and transfer the data, and check the backend if `judged`.

    Args:
        config: the backend.
        spec: the problem.
        works: the workloads that will be timed.
        judged: whether to check the backend.
        expected: what it must compute, for a function, and for products of the Hessian.
    """
    _prepared.clear()  # release the old data first, since both might not fit
    backend = _backend(config, spec.dtype)
    wide = backend if spec.dtype == "float64" else _backend(config, "float64")
    with capabilities(backend).default_dtype():
        if spec.is_function:
            whole = problem_of(spec).in_dtype(spec.dtype)
            function = on_backend(whole, backend)
            problem, plan, residuals = function.problem, function.plan, function.residuals
        else:
            problem = _table_problem(spec, backend)
            plan, residuals, whole = problem.plan, _predictions(problem.objective), None
        arrays = (problem.X, problem.y) if isinstance(problem, TableProblem) else whole.checked.data if whole else ()

        def transfer() -> None:
            for array in arrays:
                backend.synchronize(backend.asarray(array))

        transfer_s = seconds(transfer)
        _prepared.append(_Task(spec, problem, residuals, expected))
        if not judged:
            return TaskSetup(transfer_s, plan, problem.theta0, None, None)
        if isinstance(problem, TableProblem):
            ratios = judge_backend(problem, wide) | _on_few_rows(spec, backend, wide)
        else:
            assert expected is not None and whole is not None
            ratios = judge_function(problem, expected, lambda: on_backend(whole, wide).problem)
        ratios |= _judged_works(_prepared[0], works, expected)
    worst = max(ratios, key=lambda name: ratios[name])
    return TaskSetup(transfer_s, plan, problem.theta0, ratios[worst], worst)


def _judged_works(task: _Task, works: Sequence[str], expected: Expected | None) -> dict[str, float]:
    """Judge the workloads that the check of the gradient does not cover, by what is expected."""
    problem, ratios = task.problem, dict[str, float]()
    if lacks_gradient(problem):
        return ratios
    if "batch" in works:
        batches = task.for_batches()
        if expected is not None and expected.batches is not None and task.spec.is_function:
            ratios["batch"] = descent_ratio(batches, expected.batches)
        elif isinstance(batches, TableProblem):
            ratios["batch"] = judge_backend(batches, batches.backend)["descent"]
    if expected is None:
        return ratios
    products = {"hvp": expected.hessian, "jacobian_forward": expected.jacobian, "jacobian_reverse": expected.jacobian}
    for name in products.keys() & set(works):
        known = products[name]
        function = None if known is None else evaluation(name, problem, task.residuals, known.vector)
        if known is not None and function is not None:
            found = evaluated(problem, function, expected.points)
            ratios[name] = products_ratio(known, found if name == "hvp" else known.vector @ found)
    return ratios


def _on_few_rows(spec: ProblemSpec, backend: Backend, wide: Backend) -> dict[str, float]:
    """Judge a backend in float32 on a few rows, where rounding hides less than in long sums."""
    if spec.dtype == "float64" or spec.rows <= _FEW_ROWS:
        return {}
    data = spec.table()
    rows = np.append([0, 1], np.random.default_rng(spec.seed).integers(2, spec.rows, _FEW_ROWS - 2))  # both labels
    few = prepare(data.X[rows], data.y[rows], backend, spec.model, ProblemOptions(standardize=False))
    return {f"{name} on {_FEW_ROWS} rows": found for name, found in judge_backend(few, wide).items()}


def _table_problem(spec: ProblemSpec, backend: Backend, batch_size: int | None = None) -> TableProblem:
    data, options = spec.table(), ProblemOptions(batch_size=batch_size, standardize=False)
    return prepare(data.X, data.y, backend, spec.model, options)


def expected_of(spec: ProblemSpec, works: Sequence[str]) -> Expected:
    """Return what every backend must compute; for a process of its own, since it imports every framework."""
    whole = problem_of(spec)
    return expect(
        whole,
        spec.dtype,
        batch_size=min(BATCH, whole.rows) if "batch" in works else None,
        hessian="hvp" in works,
        jacobian=bool({"jacobian_forward", "jacobian_reverse"} & set(works)),
    )


def needs_expected(spec: ProblemSpec, works: Sequence[str]) -> bool:
    """Return whether a problem with these workloads is judged by what `expected_of` returns."""
    return spec.is_function or bool({"hvp", "jacobian_forward", "jacobian_reverse"} & set(works))


def problem_of(spec: ProblemSpec) -> FunctionProblem:
    """Return the problem of a function; for a linear model the same as a function."""
    if spec.is_function:
        return problem_from_file(spec.objective, spec.rows, spec.features, spec.seed)
    model, data = spec.model, spec.table()
    theta: Any = np.random.default_rng(spec.seed).normal(scale=spec.features**-0.5, size=spec.features + 1)
    whole = function_problem(spec.objective, model.loss, model.gradient, theta, (data.X, data.y))
    return replace(whole, outputs=_predictions(model))


def _predictions(model: Any) -> Callable[..., Array]:
    """Return the predictions of a linear model as a function of theta, X and y."""

    def predictions(theta: Array, X: Array, y: Array) -> Array:
        return model.predict(theta, X)

    return predictions


def start_work(name: str) -> float:
    """Compile a workload of the open problem, and return the seconds of its first call."""
    (task,) = _prepared
    backend = task.problem.backend
    task.timed = None
    capabilities(backend).clear_cache()
    forget_peak()
    with capabilities(backend).default_dtype():
        workload = task.workload(name)
        (point,) = workload.points(np.random.default_rng(0), 1)
        first_call = seconds(lambda: workload.call(point, *([1] if name in _STEPS else [])))
    task.timed = name, workload, None
    return first_call


def calibrate_work(slice_s: float) -> float:
    """Calibrate how many calls make a slice; return the seconds of a call, or of the two descents that time a step."""
    (task,) = _prepared
    assert task.timed is not None
    name, workload, _ = task.timed
    with capabilities(task.problem.backend).default_dtype():
        timed = timer(workload, slice_s, name in _STEPS, *([_BATCH_STEPS] if name == "batch" else []))
    task.timed = name, workload, timed
    return timed.call_s


def time_slice(seed: int, chosen: Array | None) -> Slice:
    """Time a slice of the workload, whose points are drawn from a seed; one call is made at `chosen` (p,)."""
    (task,) = _prepared
    assert task.timed is not None and task.timed[2] is not None
    with capabilities(task.problem.backend).default_dtype():
        return task.timed[2].slice(np.random.default_rng(seed), chosen)


def end_work(waits: bool) -> WorkEnd:
    """Return what is known after the slices of a workload; `waits` asks whether its calls wait for their results."""
    (task,) = _prepared
    assert task.timed is not None
    name, workload, _ = task.timed
    backend, peak = task.problem.backend, peak_memory()
    device_peak = capabilities(backend).peak_bytes()
    passes, hidden = 1, 0.0
    with capabilities(backend).default_dtype():
        if workload.read is not None and waits:
            hidden = hidden_seconds(workload, lambda array: backend.asarray(array.ravel()))
        elif name == "fit":
            passes = workload.run().steps
    task.timed = None
    return WorkEnd(passes, hidden, peak, device_peak)


def judge_descent(name: str) -> float:
    """Judge the short descent that is expected of a function, again; return its error over what is allowed."""
    (task,) = _prepared
    assert task.expected is not None
    with capabilities(task.problem.backend).default_dtype(), np.errstate(all="ignore"):
        if name == "batch" and task.expected.batches is not None:
            return descent_ratio(task.for_batches(), task.expected.batches)
        return descent_ratio(task.problem, task.expected.descent)


def close_task() -> None:
    """Release the data of the open problem."""
    _prepared.clear()


def read_bandwidth(budget: float, size: int) -> float:
    """Return the read bandwidth of this process in bytes per second: the best of BLAS products of a vector.

    Every element is read once.

    Args:
        budget: seconds to measure.
        size: the bytes of the vector; the level of memory that holds it determines the bandwidth.
    """
    vector = np.ones(size // 8)
    taken, _ = batches(lambda: vector @ vector, budget)
    return vector.nbytes / min(taken)


def _backend(config: BackendConfig, dtype: str) -> Backend:
    """Return the backend that a `BackendConfig` describes.

    Raises:
        Unsupported: the backend does not have this device or tuning.
    """
    try:
        backend = get_backend(config.backend, config.device, dtype, config.tuning)
    except BackendError:
        raise
    except InputError as error:
        raise Unsupported(str(error)) from None
    if capabilities(backend).tuning != config.tuning:
        raise Unsupported(f"{config.backend} does not support the tuning {config.tuning!r}; leave it out")
    if backend.device != config.device:
        raise Unsupported(f"device {config.device!r} is not available for {config.backend}; it has {backend.device}")
    return backend
