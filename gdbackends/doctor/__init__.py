"""What is installed here, whether it works, and what to type for what is missing. NumPy itself may be broken."""

from gdbackends.doctor.checkup import check_up
from gdbackends.doctor.diagnostics import Device, Diagnostics, Package, Problem, Trial

__all__ = ["Device", "Diagnostics", "Package", "Problem", "Trial", "check_up"]
