"""For the author of a gradient: is it right within rounding, what is the mistake, how small an error would be seen."""

from gdbackends.gradcheck.checking import check_gradient
from gdbackends.gradcheck.evidence import Cause
from gdbackends.gradcheck.report import GradientError, GradientReport

__all__ = ["Cause", "GradientError", "GradientReport", "check_gradient"]
