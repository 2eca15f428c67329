"""The Backend protocol, the backends that there are, and get_backend(): a backend from its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias, runtime_checkable

from gdbackends.backends.capabilities import Capabilities, SystemInfo, capabilities
from gdbackends.backends.joining import join
from gdbackends.backends.plugins import check_importable, load, made, plugins
from gdbackends.errors import BackendError, InputError, InputTypeError, MissingBackendError, in_one_line
from gdbackends.objectives import Array, Objective

StepFunction: TypeAlias = Callable[..., tuple[Array, tuple[Array, ...]]]
"""step(carry, x, *data) -> (carry, outputs); x is a tuple with one element of each array that is stepped over."""

__all__ = [
    "DTYPES",
    "TUNINGS",
    "Backend",
    "Capabilities",
    "StepFunction",
    "SystemInfo",
    "capabilities",
    "check_installed",
    "check_mode",
    "get_backend",
    "installed",
    "is_cacheable",
    "is_table",
    "join",
    "names",
    "tunings",
    "validate_settings",
]

DTYPES = ("float64", "float32")
TUNINGS = ("best", "idiomatic", "eager", "functional", "compiled")
"""The variants of the bundled backends; `tunings` returns those of one backend.

- best: as fast as the framework can.
- idiomatic: as it is usually written: X row-major, all of it at once, and `loss.backward()` in PyTorch.
- eager: JAX as idiomatic, but nothing is compiled, and steps run in a Python loop.
- functional: PyTorch as idiomatic, but differentiated by `torch.func`.
- compiled: PyTorch by `torch.func` and `torch.compile`, with many steps in one call.
"""

_TABLE: dict[str, tuple[str, ...]] = {
    "numpy": ("numpy", "gdbackends.backends.numpy_backend", "NumpyBackend"),
    "jax": ("jax", "gdbackends.backends.jax_backend", "JaxBackend", "eager"),
    "torch": ("torch", "gdbackends.backends.torch_backend", "TorchBackend", "functional", "compiled"),
}
"""The package, the module, the class, and the tunings beside "best" and "idiomatic"."""


@runtime_checkable
class Backend(Protocol):
    """One framework on one device in one precision: it places arrays, differentiates, and repeats a step.

    What only some backends offer is listed in `Capabilities`.
    """

    @property
    def name(self) -> str:
        """The framework: "numpy", "jax", "torch"."""
        ...

    @property
    def device(self) -> str:
        """The device, by the framework's name: "cpu", "cuda:0"."""
        ...

    @property
    def dtype(self) -> str:
        """The dtype of every floating result: "float64" or "float32"."""
        ...

    def asarray(self, array: Array) -> Array:
        """Copy a NumPy array to the device: numbers in `dtype`, integers and booleans as they are."""
        ...

    def to_numpy(self, array: Array) -> Array:
        """Copy an array of the backend to a new, writable NumPy array."""
        ...

    def value_and_grad(self, objective: Objective) -> Callable[..., tuple[Array, Array]]:
        """Return f(theta, *data) -> (loss, gradient), for the backend's arrays; data are usually X and y."""
        ...

    def repeat(
        self, step: StepFunction, carry: Array, xs: Sequence[Array], data: Sequence[Array]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return the last carry, and the stacked outputs in NumPy, like `lax.scan` over the NumPy arrays xs."""
        ...

    def synchronize(self, array: Array) -> None:
        """Wait until the array has been computed."""
        ...


def get_backend(name: str, device: str | None = None, dtype: str = "float64", tuning: str = "best") -> Backend:
    """Return the backend of that name.

    Args:
        name: "numpy", "jax" or "torch"; the name of a backend of another installed package, which declares it as an
            entry point of the group "gdbackends.backends"; or "module:name" of a function or class that returns a
            backend. Those are called with as many of the other arguments as they take.
        device: "cpu" (NumPy has no other); JAX "gpu", PyTorch "cuda" or "cuda:0"; None means "cpu".
        dtype: "float64" or "float32".
        tuning: one of `tunings(name)`: "best", as fast as the framework can; "idiomatic", as it is usually written; JAX
            "eager", without compilation; PyTorch "functional", by torch.func, and "compiled", by torch.compile.

    Raises:
        MissingBackendError: the framework is not installed; the message says what to run.
        BackendError: the framework is installed and cannot be imported or started.
        InputError: there is no such backend, device, dtype or tuning.
    """
    check_installed(name)
    settings = {"dtype": dtype, "tuning": tuning} | ({} if device is None else {"device": device})
    if name not in _TABLE:
        backend = made(name, load(name), settings)
        if not isinstance(backend, Backend):
            raise BackendError(f"backend {name!r} must implement the Backend protocol, got {type(backend).__name__}")
        return backend
    _, module, kind, *_ = _TABLE[name]
    try:
        return getattr(import_module(module), kind)(**settings)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # any error of a broken installation
        reason = in_one_line(error)[:300]
        raise BackendError(f"backend {name!r} does not work: {reason}; run: gdbackends doctor") from error


def check_installed(name: str) -> None:
    """Refuse an unknown backend, and one whose framework is not installed; nothing is imported."""
    if not isinstance(name, str):
        raise InputTypeError(f"backend must be a name, one of {', '.join(names())}, got {name!r}")
    if ":" in name:
        check_importable(name)
        return
    if name not in names():
        raise InputError(f"backend must be one of {', '.join(names())}, or module:name, got {name!r}")
    package = _TABLE[name][0] if name in _TABLE else None
    if package is not None and find_spec(package) is None:
        raise MissingBackendError(
            f"backend {name!r} needs the package {package}, which is not installed; "
            f"run: pip install 'gdbackends[{name}]'"
        )


def validate_settings(
    backend: Backend,
    devices: Sequence[str],
    tunings: Sequence[str] = TUNINGS[:2],
    internal: Sequence[str] = ("batches",),
) -> None:
    """Refuse an unknown dtype, a device that is not in `devices`, and a tuning that is neither public nor internal.

    The package chooses the internal ones by itself: "batches" is "best" for steps over batches, which gather rows:
    row-major.
    """
    if not isinstance(backend.dtype, str) or backend.dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {backend.dtype!r}")
    tuning: Any = capabilities(backend).tuning
    if not isinstance(tuning, str) or tuning not in (*tunings, *internal):
        raise InputError(f"tuning of {backend.name} must be {' or '.join(tunings)}, got {tuning!r}")
    if backend.device not in devices:
        raise InputError(f"device {backend.device!r} is not available for {backend.name}; it has {', '.join(devices)}")


def check_mode(mode: str) -> None:
    """Refuse a mode of differentiation that is neither "forward" nor "reverse"."""
    if mode not in ("forward", "reverse"):
        raise InputError(f"mode must be forward or reverse, got {mode!r}")


def is_table(data: Sequence[Any]) -> bool:
    """Return whether data are (X, y), a matrix and a number for each of its rows: only those are cut into blocks."""
    return len(data) == 2 and data[0].ndim == 2 and tuple(data[1].shape) == (data[0].shape[0],)


def is_cacheable(thing: object) -> bool:
    """Return whether a thing is immutable: a number, text, or a frozen dataclass of such, compared by all fields.

    Compiled code is cached for equal objectives only if they are immutable: one that is changed in place would
    otherwise run with its old values.
    """
    if thing is None or type(thing) in (bool, int, float, str):
        return True
    hashed = type(thing).__hash__ not in (None, object.__hash__)  # among dataclasses, the frozen ones
    return (
        hashed
        and is_dataclass(thing)
        and all(f.compare and is_cacheable(getattr(thing, f.name)) for f in fields(thing))
    )


def installed() -> tuple[str, ...]:
    """Return the names of the bundled backends whose frameworks are installed, and of those of other packages.

    Nothing is imported.
    """
    bundled = (name for name, (package, *_) in _TABLE.items() if find_spec(package) is not None)
    return (*bundled, *(name for name in plugins() if name not in _TABLE))


def names() -> tuple[str, ...]:
    """Return the names of all backends: those bundled, installed or not, and those of other packages."""
    return (*_TABLE, *(name for name in plugins() if name not in _TABLE))


def tunings(name: str) -> tuple[str, ...]:
    """Return the tunings of the backend of that name: ("best",) if it is of another package; nothing is imported."""
    return (*TUNINGS[:2], *_TABLE[name][3:]) if name in _TABLE else TUNINGS[:1]
