"""Compare one function written in several frameworks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any, cast

import numpy as np

from gdbackends.backends import capabilities, get_backend
from gdbackends.errors import InputError, InputTypeError, in_one_line
from gdbackends.gradcheck.adapted import Adapted
from gdbackends.gradcheck.allowance import rounding_bounds
from gdbackends.gradcheck.arguments import prepare_arguments
from gdbackends.gradcheck.checked_function import AutodiffRunners, CheckedFunction, Function
from gdbackends.gradcheck.checking import values_if_same
from gdbackends.gradcheck.evidence import Cause, Evidence, component_list
from gdbackends.gradcheck.mistakes import diagnose
from gdbackends.gradcheck.other_causes import lost_precision
from gdbackends.gradcheck.parameters import ThetaLayout, flatten
from gdbackends.gradcheck.probe_points import probe_points_near
from gdbackends.gradcheck.report import GradientError, Verdict
from gdbackends.gradcheck.vector_functions import weighted_losses
from gdbackends.gradcheck.witness import scalar_values, values_and_bounds
from gdbackends.objectives import Array
from gdbackends.rounding import Limit
from gdbackends.rounding.limit import Values


@dataclass(frozen=True)
class PortReport:
    """The result of `compare_ports`.

    Attributes:
        verdict: "pass", "fail", or "inconclusive".
        sentence: the verdict in words.
        cause: what the difference is consistent with, or None.
        values: the largest difference of the values over what rounding allows, for each pair of ports.
        gradients: the same of the gradients.
        stage: the number of the first stage at which the ports part, from 0; None if they do not, or have no stages.
        notes: what else a reader should know, a line each.
    """

    verdict: Verdict
    sentence: str
    cause: Cause | None
    values: Mapping[tuple[str, str], float]
    gradients: Mapping[tuple[str, str], float]
    stage: int | None = None
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it, except that non-finite numbers are kept."""
        pairs = [
            {"pair": list(pair), "values": ratio, "gradients": self.gradients[pair]}
            for pair, ratio in self.values.items()
        ]
        shown = {key: value for key, value in asdict(self).items() if key not in ("values", "gradients")}
        return shown | {"schema": 1, "agreements": pairs}

    def raise_if_failed(self) -> None:
        """Raise an AssertionError unless the verdict is "pass"."""
        if self.verdict != "pass":
            raise GradientError(cast(Any, self))

    def __str__(self) -> str:
        """Return the report as text."""
        lines = [self.sentence]
        for (a, b), ratio in self.values.items():
            gradient = self.gradients.get((a, b))
            said = f"{a} and {b}: values {_said(ratio)}"
            lines.append(said if gradient is None else f"{said}; gradients {_said(gradient)}")
        if self.cause is not None:
            lines.append(f"consistent with: {self.cause.kind}: {self.cause.text}")
        return "\n".join([*lines, *self.notes])


def _said(ratio: float) -> str:
    return f"{'agree' if ratio <= 1 else 'differ'}, {ratio:.2g} of what rounding allows"


