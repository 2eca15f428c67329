"""read(): a table from a file, standard input, a bundled name or a data frame."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from gzip import BadGzipFile
from pathlib import Path
from typing import Any

import numpy as np

from gdbackends.arrays import checked_arrays, is_framed
from gdbackends.datasets import Dataset, diabetes, women
from gdbackends.errors import InputError, InputTypeError, file_error
from gdbackends.objectives import Array
from gdbackends.reading.column_selection import check_known, choose
from gdbackends.reading.columns import (
    Columns,
    dataset_columns,
    frame_columns,
    npy_columns,
    npz_columns,
    parquet_columns,
    take,
)
from gdbackends.reading.dialect import layout_of
from gdbackends.reading.sources import TextSource, file_source, stream_source
from gdbackends.reading.text import read_text

BUNDLED: dict[str, Callable[[], Dataset]] = {"women": women, "diabetes": diabetes}
_FORMATS = {"npy": npy_columns, "npz": npz_columns, "parquet": parquet_columns}


def read(
    source: Any,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    header: bool | None = None,
    labels: bool = False,
) -> Dataset:
    """Read a table: CSV (also .gz), NPY, NPZ or Parquet by a file's extension; or a data frame.

    CSV is UTF-8, with a header or none (its columns are then c1, c2, ...), its cells perhaps quoted. Every number
    becomes the float64 nearest to it. NPZ holds X and y (and names), or one array.

    Args:
        source: a path, "-" (standard input), a binary file, "women", "diabetes", or a data frame of pandas, polars or
            pyarrow.
        target: the target's column; the last one by default.
        features: the features' columns; all the others by default.
        delimiter: what separates the cells of CSV, " " being a run of blanks; by default told from the first row,
            among comma, semicolon, tab and blanks.
        decimal: "." or ",": the decimal mark of CSV.
        header: whether CSV has a header; by default it has one if its first row holds no number.
        labels: take a target of two texts as 0 and 1, in order.

    Raises:
        InputError: there is no such table; the text names the line and the column.
        MissingPackageError: a package is not installed; the text holds the line to type.
    """
    _check_arguments(target, features, delimiter, decimal, header, labels)

    def pick(names: Sequence[str], unnamed: Sequence[str] = ()) -> tuple[list[str], str]:
        return choose(names, target, features, unnamed)

    name, chosen, X, y, pair = _read(source, pick, (delimiter, decimal, header), labels)
    return Dataset(X, y, tuple(chosen[:-1]), chosen[-1], name, pair, copy=False)


def read_features(
    source: Any,
    features: Sequence[str],
    *,
    delimiter: str | None = None,
    decimal: str = ".",
    header: bool | None = None,
) -> Array:
    """Read the named columns of a table alone, in that order, (n, d) float64; the arguments are those of `read`."""
    _check_arguments(None, features, delimiter, decimal, header, False)

    def pick(names: Sequence[str], unnamed: Sequence[str] = ()) -> tuple[list[str], str]:
        check_known(names, features)
        return list(features[:-1]), features[-1]

    _, _, X, last, _ = _read(source, pick, (delimiter, decimal, header), False)
    return np.column_stack((X, last))


def _read(
    source: Any,
    pick: Callable[..., tuple[list[str], str]],
    marks: tuple[str | None, str, bool | None],
    labels: bool,
) -> tuple[str, list[str], Array, Array, tuple[str, str] | None]:
    """Return the table's name, the columns picked, their numbers (n, d) and (n,), and the labels of the last."""
    label = _label(source)
    table = dataset_columns(BUNDLED[label]()) if isinstance(source, str) and label in BUNDLED else None
    try:
        name, table = (label, table) if table else _opened(source, label)
        if isinstance(table, TextSource):
            layout = layout_of(table, *marks)
            features, target = pick(layout.names, layout.unnamed)
            X, y, pair = read_text(table, layout, features, target, labels)
        else:
            if marks != (None, ".", None):
                raise InputError("delimiter, decimal and header are for CSV, and this is none; leave them out")
            features, target = pick(table.names)
            X, y, pair = take(table, features, target, labels)
        checked_arrays(np.empty((y.size, 1)) if X.shape[1] == 0 else X, y, copy=False)
        return name, [*features, target], X, y, pair
    except InputError as error:
        raise type(error)(f"{label}: {error}") from None
    except MemoryError:
        raise InputError(f"{label}: needs more memory than there is; choose fewer features") from None
    except (BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{label}: is a damaged gzip file ({str(error).lower()}); compress it anew") from None
    except OSError as error:
        raise file_error(label, "read", error, "give a file") from None


def _label(source: Any) -> str:
    """Return what errors call the source; refuse what is none."""
    if isinstance(source, (str, Path)):
        return "stdin" if source == "-" else str(source)
    if hasattr(source, "read"):
        return "stream"
    if is_framed(source):
        return "data frame"
    raise InputTypeError(
        f"source must be a path, '-', {', '.join(map(repr, BUNDLED))}, a binary file or a data frame, got "
        f"{type(source).__name__}; for arrays use Dataset(X, y)"
    )


def _opened(source: Any, label: str) -> tuple[str, TextSource | Columns]:
    """Return the table's name, and its columns or, of a text table, its bytes."""
    if label == "data frame":
        table = frame_columns(source, "it")
        if table is None:
            raise InputTypeError(f"must be a whole data frame, got {type(source).__name__}")
        return "data", table
    try:
        if hasattr(source, "read"):
            found = stream_source(source, label)
        elif source == "-":
            with open(0, "rb", closefd=False) as stream:
                found = stream_source(stream, label)
        else:
            found = file_source(Path(source))
        return found.name, found if found.format == "text" else _FORMATS[found.format](found)
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever the bytes lead a parser to
        raise InputError(f"cannot be read: {' '.join(str(error).split())[:200]}; save it anew") from None


def _check_arguments(target: Any, features: Any, delimiter: Any, decimal: Any, header: Any, labels: Any) -> None:
    """Refuse arguments of the wrong type, and marks that cannot be."""
    for name, value in (("target", target), ("features", features)):
        if not (value is None or isinstance(value, str if name == "target" else (list, tuple))):
            raise InputTypeError(f"{name} must be {'a name' if name == 'target' else 'a list of names'}, got {value!r}")
    if not (header is None or isinstance(header, bool)) or not isinstance(labels, bool):
        raise InputTypeError(f"header and labels must be True or False, got {header!r} and {labels!r}")
    if decimal not in (".", ","):
        raise InputError(f"decimal must be '.' or ',', got {decimal!r}")
    if delimiter is None:
        return
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter.isalnum() or delimiter in '."+-_\r\n\0':
        raise InputError(f"delimiter must be one mark, such as ',', ';', '\\t' or ' ' (blanks), got {delimiter!r}")
    if delimiter == decimal:
        raise InputError(f"delimiter and decimal are both {decimal!r}; they must differ")
