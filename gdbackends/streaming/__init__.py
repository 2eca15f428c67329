"""Data larger than memory: rows that lie in a file and are read block by block, ahead of what computes with them.

`Rows` stands for X and its `Targets` for y: they have a shape, and no numbers until a block is asked for. `over_rows`
is the law of the row-weighted mean over them or over arrays. A few blocks are in memory, whatever the file's size.
"""

from gdbackends.streaming.mapped import STREAMED, mapped_rows, npy_source
from gdbackends.streaming.parquet import ParquetSource, parquet_source
from gdbackends.streaming.rows import Rows, RowSource, Targets, over_rows, row_blocks
from gdbackends.streaming.summary import Summary, labels_of, quantile_of, summarised

__all__ = [
    "STREAMED",
    "ParquetSource",
    "RowSource",
    "Rows",
    "Summary",
    "Targets",
    "labels_of",
    "mapped_rows",
    "npy_source",
    "over_rows",
    "parquet_source",
    "quantile_of",
    "row_blocks",
    "summarised",
]
