"""Check a hand-derived gradient: is it right within rounding, and if not, what is the mistake."""

from gdbackends.gradcheck.checking import check_gradient
from gdbackends.gradcheck.evidence import Cause
from gdbackends.gradcheck.report import GradientError, GradientReport

__all__ = ["Cause", "GradientError", "GradientReport", "check_gradient"]
