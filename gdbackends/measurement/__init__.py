"""Honest timing: the only clock, fresh processes, and what machine it was."""
