"""How far two correct evaluations of one cost, and of its gradient, may differ by rounding alone.

Standard model of rounding: fl(a op b) = (a op b)(1 + delta), |delta| <= u, sums in any order, fused
multiply-add allowed; gamma_k = k u / (1 - k u) (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
sections 2.2 and 3.1). All evaluations are of the same, already rounded, data. The bounds are computed in
float64 and widened by 1 %, which covers their own rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives import Array, LinearRegression, SquaredError

_WIDEN = 1.01
_BLOCK = 1 << 18  # elements of X whose absolute values are held at a time: 2 MB


def unit_roundoff(dtype: str) -> float:
    """Return u, half the distance from 1 to the next number: 2^-53 for "float64", 2^-24 for "float32"."""
    return float(np.finfo(dtype).eps) / 2


def gamma(k: float, u: float) -> float:
    """Return gamma_k = k u / (1 - k u), infinite where k u reaches 1 and nothing can be said."""
    return k * u / (1 - k * u) if k * u < 1 else float("inf")


@dataclass(frozen=True)
class Evaluation:
    """A cost and its gradient in float64, with how far an evaluation in the dtype asked for may lie from the truth.

    Attributes:
        loss: the cost.
        loss_bound: |computed - true| <= loss_bound.
        gradient: (d + 1,).
        gradient_bound: (d + 1,), |computed - true| <= gradient_bound in every component.
    """

    loss: float
    loss_bound: float
    gradient: Array
    gradient_bound: Array


def has_bound(objective: object) -> bool:
    """Say whether `evaluate` knows the rounding of this objective."""
    return isinstance(objective, LinearRegression) and isinstance(objective.row_loss, SquaredError)


def evaluate(
    objective: object, theta: Array, X: Array, y: Array, dtype: str, *, radius: float = 0.0, probable: bool = False
) -> Evaluation:
    """Evaluate in float64 and bound the rounding of an evaluation in `dtype`.

    With e_i = gamma_{d+2} (|X||theta|)_i + u |r_i|, how far a computed residual may lie from r_i, and K the
    Lipschitz constant of phi', the change of phi_i is at most c_i = |phi'_i| e_i + K/2 e_i^2, and

        |gradient error| <= |X|^T (K e + gamma_{n+4} (|phi'| + K e)) / divisor + the penalty's + underflow
        |loss error|     <= sum(gamma_{n+4} (phi + c) + c) / divisor           + the penalty's + underflow

    X with its column of ones. Underflow: XLA flushes subnormal numbers to zero, so the smallest normal number
    times the count of operations is added, except where a column of zeros makes the gradient exact.

    Args:
        objective: a LinearRegression of squared errors.
        theta: (d + 1,), where to evaluate.
        X: (n, d), or (n, d + 1) for an objective that holds its ones.
        y: (n,).
        dtype: "float32" or "float64".
        radius: make `gradient_bound` hold for every evaluation within this distance (2-norm) of theta.
        probable: bound what is likely, not what is possible: rounding errors of mixed sign grow as the root of their
            number, so gamma_k becomes gamma_(4 sqrt k) (Higham and Mary, SIAM J. Sci. Comput. 41 (2019), A2815).

    Raises:
        InputTypeError: the objective has no closed bound.
    """
    if not (isinstance(objective, LinearRegression) and has_bound(objective)):
        raise InputTypeError(f"no rounding bound is known for {objective!r}; use LinearRegression with squared errors")
    theta, rows, u = np.asarray(theta, np.float64), y.shape[0], unit_roundoff(dtype)
    terms = (theta.size + 1, rows + 4)
    product, total = (gamma(4 * k**0.5 if probable else k, u) for k in terms)
    row_loss, K = objective.row_loss, objective.row_loss.lipschitz
    loss = loss_bound = 0.0
    gradient, bound, column_sums = np.zeros((3, theta.size))
    for block, target in _blocks(objective, X, y):
        absolute, residual = np.abs(block), block @ theta - target
        reach = radius * np.sqrt((block * block).sum(1))
        phi, slope = row_loss.value(residual, 0.0), row_loss.derivative(residual, 0.0)
        error = product * (absolute @ (np.abs(theta) + radius)) + u * (np.abs(residual) + reach)
        steepness = np.abs(slope) + K * (reach + error)
        change = np.abs(slope) * error + K / 2 * error * error
        loss, loss_bound = loss + phi.sum(), loss_bound + (total * (phi + change) + change).sum()
        gradient += slope @ block
        bound += (K * error + total * steepness) @ absolute
        column_sums += absolute.sum(0)
    divisor, tiny = objective.divisor(rows), float(np.finfo(dtype).smallest_normal)
    underflow = tiny * max(1.0, rows / divisor) * ((2 + (4 * theta.size + 2) / rows) * column_sums + 2 * rows + 2)
    bound = bound / divisor + np.where((column_sums > 0) | (objective.l2 > 0), underflow, 0.0)
    loss, gradient, loss_bound = loss / divisor, gradient / divisor, loss_bound / divisor + float(underflow[-1])
    if objective.l2:
        weights = np.append(theta[:-1], 0.0)
        penalty = objective.l2 * float(weights @ weights)
        loss, gradient = loss + penalty, gradient + 2 * objective.l2 * weights
        bound += gamma(3, u) * 2 * objective.l2 * (np.abs(weights) + radius) + u * (np.abs(gradient) + bound)
        bound += tiny * (2 * objective.l2 + 2)
        loss_bound += (
            gamma(theta.size + 3, u) * penalty + u * (loss + loss_bound) + tiny * theta.size * (objective.l2 + 1)
        )
    return Evaluation(float(loss), _WIDEN * float(loss_bound), gradient, _WIDEN * bound)


def _blocks(objective: LinearRegression, X: Array, y: Array) -> Iterator[tuple[Array, Array]]:
    """Yield X with its ones, and y, in float64 and a few rows at a time, so that no copy of X is made."""
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise InputError(f"X (n, d) and y (n,) must have as many rows, got {X.shape} and {y.shape}")
    step = max(1, _BLOCK // X.shape[1])
    for start in range(0, X.shape[0], step):
        block = np.asarray(X[start : start + step], np.float64)
        if not objective.ones:
            block = np.concatenate((block, np.ones((block.shape[0], 1))), axis=1)
        yield block, np.asarray(y[start : start + step], np.float64)
