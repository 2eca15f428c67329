"""Timing: the only clock of the package, its statistics, fresh processes, and a description of the machine."""

from gdbackends.measurement.timing import Timing, measure

__all__ = ["Timing", "measure"]
