"""check_gradient(): compare a hand-derived gradient with autodiff and with differences, within what rounding allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from gdbackends.errors import InputError, in_one_line
from gdbackends.gradcheck.allowance import SAFETY, rounding_bounds
from gdbackends.gradcheck.arguments import prepare_arguments
from gdbackends.gradcheck.checked_function import (
    Autodiff,
    AutodiffRunners,
    CheckedFunction,
    Function,
    numpy_losses,
    scalar_loss,
)
from gdbackends.gradcheck.evidence import DIFFERENCES, Reference, component_list
from gdbackends.gradcheck.hessian import check_hessian
from gdbackends.gradcheck.other_data import unpaired_rows
from gdbackends.gradcheck.probe_points import is_symmetric, probe_points_near
from gdbackends.gradcheck.repeating import call_text
from gdbackends.gradcheck.report import GradientReport
from gdbackends.gradcheck.side_effects import hand_values
from gdbackends.gradcheck.verdict import judge, losses_differ
from gdbackends.gradcheck.witness import (
    MOST_COMPONENTS,
    Differences,
    Plane,
    contradicted,
    points_for_differences,
    run_by_differences,
    scalar_values,
    values_and_bounds,
)
from gdbackends.objectives import Array
from gdbackends.rounding.limit import VISIBLE, Values

_MOVED = 3
"""How many times random points are moved closer to theta, to an eighth each time."""
_SYMMETRIC = "theta is symmetric, and so are the random points; symmetric=False lifts that"


def check_gradient(
    loss: Function | Mapping[str, Function],
    gradient: Function | bool,
    theta: Any,
    *data: Any,
    args: Sequence[Any] = (),
    argument: str | None = None,
    argnum: int = 0,
    backends: Sequence[str] = ("jax", "torch"),
    hessian: Function | None = None,
    hvp: Function | None = None,
    params: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    bounds: Any = None,
    points: Sequence[Any] | None = None,
    symmetric: bool | None = None,
    dtype: str = "float64",
    sensitivity: float = VISIBLE,
    seed: int = 0,
) -> GradientReport:
    """Check a gradient derived by hand; if it is wrong, say what the mistake is consistent with.

    The loss may be plain NumPy code, or any function of NumPy arrays. The frameworks that can run it differentiate it;
    if none can, it is differentiated by differences of its values.

    Args:
        loss: loss(theta, *data, **params) -> scalar; or one function for each framework: {"jax": f, "torch": g,
            "numpy": h}.
        gradient: gradient(theta, *data, **params), on NumPy arrays; returns an array of the shape of theta, or the
            structure of theta. True if the loss returns (loss, gradient), as with SciPy's jac=True.
        theta: the parameters: an array of any shape; or a dictionary, list, tuple, named tuple or dataclass of arrays.
            The gradient is checked there and at random points near it.
        *data: further arguments. Arrays of numbers may have any shapes; integers stay integers; all other objects are
            passed as they are.
        args: further arguments after `data`, as in SciPy.
        argument: the name of the parameter of the functions that is theta.
        argnum: the position at which the functions take theta.
        backends: the names of the frameworks that differentiate the loss.
        hessian: hessian(theta, *data, **params), of shape (*theta.shape, *theta.shape) or (d, d), or its diagonal;
            checked if the gradient passes.
        hvp: hvp(theta, v, *data, **params), the Hessian times v, of the shape of theta; checked if the gradient passes.
        params: hyper-parameters, passed by name and used in the diagnosis.
        names: the names of the components of theta; by default their indices.
        bounds: pairs (least, largest), one a component, or SciPy's Bounds; random points stay within them. Without
            them each component keeps its sign.
        points: the points to use in place of random ones.
        symmetric: whether theta is a symmetric matrix, which the random points keep; by default it is one if it is
            equal to its transpose and not 0.
        dtype: "float64" or "float32", the dtype of the gradients that are checked; float64 is always checked.
        sensitivity: the relative error of a component that must be visible; otherwise the verdict is "inconclusive".
        seed: seed of the random points.

    Raises:
        InputError: an argument cannot be used, the loss is not a real scalar, or neither a framework nor NumPy can run
            it.
    """
    given = locals() | {"data": (*data, *args), "args": ()}
    checked, start, named = prepare_arguments(
        loss,
        gradient,
        theta,
        (*data, *args),
        params=params,
        names=names,
        dtype=dtype,
        seed=seed,
        argument=argument,
        argnum=argnum,
    )
    if isinstance(sensitivity, bool) or not isinstance(sensitivity, Real) or not sensitivity > 0:
        raise InputError(f"sensitivity must be a number above 0, got {sensitivity!r}")
    runners = AutodiffRunners(checked, backends)
    probes = probe_points_near(checked, start, runners, seed, bounds, points, symmetric)
    report = check_at(checked, probes, runners, named, dtype, sensitivity, seed)
    for what, function in (("hessian", hessian), ("hvp", hvp)):
        if function is not None and report.verdict == "pass":
            second = check_hessian(what, function, checked, probes, runners, named, sensitivity, seed)
            report = second if second.verdict != "pass" else replace(report, of=f"{report.of} and {what}")
    is_kept = symmetric is None and points is None and is_symmetric(start, checked.shape)
    report = _with_warning(report, checked, probes, runners, (_SYMMETRIC,) if is_kept else ())
    return replace(report, again=call_text("check_gradient", given, check_gradient.__kwdefaults__ or {}))


def _with_warning(
    report: GradientReport, checked: CheckedFunction, points: Array, runners: AutodiffRunners, notes: tuple[str, ...]
) -> GradientReport:
    """Return the report with further notes, and a warning first if the loss broadcasts a column against rows."""
    report = replace(report, notes=(*report.notes, *notes))
    warning = unpaired_rows(checked, points, runners.run(runners.names[-1], "float64"))
    if warning is None:
        return report
    sentence = report.sentence
    if report.verdict == "pass":
        sentence = f"{sentence.removesuffix('.')}, but see the warning."
    return replace(report, sentence=sentence, notes=(warning, *report.notes))


def check_subject(
    checked: CheckedFunction,
    start: Array,
    runners: AutodiffRunners,
    names: Sequence[str],
    dtype: str = "float64",
    sensitivity: float = VISIBLE,
    seed: int = 0,
) -> GradientReport:
    """Check a prepared function at a flat theta; runners may be shared by functions with the same loss and shapes."""
    return check_at(checked, probe_points_near(checked, start, runners, seed), runners, names, dtype, sensitivity, seed)


@np.errstate(all="ignore")  # NaN and tiny limits are judged, without warnings
def check_at(
    checked: CheckedFunction,
    points: Array,
    runners: AutodiffRunners,
    names: Sequence[str],
    dtype: str = "float64",
    sensitivity: float = VISIBLE,
    seed: int = 0,
) -> GradientReport:
    """Check a prepared function at flat points (m, d): theta, and others."""
    return _Check(checked, points, runners, names, dtype, sensitivity, seed).report()


@np.errstate(all="ignore")
def reference_at(
    checked: CheckedFunction, points: Array, runners: AutodiffRunners, names: Sequence[str], seed: int = 0
) -> tuple[Reference, dict[str, str]]:
    """Return what a hand gradient is judged by at flat points (m, d), and why some frameworks give none.

    Raises:
        InputError: the loss is random, or no framework can differentiate it.
    """
    return _Check(checked, points, runners, names, "float64", VISIBLE, seed).reference()


def judge_by_differences(
    checked: CheckedFunction,
    points: Array,
    names: Sequence[str],
    sensitivity: float,
    seed: int,
    loss: Callable[[Array], float],
) -> GradientReport:
    """Judge the hand gradient at flat points (m, d) by differences of a loss alone."""
    runners = AutodiffRunners(checked, ("torch",))
    check = _Check(checked, points_for_differences(points), runners, names, "float64", sensitivity, seed)
    return check.judged_by(loss, "float64")


@dataclass(frozen=True, eq=False)
class _Check:
    """A check of a prepared function at flat points (m, d); `moved` counts how often the random ones came closer."""

    checked: CheckedFunction
    points: Array
    runners: AutodiffRunners
    names: Sequence[str]
    dtype: str
    sensitivity: float
    seed: int
    moved: int = 0

    def reference(self) -> tuple[Reference, dict[str, str]]:
        """Return what to judge by, and why some frameworks give none."""
        by_framework, unsupported = self._by_framework()
        _some_voter(by_framework, unsupported, "")
        reference, at_odds = self._reference(by_framework)
        if reference is None:
            raise InputError(f"the values of the loss contradict its derivative by {' and '.join(at_odds)}; check it")
        return reference, unsupported

    def _by_framework(self) -> tuple[dict[str, Values], dict[str, str]]:
        """Return the losses and gradients by framework, and why others have none."""
        results = self._results()
        _refuse_random_loss(self.checked, self.points[0], self.runners, results)
        by_framework = {name: values for name, values in results.items() if isinstance(values, Values)}
        return by_framework, {name: why for name, why in results.items() if isinstance(why, str)}

    def report(self) -> GradientReport:
        """Judge by the frameworks that can run the loss, or else by differences of its values."""
        by_framework, unsupported = self._by_framework()
        reference, at_odds = self._reference(by_framework) if by_framework else (None, {})
        if reference is None:
            return self._by_differences(unsupported, at_odds)
        hand, fault = hand_values(self.checked, self.points)
        report = judge(reference, hand, fault, self.sensitivity, self.seed, unsupported, at_odds)
        if report.verdict == "fail" and fault is None and (closer := self._closer(reference, hand)) is not None:
            return _moved(closer.report())
        if report.verdict == "fail" and fault is None and self._is_below_differences(reference, hand):
            less = self._by_differences(unsupported, {})
            if less.verdict == "pass":
                who = " and ".join(reference.by_framework)
                note = f"{who} differs by less than differences can see, as where an iteration is stopped early"
                return replace(less, notes=(*less.notes, note))
        if self.dtype == "float64" or report.verdict != "pass":
            return report
        return _in_float32(reference, report, self.runners, self.seed)

    def _results(self) -> dict[str, Values | str]:
        """Return the losses and gradients by framework, or why there are none."""
        runs = {name: self.runners.run(name, "float64") for name in self.runners.names}
        results = {name: _at_points(self.checked, run, self.points) for name, run in runs.items()}
        if not any(isinstance(values, Values) for values in results.values()):
            for name, run in runs.items():
                if (found := run.eagerly(self.points, self.checked.data)) is not None:
                    results[name] = values_if_same(self.checked, self.points, found)
        return results

    def _reference(self, by_framework: dict[str, Values]) -> tuple[Reference | None, dict[str, Array]]:
        """Return what to judge by, and the gradients of the frameworks that the loss's values contradict."""
        checked, points = self.checked, self.points
        run = self.runners.run(list(by_framework)[-1], "float64")
        bounds, how = rounding_bounds(checked, self.runners, by_framework, points, "float64", self.seed)
        loss = scalar_values(checked, points[0], run)
        if loss is None:
            return Reference(checked, points, by_framework, bounds, how, self.names, run), {}
        differences = Differences(loss)
        noise = np.array([differences.rounding(point) for point in points])
        noise[0] = min(noise[0], *noise[1:])  # theta may be at a kink
        bounds = replace(bounds, losses=np.fmax(bounds.losses, SAFETY * noise))
        by = differences.gradient
        reference = Reference(checked, points, by_framework, bounds, how, self.names, run, differences=by)
        if losses_differ(reference) is not None:
            return reference, {}
        refuted = contradicted(differences, points, reference.gradients, reference.allowed, self.seed)
        at_odds = {name: by_framework[name].gradients for name in refuted}
        others = {name: values for name, values in by_framework.items() if name not in refuted}
        if not others:
            return None, at_odds
        run = self.runners.run(list(others)[-1], "float64")
        return replace(reference, by_framework=others, run=run), at_odds

    def _closer(self, reference: Reference, hand: Array | None) -> _Check | None:
        """Return the check at points closer to theta, if the loss is guarded or clipped at some of the random ones.

        There a derivative is 0 which is not 0 at theta, and the hand gradient differs nowhere else.
        """
        if hand is None or self.moved == _MOVED or not np.isfinite(hand).all():
            return None
        wrong = ~(reference.ratios(hand, reference.autodiff) <= 1)
        zero = np.abs(reference.autodiff) <= reference.allowed
        if wrong[0].any() or not wrong.any() or not zero[wrong].all() or zero[0, wrong.any(0)].any():
            return None
        points = self.points[0] + (self.points - self.points[0]) / 8
        return replace(self, points=points, moved=self.moved + 1)

    def _is_below_differences(self, reference: Reference, hand: Array | None) -> bool:
        """Return whether a gradient differs so little, from NumPy code run on a framework, that differences may decide.

        The derivative of an iteration that is stopped at a tolerance is not exactly that of its limit.
        """
        ran = [self.runners.run(name, "float64").runs_numpy_code for name in reference.by_framework]
        if hand is None or not all(ran):
            return False
        return bool((np.abs(hand - reference.autodiff) <= 1e-8 * np.abs(reference.autodiff).max(0)).all())

    def _by_differences(self, unsupported: Mapping[str, str], at_odds: Mapping[str, Array]) -> GradientReport:
        """Judge by differences of the loss, where no framework can run it, or its values contradict all."""
        run = self.runners.run(next(iter(at_odds)), "float64") if at_odds else None
        loss = scalar_values(self.checked, self.points[0], run)
        if loss is None:
            raise _nothing_runs(self.checked, self.points[0], unsupported)
        check, notes = self, tuple[str, ...]()
        if self.points.shape[1] > MOST_COMPONENTS:
            plane = Plane(self.checked, self.points[0], loss, self.seed)
            at_odds = {name: plane.projected(gradients) for name, gradients in at_odds.items()}
            notes = (
                f"checked in {plane.sampled} of {len(self.names)} components and {plane.directions} random "
                "directions, since differences of the loss are all there is",
            )
            names, loss = plane.names_of(self.names), plane.loss
            runners = AutodiffRunners(plane.checked, self.runners.names)
            points = probe_points_near(plane.checked, np.ones(len(names)), runners, self.seed)
            check = replace(self, checked=plane.checked, names=names, points=points, runners=runners)
        check = replace(check, points=points_for_differences(check.points))
        at_odds = {name: gradients[: len(check.points)] for name, gradients in at_odds.items()}
        report = check.judged_by(loss, "float64", unsupported, at_odds)
        if self.dtype == "float32" and report.verdict == "pass":
            narrow = replace(check, points=check.points.astype(np.float32).astype(np.float64), sensitivity=np.inf)
            report = narrow.judged_by(loss, "float32", unsupported, at_odds)
        return replace(report, notes=(*notes, *report.notes))

    def judged_by(
        self,
        loss: Callable[[Array], float],
        dtype: str,
        unsupported: Mapping[str, str] | None = None,
        at_odds: Mapping[str, Array] | None = None,
    ) -> GradientReport:
        """Judge the hand gradient by differences of a loss alone."""
        values, bounds = values_and_bounds(self.checked, self.points, loss, dtype)
        by, run = {DIFFERENCES: values}, run_by_differences(self.checked)
        reference = Reference(self.checked, self.points, by, bounds, "estimated", self.names, run, dtype=dtype)
        hand, fault = hand_values(self.checked, self.points, dtype)
        report = judge(reference, hand, fault, self.sensitivity, self.seed, unsupported or {}, at_odds)
        if report.verdict == "fail" and fault is None and (closer := self._closer(reference, hand)) is not None:
            return _moved(closer.judged_by(loss, dtype, unsupported, at_odds))
        return report


