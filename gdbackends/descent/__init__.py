"""Gradient descent: a problem is prepared once, its rates and pieces are laid out, and one driver makes the steps."""

from gdbackends.descent.driver import GradientStep, descend, fit, fit_prepared, in_data_units
from gdbackends.descent.problem import Problem, ProblemOptions, prepare
from gdbackends.descent.rates import learning_rates
from gdbackends.descent.result import Check, Fit, Stop

__all__ = [
    "Check",
    "Fit",
    "GradientStep",
    "Problem",
    "ProblemOptions",
    "Stop",
    "descend",
    "fit",
    "fit_prepared",
    "in_data_units",
    "learning_rates",
    "prepare",
]
