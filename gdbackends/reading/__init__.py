"""Read tables of numbers from files, standard input and data frames.

`read` returns a Dataset in memory; `stream` leaves the rows of an NPY or Parquet file on disk.
"""

from gdbackends.reading.dialect import TextOptions
from gdbackends.reading.reader import BUNDLED, read, read_features
from gdbackends.reading.sources import file_source
from gdbackends.reading.streamed import StreamedDataset, is_large, is_large_table, stream

__all__ = [
    "BUNDLED",
    "StreamedDataset",
    "TextOptions",
    "file_source",
    "is_large",
    "is_large_table",
    "read",
    "read_features",
    "stream",
]
