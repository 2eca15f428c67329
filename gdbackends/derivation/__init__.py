"""From the loss of one row to the gradient over n rows, step by step; sympy does every derivative."""

from gdbackends.derivation.steps import LOSSES, Derivation, Step, derive

__all__ = ["LOSSES", "Derivation", "Step", "derive"]
