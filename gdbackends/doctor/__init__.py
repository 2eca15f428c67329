"""Diagnose the installation: what is installed, whether it works, and how to install or repair the rest.

Nothing here needs a working NumPy, except the trial of a backend, which runs in its own process.
"""

from gdbackends.doctor.checkup import check_up
from gdbackends.doctor.diagnostics import Device, Diagnostics, Package, Problem, Trial

__all__ = ["Device", "Diagnostics", "Package", "Problem", "Trial", "check_up"]
