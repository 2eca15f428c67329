"""The legend of the report page: a swatch for each backend and variant, drawn like the charts."""

from __future__ import annotations

from dataclasses import dataclass

from gdbackends.pictures.results.encodings import Look

_SHAPES = {
    "circle": "M2,8a6,6 0 1,0 12,0a6,6 0 1,0 -12,0Z",
    "square": "M3,3H13V13H3Z",
    "triangle-up": "M8,2L14.5,13H1.5Z",
    "diamond": "M8,1L14,8L8,15L2,8Z",
    "cross": "M6,2H10V6H14V10H10V14H6V10H2V6H6Z",
    "triangle-down": "M8,14L14.5,3H1.5Z",
    "triangle-right": "M14,8L3,1.5V14.5Z",
}


@dataclass(frozen=True)
class Entry:
    """An entry of the legend.

    Attributes:
        name: the display name of a backend or variant.
        colour: the palette's name of the backend's colour.
        key: the name of the backend in the results.
        path: the SVG path of the backend's shape, in a box of 16 by 16.
        dashes: the SVG dash pattern of the variant's line.
    """

    name: str
    colour: str = ""
    key: str = ""
    path: str = ""
    dashes: str = ""


def legend(shown: Look) -> list[Entry]:
    """Return the entries of the backends, and of the variants if there are several."""
    backends = zip(shown.names, shown.marks, shown.backends, strict=True)
    entries = [Entry(name, of, key, _SHAPES[shape]) for name, (of, shape), key in backends]
    several = len(shown.variants) > 1
    dashes = zip(shown.variants, shown.dashes, strict=True)
    return entries + [Entry(name, dashes=" ".join(map(str, d))) for name, d in dashes if several]
