"""fit(): gradient descent, written once; every backend makes the same steps over the same rows at the same rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gdbackends.backends import Backend, get_backend
from gdbackends.descent.checkpoint import Checkpoint, Progress, open_checkpoint
from gdbackends.descent.chunks import Chunk, RowOrder, chunks
from gdbackends.descent.problem import Problem, ProblemOptions, TableProblem, prepare
from gdbackends.descent.rates import LearningRate, Rates, learning_rates
from gdbackends.descent.result import Check, Fit, Stop
from gdbackends.descent.stopping import advice, check_outputs, checked_tolerance, largest_loss, norm, stop_reason
from gdbackends.errors import InputError
from gdbackends.objectives import Array, LinearModel, Objective
from gdbackends.ranks import Ranks, check_same, checked_ranks, take_rows


def fit(
    X: Any,
    y: Any,
    *,
    backend: str | Backend,
    objective: Objective = LinearModel(),  # noqa: B008 - frozen
    learning_rate: LearningRate = "auto",
    steps: int = 1000,
    batch_size: int | None = None,
    standardize: bool = True,
    tolerance: float | None = None,
    seed: int = 0,
    theta0: Any = None,
    record_path: bool = False,
    on_check: Callable[[Check], None] | None = None,
    ranks: Ranks | None = None,
    checkpoint: str | Path | None = None,
    every: float = 30.0,
    resume: bool = False,
) -> Fit:
    """Fit theta by gradient descent.

    Args:
        X: (n, d), features.
        y: (n,), target.
        backend: a Backend, or the name of one (on the CPU, in float64).
        objective: what to minimise, a function of theta (d + 1,): an Objective, or a loss(theta, X, y) alone, which
            NumPy cannot differentiate.
        learning_rate: a number; a schedule, which is any function of the step (see gdbackends.schedules); or "auto".
            For all rows, "auto" is the constant that leaves the least cost after `steps` steps; for batches, a rate
            that is stable for every batch and decays as inverse time. For an objective that is no linear model it is
            1 / (2 L), where L is the curvature at the start, estimated.
        steps: maximum number of steps.
        batch_size: rows per step; None means all, 1 is stochastic. Every epoch visits all rows once, in an order drawn
            from `seed` that is the same on every backend; the last batch of an epoch may be short.
        standardize: whether to descend in features of mean 0 and standard deviation 1 (a constant feature is only
            centred); the penalty then applies to their coefficients. theta is returned in the data's own units. An
            objective that is not a function of X w + b needs False.
        tolerance: stop when the norm of the gradient over all rows, measured as if the features were standardised,
            has fallen to this fraction of its first value; None means 1e-12 (1e-5 in float32), and 0 makes all steps.
            It is checked after 1, 2, 4, 8, ... steps (epochs for batches), at the same steps on every backend.
        seed: seed of the order of rows.
        theta0: (d + 1,), the start, in the data's own units; of any length (p,) for an objective that is no linear
            model, with standardize=False. None means 0 in the scaled coordinates and, for losses
            other than squared errors, the best constant prediction as the intercept, or nearly.
        record_path: whether to keep theta at every step.
        on_check: called with a Check at every check, including the one before the first step.
        ranks: the processes among which the rows are divided, from `gdbackends.backends.join`: X and y are the rows
            of this process, all rows are those of all processes in the order of their ranks, and every process calls
            `fit` with the same other arguments and returns the same fit.
        checkpoint: a file to write on the way and at the end, from which the fit can be resumed after the process has
            ended; it must not exist, unless `resume`. Not with record_path.
        every: seconds between two writes; they are made at checks.
        resume: whether to continue from the checkpoint; without the file, the fit starts from the beginning. Data and
            settings must be those of the file, except that `steps` may be more if the learning rate is a number.
            Backend and device may be others; on the same ones, theta and the losses have the same bits as without the
            interruption. `on_check` is called for the checks that follow.

    Raises:
        InputError: an argument cannot be used (a ValueError); InputTypeError, also a TypeError, for a wrong type.
    """
    backend = get_backend(backend) if isinstance(backend, str) else backend
    if ranks is not None:
        rate = getattr(learning_rate, "__qualname__", learning_rate)
        how = {"learning_rate": rate, "steps": steps, "tolerance": tolerance, "record_path": record_path}
        how |= {"on_check": on_check is not None, "checkpoint": checkpoint is not None, "resume": resume}
        check_same(checked_ranks(ranks), how)
    if checkpoint is not None and record_path:
        raise InputError("a checkpoint does not hold the path; leave out record_path or checkpoint")
    determining = {"objective": objective, "learning_rate": learning_rate, "steps": steps, "batch_size": batch_size}
    determining |= {"standardize": standardize, "tolerance": tolerance, "seed": seed, "theta0": theta0}
    kept = open_checkpoint(checkpoint, every, resume, backend, determining, X, y, ranks)
    options = ProblemOptions(batch_size, standardize, seed, theta0, ranks, kept.scaling if kept else None)
    problem = prepare(X, y, backend, objective, options)
    return fit_prepared(
        problem, learning_rate, steps, tolerance, record_path=record_path, on_check=on_check, checkpoint=kept
    )


def fit_prepared(
    problem: Problem,
    learning_rate: LearningRate = "auto",
    steps: int = 1000,
    tolerance: float | None = None,
    *,
    record_path: bool = False,
    on_check: Callable[[Check], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Fit a prepared problem; the arguments are those of `fit`, with an open checkpoint."""
    rates = (checkpoint.rates if checkpoint else learning_rates)(problem, learning_rate, steps)
    descended = descend(
        problem, rates, tolerance=tolerance, record_path=record_path, on_check=on_check, checkpoint=checkpoint
    )
    automatic = isinstance(learning_rate, str)
    if isinstance(problem, TableProblem):
        fitted = in_data_units(problem, descended, rates, automatic)
        return checkpoint.noted(fitted) if checkpoint else fitted
    diverged = descended.stop is Stop.DIVERGED
    return replace(descended, note=f"Try a learning rate below {float(rates[0]):.6g}." if diverged else "")


