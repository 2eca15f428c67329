"""The result of a descent: Fit, why it stopped, and the checks on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from gdbackends.arrays import checked_arrays, matrix_of, real_array, series_of
from gdbackends.errors import InputError
from gdbackends.objectives import Array, RowLoss, format_loss, parse_loss


class Stop(Enum):
    """Why a fit ended; the value is the message."""

    CONVERGED = "The gradient has fallen to the tolerance."
    FLOOR = "The gradient is within its own rounding error; further steps would move by noise."
    STEPS = "The number of steps was reached."
    DIVERGED = "The loss grew beyond 1e6 times its first value, or out of the range of numbers."


@dataclass(frozen=True)
class Check:
    """The loss over all rows after so many steps, and the 2-norm of its gradient.

    Attributes:
        step: the number of steps made.
        loss: the loss.
        gradient_norm: the norm, in the coordinates that are descended in.
        standardized_norm: the norm as if the features were standardised, by which convergence is judged.
    """

    step: int
    loss: float
    gradient_norm: float
    standardized_norm: float


@dataclass(frozen=True, eq=False)
class Fit:
    """A finished descent, in NumPy arrays of the requested dtype, in the data's own units.

    Attributes:
        theta: (d + 1,), the coefficients and, last, the intercept.
        loss: the cost at theta over all rows, of the scaled features and with the penalty.
        losses: (steps,), losses[k] is the cost before step k over the rows of step k.
        steps: the number of steps made.
        stop: why it ended.
        gradient_norm: the 2-norm of the gradient at theta, in the scaled coordinates.
        learning_rate: the rate of the first step.
        path: (steps + 1, d + 1), theta before each step and at the end, if recorded.
        note: advice, if there is any.
        plan: how the backend stored and walked through the data, such as "feature-major, 42 blocks of 9,532 rows,
            2 threads"; "" if unknown.
        row_loss: the loss of one row, which determines what is predicted; None if the objective has none.
        labels: the labels that 0 and 1 stand for, if the target holds two labels.
        names: the names of the features, if X was a data frame.
    """

    theta: Array
    loss: float
    losses: Array = field(repr=False)
    steps: int
    stop: Stop
    gradient_norm: float
    learning_rate: float
    path: Array | None = field(default=None, repr=False)
    note: str = ""
    plan: str = ""
    row_loss: RowLoss | None = None
    labels: tuple[str, str] | None = None
    names: tuple[str, ...] = ()

    @property
    def coef(self) -> Array:
        """The d coefficients."""
        return self.theta[:-1].copy()

    @property
    def intercept(self) -> float:
        """The intercept."""
        return float(self.theta[-1])

    @property
    def message(self) -> str:
        """Why it ended, and the advice."""
        return f"{self.stop.value} {self.note}".strip()

    def to_dict(self, features: Sequence[str]) -> dict[str, Any]:
        """Return the result as JSON holds it, with the coefficients by the names of the d features.

        With a name for each number of theta, as for a loss function, there is no intercept.
        """
        alone = len(features) == self.theta.size
        return {
            "dtype": str(self.theta.dtype),
            "coefficients": dict(zip(features, (self.theta if alone else self.coef).tolist(), strict=True)),
            "intercept": None if alone else self.intercept,
            "objective": None if self.row_loss is None else format_loss(self.row_loss),
            "labels": None if self.labels is None else list(self.labels),
            "loss": self.loss,
            "steps": self.steps,
            "stop": self.stop.name,
            "message": self.message,
            "learning_rate": self.learning_rate,
            "plan": self.plan,
        }

    @classmethod
    def from_dict(cls, document: Any) -> Fit:
        """Return the fit from a document of `to_dict`, which holds neither the losses nor the path.

        Raises:
            InputError: the document is not one.
        """
        try:
            dtype, loss, labels = document["dtype"], document["objective"], document["labels"]
            numbers = [*document["coefficients"].values(), document["intercept"]]
            with np.errstate(over="ignore"):
                theta = np.array([float(n) for n in numbers], {"float32": "float32", "float64": "float64"}[dtype])
            fitted = cls(
                theta=theta,
                loss=float("nan") if document["loss"] is None else float(document["loss"]),
                losses=np.zeros(0, theta.dtype),
                steps=int(document["steps"]),
                stop=Stop[document["stop"]],
                gradient_norm=float("nan"),
                learning_rate=float(document["learning_rate"]),
                row_loss=None if loss is None else parse_loss(loss),
                labels=None if labels is None else (str(labels[0]), str(labels[1])),
                names=tuple(map(str, document["coefficients"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:100]
            raise InputError(f"is not a saved fit ({text}); save one with gdbackends fit --save FILE") from None
        if not (np.isfinite(theta).all() and theta.size > 1):
            raise InputError("has coefficients that are not finite, as after divergence; fit and save again")
        return fitted

    def predict(self, X: Any) -> Array:
        """Return the predictions (n,) of a linear model, for X (n, d).

        They are X w + b; for the logistic loss the probability of label 1, for the Poisson loss the expected count.
        The columns of a data frame are found by the names of the features, in any order, if the fit has names; those
        of an array are taken as they come.

        Raises:
            InputError: X lacks a feature, or has columns that are none.
        """
        columns = series_of(X, "X") if self.names else None
        if columns is not None and len(getattr(X, "shape", ())) == 2:
            X = matrix_of(self._in_order({str(column.name): column for column in columns}), "X")
        X = real_array(X, "X")
        X, _ = checked_arrays(X, np.zeros(X.shape[:1]), copy=False)
        if X.shape[1] != self.theta.size - 1:
            raise InputError(f"X must have the {self.theta.size - 1} features of the fit, got {X.shape[1]}")
        with np.errstate(over="ignore"):
            z = X.astype(self.theta.dtype) @ self.theta[:-1] + self.theta[-1]
            return z if self.row_loss is None else self.row_loss.inverse_link(z)

    def _in_order(self, columns: Mapping[str, Any]) -> list[Any]:
        """Return the columns of the features, in their order."""
        absent = [name for name in self.names if name not in columns]
        unknown = [name for name in columns if name not in self.names]
        if absent or unknown:
            wrong = [f"no column {', '.join(map(repr, absent[:5]))}"] if absent else []
            wrong += [f"column {', '.join(map(repr, unknown[:5]))}"] if unknown else []
            expected = ", ".join(map(repr, self.names[:10]))
            raise InputError(f"X must have the columns of the fit, {expected}, got {' and '.join(wrong)}; select them")
        return [columns[name] for name in self.names]
