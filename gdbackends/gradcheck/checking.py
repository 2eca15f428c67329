"""check_gradient(): compare a hand-derived gradient with autodiff and with differences, within what rounding allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from gdbackends.errors import InputError
from gdbackends.gradcheck.allowance import rounding_bounds
from gdbackends.gradcheck.checked_function import (
    AutodiffRunners,
    CheckedFunction,
    Function,
    prepare_arguments,
    probe_points_near,
)
from gdbackends.gradcheck.evidence import Reference, component_list
from gdbackends.gradcheck.hessian import check_hessian
from gdbackends.gradcheck.report import GradientReport
from gdbackends.gradcheck.side_effects import hand_values
from gdbackends.gradcheck.verdict import judge
from gdbackends.objectives import Array
from gdbackends.rounding.limit import VISIBLE, Values


def check_gradient(
    loss: Function | Mapping[str, Function],
    gradient: Function,
    theta: Any,
    *data: Any,
    backends: Sequence[str] = ("jax", "torch"),
    hessian: Function | None = None,
    hvp: Function | None = None,
    params: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    dtype: str = "float64",
    sensitivity: float = VISIBLE,
    seed: int = 0,
) -> GradientReport:
    """Check a gradient derived by hand; if it is wrong, say what the mistake is consistent with.

    Args:
        loss: loss(theta, *data, **params) -> scalar, in functions of the array namespace of theta; or one function for
            each framework: {"jax": f, "torch": g, "numpy": h}.
        gradient: gradient(theta, *data, **params), on NumPy arrays; returns an array of the shape of theta.
        theta: the parameters, of any shape. The gradient is checked there and at random points near it.
        *data: arrays of any shapes; integers stay integers.
        backends: the names of the frameworks that differentiate the loss.
        hessian: hessian(theta, *data, **params), of shape (*theta.shape, *theta.shape) or (d, d); checked if the
            gradient passes.
        hvp: hvp(theta, v, *data, **params), the Hessian times v, of the shape of theta; checked if the gradient passes.
        params: hyper-parameters, passed by name and used in the diagnosis.
        names: the names of the components of theta; by default their indices.
        dtype: "float64" or "float32", the dtype of the gradients that are checked; float64 is always checked.
        sensitivity: the relative error of a component that must be visible; otherwise the verdict is "inconclusive".
        seed: seed of the random points.

    Raises:
        InputError: an argument cannot be used, the loss is not a real scalar, or no framework can run it.
    """
    checked, start, named = prepare_arguments(loss, gradient, theta, data, params, names, dtype, seed)
    if isinstance(sensitivity, bool) or not isinstance(sensitivity, Real) or not sensitivity > 0:
        raise InputError(f"sensitivity must be a number above 0, got {sensitivity!r}")
    runners = AutodiffRunners(checked, backends)
    report = check_subject(checked, start, runners, named, dtype, sensitivity, seed)
    for what, function in (("hessian", hessian), ("hvp", hvp)):
        if function is not None and report.verdict == "pass":
            points = probe_points_near(checked, start, runners, seed)
            second = check_hessian(what, function, checked, points, runners, named, sensitivity, seed)
            report = second if second.verdict != "pass" else replace(report, of=f"{report.of} and {what}")
    options = {"backends": runners.names, "dtype": dtype, "sensitivity": sensitivity, "seed": seed}
    return replace(report, again=_in_python(loss, gradient, {"params": params} if params else {}, options))


def _in_python(loss: Any, gradient: Any, params: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return the call in one line; a value without a short text is written as its name."""
    functions = [str(getattr(f, "__name__", what)) for f, what in ((loss, "loss"), (gradient, "gradient"))]
    short = {name: text if len(text := repr(value)) <= 60 else name for name, value in params.items()}
    arguments = [f"{name}={text}" for name, text in (short | {name: repr(v) for name, v in options.items()}).items()]
    return f"check_gradient({', '.join([*functions, 'theta', '*data', *arguments])})"


