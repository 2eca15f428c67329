"""How what was measured is written: a time with its unit and three digits."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """Return a time with its unit and three digits.

    >>> duration(0.00012345), duration(None)
    ('123 us', '-')
    """
    if seconds is None:
        return "-"
    scale, unit = next(((s, u) for s, u in ((1, "s"), (1e-3, "ms"), (1e-6, "us")) if seconds >= s), (1e-9, "ns"))
    return f"{seconds / scale:.3g} {unit}"
