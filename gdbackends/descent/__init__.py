"""Gradient descent: a problem is prepared once, its rates and pieces are laid out, and one driver makes the steps."""

from gdbackends.descent.driver import Step, check_settings, descend, fit, fit_prepared
from gdbackends.descent.problem import Problem, prepare
from gdbackends.descent.rates import learning_rates
from gdbackends.descent.result import Check, Fit, Stop

__all__ = [
    "Check",
    "Fit",
    "Problem",
    "Step",
    "Stop",
    "check_settings",
    "descend",
    "fit",
    "fit_prepared",
    "learning_rates",
    "prepare",
]
