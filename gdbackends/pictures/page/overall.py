"""The figures of all rows of the report page, with a panel for each file: agreement, memory, bandwidth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gdbackends.pictures.document import Figure
from gdbackends.pictures.page.wording import ResultFile
from gdbackends.pictures.results.encodings import Look
from gdbackends.pictures.results.panels import Spec, agreement_panel, bandwidth_panel, memory_panel
from gdbackends.pictures.results.theme import Drawn

_WHERE = " The numbers are in the table of all rows, in the columns "
HEADINGS = {
    "agreement": "Agreement and speed",
    "memory": "Peak memory",
    "device-memory": "Peak memory of the device",
    "bandwidth": "Fraction of the bandwidth",
}
"""The headings of the figures by name."""


def overall(files: Sequence[ResultFile], shown: Look) -> Iterator[Figure]:
    """Yield the figures of all rows that have data."""
    if any(row.agreement is not None for file in files for row in file.rows):
        caption = (
            "Each point is a case. The horizontal axis is the largest error over what rounding allows; left of the red "
            "line a backend agrees. The vertical axis is the speed relative to NumPy. Both axes are logarithmic. Red "
            "crosses at the bottom have no time; those at the right edge are wrong by at least a hundred times more "
            "than any timed case."
        )
        yield _figure("agreement", files, shown, agreement_panel, caption + _WHERE + "agrees and x NumPy.", "agreement")
    if any(row.peak_bytes is not None for file in files for row in file.rows):
        caption = (
            "Each point is a case: the peak memory of the process, including the framework, against the bytes of the "
            "data (logarithmic). The numbers are in the table of all rows, in the column memory."
        )
        yield _figure("memory", files, shown, memory_panel, caption, "peak_bytes")
    if any(row.device_peak_bytes is not None for file in files for row in file.rows):
        caption = (
            "Each point is a case: the peak memory of the device against the bytes of the data (logarithmic). The "
            "numbers are in the table of all rows, in the column on device."
        )
        panel = partial(memory_panel, of="device_peak_bytes")
        yield _figure("device-memory", files, shown, panel, caption, "device_peak_bytes")
    if any(row.share is not None for file in files for row in file.rows):
        caption = (
            "Each point is a case whose data exceed the last cache: the bytes that must be read over the time, as a "
            "fraction of the read bandwidth measured on this machine, against the bytes of the data (logarithmic). The "
            "numbers are in the table of all rows, in the column bandwidth."
        )
        yield _figure("bandwidth", files, shown, bandwidth_panel, caption, "share")


def _figure(
    name: str,
    files: Sequence[ResultFile],
    shown: Look,
    panel: Callable[..., Spec],
    caption: str,
    needed: str,
) -> Figure:
    several, height = len(files) > 1, {"height": 340}
    known = [file for file in files if any(getattr(row, needed) is not None for row in file.rows)]
    panels = [
        Drawn(({"title": file.name} if several else {}) | height | panel(file.rows, shown, legend=False))
        for file in known
    ]
    return Figure(name, tuple(panels), caption)
