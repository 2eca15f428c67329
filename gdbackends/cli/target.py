"""The TARGET of `gdbackends check`: a loss and its gradient out of a Python file, or a bundled loss by its spelling."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from types import ModuleType, NoneType
from typing import Any, cast

from gdbackends.errors import InputError, file_error
from gdbackends.objectives import LinearModel, RowLoss, parse_loss

_MODULE = "gdbackends_target"


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be checked.

    Attributes:
        loss: a function, or one for each framework.
        gradient: a function.
        bundled: the bundled loss; None if a file holds the target.
        theta: the parameters that the file defines, if it does.
        data: the arrays that the file defines, if it does.
        params: the hyper-parameters that the file defines for its functions.
    """

    loss: Any
    gradient: Callable[..., Any]
    bundled: RowLoss | None = None
    theta: Any = None
    data: tuple[Any, ...] | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])


def find_target(text: str) -> Target:
    """Return what FILE.py, FILE.py:NAME, FILE.py:LOSS,GRADIENT or a bundled loss's spelling stands for.

    The file is run.

    Raises:
        InputError: there is no such thing, in one line.
    """
    path, _, names = (text, "", "loss") if text.endswith(".py") else text.rpartition(":")
    if not path.endswith(".py"):
        try:
            objective = LinearModel(row_loss=parse_loss(text))
        except InputError as error:
            raise InputError(f"{error}; or name a file, as FILE.py:NAME") from None
        return Target(objective.loss, objective.gradient, bundled=objective.row_loss)
    module = _run(path)
    loss, gradient = _pair(path, module, names)
    data, params = getattr(module, "data", None), getattr(module, "params", {})
    if not isinstance(data, (tuple, NoneType)) or not isinstance(params, dict):
        raise InputError(f"{path}: data must be a tuple of arrays, and params a dictionary by name")
    own = cast("dict[str, Any]", params) if not hasattr(loss, "__self__") else {}  # an object has its own
    return Target(loss, gradient, None, getattr(module, "theta", None), cast("tuple[Any, ...] | None", data), own)


def _run(path: str) -> ModuleType:
    """Run a file as a module; it imports from its own folder."""
    file = Path(path).resolve()
    try:
        source = file.read_bytes()
    except OSError as error:
        raise file_error(path, "read", error) from None
    module = sys.modules[_MODULE] = ModuleType(_MODULE)  # dataclasses look their module up
    module.__file__ = str(file)
    sys.path.insert(0, str(file.parent))
    try:
        exec(compile(source, file, "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:  # whatever a file may raise
        raise _broken(path, file, error) from error
    return module


def _broken(path: str, file: Path, error: BaseException) -> InputError:
    """Return the error's last line, and the file's line that it comes from."""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(file)]
    where = f", line {lines[-1]}" if lines else ""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return InputError(f"{path}: cannot be run: {text}{where}")


def _pair(path: str, module: ModuleType, names: str) -> tuple[Any, Callable[..., Any]]:
    """Return the loss and the gradient that the names mean: LOSS,GRADIENT, or one NAME."""
    name, comma, second = names.partition(",")
    value: Any = _lookup(path, module, name)
    if comma:
        return value, _lookup(path, module, second)
    value = _made(path, name, value) if isinstance(value, type) else value
    if callable(getattr(value, "loss", None)) and callable(getattr(value, "gradient", None)):
        return value.loss, value.gradient
    if not callable(value) and not isinstance(value, dict):  # one for each framework
        raise InputError(f"{path}: {name} is neither a function nor an object with a loss and a gradient")
    candidates = (f"{name}_gradient", f"{name}_grad", "gradient", "grad")
    gradient = next((getattr(module, other) for other in candidates if hasattr(module, other)), None)
    if gradient is None:
        raise InputError(f"{path}: no gradient of {name}: none of {', '.join(candidates)}; give {path}:{name},GRADIENT")
    return cast(Any, value), gradient


def _lookup(path: str, module: ModuleType, name: str) -> Any:
    """Return what the file calls by that name."""
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == _MODULE]
        raise InputError(f"{path}: no name {name!r}; it defines {', '.join(own[:10]) or 'no function and no class'}")
    return getattr(module, name)


def _made(path: str, name: str, kind: type) -> Any:
    """Return an instance of a class."""
    try:
        return cast(Any, kind)()
    except Exception as error:  # whatever its __init__ may raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: {name}() fails: {text}; make an object in the file and give its name") from error
