"""Losses whose prediction z is not the target's mean but a function of it: the logarithm of odds, or of a count."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, log
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from gdbackends.errors import InputError
from gdbackends.objectives.row_losses import Array


@dataclass(frozen=True)
class Logistic:
    """The logistic loss of a target 0 or 1: z is the logarithm of the odds of 1.

    With the margin m = (1 - 2 y) z, negative where z is on the right side, phi = log(1 + e^m). Chain rule:
    phi' = (1 - 2 y) e^m / (1 + e^m) = (1 - 2 y) s(m), s the logistic function; s' = s (1 - s) <= 1/4.
    """

    lipschitz: float = field(default=0.25, init=False)

    def value(self, z: Array, y: Array) -> Array:
        """Return log(1 + e^m), which neither overflows nor loses digits, however large the margin."""
        margin = (1 - 2 * y) * z
        xp = array_namespace(margin)
        return xp.logaddexp(xp.zeros_like(margin), margin)

    def derivative(self, z: Array, y: Array) -> Array:
        """Return (1 - 2 y) s(m)."""
        return (1 - 2 * y) * self.mean((1 - 2 * y) * z)

    def mean(self, z: Array) -> Array:
        """Return s(z) = e^-log(1 + e^-z), the probability of 1: nothing overflows, and small ones keep their digits."""
        xp = array_namespace(z)
        return xp.exp(-xp.logaddexp(xp.zeros_like(z), -z))

    def constant(self, y: Array) -> float:
        """Return the logarithm of the odds of 1."""
        ones = float(y.sum()) / y.size
        return log(ones / (1 - ones))

    def targets(self, y: Array) -> tuple[Array, tuple[str, str]]:
        """Return 0 and 1 for the lesser and the greater of two labels (numbers or text), (n,), and the labels in words.

        Raises:
            InputError: there are not two of them.
        """
        labels = np.unique(y)
        if labels.size != 2:
            shown = ", ".join(repr(label.item()) for label in labels[:3]) + ", ..." * (labels.size > 3)
            raise InputError(
                f"the logistic loss needs a target of two labels, got {labels.size} different values ({shown}); "
                "choose the rows or the target"
            )
        return (y == labels[1]).astype(np.float64), (_label(labels[0]), _label(labels[1]))


@dataclass(frozen=True)
class Poisson:
    """The Poisson loss of a count, with a logarithmic link: z is the logarithm of the expected count.

    phi = e^z - y z, the negative log-likelihood but for log(y!). phi' = e^z - y: without a Lipschitz constant.
    """

    lipschitz: float = field(default=inf, init=False)

    def value(self, z: Array, y: Array) -> Array:
        """Return e^z - y z."""
        return array_namespace(z).exp(z) - y * z

    def derivative(self, z: Array, y: Array) -> Array:
        """Return e^z - y."""
        return array_namespace(z).exp(z) - y

    def mean(self, z: Array) -> Array:
        """Return e^z, the expected count."""
        return array_namespace(z).exp(z)

    def constant(self, y: Array) -> float:
        """Return the logarithm of the mean count."""
        return log(float(np.asarray(y).sum()) / np.asarray(y).size)

    def targets(self, y: Array) -> tuple[Array, None]:
        """Return y; refuse text, counts below 0, and zeros alone, whose logarithm has no bound."""
        if y.dtype.kind == "U":
            raise InputError(f"the Poisson loss needs counts, got {str(y.ravel()[0])!r}; use another loss")
        if (y < 0).any():
            raise InputError(f"the Poisson loss needs counts of at least 0, got {y[y < 0][0]:g}; use another loss")
        if y.size and not y.any():
            raise InputError("the Poisson loss needs a count above 0, got zeros alone; choose the rows or the target")
        return y, None


def _label(value: Any) -> str:
    return str(value.item()).removesuffix(".0") if isinstance(value, np.floating) else str(value)
