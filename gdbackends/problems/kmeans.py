"""The cost of k-means clustering, as the function "cost" of the benchmark "kmeans" of gradbench.

Sources: https://github.com/gradbench/gradbench/tree/main/evals/kmeans; L. Bottou and Y. Bengio, "Convergence properties
of the K-means algorithms", NIPS 1994, equation (1), without its factor 1/2. For points P_i and centroids theta_j:

    loss(theta) = sum_i min_j |theta_j - P_i|^2

gradbench times the cost and a Newton step; this module has the cost and its gradient.
"""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from gdbackends.errors import InputError
from gdbackends.objectives import Array


def loss(theta: Array, points: Array) -> Array:
    """Return the sum of the squared distances of the points (n, d) to the nearest of the centroids theta (k, d)."""
    xp = array_namespace(theta)
    r = points - xp.take(theta, nearest(theta, points), axis=0)
    return xp.sum(r * r)


def gradient(theta: Array, points: Array) -> Array:
    """Return the derivative, (k, d): twice the sum of theta_j - P_i over the points P_i nearest to theta_j.

    The sum over points is a product with the matrix that is 1 where centroid j is nearest to point i, and else 0.
    """
    index = nearest(theta, points)
    belongs = np.equal(index, np.arange(len(theta))[:, None]).astype(theta.dtype)
    return 2 * (belongs @ (theta[index] - points))


def theta(rows: int, features: int, seed: int, clusters: int = 5) -> Array:
    """Return the centroids (clusters, features) to start from: the last points, as in gradbench, so none is unused."""
    if clusters > rows:
        raise InputError(f"kmeans starts from {clusters} of the points, and there are {rows}; use more rows")
    (points,) = data(rows, features, seed, clusters)
    return points[-clusters:].copy()


def data(rows: int, features: int, seed: int, clusters: int = 5) -> tuple[Array, ...]:
    """Return the points (rows, features), uniform in [0, 1) as in gradbench."""
    return (np.random.default_rng(seed).uniform(size=(rows, features)),)


def nearest(theta: Array, points: Array) -> Array:
    """Return the index of the centroid nearest to each point, (n,).

    |theta_j - P_i|^2 is least where |theta_j|^2 - 2 theta_j . P_i is, whose memory is n k numbers and not n k d. Both
    are taken relative to the mean of the points, so that an offset of the points costs no digits.
    """
    xp = array_namespace(theta)
    middle = xp.mean(points, axis=0)
    centres = theta - middle
    return xp.argmin(xp.sum(centres * centres, axis=1) - 2 * ((points - middle) @ centres.T), axis=1)
