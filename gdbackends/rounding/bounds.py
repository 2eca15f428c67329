"""How far two correct evaluations of a cost and its gradient may differ by rounding alone.

Standard model of rounding: fl(a op b) = (a op b)(1 + delta), |delta| <= u, with sums in any order and fused
multiply-add allowed; gamma_k = k u / (1 - k u) (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
sections 2.2 and 3.1). All evaluations use the same, already rounded, data. The bounds are computed in
float64 and widened by 1 %, which covers their own rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np

from gdbackends.blocks import spans
from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives import Array, LinearModel, RowLoss
from gdbackends.streaming import over_ranks, row_blocks

_WIDEN = 1.01
_BLOCK = 1 << 18  # elements of X whose absolute values are held at once: 2 MB


def unit_roundoff(dtype: str) -> float:
    """Return u, half the distance from 1 to the next number: 2^-53 for "float64", 2^-24 for "float32"."""
    return float(np.finfo(dtype).eps) / 2


def gamma(k: float, u: float) -> float:
    """Return gamma_k = k u / (1 - k u), infinite if k u is at least 1."""
    return k * u / (1 - k * u) if k * u < 1 else float("inf")


@dataclass(frozen=True)
class Evaluation:
    """A cost and its gradient in float64, with bounds on the error of an evaluation in the requested dtype.

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
    """Return whether `evaluate` has a bound for this objective."""
    return isinstance(objective, LinearModel) and isfinite(objective.row_loss.operations)


class RowBounds(NamedTuple):
    """Bounds for each row, (n,): the errors of phi and of phi', and the largest |phi'| that may be computed."""

    value: Array
    slope: Array
    steepest: Array


def row_bounds(loss: RowLoss, z: Array, y: Array, error: Array, reach: Array, u: float) -> RowBounds:
    """Bound phi and phi' computed at a prediction within `error` of one that is within `reach` of z.

    With e = error + u |r|, K the Lipschitz constant of phi' and c u its own roundings: phi' errs by K e + c u |phi'|,
    and phi by |phi'| e + K/2 e^2 + c u phi. Where a residual is so small that its sign may be computed wrongly, phi'
    errs by its jump. `RowLoss.rounding_terms` gives what differs between the losses.
    """
    phi, slope, K, roundings, error = loss.rounding_terms(z, y, error, reach, u)
    if jump := loss.jump:
        sign_unsure = np.abs(z - y) <= error + reach
        return RowBounds(jump * error + roundings * phi, jump * sign_unsure + roundings * jump, slope + jump)
    steepest = slope + K * (reach + error)
    return RowBounds(
        slope * error + K / 2 * error * error + roundings * phi, K * error + roundings * steepest, steepest
    )


def evaluate(
    objective: object, theta: Array, X: Array, y: Array, dtype: str, *, radius: float = 0.0, probable: bool = False
) -> Evaluation:
    """Evaluate in float64 and bound the rounding of an evaluation in `dtype`.

    A prediction errs by at most gamma_{d+2} |X||theta|; with the bounds p and s of phi and phi' in a row (`row_bounds`)

        |gradient error| <= |X|^T (s + gamma_{n+4} (|phi'| + s)) / divisor + the penalty's + underflow
        |loss error|     <= sum(p + gamma_{n+4} (phi + p)) / divisor       + the penalty's + underflow

    where X includes its column of ones. Underflow: XLA flushes subnormal numbers to zero, so the smallest normal number
    times the number of operations is added, except where a column of zeros makes the gradient exact.

    Args:
        objective: a LinearModel whose row loss has a rounding bound, as the bundled ones have.
        theta: (d + 1,), the point.
        X: (n, d), or (n, d + 1) if it includes the column of ones.
        y: (n,).
        dtype: "float32" or "float64".
        radius: make `gradient_bound` hold for every evaluation within this distance (2-norm) of theta.
        probable: whether to bound the probable instead of the largest error: rounding errors of mixed sign grow as the
            square root of their number, so gamma_k becomes gamma_(4 sqrt k) (Higham and Mary, SIAM J. Sci. Comput. 41
            (2019), A2815).

    Raises:
        InputTypeError: the objective has no closed bound.
    """
    if not (isinstance(objective, LinearModel) and has_bound(objective)):
        raise InputTypeError(f"no rounding bound is known for {objective!r}; use LinearModel with a bundled loss")
    theta, rows, u = np.asarray(theta, np.float64), y.shape[0], unit_roundoff(dtype)
    terms = (theta.size + 1, rows + 4)
    product, total = (gamma(4 * k**0.5 if probable else k, u) for k in terms)
    row_loss, loss, loss_bound = objective.row_loss, 0.0, 0.0
    gradient, bound, column_sums = np.zeros((3, theta.size))
    tiny, steepness = float(np.finfo(dtype).smallest_normal), 0.0
    flushed = tiny * float((np.abs(theta) + radius + 1).sum() + 1)  # x, y and their products, if subnormal
    for block, target in _blocks(objective, X, y):
        absolute, z = np.abs(block), block @ theta
        reach = radius * np.sqrt((block * block).sum(1))
        phi, slope = row_loss.value(z, target), row_loss.derivative(z, target)
        error = product * (absolute @ (np.abs(theta) + radius)) + flushed
        at = row_bounds(row_loss, z, target, error, reach, u)
        loss, loss_bound = loss + phi.sum(), loss_bound + (at.value + total * (np.abs(phi) + at.value)).sum()
        gradient += slope @ block
        bound += (at.slope + total * at.steepest) @ absolute
        column_sums += absolute.sum(0)
        steepness += at.steepest.sum()
    sums = over_ranks(X, np.stack((gradient, bound, column_sums))).sum(0)
    gradient, bound, column_sums = sums[0], sums[1], sums[2]
    loss, loss_bound, steepness = over_ranks(X, np.array([loss, loss_bound, steepness])).sum(0)
    divisor = objective.divisor(rows)
    underflow = tiny * max(1.0, rows / divisor) * ((2 + (4 * theta.size + 2) / rows) * column_sums + 2 * rows + 2)
    underflow += tiny * steepness / divisor
    bound = bound / divisor + np.where((column_sums > 0) | (objective.l2 > 0), underflow, 0.0)
    bound[np.isnan(bound)] = np.inf  # of 0 times what overflowed
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


def _blocks(objective: LinearModel, X: Array, y: Array) -> Iterator[tuple[Array, Array]]:
    """Yield X with its ones, and y, in float64 and a few rows at a time, so that no copy of X is made."""
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise InputError(f"X (n, d) and y (n,) must have the same number of rows, got {X.shape} and {y.shape}")
    step = max(1, _BLOCK // X.shape[1])
    for whole, targets in row_blocks(X, y):
        for rows in spans(whole.shape[0], step):
            yield objective.design(np.asarray(whole[rows], np.float64)), np.asarray(targets[rows], np.float64)
