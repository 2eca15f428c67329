"""A corpus of mistakes, which judges check_gradient: `python benchmarks/corpus.py --faults N --correct N`.

Gradients with one known mistake each (some with two), and correct ones in many spellings: of least squares, the
bundled losses, logistic, softmax and Poisson regression and a network, over well- and ill-conditioned data. JAX
compiles each loss once, so losses and shapes are few and fixed; data, parameters and mistakes are drawn. Exit 1 where
a correct gradient is refused.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from corpus_cases import FAULTS, correct, faults
from corpus_judging import Runner, Summary, run
from corpus_problems import problems


def markdown(summary: Summary, command: str) -> str:
    """Return the page."""
    wrong, right = summary.wrong, summary.right
    families = [*FAULTS, "kink"]
    said = Counter((o.case.fault, o.said) for o in wrong)
    heads = sorted({kind for _, kind in said})
    lines = [
        f"| injected | cases | named right | {' | '.join(heads)} |",
        f"|---|--:|--:|{'--:|' * len(heads)}",
    ]
    for name in families:
        own = [o for o in wrong if o.case.fault == name]
        share = 100 * sum(o.named for o in own) / max(1, len(own))
        cells = " | ".join(str(said[name, head] or "") for head in heads)
        lines.append(f"| {name} | {len(own)} | {share:.1f} % | {cells} |")
    times = 1e3 * np.array([o.seconds for o in (*wrong, *right)])
    hidden = sum(o.hidden for o in wrong)
    figures = [
        f"- mistakes flagged: {summary.flagged:.2f} % ({hidden} more are smaller than the report says it would see)",
        f"- single mistakes named right: {summary.named:.1f} %",
        f"- false alarms: {len(summary.alarms)} among {len(right):,} right gradients",
        f"- inconclusive: {sum(o.report.verdict == 'inconclusive' for o in wrong)} of the wrong, "
        f"{sum(o.report.verdict == 'inconclusive' for o in right)} of the right ones",
        f"- one check: median {np.median(times):.0f} ms, longest {times.max():.0f} ms, compilation included",
    ]
    return PAGE.format(command=command, versions=versions(), figures="\n".join(figures), table="\n".join(lines))


PAGE = """# How the check is checked

Mistakes are put into right gradients on purpose, one at a time (`compound` and `l1-for-l2`: two), of least squares,
the bundled losses, logistic, softmax and Poisson regression and a small network, over well- and ill-conditioned data;
and right gradients are spelled in many ways, one in nine so that its own operations cancel, in both precisions. Written
by `{command}`
({versions}).

{figures}

A row for each mistake injected, a column for what was said of it. A few mistakes have two true names, which
`benchmarks/corpus_mistakes.py` gives with the reason; either counts as right. `kink` is no mistake: another valid
subgradient.

{table}
"""


def versions() -> str:
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "jax", "torch"))
    return f"Python {platform.python_version()}, {packages}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=5_000)
    parser.add_argument("--correct", type=int, default=20_000)
    parser.add_argument("--dtype", choices=("float64", "float32", "both"), default="both", help="of right gradients")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    o = parser.parse_args(arguments)
    kept = problems()
    runner = Runner(kept)
    dtypes = ("float64", "float32") if o.dtype == "both" else (o.dtype,)
    summary = Summary(
        run(faults(o.seed, kept), o.faults, runner, told=250),
        run(correct(o.seed, kept, runner.autodiff), o.correct, runner, dtypes, told=1_000),
    )
    counts = f"--faults {len(summary.wrong)} --correct {len(summary.right)}"
    page = markdown(summary, f"python benchmarks/corpus.py {counts} --seed {o.seed}")
    if o.out:
        o.out.parent.mkdir(exist_ok=True)
        o.out.write_text(page)
    print(page)
    return int(bool(summary.alarms))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
