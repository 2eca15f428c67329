"""Update the table of results and the advice in README.md: `python benchmarks/speed/readme_table.py RESULTS`."""

from __future__ import annotations

import sys
from pathlib import Path

from gdbackends.benchmarking.markdown import markdown
from gdbackends.benchmarking.result_rows import result_rows
from gdbackends.benchmarking.results import Results, read_results

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"


def section(results: Results, path: str) -> str:
    """Return the section between the markers: the table, the advice, and the environment of the last run."""
    run = list(results.runs.values())[-1]
    versions = ", ".join(f"{name} {run['environment'][name]}" for name in ("python", "numpy", "jax", "torch"))
    source = f"{run['environment']['cpu']}, {run['environment']['cores']} cores; {versions}; {run['at'][:10]}"
    return f"{BEGIN}{markdown(result_rows(results))}\n({source}; [{path}]({path}))\n{END}"


def main() -> None:
    """Replace the section in README.md."""
    path = Path(sys.argv[1])
    text = README.read_text(encoding="utf8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(
            f"README.md has no markers {BEGIN.strip()} and {END.strip()}; add them around the place of the table"
        )
    README.write_text(before + section(read_results(str(path)), path.as_posix()) + after, encoding="utf8")


if __name__ == "__main__":
    main()
