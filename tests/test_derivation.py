"""The derivation is sympy's and the gradient is ours: what is shown must equal what every backend is held to."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sympy
from click.testing import CliRunner

from gdbackends import LinearRegression, errors
from gdbackends.cli.derive_command import command
from gdbackends.derivation import Derivation, derive
from gdbackends.objectives import format_loss, loss_names, parse_loss, row_losses

SPELLINGS = ["squared", "absolute", "huber", "huber:1.5", "huber:0.25", "quantile:0.9", "quantile:0.25"]
SPELLINGS += ["logcosh", "logistic", "poisson"]
ROOT = Path(__file__).parent.parent
Z, Y = sympy.symbols("z y", real=True)
P = sympy.Symbol("p", positive=True)
NAMESPACE = SimpleNamespace(  # the array library of sympy's expressions
    sign=sympy.sign,
    exp=sympy.exp,
    logaddexp=lambda a, b: sympy.log(sympy.exp(a) + sympy.exp(b)),
    zeros_like=lambda a: sympy.S.Zero,
    clip=lambda r, low, high: sympy.Max(low, sympy.Min(r, high)),
)


def python(text: str) -> str:
    """Return what is shown as Python: ^ is **, a blank between factors is *, bars are abs."""
    text = re.sub(r"\|(\w+)\|", r"abs(\1)", text.strip()).replace("^", "**")
    return re.sub(r"(?<=[\w)]) (?=[\w(])", "*", text)


def shown(derivation: Derivation, left: str) -> list[tuple[str, str]]:
    """Return the last right-hand side of the first step with that left-hand side, by condition, as Python."""
    text = next(step.text for step in derivation.steps if step.text.startswith(f"{left} = "))
    lines = re.split(r"\n +[=+] ", text.removeprefix(f"{left} = "))
    pairs = [line.removeprefix("(1/n) sum ").partition("  where ")[::2] for line in lines]
    pairs = [pair for pair in pairs if pair[1]] or [(pairs[-1][0], "True")]
    return [(python(value), python(condition)) for value, condition in pairs]


def evaluate(derivation: Derivation, left: str, scope: dict[str, float]) -> float:
    """Return what is shown for one row; 0 where no condition holds, as a kink says."""
    names = {"exp": np.exp, "log": np.log, "cosh": np.cosh, "sinh": np.sinh, **scope}
    held = [value for value, condition in shown(derivation, left) if eval(condition, names)]
    return float(eval(held[0], names)) if held else 0.0


def scope(loss: str, x: float, y: float, m: float, b: float) -> dict[str, float]:
    """Return every name that a step may hold, for one row."""
    z = m * x + b
    t = (1 - 2 * y) * z
    row = {"x": x, "y": y, "z": z, "r": z - y, "t": t}
    row["s"] = np.cosh(z - y) if loss == "logcosh" else np.exp(t) + 1
    own = {"delta": 0, "q": 0} | parse_loss(loss).parameters
    return row | {f"{name}_i": value for name, value in row.items()} | own | {"m": m, "b": b}


def test_every_bundled_loss_has_a_derivation() -> None:
    for loss in loss_names():
        assert derive(loss).loss == format_loss(parse_loss(loss))


@pytest.mark.parametrize("loss", SPELLINGS)
def test_the_loss_and_its_derivative_are_those_of_the_objectives(loss: str) -> None:
    derivation, ours = derive(loss), parse_loss(loss)
    labels = loss in ("logistic", "poisson")
    delta = getattr(ours, "delta", 1.0)
    edges = [edge + step for edge in (-delta, 0, delta) for step in (-1e-9, 0, 1e-9)]
    residuals = np.array([*np.linspace(-4, 4, 160), *edges])
    for y in (0.0, 1.0) if labels else (0.0, -2.5):
        for z in residuals if labels else residuals + y:
            names = scope(loss, 1.0, y, 0.0, z)
            pair = np.array([z]), np.array([y])
            assert evaluate(derivation, "phi", names) == pytest.approx(ours.value(*pair)[0], rel=1e-13, abs=1e-15)
            assert evaluate(derivation, "d phi/db", names) == pytest.approx(ours.derivative(*pair)[0], rel=1e-13)


@pytest.mark.parametrize(
    ("loss", "piece", "at"),
    [
        ("squared", 0, Z),
        ("absolute", 0, Y - P),
        ("absolute", 1, Y + P),
        ("huber:2", 0, Y - 2 - P),
        ("huber:2", 2, Y + 2 + P),
        ("quantile:0.75", 0, Y - P),
        ("quantile:0.75", 1, Y + P),
        ("logistic", 0, Z),
        ("poisson", 0, Z),
    ],
)
def test_and_by_algebra(monkeypatch, loss: str, piece: int, at: sympy.Expr) -> None:
    monkeypatch.setattr(row_losses, "array_namespace", lambda array: NAMESPACE)
    ours, t = parse_loss(loss), (1 - 2 * Y) * at
    names = {"y": Y, "z": at, "r": at - Y, "t": t, "s": sympy.exp(t) + 1, "delta": 2, "q": sympy.Rational(3, 4)}
    for left, hand_made in (("phi", ours.value(at, Y)), ("d phi/db", ours.derivative(at, Y))):
        theirs = sympy.sympify(shown(derive(loss), left)[piece][0], names)
        assert sympy.simplify(sympy.nsimplify(hand_made) - theirs) == 0


@pytest.mark.parametrize("loss", SPELLINGS)
def test_the_last_steps_are_the_gradient_of_the_cost(loss: str) -> None:
    rng, derivation = np.random.default_rng(3), derive(loss)
    x, y, theta = rng.normal(size=60), rng.integers(0, 2, 60).astype(float), rng.normal(size=2)
    rows = [scope(loss, *row, *theta) for row in zip(x, y, strict=True)]
    objective = LinearRegression(row_loss=parse_loss(loss))
    costs, by_m, by_b = ([evaluate(derivation, left, row) for row in rows] for left in ("J", "dJ/dm", "dJ/db"))
    assert np.mean(costs) == pytest.approx(float(objective.loss(theta, x[:, None], y)), rel=1e-13)
    gradient = objective.gradient(theta, x[:, None], y)
    np.testing.assert_allclose([np.mean(by_m), np.mean(by_b)], gradient, rtol=1e-12, atol=1e-15)


def test_conventions_of_the_squared_loss() -> None:
    last = {step.text: step.rule for step in derive().steps[-5:]}
    assert last == {
        "dJ/dm = (1/n) sum 2 r_i x_i": "sum rule",
        "dJ/db = (1/n) sum 2 r_i": "sum rule",
        "J = (1/2n) sum r_i^2": "convention half",
        "dJ/dm = (1/n) sum r_i x_i": "the 2 cancels",
        "dJ/db = (1/n) sum r_i": "the 2 cancels",
    }


def test_kinks_are_told() -> None:
    kinks = {loss: [s.text for s in derive(loss).steps if s.rule.endswith("kink")] for loss in loss_names()}
    assert kinks == {
        "squared": [],
        "absolute": ["at r = 0 the slope jumps from -1 to 1 and 0 is taken"],
        "huber": ["at r = -delta both slopes are -2 delta", "at r = delta both slopes are 2 delta"],
        "quantile": ["at r = 0 the slope jumps from -q to 1 - q and 0 is taken"],
        "logcosh": [],
        "logistic": [],
        "poisson": [],
    }


def test_every_rule_is_stated_before_it_is_used() -> None:
    stated = {
        "power rule": "d u^k/du = k u^(k - 1)",
        "exp rule": "d exp(u)/du = exp(u)",
        "log rule": "d log(u)/du = 1/u",
    }
    for loss, rules in {"squared": ["power rule"], "logistic": [*stated][::-1], "poisson": [*stated][:2]}.items():
        steps = {step.text: step.rule for step in derive(loss).steps}
        assert {rule: text for text, rule in steps.items() if "/du = " in text} == {
            rule: stated[rule] for rule in rules
        }
    assert [steps[text] for text in ("d phi/dz = exp(z) - y", "dz/dm = x")] == ["power, exp rule", "power rule"]


@pytest.mark.parametrize("loss", SPELLINGS)
def test_every_line_fits_and_the_latex_is_balanced(loss: str) -> None:
    derivation = derive(loss)
    assert max(map(len, str(derivation).splitlines())) <= 80
    latex = derivation.latex
    assert latex.startswith("\\begin{align*}\n")
    assert latex.endswith("\n\\end{align*}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert latex.count(r"\begin{cases}") == latex.count(r"\end{cases}")
    for line in latex.splitlines()[1:-1]:
        depth = np.cumsum([(c == "{") - (c == "}") for c in line])
        assert depth.min() == depth[-1] == 0
        outside = re.sub(r"\\begin\{cases\}.*?\\end\{cases\}", "", line)
        assert outside.count("&") == 3, "one align mark, and two before the rule"


def test_the_command() -> None:
    shown = CliRunner().invoke(command)
    assert shown.stdout == f"squared\n\n{derive()}\n"
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    excerpt = readme.partition("$ gdbackends derive\n")[2].partition("```")[0].split("...\n")
    assert all(part in shown.stdout for part in excerpt)
    every = CliRunner().invoke(command, ["all", "--latex"]).stdout
    assert every == "\n\n".join(f"% {derive(loss).loss}\n{derive(loss).latex}" for loss in loss_names()) + "\n"
    document = json.loads(CliRunner().invoke(command, ["huber:2", "--json"]).stdout)
    assert document["schema"] == 1
    (derivation,) = document["derivations"]
    assert derivation["loss"] == "huber:2.0"
    assert derivation["steps"][3] == {"rule": "parameter", "text": "delta = 2.0", "latex": r"\delta &= 2.0"}


@pytest.mark.parametrize("loss", ["cubic", "huber:-1", "huber:x", "squared:2", "quantile:1", ""])
def test_a_bad_name_is_one_line(loss: str) -> None:
    run = [sys.executable, "-m", "gdbackends", "derive", loss]
    shown = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert len(shown.stderr.splitlines()) == 1
    assert "Traceback" not in shown.stderr


def test_without_sympy_it_says_what_to_type(monkeypatch) -> None:
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    with pytest.raises(errors.MissingPackageError) as caught:
        derive()
    line = "derive needs the package sympy, which is not installed; run: pip install 'gdbackends[derive]'"
    assert str(caught.value) == line
