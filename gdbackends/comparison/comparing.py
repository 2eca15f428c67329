"""compare(): run every backend, judge the runs, and collect the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, cast

import numpy as np

from gdbackends.backends import Backend, check_installed, installed, names
from gdbackends.comparison.backend_run import BackendRun, run_backend
from gdbackends.comparison.judging import (
    Baseline,
    baseline,
    conclusion,
    distance_from_exact,
    exact_uncertainty,
    judge_backends,
)
from gdbackends.comparison.outcome import Comparison, Settings
from gdbackends.datasets import Dataset, women
from gdbackends.errors import BackendError, InputError, InputTypeError, MissingBackendError, in_one_line
from gdbackends.measurement.environment import environment
from gdbackends.measurement.subprocess_worker import Crashed, in_fresh_process
from gdbackends.rounding import has_bound


def compare(
    data: Dataset | None = None,
    *,
    backends: Sequence[str | Backend] | None = None,
    isolate: bool = False,
    timeout: float | None = None,
    **settings: Any,
) -> Comparison:
    """Fit the same data on several backends, prove that they agree, and time them.

    Args:
        data: the table; None means the bundled heights and weights.
        backends: names for `get_backend`, or backends; None means all that are installed. A backend computes in its
            own dtype, which must be the one asked for.
        isolate: whether to run each backend in its own process, as the command line does. In one process they slow
            each other down, and the times are less comparable.
        timeout: seconds after which a backend in its own process is stopped; None means never.
        **settings: the fields of `Settings`: the arguments of `fit`, and `device`, `dtype` and `tuning`.

    Raises:
        InputError: as in `fit` and `get_backend`.
    """
    data, chosen, wanted = women() if data is None else data, _settings(settings), _wanted(backends)
    _check(data, chosen, isolate, timeout)
    with np.errstate(all="ignore"):
        base = baseline(data, chosen)
    runs = _runs(wanted, data, chosen, base, isolate, timeout)
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
        notes=(
            *dict.fromkeys(row.fit.note for row in rows if row.fit and row.fit.note and row.status != "diverged"),
            *filter(None, [exact_uncertainty(base)]),
            *_notes(base, chosen, wanted, isolate, insisted=backends is not None),
        ),
    )


def _check(data: Dataset, settings: Settings, isolate: bool, timeout: float | None) -> None:
    """Refuse what no backend can compare."""
    if not isinstance(data, Dataset):
        raise InputTypeError(f"compare takes a Dataset, got {type(data).__name__}; try Dataset(X, y) or read(path)")
    if not has_bound(settings.objective):
        raise InputTypeError(
            f"compare supports only LinearModel with a bundled loss, got {settings.objective!r}; use fit"
        )
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


def _settings(settings: dict[str, Any]) -> Settings:
    known = [field.name for field in fields(Settings)]
    for name in settings:
        if name not in known:
            raise InputTypeError(f"compare has no setting {name!r}; it takes {', '.join(known)}")
    return Settings(**settings)


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


def _notes(base: Baseline, settings: Settings, wanted: Collection[str], isolate: bool, insisted: bool) -> list[str]:
    notes: list[str] = []
    for name in () if insisted else names():
        try:
            check_installed(name)
        except MissingBackendError as error:
            notes.append(f"{name} is left out: {error}.")
    if settings.device not in (None, "cpu") and "numpy" in wanted:
        notes.append("numpy stays on the CPU.")
    if not base.unique:
        notes.append(
            "The solution is not unique (collinear or constant features, or more features than rows)"
            + ("." if base.exact is None else "; the exact one shown is the nearest to the start.")
        )
    if not isolate and len(wanted) > 1:
        notes.append("All backends ran in one process, where they slow each other down.")
    return notes
