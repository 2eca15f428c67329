"""Estimate times, ratios and changes with confidence intervals from Student's t, which is computed in closed form.

Processes differ more than the calls within one process (memory layout, load), so the unit is the launch: the median of
its calls on a logarithmic scale, since times are bounded below and noise is multiplicative. With five or ten launches
a t interval on their mean has its nominal coverage without resampling. This holds for ratios even if one launch in ten
is slowed; for single times and ten launches the coverage is then 93 %. Kalibera and Jones, Rigorous Benchmarking in
Reasonable Time, ISMM 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import atan2, ceil, cos, exp, fsum, inf, log, pi, sin, sqrt
from statistics import NormalDist, fmean, median, variance

CONFIDENCE = 0.99


@dataclass(frozen=True)
class Estimate:
    """A positive quantity with its 99 % interval, and the p-value of the hypothesis that it is 1."""

    value: float
    low: float
    high: float
    p: float = 1.0

    @property
    def spread(self) -> float:
        """The half width of the interval relative to the value; infinite if there is no interval."""
        return sqrt(self.high / self.low) - 1 if self.low > 0 and self.high < inf else inf

    def differs(self, margin: float = 0.05) -> bool:
        """Return whether the interval of a ratio is outside [1 - margin, 1 + margin]."""
        return self.high < 1 - margin or self.low > 1 + margin


def estimate(logs: Sequence[float], error: float | None = None, freedom: int | None = None) -> Estimate:
    """Return exp of the mean of logarithms, with its interval, which is unbounded for a single logarithm.

    Args:
        logs: one logarithm for each launch.
        error: the standard error of their mean, or None to compute it from their variance.
        freedom: the degrees of freedom, or None for one less than the number of logarithms.
    """
    centre, freedom = fmean(logs), len(logs) - 1 if freedom is None else freedom
    if freedom < 1:
        return Estimate(exp(centre), 0.0, inf)
    if error is None:  # statistics.variance uses fractions and takes thirty times as long
        error = sqrt(fsum((log - centre) ** 2 for log in logs) / freedom / len(logs))
    reach = quantile(CONFIDENCE, freedom) * error
    p = two_sided(abs(centre) / error, freedom) if error else float(centre == 0)
    return Estimate(exp(centre), exp(centre - reach), exp(centre + reach), p)


def middle(values: Sequence[float]) -> Estimate:
    """Return the median of repeated times with its distribution-free 99 % interval between order statistics.

    Fewer than eight times have no such interval; they get a t interval on their logarithms.
    """
    ordered, count = sorted(values), len(values)
    if count < 8:
        around = estimate([log(value) for value in ordered])
        return replace(around, value=min(max(median(ordered), around.low), around.high))
    reach = ceil(NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * sqrt(count) / 2)
    low = max(0, count // 2 - reach)
    return Estimate(median(ordered), ordered[low], ordered[count - 1 - low])


def change(old: Sequence[float], new: Sequence[float]) -> Estimate:
    """Return new / old for unpaired launches, by Welch's method with the degrees of freedom rounded down."""
    parts = [variance(logs) / len(logs) if len(logs) > 1 else inf for logs in (old, new)]
    centre, total = fmean(new) - fmean(old), sum(parts)
    if not total < inf:
        return Estimate(exp(centre), 0.0, inf)
    counts = [len(logs) - 1 for logs in (old, new)]
    shares = [part * part / count for part, count in zip(parts, counts, strict=True)]
    freedom = int(total * total / sum(shares)) if total else min(counts)
    return estimate([centre], sqrt(total), max(1, freedom))


def two_sided(t: float, freedom: int) -> float:
    """Return the probability that |T| exceeds t >= 0 (Abramowitz and Stegun, 26.7.3 and 26.7.4).

    >>> round(two_sided(4.604, 4), 5)
    0.01
    """
    angle = atan2(t, sqrt(freedom))
    c, term, total = cos(angle) ** 2, 1.0, 1.0
    first = 1 if freedom % 2 else 0
    for k in range(2 + first, freedom - 1, 2):  # each term of the series follows from the previous one
        term *= (k - 1) / k * c
        total += term
    if freedom == 1:
        return 1 - 2 * angle / pi
    within = sin(angle) * total if first == 0 else 2 / pi * (angle + sin(angle) * cos(angle) * total)
    return max(0.0, 1 - within)


@cache
def quantile(confidence: float, freedom: int) -> float:
    """Return the t that |T| exceeds with probability 1 - confidence, computed by bisection.

    >>> round(quantile(0.99, 9), 3)
    3.25
    """
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if two_sided(middle, freedom) < 1 - confidence else (middle, high)
    return high
