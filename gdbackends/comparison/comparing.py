"""compare(): run every backend, judge the runs, and collect the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, cast

import numpy as np

from gdbackends.backends import Backend, check_installed, installed, names
from gdbackends.comparison.backend_run import BackendRun, run_backend, run_backend_on_ranks
from gdbackends.comparison.function_comparison import Make, compare_function
from gdbackends.comparison.function_problem import function_problem, random_theta
from gdbackends.comparison.judging import (
    Baseline,
    baseline,
    conclusion,
    distance_from_exact,
    exact_uncertainty,
    judge_backends,
)
from gdbackends.comparison.outcome import BackendResult, Comparison, Settings
from gdbackends.datasets import Dataset, women
from gdbackends.descent.rates import LazyRates
from gdbackends.errors import BackendError, InputError, InputTypeError, MissingBackendError, in_one_line, whole_number
from gdbackends.measurement.environment import environment, load
from gdbackends.measurement.rank_launcher import run_on_ranks
from gdbackends.measurement.subprocess_worker import Crashed, in_fresh_process
from gdbackends.objectives import FunctionObjective, LinearModel, Objective, as_objective
from gdbackends.rounding import has_bound


def compare(
    data: Dataset | Sequence[Any] | Make | None = None,
    *,
    backends: Sequence[str | Backend] | None = None,
    isolate: bool = False,
    timeout: float | None = None,
    processes: int = 1,
    **settings: Any,
) -> Comparison:
    """Fit the same data on several backends, prove that they agree, and time them.

    Args:
        data: the table; None means the bundled heights and weights. For a loss function also a list of its arguments
            after theta; or a function that returns a FunctionProblem.
        backends: names for `get_backend`, or backends; None means all that are installed. A backend computes in its
            own dtype, which must be the one asked for.
        isolate: whether to run each backend in its own process, as the command line does. In one process they slow
            each other down, and the times are less comparable.
        timeout: seconds after which a backend in its own process is stopped; None means never.
        processes: with more than one, every backend named also makes the fit with the rows divided among so many
            processes, which its engine connects: a row of its own, "numpy x 2".
        **settings: the fields of `Settings`: the arguments of `fit`, and `device`, `dtype` and `tuning`. The objective
            may also be a loss function, loss(theta, *data), or a FunctionObjective, which has its gradient by hand too;
            then theta0 may be an array of any shape, or a structure of arrays, and the data are not scaled.

    Raises:
        InputError: as in `fit` and `get_backend`.
    """
    chosen, wanted, busy = _settings(settings), _wanted(backends), load()
    data = women() if data is None else data
    own_loss = isinstance(chosen.objective, FunctionObjective) or callable(data)
    _check_isolation(chosen, isolate, timeout, processes, own_loss)
    notes = _notes(chosen, wanted, isolate, insisted=backends is not None)
    if isinstance(chosen.objective, FunctionObjective) or callable(data):
        make = data if callable(data) else _problem_of(chosen.objective, data, chosen)
        return replace(compare_function(make, wanted, chosen, isolate=isolate, timeout=timeout, notes=notes), load=busy)
    data = _checked(data, chosen)
    base = baseline(data, chosen)
    runs = _runs(wanted, data, chosen, base, isolate, timeout)
    runs |= _runs_on_ranks(wanted, data, chosen, base, processes)
    with np.errstate(all="ignore"):
        rows = judge_backends(base, runs)
        verdict, sentence = conclusion(base, rows)
        far = distance_from_exact(base, rows, data.names) if verdict == "agree" else ""
    return Comparison(
        verdict=verdict,
        sentence=f"{sentence} {far}".rstrip(),
        finished=not far,
        rows=rows,
        exact=base.exact,
        exact_loss=base.exact_loss,
        spectrum=base.problem.spectrum,
        sensitivity=base.bound_in_float64.sensitivity(min(len(rows), 2)),
        trajectory_sensitivity=base.check.sensitivity if len(rows) > 1 else None,
        proof_steps=len(base.check.rates),
        dataset={"name": data.name, "rows": data.y.size, "features": list(data.names), "target": data.target},
        settings=chosen,
        environment=environment(),
        isolated=isolate,
        labels=data.labels or base.problem.labels,
        load=busy,
        notes=(*_of_fits(rows), *_on_the_answer(base), *notes),
    )


def _problem_of(objective: Any, data: Dataset | Sequence[Any], settings: Settings) -> Make:
    """Return a function that returns the problem of a loss function."""
    arguments = (data.X, data.y) if isinstance(data, Dataset) else tuple(data)
    gradient = True if objective.both else objective.hand
    name = getattr(objective.function, "__name__", "the loss")
    start = settings.theta0
    if start is None:
        start = random_theta(name, objective.function, gradient, arguments, {}, settings.seed)
    return partial(function_problem, name, objective.function, gradient, start, arguments)


def _checked(data: Any, settings: Settings) -> Dataset:
    """Return the data, or refuse what no backend can compare."""
    if not isinstance(data, Dataset):
        raise InputTypeError(f"compare takes a Dataset, got {type(data).__name__}; try Dataset(X, y) or read(path)")
    if not has_bound(settings.objective):
        raise InputTypeError(
            f"compare supports LinearModel with a bundled loss, and loss functions, got {settings.objective!r}; use fit"
        )
    if settings.theta0 is not None:
        raise InputError("compare takes theta0 for a loss function only; leave it out")
    return data


def _check_isolation(settings: Settings, isolate: bool, timeout: float | None, processes: int, own_loss: bool) -> None:
    if processes != 1 and own_loss:
        raise InputError("compare over several processes needs a bundled loss; leave processes out")
    if whole_number("processes", processes) < 1 or (processes > 1 and not isolate):
        raise InputError(f"processes must be at least 1, and more need isolate=True, got {processes!r}")
    if timeout is not None and not (isolate and timeout > 0):
        raise InputError(f"timeout must be positive, and needs isolate=True, got {timeout!r}")
    if isolate and callable(settings.learning_rate):
        raise InputError("compare(isolate=True) cannot send a schedule to another process; give a number or 'auto'")


def _runs(
    wanted: Mapping[str, str | Backend],
    data: Dataset,
    settings: Settings,
    base: Baseline,
    isolate: bool,
    timeout: float | None,
) -> dict[str, BackendRun | str]:
    """Run every backend; a text is the reason why one gave no answer."""
    run = partial(in_fresh_process, run_backend, timeout=timeout) if isolate else run_backend
    runs: dict[str, BackendRun | str] = {}
    for label, backend in wanted.items():
        try:
            runs[label] = run(backend, data.X, data.y, settings, base.points, base.check.rates)
        except InputError as error:
            if not isinstance(error, BackendError):
                raise
            runs[label] = str(error)
        except Exception as error:  # any error of a framework, and the end of its process
            runs[label] = str(error) if isinstance(error, Crashed) else in_one_line(error)
    return runs


def _runs_on_ranks(
    wanted: Mapping[str, str | Backend], data: Dataset, settings: Settings, base: Baseline, processes: int
) -> dict[str, BackendRun | str]:
    """Run every backend that is named over several processes; a text is the reason why one gave no answer."""
    rates = None if isinstance(base.rates, LazyRates) else base.rates
    shared = data.X, data.y, settings, base.points, base.check.rates, base.problem.scaling, rates
    runs: dict[str, BackendRun | str] = {}
    named = {label: name for label, name in wanted.items() if isinstance(name, str) and processes > 1}
    for label, name in named.items():
        try:
            runs[f"{label} x {processes}"] = run_on_ranks(name, processes, run_backend_on_ranks, name, *shared)
        except InputError as error:
            runs[f"{label} x {processes}"] = str(error)
    return runs


def _settings(settings: dict[str, Any]) -> Settings:
    known = [field.name for field in fields(Settings)]
    for name in settings:
        if name not in known:
            raise InputTypeError(f"compare has no setting {name!r}; it takes {', '.join(known)}")
    chosen = Settings(**settings)
    objective = as_objective(chosen.objective)
    if isinstance(objective, Objective) and not isinstance(objective, (LinearModel, FunctionObjective)):
        objective = FunctionObjective(objective.loss, objective.gradient)
    return replace(chosen, objective=objective)


def _wanted(backends: Sequence[str | Backend] | None) -> dict[str, str | Backend]:
    """Return the backends by the names of their rows."""
    if backends is None:
        return {name: name for name in installed()}
    if isinstance(backends, str) or not backends:
        raise InputError(f"backends must be a list of at least one of {', '.join(names())}, got {backends!r}")
    wanted: dict[str, str | Backend] = {}
    for backend in backends:
        if isinstance(backend, type) or not isinstance(backend, Backend):
            check_installed(cast("str", backend))
        label = backend if isinstance(backend, str) else backend.name
        if wanted.setdefault(label, backend) != backend:
            raise InputError(f"two backends are called {label!r}; compare them one at a time, or rename one")
    return wanted


def _of_fits(rows: Sequence[BackendResult]) -> list[str]:
    """Return the different notes of the fits."""
    return list(dict.fromkeys(row.fit.note for row in rows if row.fit and row.fit.note and row.status != "diverged"))


def _on_the_answer(base: Baseline) -> list[str]:
    """Return notes on how far the exact answer is known, and whether there is more than one."""
    uncertainty = list(filter(None, [exact_uncertainty(base)]))
    if base.unique:
        return uncertainty
    return [
        *uncertainty,
        "The solution is not unique (collinear or constant features, or more features than rows)"
        + ("." if base.exact is None else "; the exact one shown is the nearest to the start."),
    ]


def _notes(settings: Settings, wanted: Collection[str], isolate: bool, insisted: bool) -> list[str]:
    """Return notes on which backends ran, and where."""
    notes: list[str] = []
    for name in () if insisted else names():
        try:
            check_installed(name)
        except MissingBackendError as error:
            notes.append(f"{name} is left out: {error}.")
    if settings.device not in (None, "cpu") and "numpy" in wanted:
        notes.append("numpy stays on the CPU.")
    if not isolate and len(wanted) > 1:
        notes.append("All backends ran in one process, where they slow each other down.")
    return notes
