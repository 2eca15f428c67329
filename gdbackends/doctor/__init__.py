"""What is installed here, whether it works, and what to type for what is missing. NumPy itself may be broken."""

from gdbackends.doctor.checkup import check_up
from gdbackends.doctor.result import Checkup, Device, Package, Problem, Trial

__all__ = ["Checkup", "Device", "Package", "Problem", "Trial", "check_up"]
