"""The mathematics, written once: row losses beside their derivatives, and the linear model that carries them.

Shapes, for the whole package: X is (n, d), n rows and d features; y is (n,); theta is flat, (d + 1,), the
weights w first and the intercept b last. Arrays may be of any library of the Python array API standard.
"""

from gdbackends.objectives.functions import FunctionObjective, NoGradientError, as_objective
from gdbackends.objectives.linear import Convention, LinearModel, LinearRegression, Objective
from gdbackends.objectives.row_losses import (
    AbsoluteError,
    Array,
    Huber,
    Labels,
    LogCosh,
    Logistic,
    Poisson,
    Quantile,
    RowLoss,
    SquaredError,
    format_loss,
    loss_names,
    parse_loss,
)

__all__ = [
    "AbsoluteError",
    "Array",
    "Convention",
    "FunctionObjective",
    "Huber",
    "Labels",
    "LinearModel",
    "LinearRegression",
    "LogCosh",
    "Logistic",
    "NoGradientError",
    "Objective",
    "Poisson",
    "Quantile",
    "RowLoss",
    "SquaredError",
    "as_objective",
    "format_loss",
    "loss_names",
    "parse_loss",
]
