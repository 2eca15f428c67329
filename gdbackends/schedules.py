"""Learning-rate schedules: a schedule is a function of the step, counted from 0, that returns the rate."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import TypeAlias

from gdbackends.errors import InputError

Schedule: TypeAlias = Callable[[int], float]


def constant(rate: float) -> Schedule:
    """Return the schedule rate."""
    return lambda step: rate


def inverse_time(rate: float, decay: float) -> Schedule:
    """Return the schedule rate / (1 + decay * step) (Robbins and Monro, 1951).

    >>> [inverse_time(1.0, decay=0.5)(step) for step in (0, 2, 6)]
    [1.0, 0.5, 0.25]
    """
    return lambda step: rate / (1 + decay * step)


def exponential(rate: float, decay: float) -> Schedule:
    """Return the schedule rate * decay ** step.

    >>> [exponential(1.0, decay=0.5)(step) for step in range(3)]
    [1.0, 0.5, 0.25]
    """
    return lambda step: rate * decay**step


def cosine(rate: float, steps: int) -> Schedule:
    """Return the schedule rate * (1 + cos(pi * step / steps)) / 2, and 0 from `steps` on (Loshchilov and Hutter, 2017).

    >>> [round(cosine(1.0, steps=4)(step), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    return lambda step: rate * (1 + cos(pi * min(step, steps) / steps)) / 2