def _moved(report: GradientReport) -> GradientReport:
    """Return the report with a note that the random points were moved."""
    note = "the random points are close to theta, since farther away the loss does not depend on all components"
    return replace(report, notes=tuple(dict.fromkeys((*report.notes, note))))


def _at_points(checked: CheckedFunction, run: Autodiff, points: Array) -> Values | str:
    """Return the losses and gradients by a framework, or why there are none.

    Code written for NumPy must have the values that it has in NumPy. Code that runs on the framework as it is may still
    leave it halfway, as with math.exp of a tensor; then its gradient contradicts its values, and it is run as NumPy
    code too.
    """
    values = run(points, checked.data)
    if isinstance(values, Values) and not run.runs_numpy_code:
        loss = scalar_loss(checked, points[0])
        if loss is None or not contradicted(Differences(loss), points, {"": values.gradients}, 0 * points, 0):
            return values
        other = run.as_numpy_code(points, checked.data)
        values = other if isinstance(other, Values) else values
    return values_if_same(checked, points, values) if run.runs_numpy_code else values


def values_if_same(checked: CheckedFunction, points: Array, values: Values | str) -> Values | str:
    """Return the results of code written for NumPy if the losses are those of NumPy, within its noise."""
    own, loss = numpy_losses(checked, points), scalar_loss(checked, points[0])
    if isinstance(values, str) or own is None or loss is None:
        return values
    noise = np.array([Differences(loss).rounding(point) for point in points])
    if not (np.abs(values.losses - own) <= 1e-10 * np.abs(own) + 64 * noise).all():
        return "run as NumPy code, the loss has other values than in NumPy"
    if not np.isfinite(values.gradients).all():
        return "run as NumPy code, its derivative is not finite"
    if contradicted(Differences(loss), points, {"": values.gradients}, 1e-9 * np.abs(values.gradients), 0):
        return "run as NumPy code, a part of its derivative is lost"
    return values


