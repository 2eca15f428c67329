"""One linear regression, three frameworks, one driver: hand-derived NumPy gradients, JAX and PyTorch, compared."""

from gdbackends.backends import Backend, get_backend
from gdbackends.datasets import Dataset
from gdbackends.descent import Fit, fit
from gdbackends.objectives import LinearRegression
from gdbackends.reading import read

__version__ = "0.1.0"

__all__ = ["Backend", "Dataset", "Fit", "LinearRegression", "fit", "get_backend", "read"]
