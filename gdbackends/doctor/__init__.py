"""What is installed, whether it works, and what to run for what is missing; NumPy itself may be broken."""

from gdbackends.doctor.checks import check_up
from gdbackends.doctor.diagnostics import Device, Diagnostics, Finding, Package, Trial

__all__ = ["Device", "Diagnostics", "Finding", "Package", "Trial", "check_up"]
