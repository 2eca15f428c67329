"""What the figures were measured with: versions, processor, cores, memory. No framework is imported."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "XLA_FLAGS",
    "JAX_PLATFORMS",
    "CUDA_VISIBLE_DEVICES",
)
"""The environment variables that change which device, or how many threads, a framework takes."""


def environment() -> dict[str, str | int | None]:
    """Return versions (None: not installed), the processor's name and the number of cores this process may use."""
    return {
        "python": platform.python_version(),
        **{package: version_of(package) for package in ("numpy", "jax", "torch")},
        "cpu": _processor(),
        "cores": _usable_cores(),
    }


def machine() -> dict[str, Any]:
    """Return what limits a computation here; None where the system does not say.

    `cpu`, and `cores` that this process may use (affinity); `machine_cores`; `cpu_quota`, see there; `memory_bytes` of
    the machine and `memory_available_bytes`; `variables`, those of VARIABLES that are set.
    """
    memory = _memory()
    return {
        "cpu": _processor(),
        "cores": _usable_cores(),
        "machine_cores": os.cpu_count(),
        "cpu_quota": cpu_quota(),
        "memory_bytes": memory.get("MemTotal"),
        "memory_available_bytes": memory.get("MemAvailable"),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def version_of(package: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cpu_quota(own: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many cores' worth of time the process's control groups leave it; None: no limit that can be read.

    A quota is no affinity: every library still starts a thread for each core, and then all of them wait.
    """
    try:
        groups = [line.split(":", 2)[1:] for line in own.read_text(encoding="utf8").splitlines()]
    except OSError:
        return None
    shares: list[float] = []
    for controllers, path in groups:
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = mount / "cpu" if controllers else mount  # version 1 has a tree for each controller, version 2 one
        leaf = root / path.lstrip("/")
        for folder in (leaf, *leaf.parents):  # the tightest of all that enclose it holds
            if folder == root or root in folder.parents:
                shares += _share(folder, ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",))
    return min(shares, default=None)


def _share(folder: Path, files: tuple[str, ...]) -> list[float]:
    """Return [quota / period], or [] where the group has none ("max" or -1)."""
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
