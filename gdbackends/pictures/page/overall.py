"""The figures of all rows of the report page: agreement beside speed, memory, bandwidth; a panel a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gdbackends.pictures.document import Figure
from gdbackends.pictures.page.wording import ResultFile
from gdbackends.pictures.results.encodings import Look
from gdbackends.pictures.results.panels import Spec, agreement_panel, bandwidth_panel, memory_panel
from gdbackends.pictures.results.theme import Drawn, config

_WHERE = " The numbers are in the table of all rows: "
HEADINGS = {
    "agreement": "Agreement beside speed",
    "memory": "Peak memory",
    "device-memory": "Peak memory of the device",
    "bandwidth": "Share of the bandwidth",
}
"""Of the figures, by their names."""


def overall(files: Sequence[ResultFile], shown: Look) -> Iterator[Figure]:
    """Yield the figures that there is something for."""
    if any(row.agreement is not None for file in files for row in file.rows):
        caption = (
            "A point a case. Across, the largest difference from the truth over what rounding allows: left of the red "
            "line a backend agrees. Upward, how many times as fast as NumPy; both axes logarithmic. A red cross at the "
            "foot has no time; at the right edge it differs by a hundred times more than any other, or by far more."
        )
        yield _figure("agreement", files, shown, agreement_panel, caption + _WHERE + "agrees, x NumPy.", "agreement")
    if any(row.peak_bytes is not None for file in files for row in file.rows):
        caption = (
            "A point a case: the most memory of the process, the framework included, against the bytes of the data "
            "(logarithmic)."
        )
        yield _figure("memory", files, shown, memory_panel, caption + _WHERE + "memory.", "peak_bytes")
    if any(row.device_peak_bytes is not None for file in files for row in file.rows):
        caption = "A point a case: the most memory of the device, against the bytes of the data (logarithmic)."
        panel = partial(memory_panel, of="device_peak_bytes")
        yield _figure("device-memory", files, shown, panel, caption + _WHERE + "on device.", "device_peak_bytes")
    if any(row.share is not None for file in files for row in file.rows):
        caption = (
            "A point a case whose data exceed the last cache: the bytes that must be read, over the time and over the "
            "bandwidth that reading alone reaches here (100 %), against the bytes of the data (logarithmic)."
        )
        yield _figure("bandwidth", files, shown, bandwidth_panel, caption + _WHERE + "bandwidth.", "share")


def _figure(
    name: str,
    files: Sequence[ResultFile],
    shown: Look,
    panel: Callable[..., Spec],
    caption: str,
    needed: str,
) -> Figure:
    several, height = len(files) > 1, {"height": 340, "config": config()}
    known = [file for file in files if any(getattr(row, needed) is not None for row in file.rows)]
    panels = [
        Drawn(({"title": file.name} if several else {}) | height | panel(file.rows, shown, legend=False))
        for file in known
    ]
    return Figure(name, tuple(panels), caption)