@np.errstate(all="ignore")  # NaN and tiny limits are judged, without warnings
def check_subject(
    checked: CheckedFunction,
    start: Array,
    runners: AutodiffRunners,
    names: tuple[str, ...],
    dtype: str = "float64",
    sensitivity: float = VISIBLE,
    seed: int = 0,
) -> GradientReport:
    """Check a prepared function at a flat theta; runners may be shared by functions with the same loss and shapes."""
    points = probe_points_near(checked, start, runners, seed)
    results = {name: runners.run(name, "float64")(points, checked.data) for name in runners.names}
    by_framework = {name: values for name, values in results.items() if isinstance(values, Values)}
    unsupported = {name: why for name, why in results.items() if isinstance(why, str)}
    _some_voter(by_framework, unsupported, "")
    bounds = rounding_bounds(checked, runners, by_framework, points, "float64", seed)
    reference = Reference(checked, points, by_framework, *bounds, names, runners.run(list(by_framework)[-1], "float64"))
    report = judge(reference, *hand_values(checked, points), sensitivity, seed, unsupported)
    if dtype == "float64" or report.verdict != "pass":
        return report
    return _in_float32(reference, report, runners, seed)


def _in_float32(reference: Reference, report: GradientReport, runners: AutodiffRunners, seed: int) -> GradientReport:
    """Judge the gradient in float32, after it has passed in float64, which determines the sensitivity."""
    points = reference.points.astype(np.float32).astype(np.float64)
    rounded = tuple(
        a.astype(np.float32).astype(np.float64) if a.dtype.kind == "f" else a for a in reference.checked.data
    )
    checked = replace(reference.checked, data=rounded)
    results = {name: runners.run(name, "float32")(points, rounded) for name in reference.by_framework}
    by_framework = {name: values for name, values in results.items() if isinstance(values, Values)}
    dropped = {name: f"in float32: {why}" for name, why in results.items() if isinstance(why, str)}
    unsupported = {**report.unsupported, **dropped}
    _some_voter(by_framework, unsupported, " in float32")
    inside = _in_range(by_framework, rounded)
    points, by_framework = (
        points[inside],
        {name: Values(v.losses[inside], v.gradients[inside]) for name, v in by_framework.items()},
    )
    bounds = rounding_bounds(checked, runners, by_framework, points, "float32", seed)
    narrow = Reference(checked, points, by_framework, *bounds, reference.names, reference.run, dtype="float32")
    judged = judge(narrow, *hand_values(checked, points, "float32"), np.inf, seed, unsupported)
    if judged.verdict == "pass" and (lost := _underflown(reference, narrow)).any():
        text = f"in float32 {component_list(reference.names, lost)} is 0 at every point, which shows nothing"
        judged = replace(judged, verdict="inconclusive", sentence=f"INCONCLUSIVE: {text}; check it in float64.")
    return replace(judged, witness=report.witness if judged.verdict == "pass" else None)


def _some_voter(by_framework: Mapping[str, Values], unsupported: Mapping[str, str], where: str) -> None:
    """Refuse a loss that no framework can run."""
    if not by_framework:
        reasons = "; ".join(f"{name}: {why}" for name, why in unsupported.items())
        raise InputError(
            f"no framework can differentiate the loss{where} ({reasons}); give one loss for each framework"
        )


def _underflown(reference: Reference, narrow: Reference) -> Array:
    """Return which components, (d,), are 0 in float32 but not in float64, so that any gradient would pass.

    If the losses themselves are lost, these are all components.
    """
    smallest = float(np.finfo(np.float32).smallest_normal)
    lost = (np.abs(narrow.autodiff) < smallest).all(0) & (np.abs(reference.autodiff) > reference.allowed).any(0)
    losses, wide = (np.abs(next(iter(c.by_framework.values())).losses) for c in (narrow, reference))
    return lost | bool((losses < smallest).all() and (wide > 2 * reference.bounds.losses).any())


def _in_range(by_framework: Mapping[str, Values], data: Sequence[Array]) -> Array:
    """Return at which points, (m,), the losses and gradients are in the range of float32; random points may be out.

    The sums must be in range too, since a mean may divide only at its end.
    """
    largest = float(np.finfo(np.float32).max) / max((a.shape[0] for a in data if a.ndim), default=1)
    columns = [np.column_stack((v.losses, v.gradients)) for v in by_framework.values()]
    inside = np.all([(np.abs(a) < largest).all(1) for a in columns], axis=0)
    if not all(np.isfinite(a[0]).all() for a in columns):
        raise InputError("the loss or its gradient is not finite in float32 at the theta given; check it in float64")
    inside[0] = True
    return inside
