"""Manage the worker processes of a round, one for each place, and classify their failures."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from gdbackends.benchmarking.case import Place, Task
from gdbackends.benchmarking.worker_tasks import (
    LaunchTimes,
    TaskSetup,
    WorkerInfo,
    close_task,
    open_task,
    start_worker,
    time_work,
)
from gdbackends.benchmarking.workloads import Unsupported
from gdbackends.errors import InputError
from gdbackends.measurement.environment import affinity, machine
from gdbackends.measurement.subprocess_worker import Killed, TimedOut, Worker

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
    names = {Unsupported: "unsupported", Disagrees: "disagrees", Unsynchronised: "unsynchronised"}
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
        self._workers: dict[Place, Worker] = {}
        self._infos: dict[Place, WorkerInfo] = {}
        self._open: dict[Place, tuple[Task, TaskSetup]] = {}

    def _ask(self, place: Place, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in the process of a place, starting the process if necessary."""
        if not self._alive(place):
            self._open.pop(place, None)
            worker = self._workers[place] = Worker(affinity()[: place.threads or None], quiet=True)
            try:
                self._infos[place] = worker.ask(start_worker, place, timeout=self._timeout)
            except Exception:  # a process that failed to start is not used again
                worker.close()
                raise
        return self._workers[place].ask(function, *args, timeout=self._timeout)

    def _alive(self, place: Place) -> bool:
        return place in self._workers and self._workers[place].alive

    def open(self, place: Place, task: Task, judged: bool) -> TaskSetup:
        """Set up a task, unless it is already set up.

        Raises:
            Disagrees: the backend computes wrong values.
            MemoryError: the task needs more memory than is available, and was not tried.
        """
        opened = self._open.get(place) if self._alive(place) else None
        if opened is None or opened[0] != task:
            needed, free = _COPIES * 8 * task.rows * task.features, machine()["memory_available_bytes"]
            if free is not None and needed > free:
                raise MemoryError(f"it needs about {needed / 1e9:.2g} GB, {free / 1e9:.2g} GB are free; not tried")
            setup: TaskSetup = self._ask(place, open_task, place, task, judged)
            if setup.agreement is not None and not setup.agreement <= 1:
                text = f"its {setup.worst} is {setup.agreement:.3g} times what rounding allows from the truth"
                raise Disagrees(text, setup.agreement)
            opened = self._open[place] = task, setup
        return opened[1]

    def worker_info(self, place: Place) -> WorkerInfo:
        """Return the information about the process of a place."""
        return self._infos[place]

    def time(self, place: Place, work: str, slice_s: float) -> LaunchTimes:
        """Time a work of the open task."""
        return self._ask(place, time_work, work, slice_s)

    def close_task(self, place: Place) -> None:
        """Release the data of the open task."""
        self._open.pop(place, None)
        if self._alive(place):
            self._ask(place, close_task)

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes."""
        for worker in self._workers.values():
            worker.close()
