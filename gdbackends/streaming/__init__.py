"""Data larger than memory: the rows of a file, read block by block while the previous block is processed.

`Rows` stands for X and its `Targets` for y: they have a shape, but no numbers until a block is read. `over_rows` is the
row-weighted mean over them, or over arrays. Only a few blocks are in memory, whatever the size of the file.
"""

from gdbackends.streaming.mapped import STREAMED, mapped_rows, npy_source
from gdbackends.streaming.parquet import ParquetSource, parquet_source
from gdbackends.streaming.rows import Rows, RowSource, Targets, over_ranks, over_rows, row_blocks
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
    "over_ranks",
    "over_rows",
    "parquet_source",
    "quantile_of",
    "row_blocks",
    "summarised",
]
