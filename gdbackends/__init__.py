"""One linear regression, three frameworks, one driver: hand-derived NumPy gradients, JAX and PyTorch, compared."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gdbackends.backends import Backend, get_backend
    from gdbackends.comparison import Comparison, compare
    from gdbackends.datasets import Dataset
    from gdbackends.descent import Fit, fit
    from gdbackends.gradcheck import (
        GradientError,
        GradientReport,
        PortReport,
        check_gradient,
        check_jacobian,
        check_jvp,
        check_rule,
        check_vjp,
        compare_ports,
    )
    from gdbackends.measurement import Timing, measure
    from gdbackends.objectives import LinearRegression
    from gdbackends.reading import read

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "Comparison",
    "Dataset",
    "Fit",
    "GradientError",
    "GradientReport",
    "LinearRegression",
    "PortReport",
    "Timing",
    "check_gradient",
    "check_jacobian",
    "check_jvp",
    "check_rule",
    "check_vjp",
    "compare",
    "compare_ports",
    "fit",
    "get_backend",
    "measure",
    "read",
]

_ROOMS = {
    "Backend": "backends",
    "Comparison": "comparison",
    "Dataset": "datasets",
    "Fit": "descent",
    "GradientError": "gradcheck",
    "GradientReport": "gradcheck",
    "LinearRegression": "objectives",
    "PortReport": "gradcheck",
    "Timing": "measurement",
    "check_gradient": "gradcheck",
    "check_jacobian": "gradcheck",
    "check_jvp": "gradcheck",
    "check_rule": "gradcheck",
    "check_vjp": "gradcheck",
    "compare": "comparison",
    "compare_ports": "gradcheck",
    "fit": "descent",
    "get_backend": "backends",
    "measure": "measurement",
    "read": "reading",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used; `import gdbackends` alone imports nothing, not even NumPy."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'gdbackends' has no attribute {name!r}; its names are {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(f"gdbackends.{_ROOMS[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
