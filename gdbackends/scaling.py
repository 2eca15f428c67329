"""Standardised features, and the conversion of theta to and from the data's own units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gdbackends.objectives import Array


@dataclass(frozen=True)
class Scaling:
    """The change of variables x -> (x - center) / spread for each feature.

    Attributes:
        center: (d,) float64.
        spread: (d,) float64, positive.
    """

    center: Array
    spread: Array

    def apply(self, X: Array) -> Array:
        """Return the scaled features, a new array (n, d)."""
        return (X - self.center) / self.spread

    def to_data_units(self, theta: Array) -> Array:
        """Return theta (..., d + 1) of the scaled features as theta of the data, with the same predictions."""
        weights = theta[..., :-1] / self.spread
        shift = np.vecdot(weights, self.center)  # a matrix product may round a row otherwise than it does alone
        return np.concatenate((weights, theta[..., -1:] - shift[..., None]), axis=-1)

    def gradient(self, gradient: Array) -> Array:
        """Return a gradient (d + 1,) with respect to theta of the data as that with respect to the scaled theta."""
        return np.append((gradient[:-1] - self.center * gradient[-1]) / self.spread, gradient[-1])

    def from_data_units(self, theta: Array) -> Array:
        """Return theta (d + 1,) of the data as theta of the scaled features."""
        return np.append(theta[:-1] * self.spread, theta[-1] + theta[:-1] @ self.center)


def standardization(X: Array) -> Scaling:
    """Return the scaling to mean 0 and standard deviation 1; a constant column is only centred.

    Whether a column is constant is decided by its values, since its computed deviation may be a rounding error.
    """
    return scaling_of(X.min(0), X.max(0), X.mean(0), lambda center, largest: np.square((X - center) / largest).mean(0))


def scaling_of(low: Array, high: Array, mean: Array, squares: Callable[[Array, Array], Array]) -> Scaling:
    """Return the standardization of features with those extremes and means, (d,) each.

    Args:
        low: the minimum of each.
        high: the maximum of each.
        mean: the mean of each.
        squares: squares(center, largest) returns the mean of ((x - center) / largest)^2 of each.
    """
    constant = low == high
    center = mean.copy()
    center[constant] = low[constant]
    largest = np.maximum(high - center, center - low)
    largest[constant] = 1.0
    spread = largest * np.sqrt(squares(center, largest))  # divided by the largest, no square overflows
    spread[constant] = 1.0
    return Scaling(center, spread)


def identity(features: int) -> Scaling:
    """Return the identity."""
    return Scaling(np.zeros(features), np.ones(features))
