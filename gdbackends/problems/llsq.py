"""Least-squares fit of a polynomial to a sign function, as in the benchmark "llsq" of gradbench.

Sources: https://github.com/gradbench/gradbench/tree/main/evals/llsq, and the benchmark llsq_obj of cmpad,
https://cmpad.readthedocs.io/llsq_obj.html. The n points t_i are equally spaced from -1 to 1, the targets s_i are their
signs, and theta (p,) holds the coefficients:

    loss(theta) = 1/2 sum_i (s_i - sum_j theta_j t_i^j)^2
"""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from gdbackends.objectives import Array


def loss(theta: Array, t: Array, s: Array) -> Array:
    """Return half the sum of the squared residuals."""
    r = residuals(theta, t, s)
    return 0.5 * (r @ r)


def residuals(theta: Array, t: Array, s: Array) -> Array:
    """Return s_i - sum_j theta_j t_i^j, (n,)."""
    return s - powers(t, theta.shape[0]) @ theta


def gradient(theta: Array, t: Array, s: Array) -> Array:
    """Return the derivative -T' r, (p,); T (n, p) holds the powers of t, and r (n,) the residuals."""
    T = powers(t, theta.shape[0])
    return (T @ theta - s) @ T


def theta(rows: int, features: int, seed: int) -> Array:
    """Return the start (features,), uniform in [0, 1) as in gradbench."""
    return np.random.default_rng(seed).uniform(size=features)


def data(rows: int, features: int, seed: int) -> tuple[Array, ...]:
    """Return the points t_i = -1 + 2 i / (n - 1) and their signs, both (rows,); one point is 0. Nothing is random."""
    t = (2.0 * np.arange(rows) - (rows - 1)) / max(rows - 1, 1)
    return t, np.sign(t)


def powers(t: Array, count: int) -> Array:
    """Return t_i^j for j from 0 to count - 1, (n, count).

    The number of columns is doubled with the next power of t, so t^j has about log2(j) roundings, and no loop is over
    the rows or the columns.
    """
    xp = array_namespace(t)
    power = t[:, None]
    columns = xp.ones_like(power)
    while columns.shape[1] < count:
        columns = xp.concat([columns, columns * power], axis=1)
        power = power * power
    return columns[:, :count]
