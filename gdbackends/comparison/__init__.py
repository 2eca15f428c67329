"""The same fit on every backend: what each computed, whether they agree, and the time that each took."""

from gdbackends.comparison.comparing import compare
from gdbackends.comparison.result import Comparison, Row, Settings

__all__ = ["Comparison", "Row", "Settings", "compare"]