def _refuse_random_loss(
    checked: CheckedFunction, point: Array, runners: AutodiffRunners, results: Mapping[str, Values | str]
) -> None:
    """Raise InputError if the loss has different values at the same theta, the first of those of the results."""
    pairs = {"numpy": [numpy_losses(checked, point[None]) for _ in range(2)]}
    for name, values in results.items():
        again = runners.run(name, "float64")(point[None], checked.data) if isinstance(values, Values) else ""
        pairs[name] = [v.losses if isinstance(v, Values) else None for v in (values, again)]
    for name, (first, second) in pairs.items():
        if first is None or second is None:
            continue
        a, b = float(first[0]), float(second[0])
        if abs(a - b) > 1e-9 * max(abs(a), abs(b)):  # threads may sum in another order
            raise InputError(f"the loss is random: {name} finds {a:.10g} and {b:.10g} at the same theta; fix its seed")


def _nothing_runs(checked: CheckedFunction, point: Array, unsupported: Mapping[str, str]) -> InputError:
    """Return the error for a loss that neither a framework nor NumPy can run."""
    reasons = [f"{name}: {why}" for name, why in unsupported.items()]
    with suppress(LookupError):
        try:
            checked.loss_for("numpy").loss(point.copy(), *(a.copy() for a in checked.data))
        except (Exception, SystemExit) as error:  # any error of the loss
            reasons.insert(0, f"numpy: {in_one_line(error)}")
    advice = _on_the_length(checked, point.size) or "give one loss for each framework"
    return InputError(f"nothing can run the loss ({'; '.join(reasons)}); {advice}")


def _on_the_length(checked: CheckedFunction, parameters: int) -> str:
    """Return what to do if theta may have a number too many or too few for the columns of the data; "" otherwise."""
    for k, array in enumerate(checked.data):
        if array.ndim == 2 and parameters == array.shape[1] + 1:
            n = array.shape[1]
            return (
                f"theta has {parameters} numbers and data[{k}] {n} columns: give theta {n} numbers, or data[{k}] a "
                f"column of ones for the intercept"
            )
        if array.ndim == 2 and parameters == array.shape[1] - 1:
            n = array.shape[1]
            return (
                f"theta has {parameters} numbers and data[{k}] {n} columns: give theta {n} numbers, such as one more "
                f"for the intercept, or leave a column out"
            )
    return ""


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
