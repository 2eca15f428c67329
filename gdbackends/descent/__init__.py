"""Gradient descent: a problem is prepared once, its rates and chunks of steps are computed, and one driver runs it."""

from gdbackends.descent.driver import GradientStep, descend, fit, fit_prepared, in_data_units
from gdbackends.descent.problem import Problem, ProblemOptions, TableProblem, prepare, prepare_function
from gdbackends.descent.rates import learning_rates
from gdbackends.descent.result import Check, Fit, Stop

__all__ = [
    "Check",
    "Fit",
    "GradientStep",
    "Problem",
    "ProblemOptions",
    "Stop",
    "TableProblem",
    "descend",
    "fit",
    "fit_prepared",
    "in_data_units",
    "learning_rates",
    "prepare",
    "prepare_function",
]
