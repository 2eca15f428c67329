"""Update the table and the advice in README.md: `python benchmarks/speed/readme_table.py RESULTS`."""

from __future__ import annotations

import sys
from pathlib import Path

from gdbackends.benchmarking.markdown import markdown
from gdbackends.benchmarking.result_rows import result_rows
from gdbackends.benchmarking.results import Results, read_results

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"


def section(results: Results, path: str) -> str:
    """Return what stands between the marks."""
    run = list(results.runs.values())[-1]
    versions = ", ".join(f"{name} {run['environment'][name]}" for name in ("python", "numpy", "jax", "torch"))
    where = f"{run['environment']['cpu']}, {run['environment']['cores']} cores; {versions}; {run['at'][:10]}"
    return f"{BEGIN}{markdown(result_rows(results))}\n({where}; [{path}]({path}))\n{END}"


def main() -> None:
    """Replace the section."""
    path = Path(sys.argv[1])
    text = README.read_text(encoding="utf8")
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"README.md has no marks {BEGIN.strip()} and {END.strip()}; put them where the table belongs")
    README.write_text(before + section(read_results(str(path)), path.as_posix()) + after, encoding="utf8")


if __name__ == "__main__":
    main()
