"""The result of compare(): Comparison, its settings, and the result of each backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal, TypeAlias

from gdbackends.descent import Fit, ProblemOptions
from gdbackends.descent.rates import LearningRate
from gdbackends.descent.spectrum import Spectrum
from gdbackends.measurement.formatting import jsonable
from gdbackends.measurement.statistics import Estimate
from gdbackends.objectives import Array, FunctionObjective, LinearModel, format_loss

Verdict: TypeAlias = Literal["agree", "disagree", "inconclusive", "diverged"]
Status: TypeAlias = Literal["ok", "disagrees", "diverged", "failed", "unsupported"]


@dataclass(frozen=True)
class Settings:
    """The settings of the fits: arguments of `fit` and `get_backend`; NumPy ignores `device`."""

    device: str | None = None
    dtype: str = "float64"
    tuning: str = "best"
    objective: LinearModel | FunctionObjective = field(default_factory=LinearModel)
    learning_rate: LearningRate = "auto"
    steps: int = 1000
    batch_size: int | None = None
    standardize: bool = True
    tolerance: float | None = None
    seed: int = 0
    theta0: Any = None

    @property
    def problem_options(self) -> ProblemOptions:
        """The options of `prepare`."""
        return ProblemOptions(self.batch_size, self.standardize, self.seed)


@dataclass(frozen=True, eq=False)
class BackendResult:
    """The result of one backend.

    Attributes:
        backend: its name.
        device: where it ran.
        status: "ok"; "disagrees" with most of the others; "diverged"; "failed": it gave no answer; "unsupported": it
            cannot run the loss.
        fit: the fit; None if there is none.
        gradient_ratio: the largest difference of its gradients (and losses) from those of any other backend, over what
            rounding allows; at most 1 is agreement.
        trajectory_ratio: the same for its trajectory; None if there is no other backend.
        first_call_s: seconds of the first descent of one step, including compilation; None unless the status is ok.
        step_s: seconds that one more step takes; None unless the status is ok.
        step_low_s: the lower end of its 99 % interval, 0 if unknown; None unless the status is ok. The interval is over
            the rounds of one process and does not cover the differences between processes, which `gdbackends bench`
            measures.
        step_high_s: the upper end, infinite if unknown; None unless the status is ok.
        reason: why it failed or is unsupported; "" unless it did or is.
        processes: the number of processes among which the rows were divided.
    """

    backend: str
    device: str
    status: Status
    fit: Fit | None = None
    gradient_ratio: float | None = None
    trajectory_ratio: float | None = None
    first_call_s: float | None = None
    step_s: float | None = None
    step_low_s: float | None = None
    step_high_s: float | None = None
    reason: str = ""
    processes: int = 1

    @property
    def step_spread(self) -> float:
        """The half width of the interval of `step_s`, relative to it; infinite if unknown."""
        if self.step_s is None or self.step_low_s is None or self.step_high_s is None:
            return inf
        return Estimate(self.step_s, self.step_low_s, self.step_high_s).spread

    def timed(self, first_call_s: float, step: Estimate) -> BackendResult:
        """Return the result with its times if the status is ok, otherwise as it is."""
        if self.status != "ok":
            return self
        return replace(self, first_call_s=first_call_s, step_s=step.value, step_low_s=step.low, step_high_s=step.high)

    def to_dict(self, features: Sequence[str], dtype: str) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return {
            "backend": self.backend,
            "device": self.device,
            "processes": self.processes,
            "dtype": dtype,
            "status": self.status,
            **({"reason": self.reason} if self.reason else {}),
            **(self.fit.to_dict(features) if self.fit else {}),
            "gradient_ratio": self.gradient_ratio,
            "trajectory_ratio": self.trajectory_ratio,
            "first_call_s": self.first_call_s,
            "step_s": self.step_s,
            "step_low_s": self.step_low_s if self.step_spread < inf else None,
            "step_high_s": self.step_high_s if self.step_spread < inf else None,
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """The fits side by side.

    Attributes:
        verdict: "agree", "disagree", "inconclusive" or "diverged".
        sentence: the verdict in words, with its figures.
        rows: the results, one for each backend.
        exact: theta (d + 1,) of least squares, computed without descending, in the data's own units; None for other
            losses.
        exact_loss: the cost there.
        spectrum: the spectrum of the Hessian, or of a bound on it for losses other than squared errors; None if there
            is none.
        sensitivity: the smallest relative error of a component of the gradient that would be detected, in float64.
        trajectory_sensitivity: the smallest relative difference of a parameter that would be detected.
        proof_steps: the number of fixed steps of the trajectories.
        dataset: the name, target, features and number of rows of the data.
        settings: the settings.
        environment: versions, processor, cores.
        isolated: whether every backend ran in its own process; in one process they slow each other down.
        labels: the labels that 0 and 1 of the target stand for, if it holds two labels.
        notes: further remarks.
        finished: whether the fits that agree ended near the exact answer, as far as it is known.
        load: the load average of the machine when the comparison began; None if it was not read.
    """

    verdict: Verdict
    sentence: str
    rows: tuple[BackendResult, ...]
    exact: Array | None
    exact_loss: float | None
    spectrum: Spectrum | None
    sensitivity: float
    trajectory_sensitivity: float | None
    proof_steps: int
    dataset: dict[str, Any]
    settings: Settings
    environment: dict[str, str | int | None]
    isolated: bool
    labels: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    finished: bool = True
    load: float | None = None

    def __str__(self) -> str:
        """Return the verdict in words."""
        return " ".join((self.sentence, *self.notes))

    def to_dict(self) -> dict[str, Any]:
        """Return the document of `gdbackends compare --json`, schema 1; non-finite numbers are None."""
        features, ends = self.dataset["features"], self.spectrum
        used = next((row.fit.learning_rate for row in self.rows if row.fit), None)
        document = {
            "schema": 1,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "finished": self.finished,
            "notes": list(self.notes),
            "dataset": self.dataset,
            "labels": None if self.labels is None else list(self.labels),
            "settings": _settings(self),
            "environment": self.environment,
            "load": self.load,
            "isolated": self.isolated,
            "rates": {"used": used}
            | ({"best": ends.best_rate, "largest_stable": ends.largest_stable_rate} if ends else {}),
            "exact": None
            if self.exact is None
            else {
                "coefficients": dict(zip(features, self.exact[:-1].tolist(), strict=True)),
                "intercept": float(self.exact[-1]),
                "loss": self.exact_loss,
            },
            "sensitivity": {"gradient": self.sensitivity, "trajectory": self.trajectory_sensitivity},
            "proof_steps": self.proof_steps,
            "backends": [row.to_dict(features, self.settings.dtype) for row in self.rows],
        }
        return jsonable(document)


def _settings(comparison: Comparison) -> dict[str, Any]:
    given = vars(comparison.settings) | {"objective": _objective(comparison)}
    return {name: value for name, value in given.items() if name != "theta0"}


def _objective(comparison: Comparison) -> dict[str, Any]:
    objective = comparison.settings.objective
    if isinstance(objective, FunctionObjective):
        return {"function": comparison.dataset["name"]}
    return {"row_loss": format_loss(objective.row_loss), "convention": objective.convention, "l2": objective.l2}
