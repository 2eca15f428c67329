"""Functions from a Python file of the user, which is run with the user's permissions."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any, cast

from gdbackends.errors import InputError, file_error, in_one_line

_MODULE = "gdbackends_target"


def split_target(text: str, default: str = "loss") -> tuple[str, str] | None:
    """Return the path and the name of FILE.py:NAME, or of FILE.py with the default name; None for any other text."""
    path, _, name = (text, "", default) if text.endswith(".py") else text.rpartition(":")
    return (path, name) if path.endswith(".py") and name else None


def file_digest(text: str) -> str | None:
    """Return 12 digits that change with the content of the file of FILE.py:NAME; None for any other text."""
    found = split_target(text)
    if found is None:
        return None
    try:
        return sha256(Path(found[0]).read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise file_error(found[0], "read", error) from None


def run_file(path: str) -> ModuleType:
    """Run a file as a module, with its folder on the import path.

    Raises:
        InputError: the file cannot be read, or raises an error; the message has its line.
    """
    file = Path(path).resolve()
    try:
        source = file.read_bytes()
    except OSError as error:
        raise file_error(path, "read", error) from None
    name = f"{_MODULE}_{sha256(str(file).encode()).hexdigest()[:8]}"
    module = sys.modules[name] = ModuleType(name)  # dataclasses and compilers look up their module
    module.__file__ = str(file)
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    try:
        exec(compile(source, file, "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:  # any error of the file
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(file)]
        where = f", line {lines[-1]}" if lines else ""
        raise InputError(f"{path}: cannot be run: {in_one_line(error)}{where}") from error
    return module


def lookup(path: str, module: ModuleType, name: str) -> Any:
    """Return the value of a name in the file.

    Raises:
        InputError: the file does not define it.
    """
    if not hasattr(module, name):
        defined = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        names = ", ".join(defined[:10]) or "no function and no class"
        raise InputError(f"{path}: no name {name!r}; it defines {names}")
    return getattr(module, name)


def instance(path: str, module: ModuleType, name: str) -> Any:
    """Return the value of a name in the file, or an object of it if it is a class.

    Raises:
        InputError: the file does not define it, or the class takes arguments.
    """
    value = lookup(path, module, name)
    if not isinstance(value, type):
        return value
    try:
        return cast(Any, value)()
    except Exception as error:  # any error of its __init__
        advice = "define an object of the class in the file and give its name"
        raise InputError(f"{path}: {name}() fails: {in_one_line(error)}; {advice}") from error


def loss_and_gradient(
    path: str, module: ModuleType, names: str, suffixes: tuple[str, ...] = ("gradient", "grad")
) -> tuple[Any, Any]:
    """Return the loss and its derivative for the names "LOSS,GRADIENT" or "NAME".

    The derivative is None if there is none, and True if the loss returns both, as returns_gradient = True says.

    Raises:
        InputError: the file does not define the name, or it is not a loss.
    """
    name, comma, of = names.partition(",")
    if comma:
        return lookup(path, module, name), lookup(path, module, of)
    value = instance(path, module, name)
    if callable(getattr(value, "loss", None)):
        gradient = getattr(value, "gradient", None)
        return value.loss, gradient if callable(gradient) else None
    if not callable(value) and not isinstance(value, dict):  # a dictionary has a loss for each framework
        raise InputError(f"{path}: {name} is neither a function nor an object with a loss")
    gradient = companion(module, name, suffixes)
    both = gradient is None and suffixes[0] == "gradient" and getattr(module, "returns_gradient", False)
    return cast(Any, value), True if both else gradient


def made(path: str, module: ModuleType, name: str, size: Mapping[str, int]) -> Any:
    """Return a value of the file, or what a function of that name returns for the rows, features and seed; or None.

    Raises:
        InputError: the function fails.
    """
    value = getattr(module, name, None)
    if not callable(value):
        return value
    try:
        return value(**size)
    except Exception as error:  # any error of the file
        raise InputError(f"{path}: {name}(rows, features, seed) fails: {in_one_line(error)[:200]}") from error


def companion(module: ModuleType, name: str, suffixes: tuple[str, ...]) -> Any:
    """Return the derivative of a function of the file: NAME_SUFFIX or SUFFIX, for the first there is; or None."""
    candidates = (*(f"{name}_{suffix}" for suffix in suffixes), *suffixes)
    return next((getattr(module, other) for other in candidates if hasattr(module, other)), None)
