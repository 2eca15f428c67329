"""The logarithm of a sum of exponentials, as in the benchmark "lse" of gradbench.

Source: https://github.com/gradbench/gradbench/tree/main/evals/lse. gradbench draws theta uniform in [0, 1), and so does
this module.
"""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from gdbackends.objectives import Array


def loss(theta: Array) -> Array:
    """Return log(sum_i exp(theta_i)); theta has any shape."""
    return log_sum_exp(theta.reshape(-1))


def gradient(theta: Array) -> Array:
    """Return the derivative, exp(theta_i) / sum_j exp(theta_j), of the shape of theta."""
    return softmax(theta.reshape(-1)).reshape(theta.shape)


def theta(rows: int, features: int, seed: int) -> Array:
    """Return the start (rows * features,), uniform in [0, 1)."""
    return np.random.default_rng(seed).uniform(size=rows * features)


def data(rows: int, features: int, seed: int) -> tuple[Array, ...]:
    """Return no further arguments: the loss is a function of theta alone."""
    return ()


def log_sum_exp(values: Array) -> Array:
    """Return log(sum_j exp(values_j)) over the first axis, which is removed.

    The values are shifted by their maximum a, so that no exponential overflows: a + log(sum_j exp(values_j - a)).
    Source: P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and softmax functions",
    IMA J. Numer. Anal. 41 (2021), 2311-2330.
    """
    xp = array_namespace(values)
    largest = xp.max(values, axis=0)
    return largest + xp.log(xp.sum(xp.exp(values - largest), axis=0))


def softmax(values: Array) -> Array:
    """Return exp(values_i) / sum_j exp(values_j) over the first axis, the derivative of `log_sum_exp`."""
    shifted = np.exp(values - values.max(axis=0))
    return shifted / shifted.sum(axis=0)