def in_data_units(problem: TableProblem, descended: Fit, rates: Rates, automatic: bool) -> Fit:
    """Return a descent of the problem as `fit` returns it: in the data's own units, and with advice."""

    def convert(theta: Array) -> Array:
        return problem.scaling.to_data_units(theta.astype(np.float64)).astype(problem.backend.dtype)

    with np.errstate(over="ignore"):
        theta = convert(descended.theta)
    note = advice(problem, descended, rates, automatic)
    if descended.stop is not Stop.DIVERGED and not np.isfinite(theta).all():
        beyond = f"In the units of the data a coefficient exceeds the range of {problem.backend.dtype}"
        note = f"{note} {beyond}; multiply its feature.".strip()
    return replace(
        descended,
        theta=theta,
        path=None if descended.path is None else convert(descended.path),
        note=note,
        plan=problem.plan,
        row_loss=problem.objective.row_loss if isinstance(problem.objective, LinearModel) else None,
        labels=problem.labels,
        names=problem.names,
    )


@dataclass(frozen=True)
class GradientStep:
    """One step of gradient descent, the same for every framework: theta - rate * gradient."""

    value_and_grad: Callable[..., tuple[Array, Array]]
    record_path: bool = False

    def __call__(self, theta: Array, x: tuple[Array, ...], *data: Array) -> tuple[Array, tuple[Array, ...]]:
        """Return the next theta, and (loss before the step,) or, if the path is recorded, (loss, theta) before it.

        x is (rate,) for all rows, or (rate, rows) for a batch, which is taken of the arrays with as many rows as the
        first.
        """
        if len(x) == 2:
            count = data[0].shape[0]
            data = tuple(take_rows(a, x[1]) if a.shape[:1] == (count,) else a for a in data)
        loss, gradient = self.value_and_grad(theta, *data)
        return theta - x[0] * gradient, (loss, theta) if self.record_path else (loss,)


def descend(
    problem: Problem,
    rates: Rates,
    *,
    tolerance: float | None = 0.0,
    record_path: bool = False,
    on_check: Callable[[Check], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Make the steps of a prepared problem, in its scaled coordinates; the arguments are those of `fit`."""
    backend, tolerance = problem.backend, checked_tolerance(problem, tolerance)
    value_and_grad, order = problem.value_and_grad, RowOrder(problem)
    done = checkpoint.progress(problem, order, len(rates)) if checkpoint else Progress()
    step = GradientStep(value_and_grad, record_path)
    theta = backend.asarray(problem.theta0 if done.theta is None else done.theta)

    def check() -> Stop | None:
        loss, gradient = (backend.to_numpy(a) for a in value_and_grad(theta, *problem.data))
        check_outputs(loss, gradient, problem.theta0)
        done.checks.append(Check(done.steps, float(loss), norm(gradient), norm(problem.standardized(gradient))))
        if on_check is not None:
            on_check(done.checks[-1])
        return stop_reason(problem, backend.to_numpy(theta), gradient, done.checks, tolerance)

    with np.errstate(all="ignore"):  # only NumPy warns when it diverges
        done.stop = done.stop if done.checks else check()
        limit = largest_loss(problem, done.checks[0].loss)
        for chunk, checked in () if done.stop else chunks(problem, rates, order, done.steps):
            theta, outputs, done.stop = _advance(problem, step, theta, chunk, limit)
            done.add(outputs)
            if (checked and (tolerance or on_check)) or done.stop is not None or done.steps == len(rates):
                reason = check()
                done.stop = done.stop or reason
            if done.stop is not None:
                break
            if checkpoint is not None and checked and done.steps < len(rates):
                checkpoint.offer(backend.to_numpy(theta), done, order)
    end = backend.to_numpy(theta)
    if checkpoint is not None:
        checkpoint.finish(end, done, order)
    return done.fit(end, float(rates[0]), record_path)


def _advance(
    problem: Problem, step: GradientStep, theta: Array, chunk: Chunk, limit: float
) -> tuple[Array, tuple[Array, ...], Stop | None]:
    """Make the steps of a chunk; if a loss exceeds the limit, only those before it."""
    after, outputs = problem.backend.repeat(step, theta, chunk, problem.data)
    sound = outputs[0] <= limit  # False for NaN
    if sound.all():
        return after, outputs, None
    count = int(np.argmin(sound))
    if count == 0:
        return theta, tuple(output[:0] for output in outputs), Stop.DIVERGED
    return *problem.backend.repeat(step, theta, tuple(x[:count] for x in chunk), problem.data), Stop.DIVERGED
