"""A Hessian of least squares whose term with second derivatives is missing: the true one where all residuals are 0."""

from __future__ import annotations

from typing import cast

import numpy as np

from gdbackends.gradcheck.evidence import WITHIN, Cause, Reference
from gdbackends.gradcheck.other_data import names_of_data
from gdbackends.objectives import Array
from gdbackends.rounding.limit import Values

_MOST = 400
"""Number of elements up to which an array may be the target, since each is changed twice at every point."""


def gauss_newton(reference: Reference, hand: Array) -> Cause | None:
    """Return a cause if products with a Hessian, (m, d), are those for a target that the model fits exactly."""
    difference = np.abs(hand - reference.autodiff)
    for k, array in enumerate(reference.checked.data):
        if array.dtype.kind != "f" or not 2 <= array.size <= _MOST:
            continue
        found = [_without_residuals(reference, k, theta) for theta in reference.points]
        products = [product for product in found if product is not None]
        if len(products) < len(found):
            continue
        accepted = 1e-6 * difference.max(1, keepdims=True) + WITHIN * reference.allowed
        left = float((np.abs(hand - np.array(products)) / accepted).max())
        if left <= 1:
            name = names_of_data(reference.checked)[k]
            text = (
                f"the term with the second derivatives of the residuals is missing: yours is J^T J, as in the method "
                f"of Gauss and Newton, which is right only where the model fits {name} exactly"
            )
            return Cause("missing-term", text, {"data": float(k)}, left)
    return None


def _without_residuals(reference: Reference, k: int, theta: Array) -> Array | None:
    """Return the product with the Hessian, (d,), for the target at which the loss is least; None if there is none.

    The loss must be a quadratic function of each element of the target alone. Then differences find that target.
    """
    checked = reference.checked
    array = checked.data[k]

    def data(flat: Array) -> tuple[Array, ...]:
        return (*checked.data[:k], flat.reshape(array.shape), *checked.data[k + 1 :])

    def loss(flat: Array) -> float:
        return float(np.asarray(checked.loss_for("numpy").loss(theta.copy(), *(a.copy() for a in data(flat)))))

    y = array.ravel()
    h = y.size**0.5 * (float(y.std()) or 1.0)
    try:
        here, sides = loss(y), [[loss(y + sign * h * e) for e in np.eye(y.size)] for sign in (1, -1)]
        up, down = np.array(sides)
        bend = up - 2 * here + down
        if not (bend > 1e-9 * np.abs(here)).all():
            return None
        fitted = y - h * (up - down) / (2 * bend)
        step = h * cast(Array, np.random.default_rng(0).normal(size=y.size))
        a, b = loss(fitted + step), loss(fitted - step)
    except Exception:  # any error of the loss; or it is not written for NumPy
        return None
    values = reference.run(theta[None], data(fitted)) if abs(a - b) <= 1e-9 * max(abs(a), abs(b)) else ""
    return values.gradients[0] if isinstance(values, Values) else None
