"""The objective of a Gaussian mixture with a Wishart prior, as in the benchmark "GMM" of ADBench.

Sources: F. Srajer, Z. Kukelova and A. Fitzgibbon, "A benchmark of selected algorithmic differentiation tools on some
problems in computer vision and machine learning", arXiv 1807.10129, section 4.1; https://github.com/microsoft/ADBench.
The weight of component k is exp(alpha_k) / sum_j exp(alpha_j), its mean mu_k, and its inverse covariance Q_k' Q_k. Q_k
is lower triangular with the diagonal exp(q_k). For n points x_i of d dimensions:

    loss = -n d/2 log(2 pi) + sum_i log sum_k exp(alpha_k + sum(q_k) - |Q_k (x_i - mu_k)|^2 / 2)
           - n log sum_k exp(alpha_k) + sum_k (gamma^2/2 |Q_k|^2 - m sum(q_k)) - K C

    C = d v (log(gamma) - log(2)/2) - log Gamma_d(v / 2), v = d + m + 1

|Q_k| is the Frobenius norm and Gamma_d the multivariate gamma function. This is ADBench's objective: the logarithm of
the likelihood minus that of the prior, which has no minimum. gradbench adds the two, which takes the same operations.
"""

from __future__ import annotations

from functools import cache
from math import lgamma, log, pi
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from gdbackends.objectives import Array
from gdbackends.problems.lse import log_sum_exp, softmax

GAMMA = 1.0
"""Precision of the Wishart prior in ADBench's inputs."""
M = 0
"""Additional degrees of freedom of the Wishart prior in ADBench's inputs."""


class Mixture(NamedTuple):
    """The parameters of a mixture of K components.

    Attributes:
        alphas: (K,), the logarithms of the weights, which need not add up to 1.
        means: (K, d).
        icf: (K, d (d + 1) / 2), the factors of the inverse covariances: of each the logarithms of the diagonal, then
            the entries below it, column by column.
    """

    alphas: Array
    means: Array
    icf: Array


def loss(theta: Mixture, x: Array, gamma: float = GAMMA, m: float = M) -> Array:
    """Return the objective for the points x (n, d); gamma and m are those of the Wishart prior."""
    xp = array_namespace(x)
    n, d = x.shape
    Q = factors(theta.icf, d)
    logs = xp.sum(theta.icf[:, :d], axis=1)
    y = Q @ (x.T - theta.means[:, :, None])  # (K, d, n)
    terms = (theta.alphas + logs)[:, None] - 0.5 * xp.sum(y * y, axis=1)  # (K, n)
    likelihood = xp.sum(log_sum_exp(terms)) - n * log_sum_exp(theta.alphas) - n * d / 2 * log(2 * pi)
    prior = 0.5 * gamma**2 * xp.sum(Q * Q) - m * xp.sum(logs)
    return likelihood + prior - theta.alphas.shape[0] * wishart_constant(d, gamma, m)


def gradient(theta: Mixture, x: Array, gamma: float = GAMMA, m: float = M) -> Mixture:
    """Return the derivative by the alphas, the means and the factors.

    With w_ik, the softmax over k of the terms in `loss`, and y_ik = Q_k (x_i - mu_k):

        by alpha_k: sum_i w_ik - n exp(alpha_k) / sum_j exp(alpha_j)
        by mu_k:    Q_k' sum_i w_ik y_ik
        by Q_k:     gamma^2 Q_k - sum_i w_ik y_ik (x_i - mu_k)'
        by q_k:     the diagonal of the derivative by Q_k, times exp(q_k), plus sum_i w_ik - m
    """
    n, d = x.shape
    Q = factors(theta.icf, d)
    centred = x.T - theta.means[:, :, None]  # (K, d, n)
    y = Q @ centred
    w = softmax((theta.alphas + theta.icf[:, :d].sum(axis=1))[:, None] - 0.5 * np.sum(y * y, axis=1))  # (K, n)
    weights = w.sum(axis=1)
    y *= w[:, None, :]
    by_Q = gamma**2 * Q - y @ centred.transpose(0, 2, 1)
    by_diagonal = np.exp(theta.icf[:, :d]) * np.diagonal(by_Q, axis1=1, axis2=2) + (weights - m)[:, None]
    columns, rows = np.triu_indices(d, 1)  # below the diagonal, column by column
    return Mixture(
        alphas=weights - n * softmax(theta.alphas),
        means=(y.sum(axis=2)[:, None, :] @ Q)[:, 0, :],
        icf=np.concatenate([by_diagonal, by_Q[:, rows, columns]], axis=1),
    )


def theta(rows: int, features: int, seed: int, clusters: int = 5) -> Mixture:
    """Return a start: means uniform in [0, 1), all else normal, as in gradbench, and the same for the same seed."""
    rng = np.random.default_rng(seed)
    rng.normal(size=(rows, features))  # the points, see `data`
    alphas = rng.normal(size=clusters)
    means = rng.uniform(size=(clusters, features))
    diagonal = rng.normal(size=(clusters, features))
    below = rng.normal(size=(clusters, features * (features - 1) // 2))
    return Mixture(alphas, means, np.concatenate([diagonal, below], axis=1))


def data(rows: int, features: int, seed: int, clusters: int = 5) -> tuple[Array, ...]:
    """Return the points (rows, features), normal as in gradbench, and the same for the same seed."""
    return (np.random.default_rng(seed).normal(size=(rows, features)),)


def factors(icf: Array, d: int) -> Array:
    """Return the lower triangular matrices Q, (K, d, d), for their entries icf (K, d (d + 1) / 2)."""
    xp = array_namespace(icf)
    entries = xp.concat([xp.exp(icf[:, :d]), icf[:, d:], xp.zeros_like(icf[:, :1])], axis=1)
    return entries[:, _places(d)].reshape((icf.shape[0], d, d))


@cache
def _places(d: int) -> Array:
    """Return for each of the d * d entries of Q, row by row, the index of its number; the last index is that of a 0."""
    places = np.full((d, d), d * (d + 1) // 2)
    np.fill_diagonal(places, np.arange(d))
    columns, rows = np.triu_indices(d, 1)
    places[rows, columns] = np.arange(d, d * (d + 1) // 2)
    return places.reshape(-1)


def wishart_constant(d: int, gamma: float, m: float) -> float:
    """Return C, the logarithm of the constant of the prior of one component, as ADBench defines it.

    log Gamma_d(a) = d (d - 1)/4 log(pi) + sum_j log Gamma(a + (1 - j)/2) for j from 1 to d.
    """
    v = d + m + 1
    log_gamma = d * (d - 1) / 4 * log(pi) + sum(lgamma(0.5 * (v + 1 - j)) for j in range(1, d + 1))
    return d * v * (log(gamma) - 0.5 * log(2)) - log_gamma
