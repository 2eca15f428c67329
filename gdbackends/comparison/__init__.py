"""The same fit on every backend: what each computed, whether they agree, and the time that each took."""

from gdbackends.comparison.comparing import compare
from gdbackends.comparison.outcome import BackendResult, Comparison, Settings

__all__ = ["BackendResult", "Comparison", "Settings", "compare"]
