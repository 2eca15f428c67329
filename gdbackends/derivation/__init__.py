"""From the loss of one row to the gradient over n rows, step by step; sympy does every derivative."""

from gdbackends.derivation.steps import Derivation, DerivationStep, derive

__all__ = ["Derivation", "DerivationStep", "derive"]