def compare_ports(
    ports: Mapping[str, Function | Sequence[Function]],
    theta: Any,
    *arguments: Any,
    params: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    bounds: Any = None,
    points: Sequence[Any] | None = None,
    seed: int = 0,
) -> PortReport:
    """Compare the values and gradients of one function written in several frameworks.

    Args:
        ports: the function by the name of the framework: {"jax": f, "torch": g, "numpy": h}. Each returns a scalar, or
            an array, of which a random weighted sum is compared. A list of functions is a function in stages: the first
            takes (theta, *data, **params), and each other one the result of the one before.
        theta: the parameters, as in `check_gradient`.
        *arguments: further arguments.
        params: hyper-parameters, passed by name.
        names: the names of the components of theta.
        bounds: pairs (least, largest), one a component.
        points: the points to use in place of random ones.
        seed: seed of the random points.

    Raises:
        InputError: there are fewer than two ports, or one of them cannot be run.
    """
    if not isinstance(ports, Mapping) or len(ports) < 2:
        raise InputTypeError(f"ports must be at least two functions by the name of the framework, got {ports!r}"[:200])
    unknown = [name for name in ports if name not in ("jax", "torch", "numpy")]
    if unknown:
        raise InputError(f"a port must be for jax, torch or numpy, got {unknown[0]!r}")
    stages: dict[str, list[Function]] = {
        name: list(cast("list[Function]", f)) if isinstance(f, (list, tuple)) else [cast(Function, f)]
        for name, f in ports.items()
    }
    first: dict[str, Any] = {name: _Staged(tuple(functions)) for name, functions in stages.items()}
    checked, start, labels = prepare_arguments(first, _no_gradient, theta, arguments, params=params, names=names)
    data = (_weights(checked, start, seed), *checked.data)
    subject = replace(checked, losses=weighted_losses(checked), hand=_zeros, data=data, weights=True)
    frameworks = tuple(name for name in ports if name != "numpy")
    runners = AutodiffRunners(subject, frameworks or ("torch",))
    probes = probe_points_near(subject, start, runners, seed, bounds, points)
    _, layout = flatten(theta)
    with np.errstate(all="ignore"):
        return _compared(subject, checked, probes, runners, labels, stages, seed, layout)


def _compared(
    subject: CheckedFunction,
    checked: CheckedFunction,
    probes: Array,
    runners: AutodiffRunners,
    names: Sequence[str],
    stages: Mapping[str, Sequence[Function]],
    seed: int,
    layout: ThetaLayout,
) -> PortReport:
    found = {name: _port(subject, name, probes, runners, seed) for name in stages}
    values, gradients = dict[tuple[str, str], float](), dict[tuple[str, str], float]()
    for a, b in combinations(found, 2):
        (va, ba), (vb, bb) = found[a], found[b]
        values[a, b] = Limit(ba.losses + bb.losses).ratio(va.losses, vb.losses)
        gradients[a, b] = Limit(ba.gradients + bb.gradients).ratio(va.gradients, vb.gradients)
    worst = max(values, key=lambda pair: max(values[pair], gradients[pair]))
    dtypes = {name: _output(checked, name, checked.losses[name], probes[0]).dtype.name for name in stages}
    notes = [f"all ran in float64, with products in full precision; results: {_listed(dtypes)}"]
    if all(not max(values[pair], gradients[pair]) > 1 for pair in values):
        who = " and ".join(found)
        visible = max(Limit(2 * found[worst[0]][1].gradients).sensitivity(found[worst[0]][0].gradients), 0.0)
        sentence = f"PASS: {who} agree in values and gradients within rounding; errors from {visible:.0e} are visible."
        return PortReport("pass", sentence, None, values, gradients, None, tuple(notes))
    a, b = _odd_one(found, values, gradients) or worst
    stage, said = _first_stage(checked, stages, a, b, probes[0])
    notes += [said] if said else []
    if not gradients[(a, b) if (a, b) in gradients else (b, a)] <= 1:
        (va, ba), (vb, bb) = found[a], found[b]
        wrong = ~(Limit(ba.gradients + bb.gradients).ratios(va.gradients, vb.gradients) <= 1).all(0)
        j = int(np.argmax(wrong))
        pair = f"{a} {va.gradients[0, j]:.10g}, {b} {vb.gradients[0, j]:.10g}"
        notes.append(f"the gradients differ in {component_list(names, wrong)}; the first is {names[j]}: {pair}")
    pair = (a, b) if (a, b) in values else (b, a)
    what = "gradients" if values[pair] <= 1 else "values" if gradients[pair] <= 1 else "values and gradients"
    others = [name for name in found if name not in (a, b)]
    also = f", while {' and '.join((a, *others))} agree" if _odd_one(found, values, gradients) else ""
    sentence = f"FAIL: {b} differs from {a} in {what} by more than rounding allows{also}."
    cause = _transposed(subject, probes, runners, found, a, b, layout)
    cause = cause or _cause(subject, probes, runners, names, found, a, b)
    return PortReport("fail", sentence, cause, values, gradients, stage, tuple(notes))


