"""The foundation of pictures: colours that everybody can tell apart, pages in one file that load nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import altair as alt
import numpy as np
import pytest

from gdbackends.pictures import document
from gdbackends.pictures.document import Figure, Table, embedded, page_spec
from gdbackends.pictures.palette import BACKENDS, DARK, LIGHT, as_variables, backend_scale, dressed, shade

EVIL = "</script><script>alert(1)</script>"
THREE = ("low", "good", "high")

# What a colour becomes, in linear RGB, for who lacks the long, the middle or the short cones: Machado, Oliveira and
# Fernandes, IEEE Trans. Vis. Comput. Graph. 15 (2009), 1291, severity 1.
CONES = {
    "all": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    srgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """Of WCAG 2.2."""
    high, low = sorted((float(XYZ[1] @ linear(c)) for c in (a, b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def lab(colour: str, cones: str) -> np.ndarray:
    xyz = XYZ @ np.clip(np.array(CONES[cones]) @ linear(colour), 0, 1) / (XYZ @ np.ones(3))
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("cones", CONES)
def test_colours_shown_together_can_be_told_apart_by_everybody(palette, cones) -> None:
    for names in ((*BACKENDS, "exact"), THREE, ("data", "good"), ("ink", "bad")):
        for a, b in combinations(names, 2):
            assert np.linalg.norm(lab(palette[a], cones) - lab(palette[b], cones)) >= 20, (a, b)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_stand_out_from_the_paper(palette) -> None:
    for ground in ("paper", "panel"):
        for text in ("ink", "muted", *BACKENDS, *THREE, "bad"):
            least = 4.5 if text in ("ink", "muted", "bad") else 3
            assert contrast(palette[text], palette[ground]) >= least, (text, ground)


def test_the_two_palettes_name_the_same_and_no_colour_stands_for_two() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT)


def chart(title: str = "x", bind: bool = True) -> alt.Chart:
    slider = alt.binding_range(min=0, max=10, step=1, name="k") if bind else alt.Undefined
    k = alt.param(name="k", value=3, bind=slider)
    rows = alt.Data(values=[{"i": i, "square": i * i, "backend": n} for i in range(10) for n in BACKENDS], name="rows")
    return dressed(
        alt.Chart(rows)
        .mark_line()
        .transform_calculate(product="datum.square * k")
        .encode(
            x=alt.X("i:Q", title=title),
            y=alt.Y("product:Q", title=title),
            color=alt.Color("backend:N", scale=backend_scale(list(BACKENDS)), title=title),
        )
        .add_params(k)
    )


def page(tmp_path: Path, text: str = "x", script: str = "") -> Path:
    template = Path(document.__file__).parent / "figure.html.j2"
    assert template.exists()
    figure = Figure("one", (chart(text), chart(text, bind=False)), text, Table((text, "b"), (("1", text),), text))
    path = tmp_path / "page.html"
    path.write_text(document.document("document.html.j2", text, [figure], body=["one"], script=script), "utf8")
    return path


def test_colours_of_a_page_are_variables_but_its_texts_and_data_stay() -> None:
    own = shade("numpy")
    spec = chart(title=own).to_dict()
    swapped = as_variables(spec)
    assert swapped["encoding"]["color"]["scale"]["range"] == [f"var(--{name})" for name in BACKENDS]
    assert swapped["encoding"]["x"]["title"] == own
    assert swapped["config"]["axis"]["titleColor"] == "var(--ink)"
    assert swapped["config"]["title"]["color"] == swapped["config"]["text"]["color"] == "var(--ink)"
    assert swapped["config"]["background"] == "var(--paper)"
    assert not {"config", "width"} & set(page_spec(chart()))  # the page sets them, for every chart the same
    assert spec == chart(title=own).to_dict()


def test_json_in_a_page_cannot_end_its_element() -> None:
    value = {"a": EVIL, "b": "<!-- & \u2028"}
    text = embedded(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028") & set(text)


def test_a_page_is_one_small_file_that_names_no_place_to_load_from(tmp_path) -> None:
    text = page(tmp_path).read_text("utf8")
    assert len(text.encode()) < 1_600_000
    shell = text.replace(document.bundle(), "")
    assert "default-src &#39;none&#39;" in shell and "unsafe-eval" not in shell
    assert "src=" not in shell and "@import" not in shell and "url(" not in shell


def test_a_chart_is_saved_without_a_browser(tmp_path) -> None:
    chart().save(tmp_path / "x.png")
    chart().save(tmp_path / "x.svg")
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    assert LIGHT["jax"] in (tmp_path / "x.svg").read_text("utf8")


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['altair'] = None\n"
        "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n == 'altair' else find(n)\n"
        "import gdbackends.errors as e; e.find_spec = u.find_spec\n"
        "import gdbackends.pictures"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stderr.strip().endswith(
        "gdbackends.pictures needs the package altair, which is not installed; run: pip install 'gdbackends[viz]'"
    )


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(360, False), (1440, True)])
def test_a_page_opens_from_disk_whatever_its_texts_are(browser, tmp_path, width, dark) -> None:
    browser.open(page(tmp_path, EVIL), width, dark=dark)
    assert browser.console() == []
    assert browser.overflow() <= 0
    assert browser.run("return document.title") == EVIL
    assert EVIL in browser.run("return document.querySelector('svg').textContent")
    assert browser.run("return getComputedStyle(document.body.parentElement).backgroundColor") == (
        "rgb(20, 23, 29)" if dark else "rgb(255, 255, 254)"
    )
    assert browser.faults() == []


@pytest.mark.browser
def test_a_slider_moves_every_panel_and_colours_follow_the_system(browser, tmp_path) -> None:
    browser.open(page(tmp_path))
    browser.slide("one", "k", 7)
    for panel in (0, 1):
        shown = browser.run("return document.getElementById('one').views[arguments[0]].signal('k')", panel)
        assert shown == 7
    stroke = "return getComputedStyle(document.querySelector('svg .mark-line path')).stroke"
    browser.look(1440, dark=False)
    assert browser.run(stroke) == "rgb(8, 79, 156)"  # numpy
    browser.look(1440, dark=True)
    assert browser.run(stroke) == "rgb(79, 157, 242)"
    assert browser.console() == []


@pytest.mark.browser
def test_a_page_runs_no_script_but_its_own(browser, tmp_path) -> None:
    path = page(tmp_path, script="window.ours = 1;")
    text = path.read_text("utf8").replace('<main id="main">', '<main id="main"><script>window.theirs = 1;</script>')
    path.write_text(text, "utf8")
    browser.open(path)
    assert browser.run("return [window.ours, window.theirs]") == [1, None]
    assert any("Content Security Policy" in message for message in browser.console())
