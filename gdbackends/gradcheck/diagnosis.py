"""Which mistake explains a wrong gradient: the hypothesis of the fewest constants that explains every component.

One is accepted only if it explains all of them, at every point, to within a few times what rounding allows, and nine
tenths of the difference: where that is itself only a few times what rounding allows, any hypothesis comes within it.
"""

from __future__ import annotations

from dataclasses import replace

from gdbackends.gradcheck.evidence import Cause, Evidence
from gdbackends.gradcheck.mistakes import HYPOTHESES


def diagnose(evidence: Evidence) -> Cause | None:
    """Return the first explanation that is accepted, with the next one in words; None if none is."""
    found: list[Cause] = []
    most = min(1.0, evidence.left_by(evidence.right) / 10)
    for hypothesis, nested in HYPOTHESES:
        if found and nested:
            break
        found += [cause for cause in hypothesis(evidence) if cause.leaves is not None and cause.leaves <= most]
    if not found:
        return None
    first = min((c for c in found if c.kind == found[0].kind), key=lambda c: c.leaves or 0.0)
    others = [cause.text for cause in found if cause.kind != first.kind]
    return replace(first, runner_up=others[0] if others else None)
