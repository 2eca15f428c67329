"""The section of a page that a script replaces."""

from __future__ import annotations

from pathlib import Path

BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"


def replace_section(page: Path, text: str) -> None:
    """Replace what a page has between the markers."""
    before, _, rest = page.read_text(encoding="utf8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(
            f"{page.name} has no markers {BEGIN.strip()} and {END.strip()}; add them around the place of the results"
        )
    page.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf8")
