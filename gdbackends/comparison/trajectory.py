"""A run of fixed steps as a backend makes it, and which rows each of its steps takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gdbackends.descent import Problem, descend
from gdbackends.descent.chunks import pieces
from gdbackends.objectives import Array


@dataclass(frozen=True, eq=False)
class Run:
    """A proof run as one backend made it.

    Attributes:
        path: (k + 2, d + 1), theta before each step and at the end; and at the end of the run that kept no path.
        losses: (2, k), the cost before each step, of its rows; with the path recorded and without.
    """

    path: Array
    losses: Array


def trajectory(problem: Problem, rates: Array) -> Run:
    """Make the proof run, in the coordinates that are descended."""
    fitted, bare = descend(problem, rates, record_path=True), descend(problem, rates)
    assert fitted.path is not None
    losses = np.full((2, len(rates)), np.nan)  # of steps that were not made, which agree with nothing
    losses[0, : fitted.steps], losses[1, : bare.steps] = fitted.losses, bare.losses
    return Run(np.concatenate((fitted.path, bare.theta[None])), losses)


def rows_of_steps(problem: Problem, rates: Array) -> list[Array | None]:
    """Return the rows of each step, None for all."""
    made = [piece for piece, _ in pieces(problem, rates)]
    return [rows for piece in made for rows in (piece[1] if len(piece) == 2 else [None] * len(piece[0]))]


def batch(problem: Problem, rows: Array | None) -> tuple[Array, Array]:
    """Return X and y of a step's rows."""
    return (problem.X, problem.y) if rows is None else (problem.X[rows], problem.y[rows])
