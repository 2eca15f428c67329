"""Schedules: their values are in the docstrings; here their ends."""

from __future__ import annotations

from gdbackends.schedules import constant, cosine, exponential, inverse_time


def test_ends() -> None:
    assert {constant(0.5)(step) for step in (0, 7, 10**6)} == {0.5}
    assert cosine(1.0, 10)(10) == cosine(1.0, 10)(99) == 0.0
    for schedule in (inverse_time(0.3, 0.1), exponential(0.3, 0.9), cosine(0.3, 10)):
        assert schedule(0) == 0.3
        assert schedule(5) > schedule(9) > 0
