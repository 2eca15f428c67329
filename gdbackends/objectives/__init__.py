"""The mathematics, written once: row losses beside their derivatives, and the linear model that carries them.

Shapes, for the whole package: X is (n, d), n rows and d features; y is (n,); theta is flat, (d + 1,), the
weights w first and the intercept b last. Arrays may be of any library of the Python array API standard.
"""

from gdbackends.objectives.glm_losses import Logistic, Poisson
from gdbackends.objectives.linear import Array, Convention, LinearModel, LinearRegression, Objective
from gdbackends.objectives.names import row_loss, spelled
from gdbackends.objectives.row_losses import (
    AbsoluteError,
    Huber,
    Quantile,
    RowLoss,
    SquaredError,
)

__all__ = [
    "AbsoluteError",
    "Array",
    "Convention",
    "Huber",
    "LinearModel",
    "LinearRegression",
    "Logistic",
    "Objective",
    "Poisson",
    "Quantile",
    "RowLoss",
    "SquaredError",
    "row_loss",
    "spelled",
]
