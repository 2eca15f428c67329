"""The functions of one launch, which the parent calls in a fresh process with `Worker.ask`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import sleep
from typing import Any

import numpy as np

from gdbackends.backends import Backend, capabilities, get_backend
from gdbackends.benchmarking.case import BATCH, BackendConfig, ProblemSpec
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
from gdbackends.descent import Fit, Problem, ProblemOptions, TableProblem, prepare
from gdbackends.errors import BackendError, InputError
from gdbackends.measurement.environment import affinity, forget_peak, last_cache, load, peak_memory
from gdbackends.measurement.timing import batches, marginal_steps, seconds
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


@dataclass(frozen=True)
class TaskSetup:
    """The setup of a problem: transfer time of X and y, the plan, and the result of the check (None if not checked)."""

    transfer_s: float
    plan: str
    agreement: float | None
    worst: str | None


@dataclass(frozen=True)
class LaunchTimes:
    """The times of a workload in one launch.

    Attributes:
        first_call_s: seconds of the first call, compilation included.
        batches: seconds per call (or per additional step) of each batch.
        calls: the total number of calls.
        passes: the minimum number of passes over X.
        hidden_s: seconds of computation after `synchronize`, or 0.
        peak_bytes: the peak memory of the process during timing, or None if unknown.
        device_peak_bytes: the peak memory of the device, or None for the CPU or if unknown.
    """

    first_call_s: float
    batches: list[float]
    calls: int
    passes: int
    hidden_s: float
    peak_bytes: int | None
    device_peak_bytes: int | None


@dataclass(frozen=True, eq=False)
class _Task:
    """An open problem of a backend."""

    spec: ProblemSpec
    problem: Problem
    residuals: Callable[..., Any] | None = None

    def for_batches(self) -> Problem:
        """Return the problem for steps over batches; the data of a table are then laid out by rows."""
        size = min(BATCH, self.problem.rows)
        if isinstance(self.problem, TableProblem):
            return _table_problem(self.spec, self.problem.backend, size)
        return replace(self.problem, batch_size=size)

    def workload(self, name: str) -> Workload:
        """Return a workload."""
        return work(name, self.for_batches() if name == "batch" else self.problem, self.residuals)


_prepared: list[_Task] = []
"""The open problem; an empty list if there is none."""


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
        _prepared.append(_Task(spec, problem, residuals))
        if not judged:
            return TaskSetup(transfer_s, plan, None, None)
        if isinstance(problem, TableProblem):
            ratios = judge_backend(problem, wide)
        else:
            assert expected is not None and whole is not None
            ratios = judge_function(problem, expected, lambda: on_backend(whole, wide).problem)
        ratios |= _judged_works(_prepared[0], works, expected)
    worst = max(ratios, key=lambda name: ratios[name])
    return TaskSetup(transfer_s, plan, ratios[worst], worst)


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


def time_work(name: str, budget: float) -> LaunchTimes:
    """Time a workload of the open problem for about `budget` seconds."""
    (task,) = _prepared
    backend: Any = task.problem.backend
    capabilities(backend).clear_cache()
    forget_peak()
    with capabilities(backend).default_dtype():
        chosen, stepping = task.workload(name), name in ("step", "batch")
        results: list[Any] = []
        once = (lambda: chosen.run(1)) if stepping else chosen.run
        first_call = seconds(lambda: results.append(once()))
        if stepping:
            taken, calls = marginal_steps(chosen.run, least=budget / 8, rounds=4)
        else:
            taken, calls = batches(chosen.run, budget)
        hidden = _hidden(chosen.run, chosen.read) if chosen.read else 0.0
    return LaunchTimes(
        first_call_s=first_call,
        batches=taken,
        calls=calls,
        passes=results[0].steps if isinstance(results[0], Fit) and not stepping else 1,
        hidden_s=hidden,
        peak_bytes=peak_memory(),
        device_peak_bytes=capabilities(backend).peak_bytes(),
    )


def close_task() -> None:
    """Release the data of the open problem."""
    _prepared.clear()


def read_bandwidth(budget: float, cache: int) -> float:
    """Return the memory read bandwidth of this process in bytes per second: the best of BLAS products of a long vector.

    The vector has at least four times the size of the last cache, in bytes, and every element is read once.
    """
    vector = np.ones(max(32 << 20, 4 * cache) // 8)
    taken, _ = batches(lambda: vector @ vector, budget)
    return vector.nbytes / min(taken)


def _hidden(run: Callable[[], Any], read: Callable[[Any], Any]) -> float:
    """Return the seconds of computation that `run` did not wait for: 0, or the time to read the result immediately.

    A result counts as unfinished if the immediate read takes longer than half of the call plus 3 times the read of a
    completed result plus 5 us of noise; or, for lazy evaluation, if the later read takes 10 times as long as the call.
    The three measurements alternate, and their minima are compared, since noise only adds time.
    """
    waits: list[float] = []
    at_once: list[float] = []
    rested: list[float] = []
    for _ in range(9):
        answers: list[Any] = []
        waits.append(seconds(lambda answers=answers: answers.append(run())))
        at_once.append(seconds(lambda answers=answers: read(answers[0])))
        answer = run()
        sleep(max(1e-3, 2 * (waits[-1] + at_once[-1])))
        rested.append(seconds(lambda answer=answer: read(answer)))
    waited, soon, later = min(waits), min(at_once), min(rested)
    late = soon > 0.5 * waited + 3 * later + 5e-6 or later > 10 * max(waited, 5e-6)
    return soon if late else 0.0


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
