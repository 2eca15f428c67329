"""The law of the row-weighted mean, over every partition of the rows."""

from __future__ import annotations

import numpy as np
import pytest

from gdbackends import LinearRegression
from gdbackends.blocks import add_up, block_rows, over_blocks, spans


@pytest.mark.parametrize("convention", ["mean", "half", "sum"])
@pytest.mark.parametrize("block", [1, 3, 7, 10, 39, 40])
def test_blocks_give_what_the_whole_gives(table, convention, block) -> None:
    X, y = table
    objective, theta = LinearRegression(convention, l2=0.3).prepare_rows(len(y), ones=False), np.arange(4.0)

    def part(start: int, size: int) -> tuple:
        return objective.value_and_grad(theta, X[start : start + size], y[start : start + size])

    value, gradient = over_blocks(part, len(y), block, add_up)
    loss, exact = objective.value_and_grad(theta, X, y)
    assert value == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(gradient, exact, rtol=1e-12)


def test_a_short_block_weighs_less() -> None:
    """The mistake that the law prevents: the mean of the blocks' means is 3, not 2."""
    rows = np.array([0.0, 1.0, 5.0])
    (mean,) = over_blocks(lambda start, size: (rows[start : start + size].mean(),), 3, 2, add_up)
    assert mean == pytest.approx(2.0)


def test_spans_cover_every_row_once() -> None:
    assert list(spans(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(spans(6, 3)) == [slice(0, 3), slice(3, 6)]
    assert block_rows(10**9) == 1
