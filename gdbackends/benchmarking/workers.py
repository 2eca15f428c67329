"""Manage the worker processes of a round, one for each config, and classify their failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from gdbackends.benchmarking.case import BackendConfig, ProblemSpec
from gdbackends.benchmarking.worker_tasks import (
    LaunchTimes,
    TaskSetup,
    WorkerInfo,
    close_task,
    prepare_task,
    time_work,
    worker_info,
)
from gdbackends.benchmarking.workloads import Unsupported
from gdbackends.comparison.expected import Expected
from gdbackends.comparison.function_problem import CannotRunError
from gdbackends.errors import InputError
from gdbackends.measurement.environment import affinity, machine
from gdbackends.measurement.subprocess_worker import Killed, TimedOut, Worker
from gdbackends.objectives import NoGradientError

_COPIES = 5
"""Assumed number of float64 copies of X during setup; 3 to 4 were observed."""


class Disagrees(Exception):
    """A backend computes wrong values; `ratio` is its largest error over what rounding allows."""

    def __init__(self, text: str, ratio: float) -> None:
        """Store the ratio, with None for infinity and NaN, which JSON cannot represent."""
        super().__init__(text)
        self.ratio = ratio if ratio < float("inf") else None


class Unsynchronised(Exception):
    """A backend's `synchronize` returned before the result was available."""


def outcome(error: Exception) -> tuple[str, str]:
    """Return the status and the reason of a failure."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    names = {
        Unsupported: "unsupported",
        CannotRunError: "unsupported",
        NoGradientError: "unsupported",
        Disagrees: "disagrees",
        Unsynchronised: "unsynchronised",
    }
    names |= {TimedOut: "timed out", Killed: "out of memory", MemoryError: "out of memory"}
    status = next((name for kind, name in names.items() if isinstance(error, kind)), "crashed")
    if status == "crashed" and any(mark in text for mark in ("RESOURCE_EXHAUSTED", "out of memory", "bad_alloc")):
        status = "out of memory"
    plain = status != "crashed" or isinstance(error, InputError)
    return status, text if plain else f"{type(error).__name__}: {text}"


class WorkerPool:
    """The worker processes of a round; a context manager that ends them."""

    def __init__(self, timeout_s: float) -> None:
        """Create a pool without processes."""
        self._timeout = timeout_s
        self._workers: dict[BackendConfig, Worker] = {}
        self._worker_info: dict[BackendConfig, WorkerInfo] = {}
        self._prepared: dict[BackendConfig, tuple[ProblemSpec, TaskSetup]] = {}

    def _ask(self, config: BackendConfig, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in the process of a config, starting the process if necessary."""
        if not self._alive(config):
            self._prepared.pop(config, None)
            worker = self._workers[config] = Worker(affinity()[: config.threads or None], quiet=True)
            try:
                self._worker_info[config] = worker.ask(worker_info, config, timeout=self._timeout)
            except Exception:  # a process that failed to start is not used again
                worker.close()
                raise
        return self._workers[config].ask(function, *args, timeout=self._timeout)

    def _alive(self, config: BackendConfig) -> bool:
        return config in self._workers and self._workers[config].alive

    def open(
        self,
        config: BackendConfig,
        spec: ProblemSpec,
        works: Sequence[str],
        judged: bool,
        expected: Expected | None = None,
    ) -> TaskSetup:
        """Set up a problem for these workloads, unless it is already set up; `expected` is that of `prepare_task`.

        Raises:
            Disagrees: the backend computes wrong values.
            MemoryError: the problem needs more memory than is available, and was not tried.
        """
        opened = self._prepared.get(config) if self._alive(config) else None
        if opened is None or opened[0] != spec:
            needed, free = _COPIES * 8 * spec.rows * spec.features, machine()["memory_available_bytes"]
            if free is not None and needed > free:
                raise MemoryError(f"it needs about {needed / 1e9:.2g} GB, {free / 1e9:.2g} GB are free; not tried")
            setup: TaskSetup = self._ask(config, prepare_task, config, spec, works, judged, expected)
            if setup.agreement is not None and not setup.agreement <= 1:
                by = f"{setup.agreement:.3g} times what rounding allows"
                truth = "autodiff" if spec.is_function else "the exact value"
                hand = spec.is_function and config.backend == "numpy"
                advice = f"; gdbackends check {spec.objective} may name the mistake" if hand else ""
                raise Disagrees(f"its {setup.worst} differs from {truth} by {by}{advice}", setup.agreement)
            opened = self._prepared[config] = spec, setup
        return opened[1]

    def worker_info(self, config: BackendConfig) -> WorkerInfo:
        """Return the information about the process of a config."""
        return self._worker_info[config]

    def time(self, config: BackendConfig, work: str, slice_s: float) -> LaunchTimes:
        """Time a workload of the open problem."""
        return self._ask(config, time_work, work, slice_s)

    def close_task(self, config: BackendConfig) -> None:
        """Release the data of the open problem."""
        self._prepared.pop(config, None)
        if self._alive(config):
            self._ask(config, close_task)

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes."""
        for worker in self._workers.values():
            worker.close()
