"""Compare the same fit on every backend: what each computed, whether they agree, and how long each took."""

from gdbackends.comparison.comparing import compare
from gdbackends.comparison.comparison_result import BackendResult, Comparison, Settings

__all__ = ["BackendResult", "Comparison", "Settings", "compare"]
