"""For the author of a gradient: is it right within rounding, what is the mistake, how small an error would be seen."""

from gdbackends.agreement.checking import check_gradient
from gdbackends.agreement.evidence import Cause
from gdbackends.agreement.report import GradientError, GradientReport

__all__ = ["Cause", "GradientError", "GradientReport", "check_gradient"]
