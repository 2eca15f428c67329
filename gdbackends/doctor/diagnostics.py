"""The result of check_up(): Diagnostics. This module does not need NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Package:
    """A distribution that the package uses.

    Attributes:
        name: its name on PyPI, or "python".
        tested: the version that the project is tested with.
        extra: the extra that installs it; None if it is always needed.
        version: the installed version, "unknown", or None if it is not installed.
        problem: why it cannot be imported, or None; the packages of backends are tried in their trials.
    """

    name: str
    tested: str
    extra: str | None
    version: str | None
    problem: str | None = None

    @property
    def as_tested(self) -> bool:
        """Whether it is the tested version, of any build: 2.13.0+cpu is 2.13.0."""
        return f"{self.version}.".replace("+", ".").startswith(f"{self.tested}.")

    @property
    def to_install(self) -> str:
        """The command to run."""
        wanted = f"gdbackends[{self.extra}]" if self.extra else f"{self.name}=={self.tested}"
        return f"pip install '{wanted}'"


@dataclass(frozen=True)
class Device:
    """What a backend did on one device.

    Attributes:
        name: its name in `get_backend`: "cpu", "cuda:0".
        kind: the product name; "" for the CPU.
        memory_bytes: its memory (in JAX, the part it may use); None for the CPU.
        float64: whether a gradient in float64 had that dtype and was right within the rounding of float64.
        float32: the same for float32.
        coefficients: the fit to the bundled data in float64, with the intercept last; None for non-finite numbers.
        problem: what was wrong, or None.
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
    """What a backend did, in a process of its own.

    Attributes:
        backend: its name.
        devices: the devices that it finds.
        threads: CPU threads used, or None if unknown.
        library: the library that multiplies matrices, with its version, or None if unknown.
        problem: why it does not work at all, or None.
        package: the other package that offers it; "" if it is bundled.
    """

    backend: str
    devices: tuple[Device, ...] = ()
    threads: int | None = None
    library: str | None = None
    problem: str | None = None
    package: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that does not work, and the command to run."""

    text: str
    run: str


@dataclass(frozen=True)
class Diagnostics:
    """What is installed and whether it works.

    Attributes:
        packages: the packages, with Python first.
        trials: the trials of the backends whose packages are installed.
        machine: the result of `gdbackends.measurement.environment.machine`.
    """

    packages: tuple[Package, ...]
    trials: tuple[Trial, ...]
    machine: dict[str, Any]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is wrong; a missing optional package is not a problem."""
        return tuple(self._problems())

    def _problems(self) -> Iterator[Finding]:
        for package in self.packages:
            if package.version is None and package.extra is None:
                yield Finding(f"{package.name} is needed and not installed", package.to_install)
            if package.problem:
                again = f"pip install --force-reinstall {package.name}=={package.tested}"
                yield Finding(f"{package.name} does not work: {package.problem}", again)
        for trial in self.trials:
            again = f"pip install --upgrade {trial.package}" if trial.package else self._remedy(trial.backend)
            if trial.problem:
                yield Finding(f"{trial.backend} does not work: {trial.problem}", again)
            for device in trial.devices:
                if device.problem:
                    yield Finding(f"{trial.backend} does not work on {device.name}: {device.problem}", again)

    def _remedy(self, backend: str) -> str:
        platforms = self.machine["variables"].get("JAX_PLATFORMS")
        if backend == "jax" and platforms and "cpu" not in platforms:  # it hides the CPU, where data are prepared
            return "unset JAX_PLATFORMS"
        if backend == "jax" and self.machine["variables"].get("JAX_DISABLE_JIT"):
            return "unset JAX_DISABLE_JIT"
        wanted = " ".join(f"{p.name}=={p.tested}" for p in self.packages if backend in (p.name, p.extra))
        return f"pip install --force-reinstall {wanted}"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return {
            "schema": 1,
            "works": not self.problems,
            "problems": [asdict(problem) for problem in self.problems],
            "packages": [asdict(package) for package in self.packages],
            "backends": [asdict(trial) for trial in self.trials],
            "machine": self.machine,
        }
