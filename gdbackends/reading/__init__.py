"""Reading a table of numbers from a file, standard input or a data frame: read().

`sources` tells what was given; `layout`, `text` and `refusals` read CSV; `columns` the rest; `choosing` picks columns.
"""

from gdbackends.reading.reader import BUNDLED, read, read_features

__all__ = ["BUNDLED", "read", "read_features"]
