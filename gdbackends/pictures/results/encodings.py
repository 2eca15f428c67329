"""The encodings that all charts of results share: colours, shapes, dashes, and axes with units.

The common fields of the data are rows, value, low and high (the ends of its interval), backend, variant, text (the
value in words) and features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, log10
from typing import Any

from gdbackends.benchmarking.case import BackendConfig
from gdbackends.benchmarking.result_rows import Row
from gdbackends.pictures.palette import BACKENDS, SHAPES, shade

_OTHERS = (("ink", "diamond"), ("good", "cross"), ("low", "triangle-down"), ("high", "triangle-right"))
_DASHES = ([1, 0], [6, 4], [2, 3], [9, 3, 2, 3], [1, 5])
_FILLS = (1.0, 0.0, 0.45, 0.25, 0.7)
_LEAST = 6.0
"""The smallest ratio of the ends of a logarithmic axis, so that it has a tick."""
USUAL = "best"
"""The variant of a backend with default settings."""


@dataclass(frozen=True)
class Look:
    """The backends and variants that are shown together, each with the same appearance in every chart.

    Attributes:
        backends: the names of the backends in the results.
        variants: the variants, such as "idiomatic" or another device or number of threads.
    """

    backends: tuple[str, ...]
    variants: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The display names of the backends."""
        return [BackendConfig(backend).label for backend in self.backends]

    @property
    def marks(self) -> list[tuple[str, str]]:
        """The palette's name of the colour, and the shape, of each backend; custom backends share four of them."""
        others = [backend for backend in self.backends if backend not in BACKENDS]
        custom = {b: _OTHERS[k % len(_OTHERS)] for k, b in enumerate(others)}
        return [custom[b] if b in custom else (b, SHAPES[b]) for b in self.backends]

    @property
    def dashes(self) -> list[list[int]]:
        """The dash pattern of each variant."""
        return [list(_DASHES[k % len(_DASHES)]) for k in range(len(self.variants))]

    def encoding(self, *, line: bool = False, legend: bool = True) -> dict[str, Any]:
        """Return the encodings of a mark: colour and shape by backend, dash or filling by variant."""
        described = {"title": None} if legend else None
        colours = {**_named("backend"), "legend": described, "scale": self._scale(0)}
        if line:
            several = {"title": None, "symbolType": "stroke", "symbolSize": 500} if len(self.variants) > 1 else None
            dashes = {"domain": list(self.variants), "range": self.dashes}
            dash = {**_named("variant"), "legend": several if legend else None, "scale": dashes}
            return {"color": colours, "strokeDash": dash}
        fills = {"domain": list(self.variants), "range": list(_FILLS[: len(self.variants)])}
        return {
            "color": colours,
            "stroke": colours | {"legend": None},
            "shape": {**_named("backend"), "legend": described, "scale": self._scale(1)},
            "fillOpacity": {"field": "variant", "type": "ordinal", "legend": None, "scale": fills},
        }

    def _scale(self, part: int) -> dict[str, Any]:
        return {"domain": self.names, "range": [shade(name) if part == 0 else shape for name, shape in self.marks]}


def _named(field: str) -> dict[str, Any]:
    return {"field": field}


def look(table: Iterable[Row]) -> Look:
    """Return the look of rows that are shown together: bundled backends first, the best tuning first."""
    configs = dict.fromkeys(row.case.config for row in table)
    named = list(dict.fromkeys(config.backend for config in configs))
    backends = dict.fromkeys([*(b for b in BACKENDS if b in named), *named])
    variants = dict.fromkeys(variant(config) for config in configs)
    first = [each for each in variants if each == USUAL]
    return Look(tuple(backends), tuple(dict.fromkeys([*first, *variants])))


def variant(config: BackendConfig) -> str:
    """Return the settings of a backend that are not the defaults: device, threads, tuning."""
    return config.label.removeprefix(BackendConfig(config.backend).label).strip(" ,") or USUAL


def rounded(value: float | None, digits: int = 4) -> float | None:
    """Round to significant digits, one more than is shown; return None if the value is not finite."""
    return float(f"{value:.{digits}g}") if value is not None and abs(value) < inf else None


def about_rows(sizes: Sequence[int]) -> dict[str, Any]:
    """Return the logarithmic axis of rows, with ticks at the sizes that were timed."""
    return log_encoding("rows", sizes, "rows", "format(datum.value, '~s')", sorted(set(sizes)))


def log_encoding(
    field: str, values: Iterable[float | None], title: str, label: str, ticks: Sequence[float] | None = None
) -> dict[str, Any]:
    """Return a logarithmic axis around the values, with ticks at powers of ten, or at 1, 2, 5 on a short axis."""
    positive = [value for value in values if value is not None and value > 0] or [1.0]
    wider = max(1.3, (_LEAST * min(positive) / max(positive)) ** 0.5)
    low, high = min(positive) / wider, max(positive) * wider
    scale = {"type": "log", "domain": [rounded(low), rounded(high)], "nice": False}
    axis = {"values": _ticks(low, high) if ticks is None else ticks, "labelExpr": label}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis, "title": title}


def same(axis: Mapping[str, Any], field: str = "") -> dict[str, Any]:
    """Return the axis for another layer, which shares the scale of the first one: the field and the title only."""
    return {"field": field or axis["field"], "type": axis["type"], "title": axis["title"]}


def _ticks(low: float, high: float) -> list[float]:
    first, last = floor(log10(low)), ceil(log10(high))
    within = [float(f"{m}e{k}") for k in range(first, last + 1) for m in (1, 2, 5)]
    every = [tick for tick in within if low <= tick <= high]
    tens = [tick for tick in every if f"{tick:e}".startswith("1.")]
    step = max(1, ceil(len(tens) / 8))
    return tens[::step] if len(tens) > 2 else every


def seconds_title(what: str) -> str:
    """Return the expression that formats a time with its unit, like the tables."""
    steps = (("0.9995", "1", "s"), ("0.9995e-3", "1e3", "ms"), ("0.9995e-6", "1e6", "us"))
    parts = [f"{what}>={least}?format({what}*{factor},'.3~r')+' {unit}':" for least, factor, unit in steps]
    return f"{what}==0?'0':{''.join(parts)}format({what}*1e9,'.3~r')+' ns'"
