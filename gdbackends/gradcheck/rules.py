"""Check a rule of one's own for a derivative, written in a framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from gdbackends.backends import capabilities, get_backend
from gdbackends.errors import InputError, in_one_line
from gdbackends.gradcheck.arguments import prepare_arguments
from gdbackends.gradcheck.checked_function import Autodiff, AutodiffRunners, CheckedFunction, Function, numpy_losses
from gdbackends.gradcheck.checking import check_at, judge_by_differences
from gdbackends.gradcheck.evidence import Cause
from gdbackends.gradcheck.hessian import check_hessian
from gdbackends.gradcheck.probe_points import probe_points_near
from gdbackends.gradcheck.report import GradientReport
from gdbackends.gradcheck.vector_functions import weighted_losses
from gdbackends.gradcheck.witness import scalar_values
from gdbackends.objectives import Array
from gdbackends.rounding.limit import VISIBLE, Values


def check_rule(
    custom: Function,
    reference: Function,
    x: Any,
    *data: Any,
    backends: Sequence[str] = ("torch", "jax"),
    params: Mapping[str, Any] | None = None,
    bounds: Any = None,
    points: Sequence[Any] | None = None,
    second_order: bool = True,
    sensitivity: float = VISIBLE,
    seed: int = 0,
) -> GradientReport:
    """Check a derivative rule written in a framework: a torch.autograd.Function, or jax.custom_vjp or custom_jvp.

    The values must be those of a reference; the derivative must be that of the function's own values, by differences,
    and that of the reference, by autodiff; and so must the second derivative.

    Args:
        custom: custom(x, *data, **params) -> array of any shape, with a rule of its own, in one framework.
        reference: the same function without the rule, in the same framework, in NumPy, or in the array namespace of x.
        x: an array of any shape, as theta in `check_gradient`.
        *data: further arguments.
        backends: the frameworks to try; the first that can run `custom` is the one it is written in.
        params: hyper-parameters, passed by name.
        bounds: pairs (least, largest), one a component of x.
        points: the points to use in place of random ones.
        second_order: whether to check the second derivative too.
        sensitivity: the relative error that must be visible.
        seed: seed of the random points and weights.

    Raises:
        InputError: an argument cannot be used, or no framework can run the function.
    """
    subject, mine, run, start, names = _prepared(custom, reference, x, data, params, backends, seed)
    framework = run.framework
    runners = AutodiffRunners(subject, (framework, *(name for name in ("torch", "jax") if name != framework)))
    probes = probe_points_near(subject, start, runners, seed, bounds, points)
    differ = _values_differ(run, runners, probes, subject)
    own = scalar_values(replace(mine, losses={}), start, run)
    assert own is not None
    by_values = judge_by_differences(mine, probes, names, sensitivity, seed, own)
    report = check_at(subject, probes, runners, names, "float64", sensitivity, seed)
    notes = [
        f"the first derivative is {'' if by_values.verdict == 'pass' else 'not '}that of the function's own values",
        f"{'' if report.verdict == 'pass' else 'not '}that of the reference",
    ]
    report = by_values if by_values.verdict == "fail" else report
    if differ is not None:
        report = replace(report, verdict="fail", cause=differ, sentence=f"FAIL: {differ.text}.")
    report = replace(report, notes=(" and ".join(notes), *report.notes))
    if not second_order or report.verdict != "pass":
        return report
    second = check_hessian("hvp", _product(mine, framework), subject, probes, runners, names, sensitivity, seed)
    return _with_second_order(report, second)


def _prepared(
    custom: Function,
    reference: Function,
    x: Any,
    data: Sequence[Any],
    params: Mapping[str, Any] | None,
    backends: Sequence[str],
    seed: int,
) -> tuple[CheckedFunction, CheckedFunction, Autodiff, Array, Sequence[str]]:
    """Return weighted sums of the outputs of the reference and of the function, the runner of the function, and x.

    The gradient by hand of both is that of the rule. The last two are the flat x and the names of its components.
    """
    checked, start, names = prepare_arguments(reference, _unused, x, data, params=params)
    other, _, _ = prepare_arguments(custom, _unused, x, data, params=params)
    framework, size = _framework_of(other, start, backends)
    weights = cast(Array, np.random.default_rng(seed).normal(size=size))

    def weighted(subject: CheckedFunction) -> CheckedFunction:
        data = (weights, *subject.data)
        return replace(subject, losses=weighted_losses(subject), data=data, weights=True, what="rule")

    run = AutodiffRunners(weighted(other), (framework,)).run(framework, "float64")

    def hand(theta: Array, *arrays: Array, **_: Any) -> Array:
        return _gradient_by(run, theta, arrays)

    return replace(weighted(checked), hand=hand), replace(weighted(other), hand=hand), run, start, names


def _with_second_order(report: GradientReport, second: GradientReport) -> GradientReport:
    """Return the report on a rule whose first derivative is right, with that on its second."""
    note = f"the second derivative is {'' if second.verdict == 'pass' else 'not '}that of the reference"
    if second.verdict == "pass":
        return replace(report, notes=(*report.notes, note))
    return replace(second, of="second derivative of the rule", notes=(*report.notes, note, *second.notes))


def _unused(*_: Any, **__: Any) -> Any:
    raise NotImplementedError


def _gradient_by(run: Autodiff, theta: Array, arrays: Sequence[Array]) -> Array:
    """Return a gradient by a framework at theta, of its shape."""
    result = run(theta.reshape(1, -1).astype(np.float64), tuple(arrays))
    if isinstance(result, str):
        raise InputError(result)
    return result.gradients[0].reshape(theta.shape)


def _product(checked: CheckedFunction, framework: str) -> Function:
    """Return hvp(theta, v, *arrays) by a framework."""

    def product(theta: Array, v: Array, *arrays: Array, **_: Any) -> Array:
        return _gradient_by(Autodiff(checked, framework, "float64", None, v.ravel()), theta, arrays)

    return product


def _framework_of(checked: CheckedFunction, start: Array, names: Sequence[str]) -> tuple[str, int]:
    """Return the first framework that runs a function, and the number of its outputs."""
    reasons: list[str] = []
    for name in AutodiffRunners(checked, names).names:
        try:
            backend: Any = get_backend(name)
            function: Any = checked.losses[None]
            with capabilities(backend).default_dtype():
                theta = backend.asarray(start).reshape(checked.shape)
                output = function(theta, *(backend.asarray(a) for a in checked.data), **checked.params)
                return name, int(backend.to_numpy(output).size)
        except (Exception, SystemExit) as error:  # written for another framework
            reasons.append(f"{name}: {in_one_line(error)[:150]}")
    raise InputError(f"no framework can run the function ({'; '.join(reasons)})")


def _values_differ(run: Autodiff, runners: AutodiffRunners, probes: Array, subject: CheckedFunction) -> Cause | None:
    """Return a cause if the values of the rule's function are not those of the reference."""
    mine = run(probes, subject.data)
    found = [runners.run(name, "float64")(probes, subject.data) for name in runners.names]
    values = next((v.losses for v in found if isinstance(v, Values)), numpy_losses(subject, probes))
    if not isinstance(mine, Values) or values is None:
        return None
    k = int(np.abs(mine.losses - values).argmax())
    if np.abs(mine.losses[k] - values[k]) <= 1e-9 * max(np.abs(mine.losses).max(), np.abs(values).max()):
        return None
    text = f"the values differ from those of the reference: {mine.losses[k]:.10g} where it has {values[k]:.10g}"
    return Cause("different-function", text, {})
