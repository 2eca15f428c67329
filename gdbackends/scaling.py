"""Standardised features, and the way back to the data's own units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gdbackends.objectives import Array


@dataclass(frozen=True)
class Scaling:
    """The change of variables x -> (x - center) / spread, feature by feature.

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
        """Return theta (..., d + 1) of the scaled features as theta of the data: the predictions are the same."""
        weights = theta[..., :-1] / self.spread
        return np.concatenate((weights, theta[..., -1:] - (weights @ self.center)[..., None]), axis=-1)

    def from_data_units(self, theta: Array) -> Array:
        """Return theta (d + 1,) of the data as theta of the scaled features."""
        return np.append(theta[:-1] * self.spread, theta[-1] + theta[:-1] @ self.center)


def standardization(X: Array) -> Scaling:
    """Return the scaling to mean 0 and standard deviation 1; a constant column is centred, not scaled.

    Constant is judged by the values: the computed deviation of a constant column may be a rounding error.
    """
    constant = X.min(0) == X.max(0)
    center = X.mean(0)
    center[constant] = X[0, constant]
    largest = np.abs(X - center).max(0)
    largest[constant] = 1.0
    spread = largest * np.sqrt(np.square((X - center) / largest).mean(0))  # no square overflows
    spread[constant] = 1.0
    return Scaling(center, spread)


def identity(features: int) -> Scaling:
    """Return the scaling that changes nothing."""
    return Scaling(np.zeros(features), np.ones(features))
