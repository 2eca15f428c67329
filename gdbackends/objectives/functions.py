"""An objective from functions: a loss, and its gradient by hand if there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives.linear import Objective
from gdbackends.objectives.row_losses import Array


class NoGradientError(InputError):
    """There is no gradient by hand, which NumPy would need."""


@dataclass(frozen=True, eq=False)
class FunctionObjective:
    """A loss function as an objective.

    Attributes:
        function: loss(theta, *data) -> scalar, written with operators and functions of theta's own array namespace.
        hand: gradient(theta, *data), derived by hand, of theta's shape; None if there is none.
        both: whether `function` returns (loss, gradient).
    """

    function: Callable[..., Any]
    hand: Callable[..., Any] | None = None
    both: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be called."""
        if not callable(self.function) or not (self.hand is None or callable(self.hand)):
            raise InputTypeError(f"a loss and its gradient must be functions, got {self.function!r} and {self.hand!r}")

    def loss(self, theta: Array, *data: Array) -> Array:
        """Return the scalar cost at theta."""
        return self.function(theta, *data)[0] if self.both else self.function(theta, *data)

    def gradient(self, theta: Array, *data: Array) -> Array:
        """Return the derivative of the cost, by hand.

        Raises:
            NoGradientError: there is none.
        """
        if self.both:
            return self.function(theta, *data)[1]
        if self.hand is None:
            raise NoGradientError("the loss has no gradient by hand, which NumPy needs; use jax or torch, or add it")
        return self.hand(theta, *data)

    def value_and_grad(self, theta: Array, *data: Array) -> tuple[Array, Array]:
        """Return the cost and its gradient, by one call if the function returns both."""
        if self.both:
            return self.function(theta, *data)
        return self.loss(theta, *data), self.gradient(theta, *data)


def as_objective(given: Any) -> Any:
    """Return an objective: the object itself if it is one; a loss, or an object with a loss alone, as one."""
    if isinstance(given, (type, Objective)):
        return given
    loss = getattr(given, "loss", None)
    if callable(loss):
        return FunctionObjective(loss)
    return FunctionObjective(given) if callable(given) else given
