"""The comparison of the backends on a loss function: each is judged by what is expected of all."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

import numpy as np

from gdbackends.backends import Backend, capabilities
from gdbackends.comparison.backend_run import chosen_backend, in_dtype, step_time
from gdbackends.comparison.expected import STEPS, Expected, expect, judge_function
from gdbackends.comparison.function_problem import CannotRunError, FunctionProblem, on_backend
from gdbackends.comparison.outcome import BackendResult, Comparison, Settings, Verdict
from gdbackends.descent import Fit, ProblemOptions, Stop, descend, fit_prepared
from gdbackends.errors import BackendError, InputError, in_one_line
from gdbackends.measurement.environment import environment
from gdbackends.measurement.formatting import joined
from gdbackends.measurement.statistics import Estimate
from gdbackends.measurement.subprocess_worker import Crashed, in_fresh_process
from gdbackends.measurement.timing import seconds
from gdbackends.python_files import split_target
from gdbackends.rounding.limit import VISIBLE

Make = Callable[[], FunctionProblem]
"""Returns the problem in any process."""


@dataclass(frozen=True, eq=False)
class Described:
    """The problem in words, and what is expected of every backend."""

    name: str
    rows: int
    names: tuple[str, ...]
    expected: Expected


@dataclass(frozen=True, eq=False)
class FunctionRun:
    """What one backend computed.

    Attributes:
        device: where it ran.
        fit: the fit.
        ratios: the differences from what is expected over what rounding allows, by what differs.
        first_call_s: seconds of the first descent of one step.
        step: seconds that one more step takes, with the 99 % interval over the rounds in this process.
    """

    device: str
    fit: Fit
    ratios: Mapping[str, float]
    first_call_s: float
    step: Estimate


def compare_function(
    make: Make,
    wanted: Mapping[str, str | Backend],
    settings: Settings,
    *,
    isolate: bool = False,
    timeout: float | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """Fit a loss function on several backends, prove that they agree, and time them.

    Args:
        make: a function that returns the problem; it must be picklable if `isolate`.
        wanted: the backends by the names of their rows.
        settings: as in `compare`; the data are neither scaled nor penalised.
        isolate: as in `compare`.
        timeout: as in `compare`.
        notes: further remarks.

    Raises:
        InputError: no framework can differentiate the loss, or a setting cannot be used.
    """
    run = partial(in_fresh_process, timeout=timeout) if isolate else _in_this_process
    if isolate:
        _check_picklable(make)
    try:
        found: Described = run(find_reference, make, settings.dtype, settings.seed)
    except Crashed as error:
        raise InputError(f"the loss cannot be judged: {error}") from None
    settings = _with_rate(settings, found.expected)
    runs: dict[str, FunctionRun | str | CannotRunError] = {}
    for label, backend in wanted.items():
        try:
            runs[label] = run(run_function, backend, make, settings, found.expected)
        except CannotRunError as error:
            runs[label] = error
        except InputError as error:
            if not isinstance(error, BackendError):
                raise
            runs[label] = str(error)
        except Exception as error:  # any error of a framework, and the end of its process
            runs[label] = str(error) if isinstance(error, Crashed) else in_one_line(error)
    return _comparison(found, tuple(_result(label, each) for label, each in runs.items()), settings, isolate, notes)


def _in_this_process(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def _check_picklable(make: Make) -> None:
    try:
        pickle.dumps(make)
    except Exception as error:  # any error of an object's own __reduce__
        raise InputError(
            f"isolate=True sends the loss to other processes, which failed: {in_one_line(error)[:150]}; define it at "
            "the top level of an importable module, or give isolate=False"
        ) from None


def find_reference(make: Make, dtype: str, seed: int) -> Described:
    """Return what every backend must compute; it imports every framework."""
    problem = make()
    return Described(problem.name, problem.rows, tuple(problem.names), expect(problem, dtype, seed=seed))


def _with_rate(settings: Settings, expected: Expected) -> Settings:
    """Return the settings with one automatic rate for all backends: 1 / (2 L), with the curvature L at the start."""
    if settings.learning_rate != "auto":
        return settings
    if not 0 < expected.curvature < inf:
        raise InputError("learning_rate='auto' needs a gradient that changes near the start; give a number")
    return replace(settings, learning_rate=float(f"{1 / (2 * expected.curvature):.1e}"))


def run_function(wanted: str | Backend, make: Make, settings: Settings, expected: Expected) -> FunctionRun:
    """Fit, judge and time one backend.

    Raises:
        CannotRunError: the backend cannot run the loss, or is NumPy and there is no gradient by hand.
    """
    backend = chosen_backend(wanted, settings)
    whole = make().in_dtype(settings.dtype)
    if backend.name == "numpy" and not whole.by_hand:
        raise CannotRunError("there is no gradient by hand")
    options = ProblemOptions(settings.batch_size, False, settings.seed)
    options.check((whole.rows, 1))
    with capabilities(backend).default_dtype():
        all_rows = on_backend(whole, backend).problem
        ratios = judge_function(all_rows, expected, lambda: on_backend(whole, in_dtype(backend, "float64")).problem)
        problem = replace(all_rows, batch_size=options.batch_size, seed=options.seed)
        steady = expected.descent.rates[:1] / max(1, len(problem.batches))
        first_call = seconds(lambda: descend(problem, steady))
        return FunctionRun(
            device=backend.device,
            fit=fit_prepared(problem, settings.learning_rate, settings.steps, settings.tolerance),
            ratios=ratios,
            first_call_s=first_call,
            step=step_time(lambda k: descend(problem, np.broadcast_to(steady, (k,)))),
        )


def _result(label: str, run: FunctionRun | str | CannotRunError) -> BackendResult:
    if isinstance(run, CannotRunError):
        return BackendResult(label, "", "unsupported", reason=str(run))
    if isinstance(run, str):
        return BackendResult(label, "", "failed", reason=run)
    agrees = max(run.ratios.values()) <= 1
    status = "disagrees" if not agrees else "diverged" if run.fit.stop is Stop.DIVERGED else "ok"
    return BackendResult(
        backend=label,
        device=run.device,
        status=status,
        fit=run.fit,
        gradient_ratio=max(ratio for name, ratio in run.ratios.items() if name != "descent"),
        trajectory_ratio=run.ratios["descent"],
    ).timed(run.first_call_s, run.step)


def _comparison(
    found: Described, rows: tuple[BackendResult, ...], settings: Settings, isolate: bool, notes: Sequence[str]
) -> Comparison:
    expected = found.expected
    verdict, sentence = _conclusion(found, rows)
    nonzero = np.abs(expected.descent.path[-1][expected.descent.path[-1] != 0])
    reach = float(expected.descent.path_allowed[-1] / nonzero.min(initial=np.inf))
    unsupported = [f"{row.backend} is left out: {row.reason}." for row in rows if row.status == "unsupported"]
    return Comparison(
        verdict=verdict,
        sentence=sentence,
        rows=rows,
        exact=None,
        exact_loss=None,
        spectrum=None,
        sensitivity=expected.sensitivity(in_float64=True),
        trajectory_sensitivity=reach,
        proof_steps=STEPS,
        dataset={"name": found.name, "rows": found.rows, "features": list(found.names), "target": ""},
        settings=settings,
        environment=environment(),
        isolated=isolate,
        notes=(
            *dict.fromkeys(row.fit.note for row in rows if row.fit and row.fit.note and row.status != "diverged"),
            *unsupported,
            *notes,
        ),
    )


def _conclusion(found: Described, rows: tuple[BackendResult, ...]) -> tuple[Verdict, str]:
    """Return the verdict and its sentence; the worst that can be said comes first."""
    expected = found.expected
    judged = [row for row in rows if row.gradient_ratio is not None]
    by = joined(expected.by)
    wrong = [row for row in judged if row.status == "disagrees"]
    if wrong:
        worst = max(max(row.gradient_ratio or 0.0, row.trajectory_ratio or 0.0) for row in wrong)
        verb = "disagrees" if len(wrong) == 1 else "disagree"
        text = f"{_list(wrong)} {verb}: {worst:.3g} times what rounding allows"
        hand = any(row.backend == "numpy" for row in wrong)
        check = f"gdbackends check {found.name}" if split_target(found.name) else "check_gradient"
        return "disagree", f"{text}{f'; {check} may name the mistake' if hand else ''}."
    failed = [row for row in rows if row.status == "failed"]
    if failed or not judged:
        reasons = " ".join(f"{row.backend} gave no answer: {row.reason}." for row in failed)
        return "inconclusive", reasons or "No backend can run the loss."
    diverged = [row for row in judged if row.status == "diverged"]
    if diverged:
        message = diverged[0].fit.message if diverged[0].fit else ""
        return "diverged", f"{_list(diverged)} diverged. {message}"
    seen = expected.sensitivity(in_float64=True)
    if not seen <= VISIBLE:
        return "inconclusive", f"{_list(judged)} do not disagree, but rounding hides relative errors below {seen:.0e}."
    if len(judged) == 1 and [row.backend for row in judged] == list(expected.by):
        return "inconclusive", f"{by} was compared with nothing: there is no other backend. Install another."
    gradients = max(row.gradient_ratio or 0.0 for row in judged)
    paths = max(row.trajectory_ratio or 0.0 for row in judged)
    return "agree", (
        f"{_list(judged)} agree with autodiff by {by} in float64: gradients differ by at most {gradients:.1g} of what "
        f"rounding allows ({expected.bound} bound), parameters over {STEPS} steps by at most {paths:.1g} of it. A "
        f"relative error of {expected.sensitivity():.0e} in any component of a gradient would have been detected."
    )


def _list(rows: Sequence[BackendResult]) -> str:
    return joined([row.backend for row in rows])
