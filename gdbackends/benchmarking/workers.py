"""The pool of a round: a fresh process for each place, replaced when it ends; and the names of endings."""

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
"""How often X may be held in float64 while it is made and placed: 3 to 4 times were seen."""


class Disagrees(Exception):
    """A backend computes something else; `ratio` is its largest difference over what rounding allows."""

    def __init__(self, text: str, ratio: float) -> None:
        """Keep the ratio; infinite and NaN ones as None, which JSON can hold."""
        super().__init__(text)
        self.ratio = ratio if ratio < float("inf") else None


class Unsynchronised(Exception):
    """A backend's `synchronize` returned before the answer was there."""


def outcome(error: Exception) -> tuple[str, str]:
    """Return the name of an ending, and why."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    names = {Unsupported: "unsupported", Disagrees: "disagrees", Unsynchronised: "unsynchronised"}
    names |= {TimedOut: "timed out", Killed: "out of memory", MemoryError: "out of memory"}
    status = next((name for kind, name in names.items() if isinstance(error, kind)), "crashed")
    if status == "crashed" and any(mark in text for mark in ("RESOURCE_EXHAUSTED", "out of memory", "bad_alloc")):
        status = "out of memory"
    plain = status != "crashed" or isinstance(error, InputError)
    return status, text if plain else f"{type(error).__name__}: {text}"


class WorkerPool:
    """The processes of a round. A context manager, which ends them."""

    def __init__(self, timeout_s: float) -> None:
        """Begin with none."""
        self._timeout = timeout_s
        self._workers: dict[Place, Worker] = {}
        self._infos: dict[Place, WorkerInfo] = {}
        self._open: dict[Place, tuple[Task, TaskSetup]] = {}

    def _ask(self, place: Place, function: Callable[..., Any], *args: Any) -> Any:
        """Ask the process of a place, which is started if there is none."""
        if not self._alive(place):
            self._open.pop(place, None)
            worker = self._workers[place] = Worker(affinity()[: place.threads or None], quiet=True)
            try:
                self._infos[place] = worker.ask(start_worker, place, timeout=self._timeout)
            except Exception:  # one that did not start_worker is not asked again
                worker.close()
                raise
        return self._workers[place].ask(function, *args, timeout=self._timeout)

    def _alive(self, place: Place) -> bool:
        return place in self._workers and self._workers[place].alive

    def open(self, place: Place, task: Task, judged: bool) -> TaskSetup:
        """Have a task made ready, unless it is.

        Raises:
            Disagrees: the backend computes something else.
            MemoryError: there is not enough; nothing was tried.
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
        """Return what the process found."""
        return self._infos[place]

    def time(self, place: Place, work: str, slice_s: float) -> LaunchTimes:
        """Time a work of the open task."""
        return self._ask(place, time_work, work, slice_s)

    def close_task(self, place: Place) -> None:
        """Have the data let go."""
        self._open.pop(place, None)
        if self._alive(place):
            self._ask(place, close_task)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes."""
        for worker in self._workers.values():
            worker.close()
