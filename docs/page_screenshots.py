"""Screenshots of the report pages into docs/pictures: results wide and light, narrow and dark; a gradient report."""

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


def shot(browser: Browser, path: Path, width: int, height: int, top: int = 0) -> None:
    """Write what stands in a part of the page, at two thirds of its size."""
    clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 2 / 3 if width > 400 else 1}
    taken = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.write_bytes(base64.b64decode(taken["data"]))


def main() -> None:
    """Make the pages, and look at them."""
    if missing():
        sys.exit(missing())
    folder = ROOT / "docs" / "pictures"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        config = Path(name)
        results = read_results(str(ROOT / "benchmarks" / "results" / "quick.jsonl"))
        (config / "report.html").write_text(page([results]), "utf8")
        (config / "ridge.py").write_text(RIDGE, "utf8")
        check = [sys.executable, "-m", "gdbackends", "check", "ridge.py:ridge", "--page", "gradient.html"]
        subprocess.run(check, cwd=config, check=False, capture_output=True)
        with Browser(config) as browser:
            browser.open(config / "report.html", 1200)
            shot(browser, folder / "page.png", 1200, 1520)
            browser.open(config / "report.html", 360, dark=True)
            shot(browser, folder / "page-narrow.png", 360, 1500)
            browser.open(config / "gradient.html", 1200)
            shot(browser, folder / "gradient.png", 1200, 1160)


if __name__ == "__main__":
    main()
