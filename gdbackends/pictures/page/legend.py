"""The report page's legend: a swatch for each backend and each variant, drawn as the charts draw them."""

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
    """A line of the legend.

    Attributes:
        name: a backend, or a variant.
        colour: the palette's name; "" of a variant.
        key: the backend as results name it; "" of a variant.
        path: of the backend's shape, in SVG of 16 by 16.
        dashes: of the variant's line, as SVG has them.
    """

    name: str
    colour: str = ""
    key: str = ""
    path: str = ""
    dashes: str = ""


def legend(shown: Look) -> list[Entry]:
    """Return the backends; and the variants, where there are several."""
    backends = zip(shown.names, shown.dress, shown.backends, strict=True)
    entries = [Entry(name, of, key, _SHAPES[shape]) for name, (of, shape), key in backends]
    several = len(shown.variants) > 1
    dashes = zip(shown.variants, shown.dashes, strict=True)
    return entries + [Entry(name, dashes=" ".join(map(str, d))) for name, d in dashes if several]
