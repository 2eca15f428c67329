"""Diagnostics, the result of check_up(). Nothing here needs NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Package:
    """A distribution that gdbackends uses.

    Attributes:
        name: the name that pip uses, or "python".
        tested: the version with which the project is tested.
        extra: the extra that installs it, or None if it is always needed.
        version: the installed version, "unknown" if it has none, or None if it is not installed.
        problem: why it cannot be imported, or None; backends' packages are covered by their trials.
    """

    name: str
    tested: str
    extra: str | None
    version: str | None
    problem: str | None = None

    @property
    def as_tested(self) -> bool:
        """Whether the tested version is installed, in any build: 2.13.0+cpu counts as 2.13.0."""
        return f"{self.version}.".replace("+", ".").startswith(f"{self.tested}.")

    @property
    def to_install(self) -> str:
        """The command that installs it."""
        wanted = f"gdbackends[{self.extra}]" if self.extra else f"{self.name}=={self.tested}"
        return f"pip install '{wanted}'"


@dataclass(frozen=True)
class Device:
    """What a backend did on one device.

    Attributes:
        name: the name that `get_backend` accepts: "cpu", "cuda:0".
        kind: the product name; "" for the CPU.
        memory_bytes: its memory (for JAX, the part that JAX may use), or None for the CPU.
        float64: True if a float64 gradient had that dtype and was correct within rounding.
        float32: True if the same holds for float32.
        coefficients: the fit to the bundled data in float64, intercept last; None replaces values that are not finite.
        problem: what went wrong, or None.
    """

    name: str
    kind: str
    memory_bytes: int | None
    float64: bool = False
    float32: bool = False
    coefficients: tuple[float | None, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Trial:
    """What a backend did in its own process.

    Attributes:
        backend: the name of the backend.
        devices: the devices available to it.
        threads: CPU threads used, or None if unknown.
        library: the BLAS library and its version, or None if unknown.
        problem: why the backend cannot be used at all, or None.
    """

    backend: str
    devices: tuple[Device, ...] = ()
    threads: int | None = None
    library: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Problem:
    """Something that does not work, and the command that repairs it."""

    text: str
    run: str


def in_one_line(error: BaseException) -> str:
    """Return the class and text of the error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


@dataclass(frozen=True)
class Diagnostics:
    """What is installed and whether it works.

    Attributes:
        packages: the distributions, Python first.
        trials: the trials of the backends whose packages are installed.
        machine: the result of `gdbackends.measurement.environment.machine`.
    """

    packages: tuple[Package, ...]
    trials: tuple[Trial, ...]
    machine: dict[str, Any]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that does not work. A missing optional package is not a problem."""
        return tuple(self._problems())

    def _problems(self) -> Iterator[Problem]:
        for package in self.packages:
            if package.version is None and package.extra is None:
                yield Problem(f"{package.name} is needed and not installed", package.to_install)
            if package.problem:
                again = f"pip install --force-reinstall {package.name}=={package.tested}"
                yield Problem(f"{package.name} does not work: {package.problem}", again)
        for trial in self.trials:
            again = self._remedy(trial.backend)
            if trial.problem:
                yield Problem(f"{trial.backend} does not work: {trial.problem}", again)
            for device in trial.devices:
                if device.problem:
                    yield Problem(f"{trial.backend} does not work on {device.name}: {device.problem}", again)

    def _remedy(self, backend: str) -> str:
        platforms = self.machine["variables"].get("JAX_PLATFORMS")
        if backend == "jax" and platforms and "cpu" not in platforms:  # it hides the CPU, on which data are prepared
            return "unset JAX_PLATFORMS"
        wanted = " ".join(f"{p.name}=={p.tested}" for p in self.packages if backend in (p.name, p.extra))
        return f"pip install --force-reinstall {wanted}"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document (schema 1)."""
        return {
            "schema": 1,
            "works": not self.problems,
            "problems": [asdict(problem) for problem in self.problems],
            "packages": [asdict(package) for package in self.packages],
            "backends": [asdict(trial) for trial in self.trials],
            "machine": self.machine,
        }
