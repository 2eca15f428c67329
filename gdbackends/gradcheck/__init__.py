"""Check a hand-derived derivative: is it right within rounding, and if not, what is the mistake."""

from gdbackends.gradcheck.checking import check_gradient
from gdbackends.gradcheck.evidence import Cause
from gdbackends.gradcheck.ports import PortReport, compare_ports
from gdbackends.gradcheck.report import GradientError, GradientReport
from gdbackends.gradcheck.rules import check_rule
from gdbackends.gradcheck.vector_functions import check_jacobian, check_jvp, check_vjp

__all__ = [
    "Cause",
    "GradientError",
    "GradientReport",
    "PortReport",
    "check_gradient",
    "check_jacobian",
    "check_jvp",
    "check_rule",
    "check_vjp",
    "compare_ports",
]
