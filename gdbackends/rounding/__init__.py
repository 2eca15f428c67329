"""What rounding allows: closed error bounds, exact references, and the quotient by which everything is judged."""

from gdbackends.rounding.bounds import Evaluation, evaluate, gamma, has_bound, unit_roundoff
from gdbackends.rounding.exact import exact_value_and_grad
from gdbackends.rounding.limit import VISIBLE, Limit, Values

__all__ = [
    "VISIBLE",
    "Evaluation",
    "Limit",
    "Values",
    "evaluate",
    "exact_value_and_grad",
    "gamma",
    "has_bound",
    "unit_roundoff",
]
