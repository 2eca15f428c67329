"""What results are judged by, found in processes of their own: expected values, answers, and the speed of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from gdbackends.benchmarking.answers import judge_answers
from gdbackends.benchmarking.case import Case, ProblemSpec
from gdbackends.benchmarking.slices import Answer
from gdbackends.benchmarking.worker_tasks import expected_of, read_bandwidth
from gdbackends.comparison.expected import Expected
from gdbackends.measurement.environment import affinity, last_cache
from gdbackends.measurement.subprocess_worker import Worker
from gdbackends.objectives import Array

_TIMES = 5
"""How many times the time limit of a case a judge may take."""
_CACHED = 1 << 18
"""Bytes of the smallest vector on which the bandwidth is measured; on smaller ones the call itself takes longer."""
_FASTER = 3.0
"""How many times the bandwidth of a BLAS product on one core, times the cores, is called impossible."""
_SLOWEST = 10e9
"""Bytes per second that a core reads from its caches at least, if another program disturbs the measurement."""


@dataclass(frozen=True)
class Judges:
    """What the results of a run are judged by.

    Attributes:
        cases: the cases of the run.
        timeout_s: the time limit of a case.
        expected: what was found already for functions.
        speeds: the read bandwidth of one core, in bytes per second, by the size of the data.
    """

    cases: Sequence[Case]
    timeout_s: float
    expected: dict[ProblemSpec, Expected | Exception] = field(default_factory=dict[ProblemSpec, Any])
    speeds: dict[int, float] = field(default_factory=dict[int, float])

    def expect(self, spec: ProblemSpec) -> Expected:
        """Return what every backend must compute, found once; an error is found once too."""
        if spec not in self.expected:
            works = [case.work for case in self.cases if case.spec == spec]
            try:
                self.expected[spec] = self._ask(expected_of, spec, works)
            except Exception as error:  # any failure of the function, or of the frameworks
                self.expected[spec] = error
        found = self.expected[spec]
        if isinstance(found, Exception):
            raise found
        return found

    def judge(
        self, spec: ProblemSpec, points: Mapping[str, Array], claims: Sequence[tuple[str, Answer]]
    ) -> list[float]:
        """Return the errors of the answers over what rounding allows; the arguments are those of `judge_answers`."""
        return self._ask(judge_answers, spec, dict(points), list(claims)) if claims else []

    def limit(self, case: Case) -> float:
        """Return the bytes per second at which no computation can read the data of a case, or infinity if unknown."""
        if case.config.device != "cpu" or case.spec.is_function or case.work == "batch":
            return inf
        size, cores = max(_CACHED, case.spec.bytes), case.config.threads or len(affinity())
        if size not in self.speeds:
            try:
                self.speeds[size] = self._ask(read_bandwidth, 0.03, min(size, 4 * last_cache()), cores=1)
            except Exception:  # for example for want of memory
                self.speeds[size] = inf
        return _FASTER * cores * max(_SLOWEST, self.speeds[size])

    def _ask(self, function: Callable[..., Any], *arguments: Any, cores: int | None = None) -> Any:
        with Worker(affinity()[:cores], quiet=True) as worker:
            return worker.ask(function, *arguments, timeout=_TIMES * self.timeout_s)
