"""Manage the worker processes of a round, one for each config, and classify their failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from gdbackends.benchmarking.case import BackendConfig, ProblemSpec
from gdbackends.benchmarking.slices import Slice
from gdbackends.benchmarking.worker_tasks import (
    TaskSetup,
    WorkEnd,
    WorkerInfo,
    calibrate_work,
    close_task,
    end_work,
    judge_descent,
    prepare_task,
    start_work,
    time_slice,
    worker_info,
)
from gdbackends.benchmarking.workloads import Unsupported
from gdbackends.comparison.expected import Expected
from gdbackends.comparison.function_problem import CannotRunError
from gdbackends.errors import InputError
from gdbackends.measurement.environment import affinity, machine
from gdbackends.measurement.subprocess_worker import Checkout, Killed, TimedOut, Worker
from gdbackends.measurement.timing import clock
from gdbackends.objectives import Array, NoGradientError

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


class Implausible(Exception):
    """A time that cannot be right: the clock of the process was changed, or the memory is not so fast."""


def outcome(error: Exception) -> tuple[str, str]:
    """Return the status and the reason of a failure."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    names = {
        Unsupported: "unsupported",
        CannotRunError: "unsupported",
        NoGradientError: "unsupported",
        Disagrees: "disagrees",
        Unsynchronised: "unsynchronised",
        Implausible: "implausible",
    }
    names |= {TimedOut: "timed out", Killed: "out of memory", MemoryError: "out of memory"}
    status = next((name for kind, name in names.items() if isinstance(error, kind)), "crashed")
    if status == "crashed" and any(mark in text for mark in ("RESOURCE_EXHAUSTED", "out of memory", "bad_alloc")):
        status = "out of memory"
    plain = status != "crashed" or isinstance(error, InputError)
    return status, text if plain else f"{type(error).__name__}: {text}"


def memory_needed(spec: ProblemSpec) -> int:
    """Return about how many bytes a process needs to set up a problem."""
    return _COPIES * 8 * spec.rows * spec.features


class WorkerPool:
    """The worker processes of a round; a context manager that ends them."""

    def __init__(self, timeout_s: float, checkout: Checkout | None = None) -> None:
        """Create a pool without processes, which will run another checkout of the package if one is given."""
        self._timeout, self._checkout = timeout_s, checkout
        self._workers: dict[BackendConfig, Worker] = {}
        self._worker_info: dict[BackendConfig, WorkerInfo] = {}
        self._prepared: dict[BackendConfig, tuple[ProblemSpec, TaskSetup]] = {}

    def _ask(self, config: BackendConfig, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in the process of a config, starting the process if necessary."""
        if not self._alive(config):
            self._prepared.pop(config, None)
            cores = affinity()[: config.threads or None]
            worker = self._workers[config] = Worker(cores, quiet=True, checkout=self._checkout)
            try:
                begun = clock()
                info = self._worker_info[config] = worker.ask(worker_info, config, timeout=self._timeout)
                if not 0 <= info.import_s <= clock() - begun:
                    raise Implausible(f"its import took {info.import_s:.3g} s by its clock; the clock was changed")
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
            needed, free = memory_needed(spec), machine()["memory_available_bytes"]
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

    def start(self, config: BackendConfig, work: str) -> float:
        """Compile a workload of the open problem; return the seconds of its first call."""
        return self._ask(config, start_work, work)

    def calibrate(self, config: BackendConfig, slice_s: float) -> float:
        """Calibrate the slices of the workload; return the seconds of a call."""
        return self._ask(config, calibrate_work, slice_s)

    def slice(self, config: BackendConfig, seed: int, chosen: Array | None) -> Slice:
        """Time a slice of the workload; the arguments are those of `time_slice`.

        Raises:
            Implausible: the process does not tell the time of this one.
        """
        begun = clock()
        timed: Slice = self._ask(config, time_slice, seed, chosen)
        ended = clock()
        if not (begun <= timed.started <= timed.ended <= ended and timed.seconds <= timed.ended - timed.started):
            raise Implausible(
                f"by its clock, {timed.ended - timed.started:.3g} s passed in {ended - begun:.3g} s, or at another time"
                "; its clock was changed"
            )
        return timed

    def end(self, config: BackendConfig, waits: bool) -> WorkEnd:
        """Return what is known of the workload after its slices; `waits` is that of `end_work`.

        Raises:
            Unsynchronised: a call did not wait for its result.
        """
        known: WorkEnd = self._ask(config, end_work, waits)
        if known.hidden_s:
            raise Unsynchronised(f"its synchronize returned {known.hidden_s:.3g} s before the result was available")
        return known

    def judge_descent(self, config: BackendConfig, work: str) -> float:
        """Judge a descent of a function between two slices."""
        return self._ask(config, judge_descent, work)

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
        self.close()

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers.values():
            worker.close()
