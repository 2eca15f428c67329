"""Take screenshots of the report pages into docs/pictures: `make pictures`. They require Chromium: `make browser`.

The results appear wide and light, then narrow and dark; the report of a gradient appears wide and light.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from chromium import Browser, missing  # noqa: E402

from gdbackends.benchmarking.results import read_results  # noqa: E402
from gdbackends.pictures.page import page  # noqa: E402

RIDGE = """
import numpy as np

data = np.arange(15.0).reshape(5, 3) % 4, np.array([1.0, 0.0, 2.0, 3.0, 3.0])
theta, params = [0.5, -1.0, 2.0], {"lam": 0.1}


def ridge(theta, X, y, lam):
    r = X @ theta - y
    return r @ r / y.shape[0] + lam * theta @ theta


def ridge_gradient(theta, X, y, lam):
    return X.T @ (X @ theta - y) / len(y) + lam * theta
"""


def save_screenshot(browser: Browser, path: Path, width: int, height: int) -> None:
    """Save the top of the page, at two thirds of its size unless it is at most 400 pixels wide."""
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 2 / 3 if width > 400 else 1}
    screenshot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.write_bytes(base64.b64decode(screenshot["data"]))


def main() -> None:
    """Write the pages and take the screenshots."""
    if missing():
        sys.exit(missing())
    pictures = ROOT / "docs" / "pictures"
    pictures.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        results = read_results(str(ROOT / "benchmarks" / "results" / "quick.jsonl"))
        (temporary / "report.html").write_text(page([results]), "utf8")
        (temporary / "ridge.py").write_text(RIDGE, "utf8")
        check = [sys.executable, "-m", "gdbackends", "check", "ridge.py:ridge", "--page", "gradient.html"]
        subprocess.run(check, cwd=temporary, check=False, capture_output=True)
        with Browser(temporary) as browser:
            browser.open(temporary / "report.html", 1200)
            save_screenshot(browser, pictures / "page.png", 1200, 1520)
            browser.open(temporary / "report.html", 360, dark=True)
            save_screenshot(browser, pictures / "page-narrow.png", 360, 1500)
            browser.open(temporary / "gradient.html", 1200)
            save_screenshot(browser, pictures / "gradient.png", 1200, 1160)


if __name__ == "__main__":
    main()
