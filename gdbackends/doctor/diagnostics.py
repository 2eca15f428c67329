"""What check_up() gives back: Diagnostics. Nothing here needs NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Package:
    """A distribution that the package uses.

    Attributes:
        name: as pip knows it, or "python".
        tested: the version that the project is tested with.
        extra: the extra that brings it; None: always needed.
        version: as installed, "unknown" if it does not say, None if it is not installed.
        problem: why it cannot be imported, or None; of the backends' own their trials tell.
    """

    name: str
    tested: str
    extra: str | None
    version: str | None
    problem: str | None = None

    @property
    def as_tested(self) -> bool:
        """Whether it is the tested version, of whatever build: 2.13.0+cpu is 2.13.0."""
        return f"{self.version}.".replace("+", ".").startswith(f"{self.tested}.")

    @property
    def to_install(self) -> str:
        """The line to type."""
        wanted = f"gdbackends[{self.extra}]" if self.extra else f"{self.name}=={self.tested}"
        return f"pip install '{wanted}'"


@dataclass(frozen=True)
class Device:
    """What a backend did on one device.

    Attributes:
        name: as `get_backend` takes it: "cpu", "cuda:0".
        kind: the product's name; "" for the processor.
        memory_bytes: its memory (JAX: the part it may take); None for the processor.
        float64: a gradient in float64 had that dtype and was right to within the rounding of float64.
        float32: the same of float32.
        coefficients: fitted to the bundled data in float64, the intercept last; None for what is not finite.
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
        devices: those it sees.
        threads: that it uses on the processor; None: it does not say.
        library: what multiplies its matrices, with the version; None: it does not say.
        problem: why it was of no use at all, or None.
    """

    backend: str
    devices: tuple[Device, ...] = ()
    threads: int | None = None
    library: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Problem:
    """Something that does not work, and the line to type."""

    text: str
    run: str


def in_one_line(error: BaseException) -> str:
    """Return the error's class and text."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


@dataclass(frozen=True)
class Diagnostics:
    """What is here and whether it works.

    Attributes:
        packages: Python first.
        trials: of the backends whose packages are installed.
        machine: as `gdbackends.measurement.environment.machine` gives it.
    """

    packages: tuple[Package, ...]
    trials: tuple[Trial, ...]
    machine: dict[str, Any]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong; that something optional is not installed is no problem."""
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
        if backend == "jax" and platforms and "cpu" not in platforms:  # it hides the CPU, where data are made ready
            return "unset JAX_PLATFORMS"
        wanted = " ".join(f"{p.name}=={p.tested}" for p in self.packages if backend in (p.name, p.extra))
        return f"pip install --force-reinstall {wanted}"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as it stands in JSON."""
        return {
            "schema": 1,
            "works": not self.problems,
            "problems": [asdict(problem) for problem in self.problems],
            "packages": [asdict(package) for package in self.packages],
            "backends": [asdict(trial) for trial in self.trials],
            "machine": self.machine,
        }
