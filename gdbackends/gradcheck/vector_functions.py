"""Check derivatives of functions that return arrays: a Jacobian, and its products with vectors on either side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from gdbackends.errors import InputError, InputTypeError
from gdbackends.gradcheck.adapted import Mapped, dense
from gdbackends.gradcheck.allowance import rounding_bounds
from gdbackends.gradcheck.arguments import prepare_arguments
from gdbackends.gradcheck.checked_function import AutodiffRunners, CheckedFunction, Function
from gdbackends.gradcheck.checking import check_at
from gdbackends.gradcheck.evidence import DIFFERENCES, Reference
from gdbackends.gradcheck.finite_differences import derivative, direction_of, noise_of
from gdbackends.gradcheck.probe_points import probe_points_near
from gdbackends.gradcheck.report import GradientReport
from gdbackends.gradcheck.verdict import judge
from gdbackends.gradcheck.witness import ERRORS
from gdbackends.objectives import Array
from gdbackends.rounding import unit_roundoff
from gdbackends.rounding.limit import VISIBLE, Values

_MOST_ROWS = 64
"""Number of outputs up to which each row of a Jacobian is checked; beyond it, random combinations of the rows are."""
_COMBINATIONS = 16
_POINTS = 3


@dataclass(frozen=True, eq=False)
class Weighted(Mapped):
    """The weighted sum of a function's outputs: f(theta, weights, *data) -> scalar, whose gradient is J^T weights."""

    function: Function

    def __call__(self, theta: Any, weights: Any, *data: Any, **params: Any) -> Any:
        """Return the sum of the outputs, each times its weight."""
        outputs = dense(self.function(theta, *data, **params))
        if isinstance(outputs, (list, tuple)):
            parts = cast("list[Any]", outputs)
            sizes = np.cumsum([0, *(int(np.prod(np.shape(part))) for part in parts)])
            pieces = zip(parts, sizes[:-1], sizes[1:], strict=True)
            return sum((part * weights[a:b].reshape(np.shape(part))).sum() for part, a, b in pieces)
        return (outputs.reshape((-1,)) * weights).sum()

    def mapped(self, of: Callable[[Any], Any]) -> Weighted:
        """Return the same with its function replaced."""
        return Weighted(self.function.mapped(of) if isinstance(self.function, Mapped) else of(self.function))


def weighted_losses(checked: CheckedFunction) -> Mapping[str | None, Function]:
    """Return the functions, in place of losses, as weighted sums of their outputs."""
    return {key: Weighted(function) for key, function in checked.losses.items()}


def check_jacobian(
    function: Function | Mapping[str, Function],
    jacobian: Function,
    x: Any,
    *data: Any,
    backends: Sequence[str] = ("jax", "torch"),
    sensitivity: float = VISIBLE,
    seed: int = 0,
    bounds: Any = None,
    points: Sequence[Any] | None = None,
    **options: Any,
) -> GradientReport:
    """Check a Jacobian derived by hand, such as that of the residuals of a least-squares problem.

    Args:
        function: function(x, *data, **params) -> array of any shape, of m numbers; or one for each framework.
        jacobian: jacobian(x, *data, **params) -> (m, d), dense or sparse, or of the shape of the outputs followed by
            that of x.
        x: the parameters, of d numbers, as theta in `check_gradient`.
        *data: as in `check_gradient`, as are all other arguments.
        backends: the names of the frameworks that differentiate the function.
        sensitivity: the relative error of an entry that must be visible.
        seed: seed of the random points.
        bounds: pairs (least, largest), one a component of x.
        points: the points to use in place of random ones.
        **options: args, argument, argnum and params.

    Raises:
        InputError: an argument cannot be used, or neither a framework nor NumPy can run the function.
    """
    subject = _Subject.of(function, jacobian, x, data, "jacobian", options)
    return subject.check(subject.entries, None, backends, sensitivity, seed, bounds, points)


def check_jvp(
    function: Function | Mapping[str, Function],
    jvp: Function,
    x: Any,
    *data: Any,
    backends: Sequence[str] = ("jax", "torch"),
    sensitivity: float = VISIBLE,
    seed: int = 0,
    bounds: Any = None,
    points: Sequence[Any] | None = None,
    **options: Any,
) -> GradientReport:
    """Check jvp(x, u, *data), the Jacobian times u (forward mode), for a random u of the shape of x.

    The arguments are those of `check_jacobian`.
    """
    subject = _Subject.of(function, jvp, x, data, "jvp", options)
    u = cast(Array, np.random.default_rng(seed).normal(size=subject.start.size))
    return subject.check(subject.along, u, backends, sensitivity, seed, bounds, points)


