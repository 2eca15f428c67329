"""Student's t in closed form, and intervals of times, ratios and changes from launches of a process.

Processes differ more than the calls within one (memory layout, state of the machine), so the unit is the launch: its
median call on a logarithmic scale, since times are bounded below and noise is a factor. With five or ten launches the
interval of Student's t on their mean has its nominal coverage, without random numbers. For ratios this holds even if
one launch in ten is slowed; for a time alone 93 % of such 99 % intervals hold, with ten launches. Source: Kalibera and
Jones, Rigorous Benchmarking in Reasonable Time, ISMM 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import atan2, ceil, cos, exp, fsum, inf, log, pi, sin, sqrt
from statistics import NormalDist, fmean, median, variance

CONFIDENCE = 0.99
MIN_LAUNCHES = 4
"""The fewest launches from which anything about a time or a ratio is concluded."""


@dataclass(frozen=True)
class Estimate:
    """A positive quantity, the ends of its 99 % interval, and the p-value of the hypothesis that it is 1."""

    value: float
    low: float
    high: float
    p: float = 1.0

    @property
    def spread(self) -> float:
        """The half width of the interval, relative to the value; infinite if there is no interval."""
        return sqrt(self.high / self.low) - 1 if self.low > 0 and self.high < inf else inf

    def differs(self, margin: float = 0.05) -> bool:
        """Return whether the interval of a ratio is outside [1 - margin, 1 + margin]."""
        return self.high < 1 - margin or self.low > 1 + margin


def estimate(logs: Sequence[float], error: float | None = None, freedom: int | None = None) -> Estimate:
    """Return exp of the mean of logarithms, with its interval, which is unbounded for a single one.

    Args:
        logs: the logarithms, one for each launch.
        error: the standard error of their mean; None means from their variance.
        freedom: its degrees of freedom; None means one less than the number of logarithms.
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
    """Return the median of repeated times with its 99 % interval between order statistics, for any distribution.

    With fewer than eight times no order statistics reach 99 %, and the interval is Student's on their logarithms; with
    fewer than three it is unknown, from 0 to infinity.
    """
    ordered, count = sorted(values), len(values)
    if count < 3:
        return Estimate(median(ordered), 0.0, inf)
    if count < 8:
        around = estimate([log(value) for value in ordered])
        return replace(around, value=min(max(median(ordered), around.low), around.high))
    reach = ceil(NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * sqrt(count) / 2)
    low = max(0, count // 2 - reach)
    return Estimate(median(ordered), ordered[low], ordered[count - 1 - low])


def change(old: Sequence[float], new: Sequence[float]) -> Estimate:
    """Return new / old for launches that were not paired (Welch, with the degrees of freedom rounded down)."""
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
    """Return the t that |T| exceeds with probability 1 - confidence, by bisection.

    >>> round(quantile(0.99, 9), 3)
    3.25
    """
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if two_sided(middle, freedom) < 1 - confidence else (middle, high)
    return high
