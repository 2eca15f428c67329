"""How far rounding may carry a gradient that has no closed bound: an estimate by errors that are made on purpose.

A backward stable evaluation gives the exact result of inputs changed by some roundings. So every number of theta and of
the data is changed at random by 2^-30 of itself, several times, and the largest change of the gradient, scaled down to
a rounding, is what one rounding of every input may do. Sums of N terms round N times, with random signs: the root of
N. The gradient itself, N u |g|, stands for sums whose terms have one sign.

Not all evaluations are backward stable: where a tanh is saturated, 1 - tanh^2 is the rounding of tanh and nothing else,
and no change of the inputs shows it (correct gradients of a network differed by 1e14 times what was then allowed). So
the results of all operations are changed along with the inputs, by a framework that can do so (PyTorch); with JAX alone
the estimate stays one of the inputs. Whole numbers stay as they are where the loss jumps if they do not, as labels do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, cast

import numpy as np

from gdbackends.objectives import Array
from gdbackends.rounding import unit_roundoff
from gdbackends.rounding.limit import Values

_STEP = 2.0**-30
_SAMPLES = 6
SAFETY = 16.0

Rounding: TypeAlias = Callable[[float, int], AbstractContextManager[Any]]
"""rounding(step, seed): a context in which every operation errs at random by `step` of its result."""


def noise(
    evaluate: Callable[[Array, tuple[Array, ...]], Values],
    points: Array,
    data: tuple[Array, ...],
    dtype: str,
    seed: int,
    rounding: Rounding,
) -> Values:
    """Return estimated bounds (m,) and (m, d) of the rounding of losses and gradients at flat points (m, d).

    Args:
        evaluate: losses and gradients in float64, at points and for data.
        points: (m, d).
        data: the subject's.
        dtype: of the evaluations that are to be judged.
        seed: of the changes.
        rounding: of the operations that `evaluate` does.
    """
    generator = np.random.default_rng(seed)
    at, u = evaluate(points, data), unit_roundoff(dtype)

    whole = True

    def shaken(array: Array) -> Array:
        if array.dtype.kind != "f" or not (whole or bool((array % 1 != 0).any())):
            return array
        factors = cast(Array, generator.normal(size=cast("tuple[int, ...]", array.shape)))
        factors *= _STEP  # in place: the data may be large
        factors += 1
        factors *= array
        return factors

    first = evaluate(points, tuple(map(shaken, data)))
    whole = not np.abs(first.losses - at.losses).max() > 1e-3 * np.abs(at.losses).max()  # else labels, compared by ==
    losses, gradients = np.zeros_like(at.losses), np.zeros_like(at.gradients)
    for sample in range(_SAMPLES):
        with rounding(_STEP, seed + sample):
            moved = evaluate(shaken(points), tuple(map(shaken, data)))
        losses = np.fmax(losses, np.abs(moved.losses - at.losses) / _STEP)
        gradients = np.fmax(gradients, np.abs(moved.gradients - at.gradients) / _STEP)
    terms = terms_of(points, data)
    factor = SAFETY * u * max(1.0, terms**0.5)
    tiny = float(np.finfo(dtype).smallest_normal) * terms
    return Values(
        factor * (losses + np.abs(at.losses)) + tiny,
        factor * (gradients + np.abs(at.gradients)) + tiny,
    )


def terms_of(points: Array, data: tuple[Array, ...]) -> int:
    """Return how many terms a sum may have: the numbers of the largest array."""
    return max((a.size for a in (*data, points[0])), default=1)
