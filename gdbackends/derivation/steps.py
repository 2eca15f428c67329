"""derive(): the steps from the loss of one row to the gradient over n rows, with every derivative found by sympy.

The losses give only their formulas; the hand-derived gradients in objectives/ are not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import chain, pairwise
from typing import Any, TypeAlias

from gdbackends.derivation.equations import Equation, Expression, Latex, Text
from gdbackends.errors import InputError, require_package
from gdbackends.objectives import format_loss, parse_loss
from gdbackends.objectives.row_losses import Formula

_Lines: TypeAlias = "Iterator[tuple[str, Equation | tuple[Expression, ...]]]"


_DEFINITIONS = {"z": "m*x + b", "r": "z - y"}
_RULES = {"log": "log(u)", "exp": "exp(u)", "cosh": "cosh(u)", "power": "u**k"}


@dataclass(frozen=True)
class DerivationStep:
    """One step: its rule, the equation as text of one or more lines, and as a row of an align environment."""

    rule: str
    text: str
    latex: str


@dataclass(frozen=True)
class Derivation:
    """The steps from the loss of a row to the gradient of its mean over n rows; str() shows them.

    Attributes:
        loss: the text form of the loss, such as "huber:1.5".
        steps: the definitions, the derivatives, the chain rule, the mean.
    """

    loss: str
    steps: tuple[DerivationStep, ...]

    def __str__(self) -> str:
        """Return the steps below each other, with the rules on the left."""
        width = max(len(step.rule) for step in self.steps) + 2
        return "\n".join(f"{step.rule:<{width}}" + step.text.replace("\n", f"\n{'':{width}}") for step in self.steps)

    @property
    def latex(self) -> str:
        """Return an align environment of amsmath."""
        rows = " \\\\\n".join(rf"{step.latex} && \text{{{step.rule}}}" for step in self.steps)
        return f"\\begin{{align*}}\n{rows}\n\\end{{align*}}"

    def to_dict(self) -> dict[str, Any]:
        """Return the derivation as JSON holds it."""
        return asdict(self)


def derive(loss: str = "squared") -> Derivation:
    """Return the derivation of a loss by its text form, such as "squared" or "huber:1.5".

    Raises:
        InputError: there is no such loss, it has no formula, or sympy is not installed.
    """
    row_loss = parse_loss(loss)
    if row_loss.formula is None:
        raise InputError(f"the {row_loss.name} loss has no formula to derive; define one in its class")
    require_package("derive", "sympy", "derive")
    text, latex = Text(), Latex()
    steps: list[DerivationStep] = []
    for rule, line in _Deriver(row_loss.formula).lines(row_loss.parameters):
        if isinstance(line, Equation):
            steps.append(DerivationStep(rule, text.equation(line), latex.equation(line)))
        else:
            steps.append(DerivationStep(rule, text.sentence(*line), latex.sentence(*line)))
    return Derivation(format_loss(row_loss), tuple(steps))


class _Deriver:
    """One loss, differentiated by sympy; `lines` yields each rule with its equation or sentence."""

    def __init__(self, formula: Formula) -> None:
        self.sp: Any = import_module("sympy")
        self.chain = formula.chain
        self.means = {name: self.sp.sympify(text) for name, text in (_DEFINITIONS | dict(formula.lets)).items()}
        self.model = self.means[formula.chain[-1]].subs("z", self.means["z"])
        parts = formula.pieces, formula.conditions, formula.joins
        self.phi, self.conditions, self.joins = ([self.sp.sympify(text) for text in part] for part in parts)
        self.inside = [condition.replace(self.sp.Ge, self.sp.Gt) for condition in self.conditions]
        self.slopes = [self.sp.diff(piece, formula.chain[0]) for piece in self.phi]

    def lines(self, values: dict[str, float]) -> _Lines:
        """Yield all lines."""
        yield "prediction", Equation(("z",), [self.means["z"]])
        for name in reversed(self.chain.removesuffix("z")):
            model = [self.model] if name == self.chain[-1] else []
            yield "residual" if name == "r" else "let", Equation((name,), [self.means[name], *model])
        yield "loss of a row", Equation(("phi",), self.phi, self.conditions)
        for name, value in values.items():
            yield "parameter", Equation((name,), [self.sp.Float(value)])
        yield from self._links()
        yield from self._kinks()
        gradients = {name: self._gradient(name) for name in "mb"}
        for name, gradient in gradients.items():
            through = (("phi", self.chain[0]), *pairwise(self.chain), (self.chain[-1], name))
            yield "chain rule", Equation(("phi", name), gradient, self.inside, through)
        yield "mean over n rows", self._mean(("J",), self.phi, self.conditions)
        for name, gradient in gradients.items():
            yield "sum rule", self._mean(("J", name), gradient, self.inside)
        if self.phi == [self.sp.sympify("r**2")]:
            yield "convention half", self._mean(("J",), self.phi, [], "2n")
            for name, gradient in gradients.items():
                yield "the 2 cancels", self._mean(("J", name), [each / 2 for each in gradient], [])

    def _links(self) -> _Lines:
        """Yield the rules, and the derivatives of phi and of each variable with respect to the next one."""
        links = [(name, after, [self.means[name]]) for name, after in pairwise(self.chain)]
        links += [(self.chain[-1], name, [self.model]) for name in "mb"]
        links = [("phi", self.chain[0], self.phi), *links]
        rules = [self._rules(values, after) for _, after, values in links]
        for rule in dict.fromkeys(chain.from_iterable(rules)):
            derivative = self.sp.powsimp(self.sp.diff(_RULES[rule], "u"))
            yield f"{rule} rule", Equation((_RULES[rule], "u"), [derivative])
        for (name, after, values), named in zip(links, rules, strict=True):
            slopes = [self.sp.diff(value, after) for value in values]
            yield f"{', '.join(named)} rule", Equation((name, after), slopes, self.inside if name == "phi" else [])

    def _rules(self, values: list[Expression], variable: str) -> list[str]:
        """Return the names of the rules that differentiate the terms with the variable."""
        terms = chain.from_iterable(map(self.sp.Add.make_args, values))
        terms = [term for term in terms if term.has(self.sp.Symbol(variable))]
        named = ("log", "exp", "cosh")
        found = (next((rule for rule in named if term.has(getattr(self.sp, rule))), "power") for term in terms)
        return list(dict.fromkeys(found))

    def _kinks(self) -> _Lines:
        """Yield the slopes on both sides of each point where two pieces meet."""
        for k, join in enumerate(self.joins):
            at = ("at", self.sp.Symbol(self.chain[0]), "=", join)
            below, above = (slope.subs(self.chain[0], join) for slope in self.slopes[k : k + 2])
            if below == above:
                yield "no kink", (*at, "both slopes are", above)
            else:
                yield "kink", (*at, "the slope jumps from", below, "to", above, "and 0 is taken")

    def _gradient(self, name: str) -> list[Expression]:
        """Return d phi/dm or d phi/db, by the chain rule."""
        inner = [self.sp.diff(self.means[name], after) for name, after in pairwise(self.chain)]
        return [self.sp.Mul(slope, *inner, self.sp.diff(self.model, name)) for slope in self.slopes]

    def _mean(self, left: tuple[str, ...], values: list[Any], where: list[Any], mean: str = "n") -> Equation:
        """Return the mean over rows, with an index on the variables of a row."""
        of_row = {name: f"{name}_i" for name in "xyzrts"}
        values, where = ([each.subs(of_row) for each in part] for part in (values, where))
        return Equation(left, values, where, mean=mean)
