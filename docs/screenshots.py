"""Take screenshots of the lesson into docs/pictures: `make pictures`. They require Chromium: `make browser`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from chromium import Browser, missing  # noqa: E402

from gdbackends.datasets import women  # noqa: E402
from gdbackends.pictures.lesson import lesson  # noqa: E402

FOLDER = Path(__file__).parent / "pictures"
SCREENSHOTS = (  # file name, figure, width, whether dark, and the sliders to move before
    ("lesson-line", "line", 1000, False, (("line", "m", 2.0), ("line", "b", 5))),
    ("lesson-tangent", "tangent", 1000, False, ()),
    ("lesson-rate", "rate", 1000, False, (("rate", "a", 0.93), ("rate", "k", 12))),
    ("lesson-contours", "contours", 1000, False, (("contours", "p", 10),)),
    ("lesson-batches-dark", "batches", 1000, True, ()),
    ("lesson-frameworks-narrow", "frameworks", 360, True, ()),
)


def main() -> None:
    """Take the screenshots and print their paths."""
    if missing():
        sys.exit(missing())
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, Browser(Path(temporary)) as browser:
        page = Path(temporary) / "lesson.html"
        page.write_text(lesson(women()).html(), encoding="utf8")
        for name, figure, width, dark, sliders in SCREENSHOTS:
            browser.open(page, width, dark=dark)
            for slider in sliders:
                browser.slide(*slider)
            browser.screenshot(FOLDER / f"{name}.png", f"#{figure}")
            print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
