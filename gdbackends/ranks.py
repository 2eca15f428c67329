"""The processes of one fit: each holds a part of the rows, and a mean over all rows is a mean over the processes.

MPI's words are used: a rank is the number of a process, from 0. The parts are contiguous and in the order of the ranks,
and need not be equal; by the law of the row-weighted mean (`gdbackends.blocks`) a process counts by its number of rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import numpy as np

from gdbackends.blocks import Parts
from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives import Array

T = TypeVar("T")


class RelayedError(InputError):
    """An error of another process, which says it itself."""


@runtime_checkable
class Ranks(Protocol):
    """The processes that a framework's own engine connects; all of them call each method, in the same order."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """The number of processes."""
        ...

    def gathered(self, array: Array) -> Array:
        """Return the NumPy arrays of all processes, of one shape and dtype, as (size, ...), the same everywhere."""
        ...

    def mean(self, parts: Parts, share: float) -> Parts:
        """Return the sum over the processes of share times each part, in the arrays of the framework.

        All processes get the same bits.
        """
        ...

    def check(self, backend: Any) -> None:
        """Refuse a backend that this engine does not serve."""
        ...

    def sharded(self, backend: Any, share: Share) -> Any:
        """Return the backend over these processes, with `placed(X, y)`; None for the usual, which calls `mean`."""
        ...


@dataclass(frozen=True, eq=False)
class Share:
    """The part of all rows that this process holds.

    Attributes:
        ranks: the processes.
        counts: the number of rows of each process.
    """

    ranks: Ranks
    counts: tuple[int, ...]

    @property
    def rows(self) -> int:
        """The number of all rows."""
        return sum(self.counts)

    @property
    def own(self) -> int:
        """The number of rows of this process."""
        return self.counts[self.ranks.rank]

    @property
    def start(self) -> int:
        """The index of its first row among all."""
        return sum(self.counts[: self.ranks.rank])

    def mean(self, parts: Parts) -> Parts:
        """Return the row-weighted mean of the float64 parts of all processes, added in their order."""
        each = self.ranks.gathered(flat(parts))
        weighted = [each[k] * (count / self.rows) for k, count in enumerate(self.counts)]
        return split(reduce(np.add, weighted), parts)


def flat(parts: Parts) -> Array:
    """Return the numbers of NumPy arrays as one array of float64."""
    return np.concatenate([np.ravel(part) for part in parts], dtype=np.float64)


def split(numbers: Array, parts: Parts) -> Parts:
    """Return the numbers of `flat` as arrays of the shapes and dtypes of the parts."""
    ends = [0, *accumulate(np.size(part) for part in parts)]
    return tuple(
        numbers[a:b].astype(part.dtype, copy=False).reshape(part.shape)
        for part, a, b in zip(map(np.asarray, parts), ends, ends[1:], strict=False)
    )


def shared(ranks: Ranks, rows: int) -> Share:
    """Return the share of a process that holds so many rows."""
    return Share(ranks, tuple(int(count) for count in ranks.gathered(np.array(rows, np.int64))))


def own_rows(rows: int, ranks: Ranks) -> slice:
    """Return the rows of this process when so many are divided evenly."""
    return slice(rows * ranks.rank // ranks.size, rows * (ranks.rank + 1) // ranks.size)


def exchanged(ranks: Ranks, thing: Any) -> list[Any]:
    """Return what every process gave, in the order of the ranks; it must be representable in JSON."""
    text = np.frombuffer(json.dumps(thing).encode(), np.uint8)
    sizes = ranks.gathered(np.array(text.size, np.int64))
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: text.size] = text
    return [json.loads(bytes(line[: int(size)])) for line, size in zip(ranks.gathered(padded), sizes, strict=True)]


@contextmanager
def all_or_none(ranks: Ranks | None) -> Generator[None]:
    """Raise on every process if one of them raises an InputError here, so that none waits for it for ever.

    The others get a RelayedError that names the rank and repeats its message. Nothing may be exchanged inside.
    """
    failed: InputError | None = None
    try:
        yield
    except InputError as error:
        if ranks is None:
            raise
        failed = error
    if ranks is None:
        return
    said = exchanged(ranks, None if failed is None else str(failed))
    if failed is not None:
        raise failed
    for rank, message in enumerate(said):
        if message is not None:
            raise RelayedError(f"rank {rank}: {message}")


def check_same(ranks: Ranks, settings: Mapping[str, Any]) -> None:
    """Refuse processes that were given different settings.

    Raises:
        InputError: a setting differs; the message says which, and what two of the processes have.
    """
    first, *others = exchanged(ranks, {name: repr(value) for name, value in settings.items()})
    for rank, given in enumerate(others, 1):
        for name, value in given.items():
            if value != first.get(name):
                raise InputError(
                    f"all processes must have the same {name}, got {first.get(name)} on rank 0 and {value} on rank "
                    f"{rank}; give all the same"
                )


def led(ranks: Ranks | None, run: Callable[[int], Any], lead: Callable[[Callable[[int], Any]], T]) -> T | None:
    """Return lead(run) on the first process, while the others call `run` with the numbers that it chooses.

    So one process decides, by its clock, how often all of them run.
    """
    if ranks is None:
        return lead(run)
    if ranks.rank > 0:
        while (number := exchanged(ranks, None)[0]) is not None:
            run(number)
        return None

    def told(number: int) -> Any:
        exchanged(ranks, number)
        return run(number)

    result = lead(told)
    exchanged(ranks, None)
    return result


def checked_ranks(ranks: Any) -> Ranks:
    """Return ranks; refuse anything else."""
    if isinstance(ranks, type) or not isinstance(ranks, Ranks):
        raise InputTypeError(f"ranks must implement the Ranks protocol, got {ranks!r}; try join('torch')")
    return ranks


def take_rows(array: Any, rows: Array) -> Any:
    """Return these rows in the fastest way: with batches of 10 of 1,000 rows, a step takes 45 us by take, 91 by []."""
    if hasattr(array, "index_select"):
        return array.index_select(0, rows)
    return cast(Any, array).take(rows, 0) if isinstance(array, np.ndarray) else array[rows]


def divided(total: int, parts: int) -> Sequence[int]:
    """Return the sizes of so many even parts."""
    return [total * (k + 1) // parts - total * k // parts for k in range(parts)]
