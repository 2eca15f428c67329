"""Define the cases to time: a Case is one workload on one backend and one problem. Suites are sets of cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from math import inf
from typing import Any

import numpy as np

from gdbackends.backends import DTYPES, TUNINGS, names, tunings
from gdbackends.comparison.function_problem import is_function
from gdbackends.datasets import Dataset
from gdbackends.errors import InputError
from gdbackends.objectives import LinearModel, parse_loss

WORKS = {
    "loss": "the loss alone",
    "gradient": "the gradient alone",
    "value_and_gradient": "the loss and its gradient",
    "hvp": "the Hessian times a vector",
    "jacobian_forward": "the Jacobian of the residuals, by forward mode",
    "jacobian_reverse": "the Jacobian of the residuals, by reverse mode",
    "step": "one more step of a descent",
    "batch": "one more step over a batch of at most BATCH rows, which are gathered",
    "fit": "a descent of at most STEPS steps",
}
EVALUATED = ("loss", "gradient", "value_and_gradient", "hvp", "jacobian_forward", "jacobian_reverse")
"""The works that evaluate a function once."""
STEPS = 100
BATCH = 256


@dataclass(frozen=True)
class ProblemSpec:
    """A problem, independent of the backend.

    Attributes:
        objective: the name of the row loss, such as "squared" or "huber:1"; or FILE.py:NAME of a loss function.
        rows: the number of rows, n.
        features: the number of features, d.
        dtype: "float64" or "float32".
        seed: the seed of the random table.
    """

    objective: str = "squared"
    rows: int = 1000
    features: int = 10
    dtype: str = "float64"
    seed: int = 0

    def __post_init__(self) -> None:
        """Validate the fields."""
        if not self.is_function:
            parse_loss(self.objective)
        for name in ("rows", "features"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.rows == 1 and not self.is_function and self.model.row_loss.target == "label":
            raise InputError(f"the {self.objective} loss needs rows of both labels, got 1 row; give at least 2")
        if self.dtype not in DTYPES:
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")

    @property
    def is_function(self) -> bool:
        """Whether the objective is a loss function, and not a linear model."""
        return is_function(self.objective)

    @property
    def model(self) -> LinearModel:
        """The objective, a linear model."""
        return LinearModel(row_loss=parse_loss(self.objective))

    @property
    def bytes(self) -> int:
        """The bytes of X, with its column of ones, and of y; about as many for the data of a function."""
        return self.rows * (self.features + 2) * np.dtype(self.dtype).itemsize

    def table(self) -> Dataset:
        """Return a random table with standard normal features and targets that suit the objective."""
        generator: Any = np.random.default_rng(self.seed)
        X = generator.standard_normal((self.rows, self.features))
        z = X @ (generator.standard_normal(self.features) / self.features**0.5)
        noise, target = generator.standard_normal(self.rows), self.model.row_loss.target
        if target == "label":
            y = (z + noise > 0) * 1.0
            y[:2] = 0.0, 1.0  # both labels, however few the rows
        else:
            y = generator.poisson(np.exp(z / 2)) * 1.0 if target == "count" else z + noise
        return Dataset(X, y, name=f"{self.rows} x {self.features}", copy=False)


@dataclass(frozen=True)
class BackendConfig:
    """The backend and its settings.

    Attributes:
        backend: a name for `get_backend`, or "module:name" of a function that returns a Backend.
        device: the framework's name of the device.
        threads: the number of cores and threads to use; 0 means all available.
        tuning: one of TUNINGS.
    """

    backend: str
    device: str = "cpu"
    threads: int = 0
    tuning: str = "best"

    def __post_init__(self) -> None:
        """Validate the tuning."""
        if self.tuning not in TUNINGS:
            raise InputError(f"tuning must be {', '.join(TUNINGS)}, got {self.tuning!r}; choose one")

    @property
    def label(self) -> str:
        """The display name: the backend and its settings other than the defaults."""
        name = {"numpy": "NumPy", "jax": "JAX", "torch": "PyTorch"}.get(self.backend, self.backend)
        device = "" if self.device == "cpu" else f" on {self.device}"
        threads = f" with {self.threads} thread{'s' if self.threads > 1 else ''}" if self.threads else ""
        return f"{name}{device}{threads}{'' if self.tuning == 'best' else f', {self.tuning}'}"


@dataclass(frozen=True)
class Case:
    """One workload on one problem and one backend."""

    config: BackendConfig
    spec: ProblemSpec = field(default_factory=ProblemSpec)
    work: str = "step"

    def __post_init__(self) -> None:
        """Validate the workload."""
        if self.work not in WORKS:
            raise InputError(f"work must be one of {', '.join(WORKS)}, got {self.work!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of the case as names and JSON values."""
        return {**vars(self.config), **vars(self.spec), "work": self.work}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Case:
        """Return the case of a record."""
        record = {"tuning": "best"} | record  # older files have no tuning
        config, spec = ({f.name: record[f.name] for f in fields(kind)} for kind in (BackendConfig, ProblemSpec))
        return cls(BackendConfig(**config), ProblemSpec(**spec), record["work"])


@dataclass(frozen=True)
class Grid:
    """A grid of cases: every distinct combination of at most `largest` bytes.

    NumPy runs on the CPU only, and each backend with the tunings that it has. `sizes`, pairs of rows and features, take
    the place of rows and features.
    """

    backends: Sequence[str] = names()
    rows: Sequence[int] = (100, 1000, 10_000, 100_000)
    features: Sequence[int] = (1, 10, 100)
    devices: Sequence[str] = ("cpu",)
    objectives: Sequence[str] = ("squared",)
    dtypes: Sequence[str] = ("float64",)
    works: Sequence[str] = ("step",)
    threads: Sequence[int] = (0,)
    tunings: Sequence[str] = ("best",)
    sizes: Sequence[tuple[int, int]] = ()
    seed: int = 0
    largest: float = inf

    def cases(self) -> list[Case]:
        """Return the cases of the grid."""
        sizes = self.sizes or tuple(product(self.rows, self.features))
        whole = product(self.objectives, sizes, self.dtypes)
        specs = [ProblemSpec(objective, n, d, dtype, self.seed) for objective, (n, d), dtype in whole]
        configs = [
            BackendConfig(backend, device, count, tuning)
            for backend, device, count, tuning in product(self.backends, self.devices, self.threads, self.tunings)
            if (device == "cpu" or backend != "numpy") and tuning in tunings(backend)
        ]
        every = [Case(config, spec, work) for spec, work, config in product(specs, self.works, configs)]
        return list(dict.fromkeys(case for case in every if case.spec.bytes <= self.largest))


_QUICK = (100, 1), (10_000, 1), (100, 10), (1000, 10), (10_000, 10), (100_000, 10), (1000, 100), (100_000, 100)
SUITES = {
    "quick": Grid(sizes=_QUICK, works=("gradient", "step")),
    "full": Grid(
        rows=(100, 1000, 10_000, 100_000, 1_000_000),
        features=(1, 10, 100, 1000),
        dtypes=DTYPES,
        works=("loss", "gradient", "step", "fit"),
        largest=1e9,
    ),
}
"""The quick suite has 16 cases for each backend, the full one 152."""
