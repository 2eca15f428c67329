"""Errors caused by the user: one line each that says what was wrong, what was got, and what to do."""

from __future__ import annotations

import os
from importlib.util import find_spec
from numbers import Integral


class InputError(ValueError):
    """An argument cannot be used; the message says why, what was got, and what to do."""


class InputTypeError(InputError, TypeError):
    """An argument has the wrong type."""


class MissingPackageError(InputError, ImportError):
    """A package of an extra is not installed; the message says what to run."""


class MissingBackendError(MissingPackageError):
    """The framework of a backend is not installed; the message says what to run."""


class BackendError(InputError):
    """The framework of a backend is installed and does not work; the message says why."""


def whole_number(name: str, value: object) -> int:
    """Return value as an int; refuse anything but a whole number (True and 1.0 are refused)."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise InputTypeError(f"{name} must be a whole number, got {value!r}")
    return int(value)


def require_package(what: str, package: str, extra: str, module: str = "") -> None:
    """Raise if a package is not installed, and say what to run; nothing is imported."""
    if find_spec(module or package) is None:
        raise MissingPackageError(
            f"{what} needs the package {package}, which is not installed; run: pip install 'gdbackends[{extra}]'"
        )


def check_memory(needed: int, what: str, advice: str = "ask for less") -> None:
    """Refuse data of more bytes than the machine has, before allocation, which may succeed and end the process later.

    Raises:
        InputError: they do not fit.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise InputError(f"{what} needs {_size(needed)} of memory, and this machine has {_size(memory)}; {advice}")


def _size(count: int) -> str:
    """Return a number of bytes with its unit."""
    scale, unit = next(((s, u) for s, u in ((10**12, "TB"), (10**9, "GB")) if count >= s), (10**6, "MB"))
    return f"{count / scale:.3g} {unit}"


def file_error(path: object, action: str, error: OSError, advice: str = "") -> InputError:
    """Return the error for a file that cannot be "read" or "written", with the system's reason and some advice."""
    reason = (error.strerror or str(error)).lower()
    return InputError(f"{path}: cannot be {action}: {reason}" + (f"; {advice}" if advice else ""))


def in_one_line(error: BaseException) -> str:
    """Return an error's class and text in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
