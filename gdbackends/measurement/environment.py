"""Description of the environment: versions, processor, cores, memory. No framework is imported."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "XLA_FLAGS",
    "JAX_DISABLE_JIT",
    "JAX_PLATFORMS",
    "CUDA_VISIBLE_DEVICES",
)
"""The environment variables that determine the device, or the number of threads, of a framework."""

_PROCESS = Path("/proc/self")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def environment() -> dict[str, str | int | None]:
    """Return the versions (None if not installed), the processor, and the number of cores this process may use."""
    return {
        "python": platform.python_version(),
        **{package: version_of(package) for package in ("numpy", "jax", "torch")},
        "cpu": _processor(),
        "cores": len(affinity()),
    }


def machine() -> dict[str, Any]:
    """Return the limits of the machine and of this process; None stands for unknown.

    The keys are `cpu`, `cores` (by affinity), `machine_cores`, `cpu_quota` (see there), `memory_bytes`,
    `memory_available_bytes`, and `variables`, those of VARIABLES that are set.
    """
    memory = _memory()
    return {
        "cpu": _processor(),
        "cores": len(affinity()),
        "machine_cores": os.cpu_count(),
        "cpu_quota": cpu_quota(),
        "memory_bytes": memory.get("MemTotal"),
        "memory_available_bytes": memory.get("MemAvailable"),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def commit() -> str | None:
    """Return the commit of the package's checkout, with "+" if files differ from it; None if it is not in one."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return None
    words = ("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no")
    try:
        head, changed = (subprocess.check_output(["git", "-C", folder, *w], text=True, timeout=10) for w in words)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.strip() + ("+" if changed else "")


def version_of(package: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_quota(own: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the CPU time, in cores, that control groups allow the process; None if there is no readable limit.

    A quota is not an affinity: libraries still start a thread for each core, and then all of them wait.
    """
    try:
        groups = [line.split(":", 2)[1:] for line in own.read_text(encoding="utf8").splitlines()]
    except OSError:
        return None
    shares: list[float] = []
    for controllers, path in groups:
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = (
            mount / "cpu" if controllers else mount
        )  # version 1 has a tree for each controller, version 2 a single one
        leaf = root / path.lstrip("/")
        for folder in (leaf, *leaf.parents):  # the tightest of all enclosing groups applies
            if folder == root or root in folder.parents:
                shares += _share(folder, ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",))
    return min(shares, default=None)


def _share(folder: Path, files: tuple[str, ...]) -> list[float]:
    """Return [quota / period], or [] if the group has no quota ("max" or -1)."""
    try:
        quota, period = " ".join((folder / file).read_text(encoding="utf8") for file in files).split()
        return [int(quota) / int(period)] if int(quota) > 0 else []
    except (OSError, ValueError):
        return []


def _memory() -> dict[str, int]:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf8").splitlines()
    except OSError:
        return {}
    return {name: int(size.split()[0]) * 1024 for name, size in (line.split(":") for line in lines)}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def last_cache() -> int:
    """Return the bytes of the largest cache; 64 MB if unknown."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    sizes = [path.read_text(encoding="utf8").strip() for path in _CACHES.glob("index*/size")]
    return max((int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units), default=64 << 20)


def forget_peak() -> None:
    """Reset the peak memory of this process, if the system can (Linux)."""
    with suppress(OSError):
        _PROCESS.joinpath("clear_refs").write_text("5", encoding="utf8")


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes, since `forget_peak` if the system can reset it."""
    try:
        lines = _PROCESS.joinpath("status").read_text(encoding="utf8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)


def load() -> float:
    """Return the load average over the last minute; 0 if unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def busy(before: float | None, cores: int) -> str:
    """Return a sentence if the load before a measurement exceeds the cores by more than one; otherwise "".

    >>> busy(7.9, 2)
    'the machine is busy: the load is 7.9 on 2 cores; times are uncertain'
    """
    if before is None or before <= cores + 1:
        return ""
    count = "1 core" if cores == 1 else f"{cores} cores"
    return f"the machine is busy: the load is {before:.1f} on {count}; times are uncertain"


def affinity() -> list[int]:
    """Return the indices of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
