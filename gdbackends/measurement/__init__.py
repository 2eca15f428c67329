"""Measure time: the clock, its statistics, fresh processes, and the environment of a measurement."""

from gdbackends.measurement.timing import Timing, measure

__all__ = ["Timing", "measure"]
