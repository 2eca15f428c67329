"""Checkpoints: files from which a fit that was interrupted continues, to the numbers it would have reached anyway."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field, is_dataclass, replace
from math import inf
from numbers import Integral, Real
from pathlib import Path
from typing import IO, Any

import numpy as np

from gdbackends.arrays import real_array
from gdbackends.atomic_files import check_replaceable, replace_file
from gdbackends.backends import DTYPES, Backend
from gdbackends.descent.chunks import RowOrder, is_check
from gdbackends.descent.fingerprint import describe_data, digest_of
from gdbackends.descent.problem import Problem, TableProblem, check_protocols
from gdbackends.descent.rates import LazyRates, LearningRate, Rates, learning_rates
from gdbackends.descent.result import Check, Fit, Stop
from gdbackends.descent.stopping import TOLERANCE
from gdbackends.errors import InputError, InputTypeError, file_error, in_one_line
from gdbackends.objectives import Array, LinearModel, as_objective, format_loss
from gdbackends.ranks import Ranks, all_or_none, check_same
from gdbackends.scaling import Scaling

_FORMAT, _SCHEMA = "gdbackends checkpoint", 1
_ARRAYS = ("theta", "losses", "checks", "center", "spread", "rates")
_LOG = logging.getLogger("gdbackends")


@dataclass
class Progress:
    """How far a descent has come.

    Attributes:
        theta: (p,), where it continues; None to start.
        columns: the outputs of the steps, chunk by chunk.
        checks: the checks.
        steps: the number of steps made.
        stop: why it has ended, or None.
    """

    theta: Array | None = None
    columns: list[tuple[Array, ...]] = field(default_factory=list[tuple[Array, ...]])
    checks: list[Check] = field(default_factory=list[Check])
    steps: int = 0
    stop: Stop | None = None

    def add(self, outputs: tuple[Array, ...]) -> None:
        """Add the outputs of some steps."""
        self.columns.append(outputs)
        self.steps += len(outputs[0])

    def joined(self) -> list[Array]:
        """Return each output of all steps: the losses and, if it is recorded, the path."""
        if not self.columns:
            return [np.zeros(0)]
        return [np.concatenate(column) for column in zip(*self.columns, strict=True)]

    def fit(self, theta: Array, learning_rate: float, record_path: bool) -> Fit:
        """Return the fit that has ended at theta (p,)."""
        losses, *before = self.joined()
        return Fit(
            theta=theta,
            loss=self.checks[-1].loss,
            losses=losses.astype(theta.dtype),
            steps=self.steps,
            stop=self.stop or Stop.STEPS,
            gradient_norm=self.checks[-1].gradient_norm,
            learning_rate=learning_rate,
            path=np.concatenate((*before, theta[None])) if record_path else None,
        )


@dataclass(frozen=True, eq=False)
class Saved:
    """The content of a checkpoint file.

    Attributes:
        settings: what determines the descent, by the names of the arguments of `fit`.
        data: the numbers of rows and features, and the fingerprint.
        schedule: a digest of the rates of a schedule; "" if the rate was given otherwise.
        order: the state of the generator that draws the order of rows.
        progress: how far the descent had come.
        scaling: the scaling that it descends in.
        rates: (), a constant rate, or (steps,); None if there are too many.
    """

    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    schedule: str
    order: Mapping[str, Any]
    progress: Progress
    scaling: Scaling | None
    rates: Array | None


class Checkpoint:
    """The file of a fit, which is written at checks, after at least so many seconds each."""

    def __init__(
        self,
        path: Path,
        every: float,
        settings: Mapping[str, Any],
        data: Mapping[str, Any],
        *,
        saved: Saved | None = None,
        writes: bool = True,
    ) -> None:
        """Take what identifies the fit, and what the file holds if the fit continues from it.

        Args:
            path: the file.
            every: the least seconds between two writes.
            settings: what determines the descent, as `describe` returns it.
            data: what identifies the data, as `describe_data` returns it.
            saved: the content from which the fit continues.
            writes: whether this process writes the file.
        """
        self._path, self._every, self._settings, self._data = path, every, settings, data
        self._saved, self._writes = saved, writes
        self._written = time.monotonic()
        self._last = None if saved is None else (saved.progress.steps, saved.progress.stop)
        self._fixed: dict[str, Array] = {}
        self._schedule = self._failure = ""

    @property
    def scaling(self) -> Scaling | None:
        """The scaling in the file."""
        return None if self._saved is None else self._saved.scaling

    def rates(self, problem: Problem, learning_rate: LearningRate, steps: int) -> Rates:
        """Return the rates in the file, or those of the problem.

        Raises:
            InputError: the file has those of another schedule.
        """
        rates, saved = learning_rates(problem, learning_rate, steps), self._saved
        self._schedule = _digest(rates) if callable(learning_rate) else ""
        if saved is not None and saved.schedule != self._schedule:
            raise InputError(f"{self._path}: was written with another learning_rate; give the same, or another file")
        if saved is not None and not isinstance(rates, LazyRates):
            kept = saved.rates
            if kept is None or kept.dtype != rates.dtype or (kept.ndim and kept.shape != rates.shape):
                raise _unusable(self._path, "its rates are not those of the steps")
            rates = np.broadcast_to(kept, rates.shape)
        if isinstance(problem, TableProblem):
            self._fixed = {"center": problem.scaling.center, "spread": problem.scaling.spread}
        if not isinstance(rates, LazyRates):
            self._fixed["rates"] = rates[0] if rates.size == 1 or rates.strides == (0,) else rates
        return rates

    def progress(self, problem: Problem, order: RowOrder, steps: int) -> Progress:
        """Return where the descent of so many steps begins; the order of rows is brought there.

        Raises:
            InputError: the file does not suit the problem.
        """
        if self._saved is None:
            return Progress()
        begun, epoch = self._saved.progress, len(problem.batches)
        if begun.theta is None or begun.theta.shape != problem.theta0.shape:
            raise _unusable(self._path, f"theta does not have the shape {problem.theta0.shape}")
        try:
            order.generator.bit_generator.state = dict(self._saved.order)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise _unusable(self._path, in_one_line(error)) from None
        begun = replace(begun, columns=list(begun.columns), checks=list(begun.checks))
        last = begun.checks[-1].step
        if begun.stop is not Stop.DIVERGED and steps > begun.steps == last > 0 and not is_check(problem, last):
            begun.checks.pop()  # of the last step of a shorter fit, which a longer one does not check
            begun.stop = None
        if begun.stop is None and begun.steps % epoch and begun.steps < steps:
            raise InputError(
                f"{self._path}: the fit ended within an epoch of {epoch:,} steps, after {begun.steps:,}; more steps "
                "need whole epochs; give another file"
            )
        return begun

    def offer(self, theta: Array, progress: Progress, order: RowOrder) -> None:
        """Write the file if it is time."""
        if self._writes and time.monotonic() - self._written >= self._every:
            self._write(theta, progress, order)

    def finish(self, theta: Array, progress: Progress, order: RowOrder) -> None:
        """Write the file, unless it holds this progress already."""
        if self._writes and self._last != (progress.steps, progress.stop):
            self._write(theta, progress, order)

    def noted(self, fitted: Fit) -> Fit:
        """Return the fit with a note if its checkpoint could not be written."""
        return replace(fitted, note=f"{fitted.note} {self._failure}".strip()) if self._failure else fitted

    def _write(self, theta: Array, progress: Progress, order: RowOrder) -> None:
        """Write the file; a failure is reported once, and the fit goes on."""
        header = {
            "format": _FORMAT,
            "schema": _SCHEMA,
            "settings": self._settings,
            "data": self._data,
            "schedule": self._schedule,
            "order": order.generator.bit_generator.state,
            "stop": None if progress.stop is None else progress.stop.name,
        }
        arrays = {
            "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
            "theta": theta,
            "losses": progress.joined()[0].astype(theta.dtype),
            "checks": np.array([astuple(check) for check in progress.checks], np.float64),
            **self._fixed,
        }

        def save(stream: IO[bytes]) -> None:
            np.savez(stream, allow_pickle=False, **arrays)

        try:
            replace_file(self._path, save)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            if not self._failure:
                _LOG.warning("%s: cannot be written: %s; the fit goes on", self._path, reason)
            self._failure = f"The checkpoint could not be written: {reason}."
        else:
            self._failure, self._last = "", (progress.steps, progress.stop)
        self._written = time.monotonic()


def open_checkpoint(
    path: str | Path | None,
    every: float,
    resume: bool,
    backend: Backend,
    settings: Mapping[str, Any],
    X: Any,
    y: Any,
    ranks: Ranks | None = None,
) -> Checkpoint | None:
    """Return the checkpoint of a fit, read if the fit is to be resumed; None without a path.

    Args:
        path: the file.
        every: the least seconds between two writes.
        resume: whether to continue from the file, if it exists.
        backend: the backend given to `fit`.
        settings: the arguments of `fit` that determine the descent.
        X: the features given to `fit`.
        y: the target given to `fit`.
        ranks: the processes of the fit, of which the first writes the file, and each reads it.

    Raises:
        InputError: the file exists and is not to be resumed; it is damaged, or of another fit; it cannot be written.
        InputTypeError: an argument has the wrong type.
    """
    if not isinstance(resume, bool):
        raise InputTypeError(f"resume must be True or False, got {resume!r}")
    if isinstance(every, bool) or not isinstance(every, Real) or not 0 <= every < inf:
        raise InputError(f"every must be a number of seconds of at least 0, got {every!r}")
    if path is None:
        if resume:
            raise InputError("resume needs the checkpoint to continue from; give its file")
        return None
    if not isinstance(path, str | Path):
        raise InputTypeError(f"checkpoint must be the name of a file, got {path!r}")
    writes = ranks is None or ranks.rank == 0
    check_protocols(backend, as_objective(settings["objective"]))
    described, saved = describe({**settings, "dtype": backend.dtype}), None
    with all_or_none(ranks):
        target = _checked_path(Path(path), resume, writes)
        if target.exists():
            saved = read_checkpoint(target)
            _check_settings(target, saved.settings, described)
    if ranks is not None:
        check_same(ranks, {"steps in the checkpoint": None if saved is None else saved.progress.steps})
    data = describe_data(X, y, settings["objective"], ranks)
    if saved is not None:
        _check_data(target, saved.data, data)
    return Checkpoint(target, every, described, data, saved=saved, writes=writes)


def _checked_path(path: Path, resume: bool, writes: bool) -> Path:
    """Return the file, with symbolic links followed; refuse one that cannot be used, before any work is done."""
    target = path.resolve() if path.is_symlink() else path
    if target.exists() and not target.is_file():
        raise InputError(f"checkpoint {path} must be a file, and it is another thing; give the name of a file")
    if not target.absolute().parent.is_dir():
        raise InputError(f"checkpoint {path} is in no existing folder; create the folder, or give another file")
    if target.exists() and not resume:
        raise InputError(f"checkpoint {path} exists; continue from it (resume), or give another file")
    if writes:
        try:
            check_replaceable(target)
        except OSError as error:
            raise file_error(path, "written", error) from None
    return target


def describe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a fit as JSON holds them.

    An objective other than a linear model is described by its class, with the fields of a dataclass.
    """
    objective: Any = as_objective(settings["objective"])
    start, tolerance = settings["theta0"], settings["tolerance"]
    known = {name: _plain(value) for name, value in settings.items()}
    if callable(settings["learning_rate"]):
        known["learning_rate"] = "a schedule"
    known["tolerance"] = _plain(TOLERANCE[settings["dtype"]] if tolerance is None else tolerance)
    known["theta0"] = None if start is None else digest_of(real_array(start, "theta0").tobytes())
    if isinstance(objective, LinearModel):
        named = {"objective": format_loss(objective.row_loss), "l2": objective.l2, "convention": objective.convention}
    else:
        fields = _plain(asdict(objective)) if is_dataclass(objective) and not isinstance(objective, type) else ""
        named = {"objective": f"{_class_name(objective)}{fields}", "l2": None, "convention": None}
    return known | named


