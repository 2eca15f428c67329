"""What a gradient is judged by: the frameworks' answers at several points, and how far rounding may carry two apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gdbackends.gradcheck.checked_function import Runner, Subject
from gdbackends.objectives import Array
from gdbackends.rounding.limit import Values


@dataclass(frozen=True, eq=False)
class Case:
    """What a gradient is judged by, at flat points (m, d) in float64; with a direction, what a Hessian times it is.

    `run` differentiates the loss elsewhere, and for other data.
    """

    subject: Subject
    points: Array
    voters: Mapping[str, Values]
    bounds: Values
    bound: str
    names: tuple[str, ...]
    run: Runner
    direction: Array | None = None
    dtype: str = "float64"

    @property
    def allowed(self) -> Array:
        """How far two evaluations may differ, (m, d)."""
        return 2 * self.bounds.gradients

    @property
    def right(self) -> Array:
        """The gradients by the first framework."""
        return next(iter(self.voters.values())).gradients

    def ratios(self, a: Array, b: Array) -> Array:
        """Return differences over what is allowed, NaN as infinite; equal numbers agree."""
        with np.errstate(all="ignore"):
            share = np.where(a == b, 0.0, np.abs(a - b) / self.allowed)
        return np.where(np.isnan(share), np.inf, share)

    def agree(self, a: Array, b: Array) -> bool:
        """Say whether two gradients (m, d) agree in every component at every point."""
        return bool((self.ratios(a, b) <= 1).all())

    def sensitivity(self) -> float:
        """Return the smallest relative error that would have been seen in whichever component hides it best.

        A component is seen where rounding allows least of it: the point of the least allowance need not be that of the
        largest component. One that is exactly 0 at every point can hide none.
        """
        with np.errstate(all="ignore"):
            share = self.allowed / np.abs(self.right)
            share = np.where((self.right == 0) | ~np.isfinite(share), np.inf, share).min(0)
        return float(np.where((self.right == 0).all(0), 0.0, share).max())
