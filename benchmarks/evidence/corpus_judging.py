"""Run the check on cases of the corpus, and summarise the results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from corpus_cases import Case, installed_frameworks
from corpus_problems import STABLE_LOGISTIC, Array, Gradient, Problem, draw

from gdbackends.errors import InputError
from gdbackends.gradcheck.arguments import prepare_arguments
from gdbackends.gradcheck.checked_function import AutodiffRunners
from gdbackends.gradcheck.checking import check_subject
from gdbackends.gradcheck.probe_points import probe_points_near
from gdbackends.gradcheck.report import GradientReport


@dataclass(frozen=True)
class Outcome:
    """A case with the report on it; `hidden` says that the mistake is smaller than the sensitivity of the report."""

    case: Case
    report: GradientReport
    seconds: float
    hidden: bool

    @property
    def answer(self) -> str:
        """The kind of the named mistake, or the verdict if there is none."""
        return self.report.cause.kind if self.report.cause else self.report.verdict

    @property
    def named(self) -> bool:
        """Whether the name describes the mistake truly."""
        return self.answer in self.case.kinds

    @property
    def well_judged(self) -> bool:
        """Whether the check is right: a visible mistake fails, with a true name if it is single; others do not fail."""
        failed = self.report.verdict == "fail"
        return not failed if self.case.passes else self.hidden or (failed and (self.named or not self.case.single))

    def __str__(self) -> str:
        p, worst = self.case.problem, max(self.report.agreements.values(), default=0)
        result = f"{self.report.verdict}, {worst:.2g} of the bound, sensitivity {self.report.sensitivity:.1e}"
        return f"{self.case.fault} in {p.name} {p.shape} n={p.n} {self.report.dtype}: {result}: {self.report.cause}"


class Runner:
    """Run cases, compiling the loss of each problem once."""

    def __init__(self, chosen: list[Problem], backends: tuple[str, ...] | None = None) -> None:
        self.names = backends or installed_frameworks()
        problems = (*chosen, *STABLE_LOGISTIC)
        self.autodiff_runners = {
            p: AutodiffRunners(self._subject(p, p.gradient, *self._first(p))[0], self.names) for p in problems
        }

    def _first(self, p: Problem) -> tuple[Array, tuple[Array, Array]]:
        return draw(p, np.random.default_rng(0), tame=True)

    def _subject(self, p: Problem, hand: Gradient, theta: Array, data: tuple[Array, Array]) -> Any:
        return prepare_arguments(p.loss, hand, theta, data, params=p.params)

    def autodiff(self, p: Problem, name: str) -> Gradient:
        """Return the gradient by a framework, in the dtype of theta."""

        def hand(theta: Array, *data: Array, **_: Any) -> Array:
            results = self.autodiff_runners[p].run(name, str(theta.dtype))(theta.reshape(1, -1).astype(float), data)
            return results.gradients[0].reshape(theta.shape).astype(theta.dtype)

        return hand

    def run(self, case: Case, dtype: str = "float64") -> Outcome | None:
        """Check a case; return None if the loss overflows."""
        subject, start, names = self._subject(case.problem, case.hand, case.theta, case.data)
        runners = self.autodiff_runners[case.problem]
        before = perf_counter()
        try:
            report = check_subject(subject, start, runners, names, dtype)
        except InputError as error:
            if "finite" in str(error):
                return None
            raise
        seconds = perf_counter() - before
        return Outcome(case, report, seconds, report.verdict != "fail" and self._hidden(case, subject, start, report))

    def _hidden(self, case: Case, subject: Any, start: Array, report: GradientReport) -> bool:
        """Return whether no component, at any point, is wrong by more than the sensitivity of the report."""
        if case.passes:
            return False
        points = probe_points_near(subject, start, self.autodiff_runners[case.problem], 0)
        with np.errstate(all="ignore"):
            pairs = [
                [f(t.reshape(case.problem.shape), *case.data, **case.problem.params).ravel() for t in points]
                for f in (case.hand, case.problem.gradient)
            ]
            wrong, right = np.abs(np.subtract(*pairs)), np.abs(pairs[1])
            relative = np.where(wrong == 0, 0.0, wrong / right)
        return not relative.max() > report.sensitivity


def run(
    cases: Iterator[Case], count: int, runner: Runner, dtypes: tuple[str, ...] = ("float64",), progress: int = 0
) -> list[Outcome]:
    """Run `count` cases, or fewer if interrupted, alternating the dtypes; print a line after every `progress` cases."""
    done: list[Outcome] = []
    try:
        while len(done) < count:
            outcome = runner.run(next(cases), dtypes[len(done) % len(dtypes)])
            if outcome is None:
                continue
            done.append(outcome)
            if progress and not outcome.well_judged:
                print(outcome, file=sys.stderr, flush=True)
            if progress and len(done) % progress == 0:
                seconds, bad = sum(o.seconds for o in done), sum(not o.well_judged for o in done)
                print(f"{len(done)} of {count}: {seconds:.0f} s, {bad} judged wrongly", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"interrupted after {len(done)} of {count}", file=sys.stderr)
    return done


@dataclass(frozen=True)
class Summary:
    """The outcomes for wrong and for correct gradients, with percentages."""

    wrong: list[Outcome]
    right: list[Outcome]

    @property
    def flagged(self) -> float:
        """The percentage of visible mistakes that fail."""
        visible = [o for o in self.wrong if not o.case.passes and not o.hidden]
        return 100 * sum(o.report.verdict == "fail" for o in visible) / max(1, len(visible))

    @property
    def named(self) -> float:
        """The percentage of true names among single mistakes that fail and among valid subgradients."""
        nameable = [o for o in self.wrong if o.case.single and (o.report.verdict == "fail" or o.case.passes)]
        return 100 * sum(o.named for o in nameable) / max(1, len(nameable))

    @property
    def alarms(self) -> list[Outcome]:
        """The correct gradients and valid subgradients that fail."""
        return [o for o in (*self.right, *self.wrong) if o.case.passes and o.report.verdict == "fail"]
