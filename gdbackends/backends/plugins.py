"""Backends of other packages: entry points of the group `gdbackends.backends`, and module:name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from inspect import signature
from typing import Any

from gdbackends.errors import BackendError, InputError, MissingBackendError, in_one_line

GROUP = "gdbackends.backends"


@cache
def plugins() -> Mapping[str, EntryPoint]:
    """Return the entry points of installed packages, by the names that they give their backends."""
    return {point.name: point for point in entry_points(group=GROUP)}


def check_importable(name: str) -> None:
    """Refuse a module:name whose module cannot be found; nothing is imported but its parent packages."""
    module, _, attribute = name.partition(":")
    try:
        found = bool(module and attribute) and find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise MissingBackendError(
            f"backend {name!r} must be module:name of an importable module; check its spelling and PYTHONPATH"
        )


def load(name: str) -> Callable[..., Any]:
    """Import what makes the backend of that name, an entry point or module:name.

    Raises:
        BackendError: it cannot be imported, or cannot be called.
    """
    try:
        if ":" in name:
            module, _, attribute = name.partition(":")
            make = getattr(import_module(module), attribute)
        else:
            make = plugins()[name].load()
    except (Exception, SystemExit) as error:  # any error of another package
        raise BackendError(f"backend {name!r} cannot be imported: {in_one_line(error)[:300]}") from error
    if not callable(make):
        raise BackendError(f"backend {name!r} must be a function or class that returns a backend, got {make!r}")
    return make


def made(name: str, make: Callable[..., Any], settings: Mapping[str, str]) -> Any:
    """Call `make` with those of the settings (device, dtype, tuning) that it takes, and return the backend.

    Raises:
        BackendError: it raises an error.
        InputError: it does not have the device, dtype or tuning.
    """
    try:
        taken = signature(make).parameters.values()
        every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken)
        names = {parameter.name for parameter in taken}
        backend = make(**{key: value for key, value in settings.items() if every or key in names})
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # any error of another package
        raise BackendError(f"backend {name!r} does not work: {in_one_line(error)[:300]}") from error
    for key, value in settings.items():
        has = getattr(backend, key, "best" if key == "tuning" else None)
        if has != value:
            raise InputError(f"{key} {value!r} is not available for {name}; it has {has!r}")
    return backend
