"""check_up(): look up what is installed, and try each backend in its own process."""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec

from gdbackends.doctor.diagnostics import Diagnostics, Package, Trial
from gdbackends.errors import in_one_line
from gdbackends.measurement.environment import machine, version_of
from gdbackends.measurement.subprocess_worker import Crashed, in_fresh_process

PATIENCE = 120.0
"""Seconds that a backend may take; the slowest observed start took a tenth of that."""

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
    "sympy": ("1.14.0", "sympy", "derive"),
    "altair": ("6.3.0", "altair", "viz"),
    "Jinja2": ("3.1.6", "jinja2", "viz"),
    "vl-convert-python": ("1.9.0.post1", "vl_convert", "viz"),
    "mpi4py": ("4.1.2", "mpi4py.MPI", "distributed"),
}
"""For each distribution the version in constraints.txt, the module, and the extra that installs it."""

BACKENDS = ("numpy", "jax", "torch")
"""The same as `gdbackends.backends.names()`, which cannot be imported if NumPy is broken."""


IMPORTED = (
    "narwhals",
    "polars",
    "pyarrow",
    "scikit-learn",
    "sympy",
    "altair",
    "Jinja2",
    "vl-convert-python",
    "mpi4py",
)
"""Packages that neither a backend nor the command line has imported already."""


def check_up() -> Diagnostics:
    """Return what is installed, what each backend did in its own process, and the limits of the machine."""
    packages = tuple(_package(name) for name in TESTED)
    here = {package.name for package in packages if package.version}
    trials = [_try(name) for name in BACKENDS if name in here]
    for point in entry_points(group="gdbackends.backends"):
        if point.name not in BACKENDS:
            trials.append(replace(_try(point.name), package=point.dist.name if point.dist else point.value))
    return Diagnostics(
        (Package("python", "3.11", None, platform.python_version()), *packages), tuple(trials), machine()
    )


def _package(name: str) -> Package:
    tested, module, extra = TESTED[name]
    if find_spec(module.partition(".")[0]) is None:
        return Package(name, tested, extra, None)
    try:
        problem = in_fresh_process(_import, module, timeout=PATIENCE) if name in IMPORTED else None
    except Crashed as error:
        problem = str(error)
    return Package(name, tested, extra, version_of(name) or "unknown", problem)


def _import(module: str) -> str | None:
    """Return why a module cannot be imported, or None."""
    try:
        import_module(module)
    except (Exception, SystemExit) as error:  # any error of a broken installation
        return in_one_line(error)
    return None


def _try(backend: str) -> Trial:
    try:
        return in_fresh_process(_examine, backend, timeout=PATIENCE)
    except Crashed as error:
        return Trial(backend, problem=str(error))


def _examine(backend: str) -> Trial:
    """Make the trial; an error is returned as text, since unpickling it may need the broken package."""
    try:
        from gdbackends.doctor.trial import examine  # imports NumPy, which may be broken

        return examine(backend)
    except (Exception, SystemExit) as error:  # any error of a broken installation
        if type(error).__module__ != "gdbackends.errors":
            return Trial(backend, problem=in_one_line(error))
        reason = str(error).removeprefix(f"backend {backend!r} does not work: ")
        return Trial(backend, problem=reason.removesuffix("; run: gdbackends doctor"))
