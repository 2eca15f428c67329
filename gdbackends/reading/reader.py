"""Read a table from a file, standard input, a bundled data set or a data frame: read()."""

from __future__ import annotations

import codecs
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from gzip import BadGzipFile
from pathlib import Path
from typing import Any

import numpy as np

from gdbackends.arrays import checked_arrays, is_framed
from gdbackends.datasets import Dataset, diabetes, women
from gdbackends.errors import InputError, InputTypeError, MissingPackageError, file_error
from gdbackends.objectives import Array
from gdbackends.preparation import NOTHING, Preparation
from gdbackends.reading.column_selection import check_names, choose_columns, row_name_columns
from gdbackends.reading.columns import (
    Columns,
    dataset_columns,
    frame_columns,
    npy_columns,
    npz_columns,
    parquet_columns,
)
from gdbackends.reading.dialect import TextOptions, detect_dialect
from gdbackends.reading.preparing import (
    Prepared,
    Steps,
    counter_note,
    prepare_features,
    prepare_table,
    row_names_note,
    row_numbers,
)
from gdbackends.reading.sources import ByteSource, file_source, stream_source
from gdbackends.reading.text import fast_columns, read_text, text_columns

BUNDLED: dict[str, Callable[[], Dataset]] = {"women": women, "diabetes": diabetes}
_FORMATS = {"npy": npy_columns, "npz": npz_columns, "parquet": parquet_columns}


def read(
    source: Any,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    delimiter: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    header: bool | None = None,
    encoding: str = "utf-8",
    labels: bool = False,
    encode: bool = False,
    missing: str | None = None,
    dates: bool = False,
) -> Dataset:
    """Read a table from a CSV (also .gz), NPY, NPZ or Parquet file, or from a data frame.

    The extension of the file gives its format. Cells of CSV may be quoted; lines that begin with # or % are comments,
    of which the last before the data may name the columns, and without a header the columns are called c1, c2, ... NPZ
    contains X and y (and optionally names), or one array. True is 1 and False is 0. Every number is rounded to the
    nearest float64. By default a first column without a name is left out, and so is a column that counts the rows from
    0 or 1 and is called like row numbers (index, id, ...); `notes` of the result says so, and what the steps did.

    Args:
        source: a path, "-" (standard input), a binary file, "women", "diabetes", or a data frame of pandas, polars or
            pyarrow.
        target: the column to predict; by default the last one.
        features: the columns to predict from; by default all others.
        drop: columns that are neither.
        delimiter: the delimiter of CSV, with " " for runs of blanks; by default detected from the first row among
            comma, semicolon, tab and blanks, or told by a first line such as sep=;.
        decimal: the decimal mark of CSV, "." or ",".
        thousands: the mark between the thousands of numbers in CSV: ",", ".", " ", "'" or "_".
        header: whether CSV has a header; by default it has one if its first row contains no number.
        encoding: the encoding of CSV, by its name in Python; any but UTF-8 is decoded in memory.
        labels: encode a target of two texts as 0 and 1, in sorted order.
        encode: make 0/1 features of the texts in a column, one for each but the first in sorted order.
        missing: "drop" leaves out rows with missing values; "mean" puts the mean of a feature in their place, and
            leaves out rows without a target; None refuses them.
        dates: make dates (ISO 8601 in CSV) the number of days since 1970-01-01.

    Raises:
        InputError: the table cannot be read; the message names the line and the column where there is one.
        MissingPackageError: a package is not installed; the message says what to run.
    """
    options, steps = TextOptions(delimiter, decimal, header, thousands, encoding), Steps(encode, missing, dates)
    _check_arguments(target, features, drop, labels)
    options.check()
    steps.check()
    pick = partial(choose_columns, target=target, features=features, drop=drop)
    name, made, target, notes = _prepared(source, pick, options, steps, labels, every=features is None)
    counters = row_numbers(made.X, made.names) if features is None and made.counted else []
    for j in counters:
        notes.append(counter_note(made.names[j]))
    names = [other for j, other in enumerate(made.names) if j not in counters]
    X = np.delete(made.X, counters, axis=1) if counters else made.X
    return Dataset(
        X,
        made.y,
        tuple(names),
        target,
        name,
        made.labels,
        made.preparation,
        (*notes, *made.notes),
        copy=False,
    )


