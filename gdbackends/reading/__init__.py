"""Reading a table of numbers from a file, standard input or a data frame: read().

`sources` tells what was given; `layout`, `text` and `refusals` read CSV; `columns` the rest; `choosing` picks columns.
`streamed` leaves the rows of NPY and Parquet in their file.
"""

from gdbackends.reading.reader import BUNDLED, read, read_features
from gdbackends.reading.streamed import StreamedDataset, is_large, stream

__all__ = ["BUNDLED", "StreamedDataset", "is_large", "read", "read_features", "stream"]
