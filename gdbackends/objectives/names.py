"""The bundled row losses by name, as text: "huber:1.5" and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from gdbackends.errors import InputError
from gdbackends.objectives.glm_losses import Logistic, Poisson
from gdbackends.objectives.row_losses import (
    AbsoluteError,
    Huber,
    Quantile,
    RowLoss,
    SquaredError,
)

_NAMES: dict[str, Any] = {
    "squared": SquaredError,
    "absolute": AbsoluteError,
    "huber": Huber,
    "logistic": Logistic,
    "quantile": Quantile,
    "poisson": Poisson,
}


def row_loss(text: str) -> RowLoss:
    """Return the loss of that spelling: "squared", "absolute", "huber:1.5", "logistic", "quantile:0.9", "poisson".

    >>> row_loss("huber:1.5").delta
    1.5
    """
    name, colon, parameter = text.partition(":")
    if name not in _NAMES:
        raise InputError(f"the loss must be one of {', '.join(_NAMES)}, got {text!r}")
    if not colon:
        return _NAMES[name]()
    if name not in ("huber", "quantile"):
        raise InputError(f"the {name} loss takes no parameter, got {text!r}; write {name}")
    try:
        return _NAMES[name](float(parameter))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the {name} loss takes a number, got {text!r}; write {name}:0.5") from None


def spelled(loss: RowLoss) -> str:
    """Return the spelling of a bundled loss, the repr of any other."""
    name = next((name for name, kind in _NAMES.items() if type(loss) is kind), None)
    bundled: Any = loss
    return (
        repr(loss)
        if name is None
        else ":".join([name, *(str(getattr(loss, f.name)) for f in fields(bundled) if f.init)])
    )
