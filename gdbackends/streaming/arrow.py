# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
"""Parquet columns, read by pyarrow, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gdbackends.errors import InputError
from gdbackends.objectives import Array

_BATCH = 1 << 15
"""Rows that are decoded at once."""


def decoded(
    parquet: Any, group: int, names: tuple[str, ...], pair: tuple[str, str] | None = None
) -> Iterator[tuple[int, list[Array]]]:
    """Yield the rows of a group in batches: the index of the first row in it, and the columns as float64.

    Null is NaN. With `pair` the last column is text, which becomes 0.0, 1.0, or NaN if it is neither.
    """
    row = 0
    batches = parquet.iter_batches(_BATCH, row_groups=[group], columns=list(dict.fromkeys(names)), use_threads=False)
    for batch in batches:
        columns = [batch.column(batch.schema.get_field_index(name)) for name in names]
        texts = pair is not None and not is_numeric(columns[-1].type)
        numbers = [_numbers(column) for column in (columns[:-1] if texts else columns)]
        yield row, [*numbers, _coded(columns[-1], pair)] if texts and pair else numbers
        row += batch.num_rows


def is_numeric(kind: Any) -> bool:
    """Return whether an Arrow type is a number, a boolean, or null."""
    from pyarrow import types

    return any(
        test(kind) for test in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    )


def _numbers(column: Any) -> Array:
    """Return an Arrow array rounded to float64, with null as NaN."""
    import pyarrow as pa

    if column.type not in (pa.float64(), pa.float32()):
        column = column.cast(pa.float64(), safe=False)
    return column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)


def texts_of(column: Any) -> Any:
    """Return an Arrow array as text; dictionaries are decoded."""
    import pyarrow as pa

    return column.cast(pa.large_string())


def _coded(column: Any, pair: tuple[str, str]) -> Array:
    from pyarrow import compute

    equal: Any = getattr(compute, "equal")  # noqa: B009 - made when pyarrow is imported
    column = texts_of(column)
    is_pair = [equal(column, text).fill_null(False).to_numpy(zero_copy_only=False) for text in pair]
    return np.where(is_pair[1], 1.0, np.where(is_pair[0], 0.0, np.nan))


@contextmanager
def opened(path: str) -> Generator[Any]:
    """Open a file without reading ahead."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) as parquet:
        yield parquet


@contextmanager
def refusals(label: str) -> Generator[None]:
    """Turn the errors of pyarrow on a damaged file into one line."""
    from pyarrow.lib import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(f"{label}: cannot be read ({text}); save it again") from None
