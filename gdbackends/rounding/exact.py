"""The exact cost and gradient in rational arithmetic, without autodiff and without rounding.

Every float is an integer times a power of two, so sums of products are computed exactly with Python integers and one
power of two for each array.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from gdbackends.errors import InputTypeError
from gdbackends.objectives import Array, LinearModel


def exact_value_and_grad(objective: object, theta: Array, X: Array, y: Array) -> tuple[Fraction, tuple[Fraction, ...]]:
    """Return the exact cost and gradient of a LinearModel of squared errors.

    Args:
        objective: the objective.
        theta: (d + 1,) floats.
        X: (n, d) floats, or (n, d + 1) with the column of ones if the objective is prepared so.
        y: (n,) floats.

    Raises:
        InputTypeError: the objective is another one.
    """
    if not (isinstance(objective, LinearModel) and objective.row_loss.least_squares):
        raise InputTypeError(f"no exact reference is known for {objective!r}; use LinearModel with squared errors")
    rows = y.shape[0]
    design = objective.design(X)
    (t, t_unit), (x, x_unit), (target, y_unit) = (_integers(a) for a in (theta, design, y))
    unit = min(t_unit * x_unit, y_unit)  # both are powers of two, and so multiples of the smaller
    residual = (x @ t) * int(t_unit * x_unit / unit) - target * int(y_unit / unit)
    divisor = Fraction(objective.divisor(rows))
    loss = unit**2 * int(residual @ residual) / divisor
    slopes = [2 * unit * x_unit * int(g) / divisor for g in residual @ x]
    weights = [Fraction(float(w)) for w in theta[:-1]]
    l2 = Fraction(objective.l2)
    gradient = (*(g + 2 * l2 * w for g, w in zip(slopes, weights, strict=False)), slopes[-1])
    return loss + l2 * sum(w * w for w in weights), gradient


def _integers(array: Array) -> tuple[Array, Fraction]:
    """Return an object array of Python integers, and the power of two of which they are multiples."""
    mantissa, exponent = np.frexp(np.asarray(array, np.float64))
    whole = (mantissa * 2.0**53).astype(np.int64).astype(object)
    least = int(exponent[mantissa != 0].min(initial=0))
    shift = np.where(mantissa == 0, 0, exponent - least).astype(object)
    return whole << shift, Fraction(2) ** (least - 53)
