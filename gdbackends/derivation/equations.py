"""Equations as lines of plain text, and as rows of a LaTeX align environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

Expression: TypeAlias = Any
"""A sympy expression; sympy is imported when it is first needed."""


@dataclass(frozen=True)
class Equation:
    """An equation.

    Attributes:
        left: the left side: ("J",) is J, ("J", "m") is dJ/dm.
        values: right sides, each equal to the one before; or, with conditions, one for each of them.
        conditions: where each value holds.
        through: the factors of the chain rule, which are written first; ("r", "m") is dr/dm.
        mean: "n" for the mean of the values over n rows, "2n" for half of it.
    """

    left: tuple[str, ...]
    values: list[Expression]
    conditions: Sequence[Expression] = ()
    through: tuple[tuple[str, ...], ...] = ()
    mean: str = ""


class Text:
    """A writer of plain text, in which a space is a product."""

    def __init__(self) -> None:
        self._print = _printer(import_module("sympy.printing.str").StrPrinter, _print_Abs=_bars)

    def equation(self, equation: Equation) -> str:
        """Return the equation with one value per line; the mean of a loss in pieces is a sum of sums."""
        head, values = self._name(equation.left), [self._write(value) for value in equation.values]
        if equation.mean:
            values = [f"({v})" if e.is_Add else v for v, e in zip(values, equation.values, strict=True)]
            values = [f"(1/{equation.mean}) sum {value}" for value in values]
        if equation.conditions:
            width = max(map(len, values))
            pairs = zip(values, equation.conditions, strict=True)
            values = [f"{value:<{width}}  where {self._write(condition)}" for value, condition in pairs]
        if equation.through:
            values.insert(0, " ".join(map(self._name, equation.through)))
        sign = "+" if equation.mean else "="
        return f"{head} = " + f"\n{'':{len(head)}} {sign} ".join(values)

    def sentence(self, *parts: Expression) -> str:
        """Return words and expressions as one line."""
        return " ".join(part if isinstance(part, str) else self._write(part) for part in parts)

    def _write(self, expression: Expression) -> str:
        return self._print(expression).replace("**", "^").replace("*", " ")

    def _name(self, names: tuple[str, ...]) -> str:
        top, *below = (self._write(name) for name in names)
        blank = " " if len(top) > 1 else ""
        return f"d{blank}{top}/d{below[0]}" if below else top


class Latex:
    """A writer of rows of an align environment."""

    def __init__(self) -> None:
        self._write = _printer(import_module("sympy.printing.latex").LatexPrinter)

    def equation(self, equation: Equation) -> str:
        """Return the equation as a row, with conditional values as cases."""
        values = [self._write(value) for value in equation.values]
        if equation.conditions:
            pairs = zip(values, equation.conditions, strict=True)
            rows = r" \\ ".join(f"{value} & {self._write(condition)}" for value, condition in pairs)
            values = [rf"\begin{{cases}} {rows} \end{{cases}}"]
        elif equation.mean and equation.values[0].is_Add:
            values = [rf"\left({values[0]}\right)"]
        if equation.mean:
            values = [rf"\frac{{1}}{{{equation.mean}}} \sum_{{i=1}}^{{n}} {value}" for value in values]
        if equation.through:
            values.insert(0, " ".join(map(self._name, equation.through)))
        return f"{self._name(equation.left)} &= " + " = ".join(values)

    def sentence(self, *parts: Expression) -> str:
        """Return words and expressions as a row that begins at the alignment mark."""
        written = (rf"\text{{{part}}}" if isinstance(part, str) else self._write(part) for part in parts)
        return "& " + r"\ ".join(written)

    def _name(self, names: tuple[str, ...]) -> str:
        above, *below = (self._write(name) for name in names)
        return rf"\frac{{\partial {above}}}{{\partial {below[0]}}}" if below else above


def _printer(kind: Any, **methods: Any) -> Callable[[Expression | str], str]:
    """Return a sympy printer that puts subtracted terms last: z - y, not -y + z."""

    def ordered(self: Any, expression: Expression, order: Any = None) -> list[Expression]:
        terms = kind._as_ordered_terms(self, expression, order)
        return sorted(terms, key=lambda term: (term.could_extract_minus_sign(), -len(term.free_symbols)))

    written: Any = type("Written", (kind,), {"_as_ordered_terms": ordered, **methods})
    sympify = import_module("sympy").sympify
    return lambda expression: written({"full_prec": False}).doprint(sympify(expression))


def _bars(printer: Any, expression: Expression) -> str:
    return f"|{printer.doprint(expression.args[0])}|"
