"""Running the check over cases of the corpus, and counting what it said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from corpus_cases import Reference, installed_frameworks
from corpus_linear import Problem
from corpus_problems import TURNED, draw
from corpus_spellings import Array, Gradient

from gdbackends.errors import InputError
from gdbackends.gradcheck.checked_function import AutodiffRunners, prepare_arguments, probe_points_near
from gdbackends.gradcheck.checking import check_subject
from gdbackends.gradcheck.report import GradientReport


@dataclass(frozen=True)
class Outcome:
    """A case and what the check said of it; `hidden`: the mistake is smaller than what the report says it could see."""

    case: Reference
    report: GradientReport
    seconds: float
    hidden: bool

    @property
    def said(self) -> str:
        """The kind that was named, or the verdict."""
        return self.report.cause.kind if self.report.cause else self.report.verdict

    @property
    def named(self) -> bool:
        """Whether a name that is true of the mistake was found."""
        return self.said in self.case.kinds

    @property
    def well_judged(self) -> bool:
        """Whether a visible mistake failed and was named, where it was a single one, and a right gradient did not."""
        failed = self.report.verdict == "fail"
        return not failed if self.case.passes else self.hidden or (failed and (self.named or not self.case.single))

    def __str__(self) -> str:
        p, worst = self.case.problem, max(self.report.agreements.values(), default=0)
        told = f"{self.report.verdict}, {worst:.2g} of the bound, sensitivity {self.report.sensitivity:.1e}"
        return f"{self.case.fault} in {p.name} {p.shape} n={p.n} {self.report.dtype}: {told}: {self.report.cause}"


class Runner:
    """Runs cases; each problem's loss is compiled once."""

    def __init__(self, kept: list[Problem], backends: tuple[str, ...] | None = None) -> None:
        self.names = backends or installed_frameworks()
        problems = (*kept, *TURNED)
        self.kept = {p: AutodiffRunners(self._subject(p, p.gradient, *self._first(p))[0], self.names) for p in problems}

    def _first(self, p: Problem) -> tuple[Array, tuple[Array, Array]]:
        return draw(p, np.random.default_rng(0), tame=True)

    def _subject(self, p: Problem, hand: Gradient, theta: Array, data: tuple[Array, Array]) -> Any:
        return prepare_arguments(p.loss, hand, theta, data, p.params, None, "float64", 0)

    def autodiff(self, p: Problem, name: str) -> Gradient:
        """Return the gradient by a framework, in the dtype of theta."""

        def hand(theta: Array, *data: Array, **_: Any) -> Array:
            found = self.kept[p].run(name, str(theta.dtype))(theta.reshape(1, -1).astype(float), data)
            return found.gradients[0].reshape(theta.shape).astype(theta.dtype)

        return hand

    def run(self, case: Reference, dtype: str = "float64") -> Outcome | None:
        """Check one; None where it cannot be asked (the loss overflows)."""
        subject, start, names = self._subject(case.problem, case.hand, case.theta, case.data)
        frameworks = self.kept[case.problem]
        before = perf_counter()
        try:
            report = check_subject(subject, start, frameworks, names, dtype)
        except InputError as error:
            if "finite" in str(error):
                return None
            raise
        seconds = perf_counter() - before
        return Outcome(case, report, seconds, report.verdict != "fail" and self._hidden(case, subject, start, report))

    def _hidden(self, case: Reference, subject: Any, start: Array, report: GradientReport) -> bool:
        """Say whether no component is wrong, at any point, by as much as the report says would have been seen."""
        if case.passes:
            return False
        points = probe_points_near(subject, start, self.kept[case.problem], 0)
        with np.errstate(all="ignore"):
            pairs = [
                [f(t.reshape(case.problem.shape), *case.data, **case.problem.params).ravel() for t in points]
                for f in (case.hand, case.problem.gradient)
            ]
            wrong, right = np.abs(np.subtract(*pairs)), np.abs(pairs[1])
            relative = np.where(wrong == 0, 0.0, wrong / right)
        return not relative.max() > report.sensitivity


def run(
    cases: Iterator[Reference], count: int, runner: Runner, dtypes: tuple[str, ...] = ("float64",), told: int = 0
) -> list[Outcome]:
    """Run that many cases, the dtypes in turn; fewer if interrupted. After every `told` ones a line of progress."""
    done: list[Outcome] = []
    try:
        while len(done) < count:
            outcome = runner.run(next(cases), dtypes[len(done) % len(dtypes)])
            if outcome is None:
                continue
            done.append(outcome)
            if told and not outcome.well_judged:
                print(outcome, file=sys.stderr, flush=True)
            if told and len(done) % told == 0:
                seconds, bad = sum(o.seconds for o in done), sum(not o.well_judged for o in done)
                print(f"{len(done)} of {count}: {seconds:.0f} s, {bad} judged wrongly", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"interrupted after {len(done)} of {count}", file=sys.stderr)
    return done


@dataclass(frozen=True)
class Summary:
    """The figures: shares in per cent, counts."""

    wrong: list[Outcome]
    right: list[Outcome]

    @property
    def flagged(self) -> float:
        """Per cent of the visible mistakes that failed."""
        seen = [o for o in self.wrong if not o.case.passes and not o.hidden]
        return 100 * sum(o.report.verdict == "fail" for o in seen) / max(1, len(seen))

    @property
    def named(self) -> float:
        """Per cent of the single mistakes that failed, or valid subgradients, with a true name."""
        asked = [o for o in self.wrong if o.case.single and (o.report.verdict == "fail" or o.case.passes)]
        return 100 * sum(o.named for o in asked) / max(1, len(asked))

    @property
    def alarms(self) -> list[Outcome]:
        """Right gradients that failed, and valid subgradients."""
        return [o for o in (*self.autodiff, *self.wrong) if o.case.passes and o.report.verdict == "fail"]
