"""Update the table of results and the advice in README.md: `python benchmarks/speed/readme_table.py RESULTS`."""

from __future__ import annotations

import sys
from pathlib import Path

from pages import replace_section

from gdbackends.benchmarking.markdown import markdown
from gdbackends.benchmarking.result_rows import result_rows
from gdbackends.benchmarking.results import Results, read_results
from gdbackends.measurement.provenance import TIMED, digest_at, measured_line

README = Path(__file__).parents[2] / "README.md"


def section(results: Results, path: str) -> str:
    """Return the section between the markers: the table, the advice, and what the last run was measured on."""
    run = list(results.runs.values())[-1]
    line = measured_line(run["environment"], run["commit"], run["at"], digest_at(run["commit"], TIMED))
    return f"{markdown(result_rows(results))}\n({line}; [{path}]({path}))\n"


def main() -> None:
    """Replace the section in README.md."""
    path = Path(sys.argv[1])
    try:
        replace_section(README, section(read_results(str(path)), path.as_posix()))
    except ValueError as error:
        raise SystemExit(f"{path}: {error}") from None


if __name__ == "__main__":
    main()
