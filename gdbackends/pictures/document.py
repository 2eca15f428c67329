"""A self-contained HTML page of charts and tables, with the chart library and the style; its policy forbids loading.

Texts cannot become code: jinja2 escapes them, `<` is escaped in the JSON of charts, and the Content-Security-Policy
allows only the scripts whose hashes it lists.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import altair as alt
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gdbackends.measurement.formatting import jsonable
from gdbackends.pictures.palette import as_variables, config, variables

_ENDS = re.compile("<(/script|!--)", re.IGNORECASE)
_FOLDER = Path(__file__).parent
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True)
class Table:
    """The numbers of a figure, already formatted.

    Attributes:
        headings: the headings of the columns, with units.
        rows: the texts of each row.
        note: a note on the numbers, such as that the rows are a sample.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure of a page.

    Attributes:
        name: its id in the page: letters, digits and hyphens.
        panels: single or layered altair charts, side by side if there is room. The sliders of the first panel move the
            parameters of the same name in the others.
        caption: a description of the figure, also for readers who cannot see it.
        table: the numbers of the figure, or None if the page shows them elsewhere.
    """

    name: str
    panels: tuple[Any, ...]
    caption: str
    table: Table | None = None


def document(
    template: str, title: str, figures: Sequence[Figure], *, style: str = "", script: str = "", **values: Any
) -> str:
    """Return a page as HTML.

    Args:
        template: a file in this folder that extends document.html.j2 and fills its block `body`; `figure("name")`
            inserts a figure.
        title: the title of the page.
        figures: the figures that the template inserts.
        style: additional CSS.
        script: JavaScript to run when the page is loaded, before the charts are drawn. Attributes such as onclick are
            not run.
        **values: other variables of the template.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    by_name = {each.name: each for each in figures}
    shown = environment.get_template("figure.html.j2")

    def figure(name: str) -> Markup:
        specs = [Markup(embedded(page_spec(panel))) for panel in by_name[name].panels]
        return Markup(shown.render(figure=by_name[name], specs=specs))

    scripts = [bundle(), script, (_FOLDER / "document.js").read_text(encoding="utf8")]
    scripts = [_ENDS.sub(r"<\\\1", f"(() => {{{text}\n}})();") for text in scripts if text]
    return environment.get_template(template).render(
        title=title,
        figure=figure,
        styles=[Markup(css) for css in (variables(), (_FOLDER / "document.css").read_text(encoding="utf8"), style)],
        scripts=[Markup(text) for text in scripts],
        policy=_policy(scripts),
        config=Markup(embedded(as_variables(config()))),
        **values,
    )


@cache
def bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, in the version that altair supports."""
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    return cast(Any, vl_convert).javascript_bundle(vl_version=version)


def page_spec(chart: Any) -> dict[str, Any]:
    """Return the JSON of a chart for a page; document.js adds the width and the config, which all charts share."""
    spec = as_variables(jsonable(chart.to_dict()))
    spec = {name: value for name, value in spec.items() if name not in ("config", "width", "autosize")}
    shared = _shared(spec) if "layer" in spec else {}
    return _compact(spec) | ({"datasets": shared} if shared else {})


def _compact(value: Any) -> Any:
    """Return a chart's JSON with its rows as columns, which name each field once; document.js turns them back."""
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_compact(item) for item in items]
    if not isinstance(value, dict):
        return value
    spec = {name: _compact(item) for name, item in cast("dict[str, Any]", value).items()}
    data = spec.get("data")
    if data and isinstance(data.get("values"), list):
        spec["data"] = data | {"values": {"columns": _columns(data["values"])}}
    return spec


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [_short(row.get(name)) for row in rows] for name in names}


def _short(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shared(spec: dict[str, Any]) -> dict[str, Any]:
    """Remove named data from the layers, so that each is embedded once, and return them by name."""
    named: dict[str, Any] = dict(spec.get("datasets", {}))
    for layer in spec["layer"]:
        if "layer" in layer:
            named |= _shared(layer)
        data = layer.get("data", {})
        text = data.get("values")
        if isinstance(text, str) and named.get(data.get("name"), text) == text:
            named[data["name"]] = text
            layer["data"] = {key: value for key, value in data.items() if key != "values"}
    return named


def embedded(value: Any) -> str:
    """Return JSON for a script element, in which no text can end the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return "".join(_ESCAPES.get(c, c) for c in text) if any(c in text for c in _ESCAPES) else text


def _policy(scripts: Sequence[str]) -> str:
    """Return a Content-Security-Policy that allows only these scripts and inline styles, and no loading."""
    hashes = " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"