def _odd_one(
    found: Mapping[str, Any], values: Mapping[tuple[str, str], float], gradients: Mapping[tuple[str, str], float]
) -> tuple[str, str] | None:
    """Return the first port and the one that alone differs from all others; None if there is no such one."""
    differ = {pair for pair in values if max(values[pair], gradients[pair]) > 1}
    for odd in found if len(found) > 2 else ():
        if differ == {pair for pair in values if odd in pair}:
            return next(name for name in found if name != odd), odd
    return None


def _port(
    subject: CheckedFunction, name: str, probes: Array, runners: AutodiffRunners, seed: int
) -> tuple[Values, Values]:
    """Return the values and gradients of a port at flat points, and bounds on their errors.

    A port for NumPy is run on PyTorch if that is possible, and otherwise differentiated by differences.
    """
    if name != "numpy":
        found = runners.run(name, "float64")(probes, subject.data)
        if isinstance(found, str):
            raise InputError(f"the port for {name} fails: {found}")
        return found, rounding_bounds(subject, runners, [name], probes, "float64", seed)[0]
    plain = replace(subject, losses=cast(Any, {None: subject.losses["numpy"]}))
    others = AutodiffRunners(plain, ("torch",))
    found = others.run("torch", "float64")(probes, subject.data)
    found = values_if_same(plain, probes, found)
    if isinstance(found, Values):
        return found, rounding_bounds(plain, others, ["torch"], probes, "float64", seed)[0]
    loss = scalar_values(plain, probes[0])
    if loss is None:
        raise InputError("the port for numpy fails at the theta given")
    return values_and_bounds(plain, probes, loss)


def _cause(
    subject: CheckedFunction,
    probes: Array,
    runners: AutodiffRunners,
    names: Sequence[str],
    found: Mapping[str, tuple[Values, Values]],
    a: str,
    b: str,
) -> Cause:
    """Return what the difference of two ports is consistent with."""
    (va, ba), (vb, bb) = found[a], found[b]
    if Limit(ba.gradients + bb.gradients).ratio(va.gradients, vb.gradients) <= 1:
        apart = vb.losses - va.losses
        if np.ptp(apart) <= 4 * (ba.losses + bb.losses).max():
            text = f"the value by {b} is that by {a} plus {float(apart.mean()):.6g} at every theta"
            return Cause("offset", text, {"offset": float(apart.mean())})
    evidence = Evidence(
        probes,
        va.gradients,
        vb.gradients,
        ba.gradients + bb.gradients,
        subject.data[1:],
        subject.params,
        subject.shape,
        names,
        reference=a,
        subject=b,
    )
    cause = diagnose(evidence)
    if cause is None and b != "numpy":
        run = runners.run(b, "float64")

        def hand(theta: Array, *data: Array, **_: Any) -> Array:
            result = run(theta.reshape(1, -1).astype(np.float64), data)
            return np.zeros(theta.shape) if isinstance(result, str) else result.gradients[0].reshape(theta.shape)

        whole = replace(evidence, data=subject.data)
        cause = lost_precision(replace(subject, hand=hand), whole)
    return cause or Cause("different-function", "none of the known mistakes explains the difference", {})


def _transposed(
    subject: CheckedFunction,
    probes: Array,
    runners: AutodiffRunners,
    found: Mapping[str, tuple[Values, Values]],
    a: str,
    b: str,
    layout: ThetaLayout,
) -> Cause | None:
    """Return a cause if a port has the values of the other where a square block of the parameters is transposed."""
    if b == "numpy":
        return None
    (va, ba), (_, bb) = found[a], found[b]
    for block in layout.blocks:
        if len(block.shape) != 2 or block.shape[0] != block.shape[1] or block.shape[0] < 2:
            continue
        points, part = probes.copy(), slice(block.start, block.stop)
        points[:, part] = probes[:, part].reshape(-1, *block.shape).swapaxes(1, 2).reshape(len(probes), -1)
        turned = runners.run(b, "float64")(points, subject.data)
        if isinstance(turned, Values) and Limit(ba.losses + bb.losses).ratio(va.losses, turned.losses) <= 1:
            text = f"{block.name} enters transposed: {b} with it transposed has the values of {a}"
            return Cause("permutation", text, {"components": float(block.stop - block.start)})
    return None


