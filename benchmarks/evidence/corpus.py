"""Measure check_gradient on known mistakes: `python benchmarks/evidence/corpus.py --faults N --correct N`.

The corpus has gradients with one known mistake (some with two) and correct ones in many formulations, for least
squares, the bundled losses, logistic, softmax and Poisson regression and a network, on well- and ill-conditioned data.
JAX compiles each loss once, so the losses and shapes are few and fixed; data, parameters and mistakes are random. The
exit status is 1 if a correct gradient fails the check.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from corpus_cases import FAULTS, correct, faults
from corpus_judging import Runner, Summary, run
from corpus_problems import problems

from gdbackends.measurement.provenance import CHECKED, measured


def markdown(summary: Summary, command: str, measured_line: str) -> str:
    """Return the page docs/corpus.md."""
    wrong, right = summary.wrong, summary.right
    families = [*FAULTS, "kink"]
    counts = Counter((o.case.fault, o.answer) for o in wrong)
    heads = sorted({answer for _, answer in counts})
    lines = [
        f"| mistake | cases | named correctly | {' | '.join(heads)} |",
        f"|---|--:|--:|{'--:|' * len(heads)}",
    ]
    for name in families:
        cases = [o for o in wrong if o.case.fault == name]
        named = 100 * sum(o.named for o in cases) / max(1, len(cases))
        cells = " | ".join(str(counts[name, head] or "") for head in heads)
        lines.append(f"| {name} | {len(cases)} | {named:.1f} % | {cells} |")
    times = 1e3 * np.array([o.seconds for o in (*wrong, *right)])
    hidden = sum(o.hidden for o in wrong)
    figures = [
        f"- mistakes flagged: {summary.flagged:.2f} % ({hidden} more are smaller than the sensitivity of the report)",
        f"- single mistakes named correctly: {summary.named:.1f} %",
        f"- false alarms: {len(summary.alarms)} among {len(right):,} correct gradients",
        f"- inconclusive: {sum(o.report.verdict == 'inconclusive' for o in wrong)} of the wrong, "
        f"{sum(o.report.verdict == 'inconclusive' for o in right)} of the correct ones",
        f"- one check: median {np.median(times):.0f} ms, longest {times.max():.0f} ms, compilation included",
    ]
    return PAGE.format(command=command, measured=measured_line, figures="\n".join(figures), table="\n".join(lines))


PAGE = """# How reliable is check_gradient?

Known mistakes are injected into correct gradients, one at a time (two for `compound` and `l1-for-l2`), of least
squares, the bundled losses, logistic, softmax and Poisson regression and a small network, on well- and ill-conditioned
data. Correct gradients are written in many formulations, in both precisions; one in nine loses digits to cancellation.
This page was written by `{command}`.

{measured}

{figures}

The rows are the injected mistakes, the columns the answers of the check. A few mistakes have two true names, which
`benchmarks/evidence/corpus_mistakes.py` gives with the reason; either counts as correct. `kink` is not a mistake but
another valid subgradient.

{table}
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=5_000)
    parser.add_argument("--correct", type=int, default=20_000)
    parser.add_argument(
        "--dtype", choices=("float64", "float32", "both"), default="both", help="dtype of the correct gradients"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    o = parser.parse_args(arguments)
    line, chosen = measured(CHECKED), problems()
    runner = Runner(chosen)
    dtypes = ("float64", "float32") if o.dtype == "both" else (o.dtype,)
    summary = Summary(
        run(faults(o.seed, chosen), o.faults, runner, progress=250),
        run(correct(o.seed, chosen, runner.autodiff), o.correct, runner, dtypes, progress=1_000),
    )
    counts = f"--faults {len(summary.wrong)} --correct {len(summary.right)}"
    page = markdown(summary, f"python benchmarks/evidence/corpus.py {counts} --seed {o.seed}", line)
    if o.out:
        o.out.parent.mkdir(exist_ok=True)
        o.out.write_text(page)
    print(page)
    return int(bool(summary.alarms))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