def _class_name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else repr(value)


def _check_settings(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse settings other than those in the file, except for more steps at a constant rate that was given."""
    if set(before) != set(now):
        raise InputError(f"{path}: was written by another version of gdbackends; give another file")
    for name, value in now.items():
        if before[name] == value:
            continue
        advice = ""
        if name == "steps" and isinstance(value, int) and value > before[name]:
            if isinstance(now["learning_rate"], float | int):
                continue
            advice = " (more need a learning rate that is a number)"
        shown = "another theta0" if name == "theta0" else f"{name} {before[name]}, got {value}"
        raise InputError(f"{path}: the checkpoint was written with {shown}; give the same{advice}, or another file")


def _check_data(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    sizes = [f"{data['rows']:,} rows and {data['features']:,} features" for data in (before, now)]
    if sizes[0] != sizes[1]:
        raise InputError(f"{path}: the checkpoint is of {sizes[0]}, got {sizes[1]}; give the same, or another file")
    if before["fingerprint"] != now["fingerprint"]:
        raise InputError(
            f"{path}: the checkpoint is of other numbers, or of another order of rows; give the same data, or "
            "another file"
        )


def read_checkpoint(path: Path) -> Saved:
    """Return the content of a checkpoint file.

    Raises:
        InputError: the file cannot be read, is damaged, or is not a checkpoint.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                header = json.loads(bytes(file["header"]))
                arrays = {name: file[name] for name in _ARRAYS if name in file.files}
        if header["format"] != _FORMAT:
            raise ValueError("another format")
        if header["schema"] != _SCHEMA:
            raise InputError(
                f"{path}: was written by another version of gdbackends (schema {_SCHEMA}, got {header['schema']!r}); "
                "give another file"
            )
        return _parsed(header, arrays)
    except InputError:
        raise
    except Exception as error:  # a damaged file may raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise file_error(path, "read", error) from None
        raise _unusable(path, in_one_line(error)) from None


def _unusable(path: Path, why: str) -> InputError:
    return InputError(f"{path}: is damaged, or not a checkpoint ({why[:100]}); give another file")


def _parsed(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> Saved:
    """Return the content of a file; anything but a mapping of the right kind raises some exception."""
    settings, data, stop = dict(header["settings"]), dict(header["data"]), header["stop"]
    theta, losses, rates = arrays["theta"], arrays["losses"], arrays.get("rates")
    dtype = settings["dtype"]
    for array in (theta, losses, *(() if rates is None else (rates,))):
        _require(dtype in DTYPES and array.dtype == np.dtype(dtype), "an array of another dtype")
    _require(theta.ndim == 1 and losses.ndim == 1, "an array of another shape")
    _require(rates is None or bool(np.isfinite(rates).all() and (rates >= 0).all()), "impossible rates")
    whole = [data["rows"], data["features"], settings["steps"]]
    _require(all(type(number) is int and number > 0 for number in whole), "impossible numbers")
    _require(isinstance(data["fingerprint"], str) and isinstance(header["schedule"], str), "impossible text")
    _require(losses.size <= settings["steps"], "more losses than steps")
    scaling = _scaling_of(arrays, data["features"] if settings["standardize"] else None)
    checks = arrays["checks"]
    _require(checks.dtype == np.float64 and checks.ndim == 2 and checks.shape[1] == 4, "impossible checks")
    at = checks[:, 0]
    _require(
        len(at) > 0 and at[0] == 0 and at[-1] <= losses.size and bool((np.diff(at) > 0).all()), "impossible checks"
    )
    _require(bool((at == np.floor(at)).all()), "impossible checks")
    progress = Progress(
        theta=theta,
        columns=[(losses,)] if losses.size else [],
        checks=[Check(int(step), *numbers) for step, *numbers in checks.tolist()],
        steps=losses.size,
        stop=None if stop is None else Stop[stop],
    )
    order = dict(header["order"])
    np.random.default_rng().bit_generator.state = order  # refuses a state of another kind
    return Saved(settings, data, header["schedule"], order, progress, scaling, rates)


def _scaling_of(arrays: Mapping[str, Array], features: int | None) -> Scaling | None:
    if "center" not in arrays and features is None:
        return None
    center, spread = arrays["center"], arrays["spread"]
    shape = center.shape if features is None else (features,)
    _require(center.dtype == spread.dtype == np.float64, "a scaling of another dtype")
    _require(center.ndim == 1 and center.shape == spread.shape == shape, "a scaling of another shape")
    _require(bool(np.isfinite(center).all() and np.isfinite(spread).all() and (spread > 0).all()), "impossible scaling")
    return Scaling(center, spread)


def _require(right: bool, otherwise: str) -> None:
    if not right:
        raise ValueError(otherwise)


def _digest(rates: Rates) -> str:
    """Return a digest of the rates; of very many, those of the first 2^20 steps and of the last."""
    return digest_of((rates.ends() if isinstance(rates, LazyRates) else rates).tobytes())
