"""What is timed: a Case is one work, of one backend, on one problem; and the suites of cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from math import inf
from typing import Any

import numpy as np

from gdbackends.backends import DTYPES, TUNINGS, names
from gdbackends.datasets import Dataset
from gdbackends.errors import InputError
from gdbackends.objectives import LinearModel, parse_loss

WORKS = ("loss", "gradient", "step", "fit")
"""The loss alone; it and its gradient; one more step of a descent; a descent of at most STEPS steps."""
STEPS = 100


@dataclass(frozen=True)
class ProblemSpec:
    """A problem, whoever solves it.

    Attributes:
        objective: spelled as in "squared", "huber:1".
        rows: n.
        features: d.
        dtype: "float64" or "float32".
        seed: of the random table.
    """

    objective: str = "squared"
    rows: int = 1000
    features: int = 10
    dtype: str = "float64"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        parse_loss(self.objective)
        for name in ("rows", "features"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.rows == 1 and self.model.row_loss.target == "label":
            raise InputError(f"the {self.objective} loss needs rows of both labels, got 1 row; give at least 2")
        if self.dtype not in DTYPES:
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")

    @property
    def model(self) -> LinearModel:
        """The objective."""
        return LinearModel(row_loss=parse_loss(self.objective))

    @property
    def bytes(self) -> int:
        """That must be read once: X, with its column of ones, and y."""
        return self.rows * (self.features + 2) * np.dtype(self.dtype).itemsize

    def table(self) -> Dataset:
        """Return random rows: features near normal, of mean 0 and variance 1; targets that suit the objective."""
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
    """Where it is computed.

    Attributes:
        backend: a name of `get_backend`, or "module:name" of what returns a Backend for a dtype (and a device).
        device: in the framework's words.
        threads: how many cores, and threads, it may use; 0: all that are at hand.
        tuning: "best", "idiomatic" or, of PyTorch, "compiled".
    """

    backend: str
    device: str = "cpu"
    threads: int = 0
    tuning: str = "best"

    def __post_init__(self) -> None:
        """Refuse a tuning that is none."""
        if self.tuning not in TUNINGS:
            raise InputError(f"tuning must be {', '.join(TUNINGS)}, got {self.tuning!r}; choose one")

    @property
    def label(self) -> str:
        """What it is called: its backend, and what is not usual about it."""
        name = {"numpy": "NumPy", "jax": "JAX", "torch": "PyTorch"}.get(self.backend, self.backend)
        device = "" if self.device == "cpu" else f" on {self.device}"
        threads = f" with {self.threads} thread{'s' if self.threads > 1 else ''}" if self.threads else ""
        return f"{name}{device}{threads}{'' if self.tuning == 'best' else f', {self.tuning}'}"


@dataclass(frozen=True)
class Case:
    """One row of the results."""

    config: BackendConfig
    spec: ProblemSpec = field(default_factory=ProblemSpec)
    work: str = "step"

    def __post_init__(self) -> None:
        """Refuse a work that is none."""
        if self.work not in WORKS:
            raise InputError(f"work must be one of {', '.join(WORKS)}, got {self.work!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return what the case is: names and values that JSON can hold."""
        return {**vars(self.config), **vars(self.spec), "work": self.work}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Case:
        """Return the case of a record."""
        record = {"tuning": "best"} | record  # which files lack that were made before there was a choice
        config, spec = ({f.name: record[f.name] for f in fields(kind)} for kind in (BackendConfig, ProblemSpec))
        return cls(BackendConfig(**config), ProblemSpec(**spec), record["work"])


@dataclass(frozen=True)
class Grid:
    """Every combination of these is a case, without doubles, at most `largest` bytes each.

    But NumPy on the CPU alone, and "compiled" PyTorch alone.
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
    seed: int = 0
    largest: float = inf

    def cases(self) -> list[Case]:
        """Return them."""
        sizes = product(self.objectives, self.rows, self.features, self.dtypes)
        specs = [ProblemSpec(objective, n, d, dtype, self.seed) for objective, n, d, dtype in sizes]
        configs = [
            BackendConfig(backend, device, count, tuning)
            for backend, device, count, tuning in product(self.backends, self.devices, self.threads, self.tunings)
            if (device == "cpu" or backend != "numpy") and (tuning != "compiled" or backend == "torch")
        ]
        every = [Case(config, spec, work) for spec, work, config in product(specs, self.works, configs)]
        return list(dict.fromkeys(case for case in every if case.spec.bytes <= self.largest))


SUITES = {
    "quick": Grid(),
    "full": Grid(
        rows=(100, 1000, 10_000, 100_000, 1_000_000),
        features=(1, 10, 100, 1000),
        dtypes=DTYPES,
        works=WORKS,
        largest=1e9,
    ),
}
"""Quick has 12 cases a backend, full 152."""
