"""What a backend may offer beyond the `Backend` protocol, with the default for a backend that does not offer it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from gdbackends.objectives import Array, Objective


@dataclass(frozen=True)
class SystemInfo:
    """What a backend knows of the machine.

    Attributes:
        devices: for each device the name that `get_backend` takes, the product name, and the memory in bytes; "" and
            None for the CPU.
        threads: CPU threads used, or None if unknown.
        library: the library that multiplies matrices, with its version, or None if unknown.
    """

    devices: tuple[tuple[str, str, int | None], ...] = (("cpu", "", None),)
    threads: int | None = None
    library: str | None = None


class Capabilities:
    """Base class of the bundled backends; one of your own may inherit it, or have some of these members, or none.

    Attributes:
        tuning: one of `TUNINGS`; or "batches", which is "best" for steps over batches.
    """

    tuning: str = "best"

    def value(self, objective: Objective) -> Callable[..., Array] | None:
        """Return f(theta, *data) -> loss, without a gradient; None if the backend has no such function."""
        return None

    def gradient(self, objective: Objective) -> Callable[..., Array] | None:
        """Return f(theta, *data) -> gradient, without the loss; None if the backend has no such function."""
        return None

    def hvp(self, objective: Objective) -> Callable[..., tuple[Array, Array]] | None:
        """Return f(theta, v, *data) -> (loss, Hessian times v); None if the backend has no such function."""
        return None

    def jacobian(self, function: Callable[..., Array], mode: str) -> Callable[..., Array] | None:
        """Return f(theta, *data) -> the Jacobian (n, d) of function(theta, *data) (n,) with respect to theta.

        Args:
            function: any function of theta (d,) and the data, written for the framework.
            mode: "forward" or "reverse", the direction of differentiation.

        Returns:
            The function, or None if the backend has no such function.
        """
        return None

    def layout_options(self) -> dict[str, bool]:
        """Return the arguments of `LinearModel.prepare` that suit the backend."""
        return {}

    def adopted(self, array: Array) -> Array | None:
        """Return a NumPy array on the device without a copy, which nobody else may use; None if it must be copied."""
        return None

    def for_batches(self) -> Any:
        """Return the backend that gathers rows fastest; None if it is this one."""
        return None

    def plan(self, rows: int, features: int) -> str:
        """Return in words how data of that size are stored and walked through; "" if it does not say."""
        return ""

    def clear_cache(self) -> None:
        """Drop all compiled code, so that a first call compiles again."""

    def default_dtype(self) -> AbstractContextManager[None]:
        """Return a context in which the framework's default floating dtype is the backend's."""
        return nullcontext()

    def program_size(self, function: Callable[..., Any], *arguments: Array) -> int:
        """Return the number of operations that compilation would have to deal with; 0 if nothing is compiled."""
        return 0

    def perturb_rounding(
        self, step: float, seed: int, most: float = float("inf")
    ) -> AbstractContextManager[Any] | None:
        """Return a context in which every operation errs at random by `step` of its result; None if there is none.

        The context has a count, `operations`, above which, if it is more than `most`, they raise an error.
        """
        return None

    def peak_bytes(self) -> int | None:
        """Return the most memory held on the device, or None if unknown or on the CPU."""
        return None

    def system_info(self) -> SystemInfo:
        """Return the devices, threads and library of the backend."""
        return SystemInfo()


_MEMBERS = tuple(name for name in vars(Capabilities) if not name.startswith("_"))


def capabilities(backend: Any) -> Capabilities:
    """Return what the backend offers: the backend itself, or its own members beside the defaults."""
    if isinstance(backend, Capabilities):
        return backend
    offered = Capabilities()
    vars(offered).update({name: getattr(backend, name) for name in _MEMBERS if hasattr(backend, name)})
    return offered
