"""Judge hand-derived gradients of released libraries, as they stand and with a mistake each: docs/real-code.md."""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from pathlib import Path

from defects import defects
from real_cases import RealCase, cases

from gdbackends import GradientReport, check_gradient, check_jacobian
from gdbackends.measurement.provenance import CHECKED, measured


def judge(case: RealCase, wrong: bool = False) -> GradientReport:
    """Check a case, or the same with its mistake."""
    loss, gradient = case.loss, case.gradient
    if wrong:
        loss, gradient = (case.spoiled(), True) if gradient is True else (loss, case.spoiled())
    if case.jacobian:
        return check_jacobian(loss, gradient, case.theta, *case.data, **case.options)
    options = {} if wrong else case.options
    return check_gradient(loss, gradient, case.theta, *case.data, **options)


def voters(report: GradientReport) -> str:
    """Return who judged a gradient."""
    return ", ".join(dict.fromkeys(a for a, b in report.agreements if b == "yours")) or "nobody"


def found_wrong() -> str:
    """Return the section about derivatives that are wrong."""
    lines = ["", "## Derivatives that are not those of their functions", ""]
    lines += [
        "The check says FAIL; the values are confirmed with 60 digits by mpmath, in `benchmarks/evidence/defects.py`."
    ]
    for defect in defects():
        said = f"{defect.report.sentence} {'; '.join(defect.report.notes)}".strip()
        lines += ["", f"- **{defect.where}**. {defect.what}", f"  One value: {defect.theirs:.12g}; with 60 digits "]
        lines[-1] += f"{defect.right:.12g}. The check: `{said}`"
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="a part of the name")
    options = parser.parse_args()
    line = measured(CHECKED, ("scipy", "scikit-learn", "statsmodels"))
    rows, accused, missed, by_framework, seconds = [], [], [], 0, 0.0
    warnings.simplefilter("ignore")
    for case in cases():
        if options.only not in f"{case.library} {case.name}":
            continue
        start = time.perf_counter()
        try:
            right = judge(case)
        except Exception as error:  # the table must not end at one case
            print(f"{case.library} {case.name}: {type(error).__name__}: {error}"[:300])
            accused.append(case.name)
            continue
        took = time.perf_counter() - start
        seconds += took
        wrong = judge(case, wrong=True)
        by_framework += "differences" not in voters(right)
        if right.verdict != "pass":
            accused.append(case.name)
            print(case.name, right, sep="\n")
        if wrong.verdict != "fail":
            missed.append(case.name)
            print(case.name, "with its mistake", wrong, sep="\n")
        kind = wrong.cause.kind if wrong.cause else "-"
        rows.append(
            f"| {case.library} | {case.name} | {right.verdict} | {voters(right)} | {right.sensitivity:.0e} | "
            f"{wrong.verdict}: {kind} | {took:.2f} s |"
        )
    libraries = Counter(row.split(" | ")[0].strip("| ") for row in rows)
    text = f"""# Gradients of released libraries

Hand-derived gradients as they stand in released libraries, checked without a change in their code, each also with a
mistake made on purpose. Written by `make real`.

{line}

- {len(rows)} functions ({", ".join(f"{name} {count}" for name, count in libraries.items())}), {seconds:.0f} s in all
- judged by at least one framework: {by_framework}; the others by differences of the loss
- right gradients that did not pass: {len(accused)}{": " + ", ".join(accused) if accused else ""}
- mistakes that were not flagged: {len(missed)}{": " + ", ".join(missed) if missed else ""}

| library | function | verdict | judged by | smallest visible error | with a mistake | time |
|---|---|---|---|---|---|---|
"""
    text += "\n".join(rows) + "\n" + found_wrong()
    print(text)
    if options.out:
        options.out.write_text(text)
    return 1 if accused or missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
