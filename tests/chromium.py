"""Chromium without a window and without a network: pages are opened from disk, looked at, judged by axe-core."""

from __future__ import annotations

import base64
import shutil
import sys
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

AXE = Path(sys.prefix) / "axe.min.js"
_ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--disable-background-networking", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND"),
)
_DRAWN = "const done = arguments[0]; window.drawn.then(() => done(null), (error) => done(String(error)))"
_FAULTS = """
const done = arguments[0];
axe.run({resultTypes: ["violations"]}).then((found) => done(found.violations.map(
  (each) => [each.impact, each.id, each.nodes.map((node) => node.target.join(" ")).slice(0, 5).join("; ")])));
"""


def missing() -> str:
    """Return what is not installed, and what to type; "" if nothing is missing."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    absent += [] if AXE.exists() else [f"{AXE.name} in {AXE.parent}"]
    how = "run: make browser (or leave them out: -m 'not browser and not timing')"
    return f"not installed: {', '.join(absent)}; {how}" if absent else ""


class Browser:
    """One Chromium; a context manager, which ends it.

    Attributes:
        driver: selenium's.
    """

    def __init__(self, downloads: Path) -> None:
        """Start it; files that a page offers go to the folder."""
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for argument in _ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(60)
        self.driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def open(self, path: Path, width: int = 1440, *, dark: bool = False) -> None:
        """Open a page of that width (CSS pixels), and wait until its charts are drawn."""
        self.console()
        self.look(width, dark=dark)
        self.driver.get(path.resolve().as_uri())
        self.wait()

    def wait(self) -> None:
        """Wait until the page's charts are drawn."""
        error = self.driver.execute_async_script(_DRAWN)
        assert error is None, error

    def look(self, width: int, *, dark: bool = False, height: int = 900) -> None:
        """Make the window that wide, and the system light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def console(self) -> list[str]:
        """Return the messages of the console since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what the JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def faults(self) -> list[list[str]]:
        """Return what axe-core finds in the page of serious or critical impact: impact, rule, where."""
        self.run(AXE.read_text(encoding="utf8"))
        found = self.driver.execute_async_script(_FAULTS)
        return [each for each in found if each[0] in ("serious", "critical")]

    def slide(self, figure: str, name: str, value: float) -> None:
        """Move a slider of a figure, as a hand does: its input gets the value and says so; wait for the charts."""
        self.driver.execute_async_script(
            "const [figure, name, value, done] = arguments, place = document.getElementById(figure);"
            "const slider = place.querySelector(`.sliders input[name=${name}]`); slider.value = value;"
            "slider.dispatchEvent(new Event('input', {bubbles: true}));"
            "setTimeout(() => Promise.all(place.views.map((view) => view.runAsync())).then(() => done()), 30)",
            *(figure, name, value),
        )

    def rows(self, figure: str, panel: int, *fields: str) -> list[dict[str, Any]]:
        """Return the rows of a chart's own data sets that have all of these fields, as they are computed now."""
        script = (
            "const [figure, panel, fields] = arguments, view = document.getElementById(figure).views[panel];"
            "const names = Object.keys(view.getState({data: () => true, signals: () => false}).data);"
            "const sets = names.filter((name) => !name.endsWith('_marks')).map((name) => view.data(name) ?? []);"
            "return sets.flat().filter((row) => row && fields.every((each) => each in row))"
            ".map((row) => Object.fromEntries(fields.map((each) => [each, row[each]])))"
        )
        return self.run(script, figure, panel, fields)

    def screenshot(self, path: Path, element: str | None = None) -> None:
        """Write a PNG of the page, or of one element of it, in full."""
        box = "const b = (arguments[0] ? document.querySelector(arguments[0]) : document.documentElement)"
        x, y, width, height = self.run(
            f"{box}.getBoundingClientRect(); return [b.x + scrollX, b.y + scrollY, b.width, b.height]", element
        )
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(base64.b64decode(shot["data"]))
