"""Honest timing: the only clock, its statistics, fresh processes, and what machine it was."""

from gdbackends.measurement.timing import Timing, measure

__all__ = ["Timing", "measure"]
