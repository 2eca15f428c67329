"""The steps from the loss of one row to the gradient over n rows; sympy finds every derivative."""

from gdbackends.derivation.steps import Derivation, DerivationStep, derive

__all__ = ["Derivation", "DerivationStep", "derive"]
