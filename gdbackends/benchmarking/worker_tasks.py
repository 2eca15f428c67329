"""One launch: what a fresh process does for a backend, a task and a work at a time. The parent asks by `Worker.ask`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from time import sleep
from typing import Any

import numpy as np

from gdbackends.backends import Backend, Surroundings, get_backend
from gdbackends.benchmarking.case import Place, Task
from gdbackends.benchmarking.workloads import Unsupported, work
from gdbackends.comparison.referee import formula_ratio
from gdbackends.descent import Fit, Problem, prepare
from gdbackends.errors import InputError
from gdbackends.measurement.environment import affinity, forget_peak, last_cache, load, peak_memory
from gdbackends.measurement.timing import batches, marginal_steps, seconds


@dataclass(frozen=True)
class WorkerInfo:
    """What the process found.

    Attributes:
        import_s: seconds of the framework's import, and of its first look at the devices.
        affinity: the cores it may use.
        threads_seen: that the backend says it uses; None: it cannot tell.
        device_name: the product's, where it has one.
        cache_bytes: of the largest cache of the processor.
        load: of the machine over the last minute, this included; more than there are cores means a busy one.
    """

    import_s: float
    affinity: list[int]
    threads_seen: int | None
    device_name: str
    cache_bytes: int
    load: float


@dataclass(frozen=True)
class TaskSetup:
    """A task made ready: seconds to place X and y once, how it is gone about, how far it agrees (None: not asked)."""

    transfer_s: float
    plan: str
    agreement: float | None
    worst: str | None


@dataclass(frozen=True)
class LaunchTimes:
    """What a work took in one launch.

    Attributes:
        first_call_s: the first time, compiling included.
        batches: seconds of a call (of one more step), one number a batch.
        calls: in all.
        passes: how often X must be read, at least.
        hidden_s: seconds that reading the answer took beyond what any reading does: not waited for; 0 if none.
        peak_bytes: the most memory of the process while it was timed; None: the system does not say.
        device_peak_bytes: of the device; None: it is the processor, or does not say.
    """

    first_call_s: float
    batches: list[float]
    calls: int
    passes: int
    hidden_s: float
    peak_bytes: int | None
    device_peak_bytes: int | None


_open: list[Problem] = []
"""The task at hand; a list, since there may be none."""


def start_worker(place: Place) -> WorkerInfo:
    """Import the backend's framework."""
    loaded: list[Backend] = []
    import_s = seconds(lambda: loaded.append(_backend(place, "float64")))
    seen: Surroundings = getattr(loaded[0], "surroundings", Surroundings)()
    kind = next((kind for name, kind, _ in seen.devices if name == loaded[0].device), "")
    return WorkerInfo(import_s, affinity(), seen.threads, kind or loaded[0].device, last_cache(), load())


def open_task(place: Place, task: Task, judged: bool) -> TaskSetup:
    """Make and place the data, and say whether the backend agrees if it is to be judged."""
    _open.clear()  # before the next is made: both might not fit
    backend, data = _backend(place, task.dtype), task.table()
    problem = prepare(data.X, data.y, backend, task.model, standardize=False)
    del data

    def transfer() -> None:
        for array in (problem.X, problem.y):
            backend.synchronize(backend.asarray(array))

    transfer_s = seconds(transfer)
    _open.append(problem)
    if not judged:
        return TaskSetup(transfer_s, problem.plan, None, None)
    wide = backend if task.dtype == "float64" else _backend(place, "float64")
    return TaskSetup(transfer_s, problem.plan, *formula_ratio(problem, wide))


def time_work(name: str, budget: float) -> LaunchTimes:
    """Time a work of the open task, in about so many seconds."""
    (problem,) = _open
    backend: Any = problem.backend
    getattr(backend, "forget", _nothing)()
    forget_peak()
    chosen, stepping = work(name, problem), name == "step"
    results: list[Any] = []
    once = (lambda: chosen.run(1)) if stepping else chosen.run
    first_call = seconds(lambda: results.append(once()))
    if stepping:
        taken, calls = marginal_steps(chosen.run, least=budget / 8, rounds=4)
    else:
        taken, calls = batches(chosen.run, budget)
    return LaunchTimes(
        first_call_s=first_call,
        batches=taken,
        calls=calls,
        passes=results[0].steps if isinstance(results[0], Fit) and not stepping else 1,
        hidden_s=_hidden(chosen.run, chosen.read) if chosen.read else 0.0,
        peak_bytes=peak_memory(),
        device_peak_bytes=getattr(backend, "peak_bytes", _nothing)(),
    )


def close_task() -> None:
    """Let the data go."""
    _open.clear()


def bandwidth(budget: float) -> float:
    """Return the bytes a second at which this process reads memory: the best of BLAS products of a long vector.

    Four times the last cache at least, and every one of its numbers is read once.
    """
    vector = np.ones(max(32 << 20, 4 * last_cache()) // 8)
    taken, _ = batches(lambda: vector @ vector, budget)
    return vector.nbytes / min(taken)


def _hidden(run: Callable[[], Any], read: Callable[[Any], Any]) -> float:
    """Return the seconds of the work that were not waited for: 0, or what reading the answer at once takes.

    That is more than half of the work, 3 times the reading of an answer that has had time to come, and 5 us, which
    noise may make; or, where only reading computes, 10 times what was waited for. Tries of the three take turns, and
    the least of each is compared: noise only adds.
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


def _backend(place: Place, dtype: str) -> Backend:
    """Return the backend, in the words of `Place`.

    Raises:
        Unsupported: there is no such device.
    """
    settings: dict[str, Any] = {"dtype": dtype, "device": place.device, "tuning": place.tuning}
    try:
        if ":" not in place.backend:
            return get_backend(place.backend, **settings)
        module, _, name = place.backend.partition(":")
        make = getattr(import_module(module), name)
        taken = signature(make).parameters
        backend = make(**{key: value for key, value in settings.items() if key in taken})
    except InputError as error:
        raise Unsupported(str(error)) from None
    if getattr(backend, "tuning", "best") != place.tuning:
        raise Unsupported(f"{place.backend} knows no tuning {place.tuning!r}; leave it out")
    if backend.device != place.device:
        raise Unsupported(f"device {place.device!r} is not at hand for {place.backend}; it has {backend.device}")
    return backend


def _nothing() -> None:
    """Stand for an optional capability that a backend lacks."""