def _first_stage(
    checked: CheckedFunction, stages: Mapping[str, Sequence[Function]], a: str, b: str, start: Array
) -> tuple[int | None, str]:
    """Return the number of the first stage at which two ports part, and a line about it."""
    count = min(len(stages[a]), len(stages[b]))
    if count < 2:
        return None, ""
    for k in range(count):
        one, other = (_output(checked, name, _up_to(checked, stages, name, k), start) for name in (a, b))
        if one.shape != other.shape:
            turned = ", transposed" if one.shape == other.shape[::-1] else ""
            return k, f"they part at stage {k}: {a} returns shape {one.shape} and {b} {other.shape}{turned}"
        size = float(np.abs(one).max(initial=0.0))
        apart = np.abs(one - other)
        if not apart.max(initial=0.0) <= 1e-10 * size:
            where = tuple(int(i) for i in np.unravel_index(int(apart.argmax()), apart.shape))
            entry = f" in entry {where}" if where else ""
            return k, f"they part at stage {k}: {a} has {one[where]:.10g} and {b} {other[where]:.10g}{entry}"
    return None, ""


def _up_to(checked: CheckedFunction, stages: Mapping[str, Sequence[Function]], name: str, k: int) -> Function:
    """Return the first stages of a port as one function."""
    part, whole = _Staged(tuple(stages[name][: k + 1])), checked.losses[name]
    return replace(whole, function=part) if isinstance(whole, Adapted) else part


def _listed(dtypes: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())


def _zeros(theta: Array, *_: Any, **__: Any) -> Array:
    return 0 * theta


def _no_gradient(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("ports have no gradient by hand")


def framework_of(
    function: Function, theta: Any, *arguments: Any, params: Mapping[str, Any], taken: Sequence[str] = ()
) -> str:
    """Return the framework in which a function is written: the first, not taken, that runs it at theta.

    One that its name mentions, as in "loss_in_torch", comes first.

    Raises:
        InputError: none runs it.
    """
    reasons: list[str] = []
    called = str(getattr(function, "__name__", ""))
    for name in sorted(("numpy", "jax", "torch"), key=lambda name: name not in called):
        if name in taken:
            continue
        checked, start, _ = prepare_arguments({name: function}, _no_gradient, theta, arguments, params=params)
        try:
            if np.asarray(_output(checked, name, checked.losses[name], start)).dtype.kind in "fiu":
                return name
        except InputError as error:
            reasons.append(str(error))
    raise InputError(f"no framework can run {getattr(function, '__name__', 'the port')}: {'; '.join(reasons)}")


@dataclass(frozen=True, eq=False)
class _Staged:
    """A function in stages."""

    stages: tuple[Function, ...]

    def __call__(self, theta: Any, *data: Any, **params: Any) -> Any:
        result = self.stages[0](theta, *data, **params)
        for stage in self.stages[1:]:
            result = stage(result)
        return result


def _weights(checked: CheckedFunction, start: Array, seed: int) -> Array:
    """Return a weight for each output: 1 for a scalar, and otherwise random ones."""
    name = next(iter(checked.losses))
    output = np.asarray(_output(checked, cast(str, name), checked.losses[name], start))
    return np.ones(1) if output.size == 1 else np.random.default_rng(seed).normal(size=output.size)


def _output(checked: CheckedFunction, name: str, function: Function, start: Array) -> Array:
    """Return what a port returns at a flat theta, as a NumPy array."""
    try:
        if name == "numpy":
            data = [a.copy() for a in checked.data]
            return np.asarray(function(start.reshape(checked.shape), *data, **checked.params))
        backend: Any = get_backend(name, tuning="idiomatic")
        with capabilities(backend).default_dtype():
            theta = backend.asarray(start).reshape(checked.shape)
            result = function(theta, *(backend.asarray(a) for a in checked.data), **checked.params)
            return backend.to_numpy(result) if hasattr(result, "shape") else np.asarray(result)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # any error of the port
        raise InputError(f"the port for {name} fails: {in_one_line(error)[:200]}") from None