def check_vjp(
    function: Function | Mapping[str, Function],
    vjp: Function,
    x: Any,
    *data: Any,
    backends: Sequence[str] = ("jax", "torch"),
    sensitivity: float = VISIBLE,
    seed: int = 0,
    bounds: Any = None,
    points: Sequence[Any] | None = None,
    **options: Any,
) -> GradientReport:
    """Check vjp(x, v, *data), the transposed Jacobian times v (reverse mode), for a random v of the outputs' shape.

    The arguments are those of `check_jacobian`.
    """
    subject = _Subject.of(function, vjp, x, data, "vjp", options)
    v = cast(Array, np.random.default_rng(seed).normal(size=subject.outputs.size))

    def hand(theta: Array, weights: Array, *arrays: Array, **params: Any) -> Any:
        return subject.checked.hand(theta, weights.reshape(subject.outputs.shape), *arrays, **params)

    checked = replace(subject.weighted, data=(v, *subject.checked.data), hand=hand, what="vjp")
    runners = AutodiffRunners(checked, backends)
    probes = probe_points_near(checked, subject.start, runners, seed, bounds, points)
    return check_at(checked, probes, runners, subject.names, "float64", sensitivity, seed)


@dataclass(frozen=True, eq=False)
class _Subject:
    """A function that returns an array, and a derivative of it.

    Attributes:
        checked: the function in place of a loss, and the derivative.
        start: (d,), the flat x.
        names: the names of the components of x.
        outputs: what the function returns at x.
    """

    checked: CheckedFunction
    start: Array
    names: Sequence[str]
    outputs: Array

    @classmethod
    def of(cls, function: Any, derivative: Any, x: Any, data: Any, what: str, options: Mapping[str, Any]) -> _Subject:
        """Check the arguments, and run the function once."""
        unknown = set(options) - {"args", "argument", "argnum", "params", "names", "symmetric"}
        if unknown:
            raise InputTypeError(f"check_{what} has no argument {sorted(unknown)[0]!r}")
        given = {key: v for key, v in options.items() if key in ("argument", "argnum", "params", "names")}
        vectors = {"jvp": 1, "vjp": -1}.get(what, 0)
        arguments = (*data, *options.get("args", ()))
        checked, start, names = prepare_arguments(function, derivative, x, arguments, vectors=vectors, **given)
        checked = replace(checked, what=what)
        return cls(checked, start, names, _outputs(checked, start))

    @property
    def weighted(self) -> CheckedFunction:
        """The weighted sum of the outputs in place of a loss; the first of the data are the weights."""
        data = (np.ones(self.outputs.size), *self.checked.data)
        return replace(self.checked, losses=weighted_losses(self.checked), data=data, weights=True)

    def _nothing(self, *_: Any, **__: Any) -> Array:
        return np.zeros(self.checked.shape)

    def entries(self, theta: Array, combined: Array, u: Array | None) -> Array:
        """Return the hand Jacobian at a flat x, with its rows combined, (k, d)."""
        m, d = self.outputs.size, self.start.size
        matrix = np.asarray(dense(self.checked.by_hand(theta)))
        if matrix.shape not in ((m, d), (*self.outputs.shape, *self.checked.shape)):
            turned = ", the transpose of it" if matrix.shape == (d, m) else ""
            raise InputError(f"the jacobian must have shape {(m, d)}, got {matrix.shape}{turned}")
        return combined @ matrix.reshape(m, d)

    def along(self, theta: Array, combined: Array, u: Array | None) -> Array:
        """Return the hand product of the Jacobian and u at a flat x, with its rows combined, (k, 1)."""
        assert u is not None
        checked = self.checked
        data = [a.copy() for a in checked.data]
        product = np.asarray(
            checked.hand(theta.reshape(checked.shape), u.reshape(checked.shape), *data, **checked.params)
        )
        if product.size != self.outputs.size:
            raise InputError(f"the jvp must have shape {self.outputs.shape}, got {product.shape}")
        return combined @ product.reshape(-1, 1)

    @np.errstate(all="ignore")
    def check(
        self,
        hand: Callable[[Array, Array, Array | None], Array],
        u: Array | None,
        backends: Sequence[str],
        sensitivity: float,
        seed: int,
        bounds: Any,
        points: Any,
    ) -> GradientReport:
        """Judge a derivative at several points by the frameworks, and by differences of the outputs."""
        m, d = self.outputs.size, self.start.size
        every = m <= _MOST_ROWS
        rows = np.eye(m) if every else np.random.default_rng(seed).normal(size=(_COMBINATIONS, m))
        k, width = len(rows), d if u is None else 1
        weighted = replace(self.weighted, hand=self._nothing)
        runners = AutodiffRunners(weighted, backends)
        probes = probe_points_near(weighted, self.start, runners, seed, bounds, points)[:_POINTS]
        found = [self._differences(theta, rows, u) for theta in probes]
        values, errors = (np.array([a.ravel() for a in column]) for column in zip(*found, strict=True))
        limit = ERRORS * errors + 1600 * unit_roundoff("float64") * np.abs(values)
        by_framework, allowed, unsupported = self._by_frameworks(
            runners, weighted, probes, rows, u, seed, values, limit
        )
        if not by_framework:
            by_framework, allowed = {DIFFERENCES: Values(np.zeros(len(probes)), values)}, limit

        shape = (k, d) if u is None else (k,)
        subject = CheckedFunction({}, self._of_tiles(hand, rows, u), shape, (), self.checked.params, self.checked.what)
        reference = Reference(
            subject,
            np.tile(probes, (1, k)) if u is None else np.zeros((len(probes), k)),
            by_framework,
            Values(np.ones(len(probes)), allowed),
            "estimated",
            _names("J" if every else "combination of rows", k, width, u is None),
            lambda points, data: "a function that returns an array",
            direction=np.zeros(k * width),
        )
        given = np.array([hand(theta, rows, u).ravel() for theta in probes])
        report = judge(reference, given, None, sensitivity, seed, unsupported)
        note = () if every else (f"checked in {k} random combinations of the {m} outputs",)
        return replace(report, notes=(*note, *report.notes))

    def _of_tiles(self, hand: Callable[[Array, Array, Array | None], Array], rows: Array, u: Array | None) -> Function:
        """Return the hand derivative as a function of x repeated for each row, of the shape of the derivative."""

        def by_hand(tiled: Array, *_: Array, **__: Any) -> Array:
            if u is not None:
                raise NotImplementedError("x is not among the components")
            return hand(tiled.ravel()[: self.start.size].astype(np.float64), rows, u).reshape(tiled.shape)

        return by_hand

    def _differences(self, theta: Array, rows: Array, u: Array | None) -> tuple[Array, Array]:
        """Return the Jacobian with its rows combined, (k, d), or its product with u, by differences, and errors."""

        def outputs(theta: Array) -> Array:
            try:
                return rows @ _outputs(self.checked, theta).ravel()
            except (Exception, SystemExit):  # outside the domain
                return np.full(rows.shape[0], np.nan)

        if u is not None:
            step = u * (np.linalg.norm(theta) / np.linalg.norm(u) or 1.0)
            found = derivative(outputs, theta, step, 2 * noise_of(outputs, theta, step))
            scale = float(np.linalg.norm(step) / np.linalg.norm(u))
            return found.value[:, None] / scale, found.error[:, None] / scale
        values, errors = np.empty((2, rows.shape[0], theta.size))
        for j in range(theta.size):
            step = direction_of(theta, j)
            found = derivative(outputs, theta, step, 2 * noise_of(outputs, theta, step))
            values[:, j], errors[:, j] = found.value / step[j], found.error / abs(step[j])
        return values, errors

    def _by_frameworks(
        self,
        runners: AutodiffRunners,
        weighted: CheckedFunction,
        probes: Array,
        rows: Array,
        u: Array | None,
        seed: int,
        values: Array,
        limit: Array,
    ) -> tuple[dict[str, Values], Array, dict[str, str]]:
        """Return the derivatives by the frameworks that the values do not contradict, and what rounding allows."""
        found: dict[str, Values] = {}
        unsupported: dict[str, str] = {}

        def contracted(gradients: list[Array], sizes: bool = False) -> Array:
            stacked = np.stack(gradients, axis=1)  # (points, k, d)
            if u is not None:
                stacked = stacked @ (np.abs(u) if sizes else u)
            return stacked.reshape(len(probes), -1)

        for name in runners.names:
            results = [runners.run(name, "float64")(probes, (row, *weighted.data[1:])) for row in rows]
            if reason := next((r for r in results if isinstance(r, str)), None):
                unsupported[name] = reason
                continue
            derivatives = contracted([cast(Values, r).gradients for r in results])
            if (np.abs(derivatives - values) > 2 * limit + 1e-9 * np.abs(values)).any():
                unsupported[name] = "its derivative is at odds with the values of the function"
                continue
            found[name] = Values(np.zeros(len(probes)), derivatives)
        allowed = np.zeros(0)
        if found:
            each = [
                rounding_bounds(
                    replace(weighted, data=(row, *weighted.data[1:])), runners, found, probes, "float64", seed
                )
                for row in rows
            ]
            allowed = contracted([b.gradients for b, _ in each], sizes=True)
        return found, allowed, unsupported


def _names(label: str, k: int, width: int, matrix: bool) -> list[str]:
    """Return the names of the entries of a matrix (k, width), or of a vector (k,)."""
    if not matrix:
        return [f"output[{i}]" if label == "J" else f"{label}[{i}]" for i in range(k)]
    return [f"{label}[{i},{j}]" for i in range(k) for j in range(width)]


def _outputs(checked: CheckedFunction, theta: Array) -> Array:
    """Return what the function returns in NumPy at a flat x; refuse anything but real numbers."""
    function = checked.losses.get("numpy", checked.losses.get(None))
    if function is None:
        raise InputError("give the function for NumPy too, as one of the functions")
    with np.errstate(all="ignore"):
        result = dense(function(theta.reshape(checked.shape), *(a.copy() for a in checked.data), **checked.params))
    if isinstance(result, (list, tuple)):
        result = np.concatenate([np.ravel(part) for part in cast("list[Any]", result)])
    array = np.asarray(result)
    if array.dtype.kind not in "fiub":
        raise InputError(f"the function must return real numbers, got dtype {array.dtype}")
    return array.astype(np.float64)
