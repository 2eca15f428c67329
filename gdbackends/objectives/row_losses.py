"""The losses of one row, phi(z, y), each beside its derivative phi'(z, y), found by hand.

z is the prediction, y the target, r = z - y the residual; all functions are elementwise over rows (n,). They are
spelled so that JAX and PyTorch find by autodiff what is derived here, at a kink too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from numbers import Real
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from array_api_compat import array_namespace

from gdbackends.errors import InputError

Array: TypeAlias = Any
"""An array of NumPy, JAX, PyTorch or any other library of the array API standard."""


class RowLoss(Protocol):
    """The loss of one row.

    What only some have: `jump`, that of phi' at its kink; `targets`, which checks or codes them; `mean`, of the target
    at a prediction; `constant`, the prediction that costs least, or nearly, if it is the same for all rows; `total`,
    the sum of phi over rows, and `total_and_derivative`, it and phi', where there is a faster way than one by one.
    """

    @property
    def lipschitz(self) -> float:
        """The constant K by which phi' can change: |phi'(a, y) - phi'(b, y)| <= K |a - b|; inf where there is none."""
        ...

    def value(self, z: Array, y: Array) -> Array:
        """Return phi(z, y)."""
        ...

    def derivative(self, z: Array, y: Array) -> Array:
        """Return phi'(z, y), the derivative with respect to z."""
        ...


@dataclass(frozen=True)
class SquaredError:
    """The squared error: the mean is what it estimates.

    phi = r^2. Power rule: d(r^2)/dr = 2 r^(2-1) = 2 r; and dr/dz = 1, so phi' = 2 (z - y).
    """

    lipschitz: float = field(default=2.0, init=False)

    def value(self, z: Array, y: Array) -> Array:
        """Return (z - y)^2."""
        r = z - y
        return r * r

    def total(self, z: Array, y: Array) -> Array:
        """Return the sum of (z - y)^2 over rows, as r.r: one pass, and nothing stored between."""
        r = z - y
        return r @ r

    def total_and_derivative(self, z: Array, y: Array) -> tuple[Array, Array]:
        """Return the sum of (z - y)^2 over rows, and 2 (z - y)."""
        r = z - y
        return r @ r, 2 * r

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 2 (z - y)."""
        return 2 * (z - y)


@dataclass(frozen=True)
class AbsoluteError:
    """The absolute error, which outliers sway less: the median is what it estimates.

    phi = |r|, phi' = sign(r). At r = 0 every number from -1 to 1 is a subgradient; here it is 0.
    """

    lipschitz: float = field(default=inf, init=False)
    jump: float = field(default=2.0, init=False)

    def value(self, z: Array, y: Array) -> Array:
        """Return |z - y|, as r sign(r): the derivative of abs at 0 is 1 in JAX and 0 in PyTorch, of this 0 in both."""
        r = z - y
        return r * array_namespace(r).sign(r)

    def derivative(self, z: Array, y: Array) -> Array:
        """Return the sign of z - y, 0 at 0."""
        r = z - y
        return array_namespace(r).sign(r)

    def constant(self, y: Array) -> float:
        """Return the median."""
        return float(np.median(y))


@dataclass(frozen=True)
class Huber:
    """Squared near 0, absolute beyond delta (Huber, Ann. Math. Stat. 35 (1964), 73; twice his, as r^2 is here).

    phi = r^2 where |r| <= delta, else 2 delta |r| - delta^2. phi' = 2 r, cut off at -2 delta and 2 delta.
    """

    delta: float = 1.0
    lipschitz: float = field(default=2.0, init=False)

    def __post_init__(self) -> None:
        """Refuse a delta that is no positive number."""
        _number(self, "delta", 0, inf)

    def value(self, z: Array, y: Array) -> Array:
        """Return c (2 r - c), c being r cut off at -delta and delta."""
        r = z - y
        cut = _cut(r, self.delta)
        return cut * (2 * r - cut)

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 2 r, cut off."""
        return 2 * _cut(z - y, self.delta)

    def constant(self, y: Array) -> float:
        """Return the median, which it tends to as delta falls."""
        return float(np.median(y))


@dataclass(frozen=True)
class Quantile:
    """The pinball loss: the quantile q is what it estimates (Koenker and Bassett, Econometrica 46 (1978), 33).

    phi = (1 - q) r where r > 0, else -q r. phi' = 1 - q or -q. At r = 0 all between are subgradients; here it is 0.
    """

    q: float = 0.5
    lipschitz: float = field(default=inf, init=False)
    jump: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        """Refuse a q that is no number between 0 and 1."""
        _number(self, "q", 0, 1)

    def value(self, z: Array, y: Array) -> Array:
        """Return r phi'."""
        return (z - y) * self.derivative(z, y)

    def derivative(self, z: Array, y: Array) -> Array:
        """Return 1 - q, -q or 0, by the sign of r."""
        r = z - y
        sign = array_namespace(r).sign(r)
        return sign * ((1 - 2 * self.q) * sign + 1) / 2

    def constant(self, y: Array) -> float:
        """Return the quantile."""
        return float(cast(float, np.quantile(y, self.q)))


def _cut(r: Array, delta: float) -> Array:
    """Return r cut off, by the array's method where it has one: NumPy's takes 4 us, array_api_compat's function 20."""
    return r.clip(-delta, delta) if hasattr(r, "clip") else array_namespace(r).clip(r, -delta, delta)


def _number(loss: Any, name: str, low: float, high: float) -> None:
    """Refuse a parameter that is no number between the two; make it a Python float, which keeps float32 as it is."""
    value = getattr(loss, name)
    if isinstance(value, bool) or not isinstance(value, Real) or not low < float(value) < high:
        between = f"between {low} and {high}" if high < inf else f"above {low}"
        raise InputError(f"{name} of the {type(loss).__name__} loss must be a number {between}, got {value!r}")
    object.__setattr__(loss, name, float(value))
