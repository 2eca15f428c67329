"""Read a table from a file, standard input, a bundled data set or a data frame: read()."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from gzip import BadGzipFile
from pathlib import Path
from typing import Any

import numpy as np

from gdbackends.arrays import checked_arrays, is_framed
from gdbackends.datasets import Dataset, diabetes, women
from gdbackends.errors import InputError, InputTypeError, file_error
from gdbackends.objectives import Array
from gdbackends.reading.column_selection import check_names, choose_columns
from gdbackends.reading.columns import (
    Columns,
    dataset_columns,
    frame_columns,
    npy_columns,
    npz_columns,
    parquet_columns,
    to_arrays,
)
from gdbackends.reading.dialect import detect_dialect
from gdbackends.reading.sources import ByteSource, file_source, stream_source
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
    """Read a table from a CSV (also .gz), NPY, NPZ or Parquet file, or from a data frame.

    The extension of the file gives its format. CSV must be UTF-8; cells may be quoted, and without a header the columns
    are called c1, c2, ... NPZ contains X and y (and optionally names), or one array. Every number is rounded to the
    nearest float64.

    Args:
        source: a path, "-" (standard input), a binary file, "women", "diabetes", or a data frame of pandas, polars or
            pyarrow.
        target: the column to predict; by default the last one.
        features: the columns to predict from; by default all others.
        delimiter: the delimiter of CSV, with " " for runs of blanks; by default detected from the first row among
            comma, semicolon, tab and blanks.
        decimal: the decimal mark of CSV, "." or ",".
        header: whether CSV has a header; by default it has one if its first row contains no number.
        labels: encode a target of two texts as 0 and 1, in sorted order.

    Raises:
        InputError: the table cannot be read; the message names the line and the column where there is one.
        MissingPackageError: a package is not installed; the message says what to run.
    """
    _check_arguments(target, features, delimiter, decimal, header, labels)
    pick = partial(choose_columns, target=target, features=features)
    name, columns, X, y, pair = _read(source, pick, (delimiter, decimal, header), labels)
    return Dataset(X, y, tuple(columns[:-1]), columns[-1], name, pair, copy=False)


def read_features(
    source: Any,
    features: Sequence[str],
    *,
    delimiter: str | None = None,
    decimal: str = ".",
    header: bool | None = None,
) -> Array:
    """Return the named columns of a table as float64 (n, d), in that order; the arguments are those of `read`."""
    _check_arguments(None, features, delimiter, decimal, header, False)

    def pick(names: Sequence[str], unnamed: Sequence[str] = ()) -> tuple[list[str], str]:
        check_names(names, features)
        return list(features[:-1]), features[-1]

    _, _, X, last, _ = _read(source, pick, (delimiter, decimal, header), False)
    return np.column_stack((X, last))


def _read(
    source: Any,
    pick: Callable[..., tuple[list[str], str]],
    csv_options: tuple[str | None, str, bool | None],
    labels: bool,
) -> tuple[str, list[str], Array, Array, tuple[str, str] | None]:
    """Return the name of the table, the names of the columns used, X (n, d), y (n,), and the labels of y.

    `pick` returns the features and the target from all names and from those that the header leaves out; `csv_options`
    are the delimiter, the decimal mark and the header.
    """
    label = _label(source)
    table = dataset_columns(BUNDLED[label]()) if isinstance(source, str) and label in BUNDLED else None
    try:
        name, table = (label, table) if table else _open(source, label)
        if isinstance(table, ByteSource):
            dialect = detect_dialect(table, *csv_options)
            features, target = pick(dialect.names, unnamed=dialect.unnamed)
            X, y, pair = read_text(table, dialect, features, target, labels)
        else:
            if csv_options != (None, ".", None):
                raise InputError("delimiter, decimal and header apply to CSV only; leave them out")
            features, target = pick(table.names)
            X, y, pair = to_arrays(table, features, target, labels)
        checked_arrays(np.empty((y.size, 1)) if X.shape[1] == 0 else X, y, copy=False)
        return name, [*features, target], X, y, pair
    except InputError as error:
        raise type(error)(f"{label}: {error}") from None
    except MemoryError:
        raise InputError(f"{label}: does not fit in memory; choose fewer features") from None
    except (BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{label}: is a damaged gzip file ({str(error).lower()}); compress it again") from None
    except OSError as error:
        raise file_error(label, "read", error, "give the path of a file") from None


def _label(source: Any) -> str:
    """Return the name of a source in errors; raise InputTypeError if its type is not supported."""
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


def _open(source: Any, label: str) -> tuple[str, ByteSource | Columns]:
    """Return the name of a table, and its columns, or its bytes if it is text."""
    if label == "data frame":
        table = frame_columns(source)
        if table is None:
            raise InputTypeError(f"must be a data frame, got {type(source).__name__}")
        return "data", table
    try:
        if hasattr(source, "read"):
            opened = stream_source(source, label)
        elif source == "-":
            with open(0, "rb", closefd=False) as stream:
                opened = stream_source(stream, label)
        else:
            opened = file_source(Path(source))
        return opened.name, opened if opened.format == "text" else _FORMATS[opened.format](opened)
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # any error of a parser on damaged bytes
        raise InputError(f"cannot be read: {' '.join(str(error).split())[:200]}; save it again") from None


def _check_arguments(target: Any, features: Any, delimiter: Any, decimal: Any, header: Any, labels: Any) -> None:
    """Raise InputError if an argument has the wrong type or value."""
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
        raise InputError(f"delimiter must be one character, such as ',', ';', '\\t' or ' ' (blanks), got {delimiter!r}")
    if delimiter == decimal:
        raise InputError(f"delimiter and decimal must differ, got {decimal!r} for both")