def read_features(
    source: Any, features: Sequence[str], options: TextOptions | None = None, preparation: Preparation | None = None
) -> Array:
    """Return the named features of a table as float64 (n, d), in that order, made as the preparation says."""
    options, preparation = options or TextOptions(), preparation or NOTHING
    _check_arguments(None, list(features), (), False)
    options.check()
    with _refusals(_label(source)):
        _, table = _open(source, options)
        columns = preparation.columns(list(features))
        if not isinstance(table, ByteSource):
            check_names(table.names, columns)
            return prepare_features(table, features, preparation)
        dialect = detect_dialect(table, options)
        check_names(dialect.names, columns)
        if preparation:
            return prepare_features(
                fast_columns(table, dialect) or text_columns(table, dialect, Counter()), features, preparation
            )
        X, last, _ = read_text(table, dialect, columns[:-1], columns[-1], False, Counter())
        return np.column_stack((X, last))


def _prepared(
    source: Any,
    pick: Callable[..., tuple[list[str], str]],
    options: TextOptions,
    steps: Steps,
    labels: bool,
    every: bool,
) -> tuple[str, Prepared, str, list[str]]:
    """Return the name of the table, the arrays made of it, the name of the target, and notes.

    `pick` returns the features and the target from all names and from those that the header leaves out; `every` tells
    that the features were not chosen.
    """
    skipped = Counter[str]()
    with _refusals(_label(source)):
        name, table = _open(source, options)
        if isinstance(table, ByteSource):
            dialect = detect_dialect(table, options)
            names, unnamed = dialect.names, dialect.unnamed
            features, target = pick(names, unnamed=unnamed)
            if steps:
                columns = fast_columns(table, dialect) or text_columns(table, dialect, skipped)
                made = prepare_table(columns, features, target, labels, steps)
            else:
                made = Prepared(features, *read_text(table, dialect, features, target, labels, skipped))
        else:
            names, unnamed = table.names, table.unnamed
            features, target = pick(names, unnamed=unnamed)
            made = prepare_table(table, features, target, labels, steps)
        checked_arrays(np.empty((made.y.size, 1)) if made.X.shape[1] == 0 else made.X, made.y, copy=False)
    notes = [f"Comment lines between the rows, which are left out: {skipped['comments']:,}."] if skipped else []
    notes += map(row_names_note, row_name_columns(names, unnamed) if every else ())
    return name, made, target, notes


@contextmanager
def _refusals(label: str) -> Generator[None]:
    """Raise every error of reading as one InputError that begins with the label."""
    try:
        yield
    except InputError as error:
        raise type(error)(str(error) if isinstance(error, MissingPackageError) else f"{label}: {error}") from None
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


def _open(source: Any, options: TextOptions) -> tuple[str, ByteSource | Columns]:
    """Return the name of a table, and its columns, or its bytes as UTF-8 if it is text."""
    label = _label(source)
    if isinstance(source, str) and label in BUNDLED:
        name, table = label, dataset_columns(BUNDLED[label]())
    elif label == "data frame":
        name, table = "data", frame_columns(source)
        if table is None:
            raise InputTypeError(f"must be a data frame, got {type(source).__name__}")
    else:
        opened = _opened(source, label)
        if opened.format == "text":
            utf8 = codecs.lookup(options.encoding).name == "utf-8"
            return opened.name, opened if utf8 else opened.as_utf8(options.encoding)
        name, table = opened.name, _parsed(opened)
    if options != TextOptions():
        raise InputError("delimiter, decimal, thousands, header and encoding apply to CSV only; leave them out")
    return name, table


def _opened(source: Any, label: str) -> ByteSource:
    """Return the bytes of a file, of a stream, or of standard input."""
    if hasattr(source, "read"):
        return stream_source(source, label)
    if source != "-":
        return file_source(Path(source))
    with open(0, "rb", closefd=False) as stream:
        return stream_source(stream, label)


def _parsed(source: ByteSource) -> Columns:
    """Return the columns of a file that is not text."""
    try:
        return _FORMATS[source.format](source)
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # any error of a parser on damaged bytes
        raise InputError(f"cannot be read: {' '.join(str(error).split())[:200]}; save it again") from None


def _check_arguments(target: Any, features: Any, drop: Any, labels: Any) -> None:
    """Raise InputError if an argument has the wrong type."""
    if not (target is None or isinstance(target, str)):
        raise InputTypeError(f"target must be a name, got {target!r}")
    for name, value in (("features", features), ("drop", drop)):
        if not (value is None or isinstance(value, (list, tuple))):
            raise InputTypeError(f"{name} must be a list of names, got {value!r}")
    if not isinstance(labels, bool):
        raise InputTypeError(f"labels must be True or False, got {labels!r}")
