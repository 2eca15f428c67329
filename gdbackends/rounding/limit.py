"""The quotient by which everything is judged: a difference over the largest one that rounding explains.

No tolerance can judge: at the minimum three correct float32 gradients differ by several times their own size. Two
evaluations A and B agree when |A - B| <= bound(A) + bound(B) in every component.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gdbackends.objectives import Array

VISIBLE = 1e-6
"""Relative error of a component that a float64 check must be able to detect; otherwise its verdict is inconclusive."""


@dataclass(frozen=True, eq=False)
class Values:
    """Losses (m,) and gradients (m, p) at m points, in float64, as one implementation computed them."""

    losses: Array
    gradients: Array


@dataclass(frozen=True, eq=False)
class Limit:
    """The largest difference between two evaluations that rounding explains.

    Attributes:
        allowed: array of any shape, at least 0; infinite where no bound is known, 0 where both must be equal.
    """

    allowed: Array

    def ratios(self, a: Array, b: Array) -> Array:
        """Return |a - b| / allowed elementwise: at most 1 means agreement.

        Equal numbers give 0, whatever is allowed. NaN gives infinity, so that it never agrees.
        """
        with np.errstate(all="ignore"):
            ratios = np.where(a == b, 0.0, np.abs(a - b) / self.allowed)
        return np.where(np.isnan(ratios), np.inf, ratios)

    def ratio(self, a: Array, b: Array) -> float:
        """Return the largest of the ratios."""
        return float(self.ratios(a, b).max())

    def sensitivity(self, reference: Array) -> float:
        """Return the smallest relative error that would be detected in every component.

        `allowed` and `reference` have shape (m, p). A component counts at the point where the limit is smallest
        relative to it. A limit of 0 hides no error.
        """
        with np.errstate(all="ignore"):
            relative = np.where(self.allowed == 0, 0.0, self.allowed / np.abs(reference))
        return float(np.where(np.isnan(relative), np.inf, relative).min(axis=0).max())
