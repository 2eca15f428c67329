"""check_up(): looks up what is installed, and has each backend tried in a process of its own."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.util import find_spec

from gdbackends.doctor.diagnostics import Diagnostics, Package, Trial, in_one_line
from gdbackends.measurement.environment import machine, version_of
from gdbackends.measurement.subprocess_worker import Crashed, in_fresh_process

PATIENCE = 120.0
"""Seconds that a backend may take; the slowest start seen takes a tenth of that."""

TESTED = {
    "numpy": ("2.4.6", "numpy", None),
    "array-api-compat": ("1.16.0", "array_api_compat", None),
    "click": ("8.5.1", "click", None),
    "narwhals": ("2.29.0", "narwhals", None),
    "rich": ("15.0.0", "rich", None),
    "jax": ("0.10.2", "jax", "jax"),
    "jaxlib": ("0.10.2", "jaxlib", "jax"),
    "torch": ("2.13.0", "torch", "torch"),
    "polars": ("2.1.0", "polars", "data"),
    "pyarrow": ("26.0.1", "pyarrow", "data"),
    "scikit-learn": ("1.9.1", "sklearn", "sklearn"),
}
"""Distribution: the version in constraints.txt, the module, and the extra that brings it."""

BACKENDS = ("numpy", "jax", "torch")
"""As `gdbackends.backends.names()`, which is out of reach where NumPy is broken."""


IMPORTED = ("narwhals", "polars", "pyarrow", "scikit-learn")
"""What neither a backend nor the command line has imported already."""


def check_up() -> Diagnostics:
    """Return what is installed, what each backend did in a process of its own, and the machine's limits."""
    packages = tuple(_package(name) for name in TESTED)
    here = {package.name for package in packages if package.version}
    trials = tuple(_try(name) for name in BACKENDS if name in here)
    return Diagnostics((Package("python", "3.11", None, platform.python_version()), *packages), trials, machine())


def _package(name: str) -> Package:
    tested, module, extra = TESTED[name]
    if find_spec(module) is None:
        return Package(name, tested, extra, None)
    try:
        problem = in_fresh_process(_import, module, timeout=PATIENCE) if name in IMPORTED else None
    except Crashed as error:
        problem = str(error)
    return Package(name, tested, extra, version_of(name) or "unknown", problem)


def _import(module: str) -> str | None:
    """Return what is wrong with it, or None."""
    try:
        import_module(module)
    except (Exception, SystemExit) as error:  # whatever a broken installation may raise
        return in_one_line(error)
    return None


def _try(backend: str) -> Trial:
    try:
        return in_fresh_process(_examine, backend, timeout=PATIENCE)
    except Crashed as error:
        return Trial(backend, problem=str(error))


def _examine(backend: str) -> Trial:
    """Make the trial; an error goes back as text, for an exception's class may need the broken package to be read."""
    try:
        from gdbackends.doctor.trial import examine  # imports NumPy, which may be what is broken

        return examine(backend)
    except (Exception, SystemExit) as error:  # whatever a broken installation may raise
        return Trial(backend, problem=in_one_line(error))
