"""A backend for HIPS autograd, on the CPU: NumPy code, differentiated in reverse mode."""

from dataclasses import dataclass

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from autograd.numpy.numpy_boxes import ArrayBox

from gdbackends.backends import Capabilities, validate_settings

ArrayBox.__array_namespace__ = lambda self, *, api_version=None: anp  # by which losses find their functions


@dataclass(frozen=True)
class AutogradBackend(Capabilities):
    """HIPS autograd."""

    device: str = "cpu"
    dtype: str = "float64"
    tuning: str = "best"
    name: str = "autograd"

    def __post_init__(self):
        """Refuse another device, and an unknown dtype or tuning."""
        validate_settings(self, devices=("cpu",))

    def asarray(self, array):
        """Copy."""
        return np.array(array, None if array.dtype.kind in "ib" else self.dtype)

    def to_numpy(self, array):
        """Copy."""
        return np.array(array)

    def value_and_grad(self, objective):
        """Return autograd's value_and_grad of the loss."""
        both = value_and_grad(objective.loss)

        def evaluate(theta, *data):
            value, gradient = both(theta, *data)
            return np.asarray(value, self.dtype), gradient.astype(self.dtype)

        return evaluate

    def repeat(self, step, carry, xs, data):
        """Run the steps in a Python loop."""
        outputs = []
        for x in zip(*xs, strict=True):
            carry, output = step(carry, x, *data)
            outputs.append(output)
        return carry, tuple(np.array(column) for column in zip(*outputs, strict=True))

    def synchronize(self, array):
        """Do nothing: NumPy does not run ahead."""
