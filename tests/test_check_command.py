"""`gdbackends check` as a user meets it: a file of their own, what is said of it, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from commands import run_command

from gdbackends import check_gradient
from gdbackends.errors import InputError

FUNCTIONS = """\
from __future__ import annotations
import numpy as np
from dataclasses import dataclass
from array_api_compat import array_namespace

print("a file may print")
params = {"lam": 0.1}


def loss(theta, X, y, lam):
    r = X @ theta[:-1] + theta[-1] - y
    return r @ r / y.shape[0] + lam * theta[:-1] @ theta[:-1]


def loss_gradient(theta, X, y, lam):
    r = X @ theta[:-1] + theta[-1] - y
    return 2 * np.append(X.T @ r / len(y) + lam * theta[:-1], r.mean())


def penalises_intercept(theta, X, y, lam):
    return loss_gradient(theta, X, y, lam) + 2 * lam * np.append(0 * theta[:-1], theta[-1])


def raises(theta, X, y, lam):
    return theta / np.zeros(5)


def infinite(theta, X, y, lam):
    return theta / 0


@dataclass(frozen=True)
class LogCosh:
    def loss(self, theta, X, y):
        xp = array_namespace(theta)
        return xp.mean(xp.log(xp.cosh((theta[:-1] @ X.T + theta[-1] - y) / 100)))

    def gradient(self, theta, X, y):
        slope = np.tanh((theta[:-1] @ X.T + theta[-1] - y) / 100) / y.shape[0] / 100
        return np.append(slope @ X, slope.sum())


class NeedsWidth(LogCosh):
    def __init__(self, width):
        pass


made = LogCosh()
number = 3
"""
OWN = """\
import numpy as np
from factor import FACTOR

theta, data = np.ones((2, 2)), (np.arange(6.0).reshape(3, 2),)


def total(theta, A):
    return ((A @ theta) ** 2).sum()


def gradient(theta, A):
    return FACTOR * A.T @ (A @ theta)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = {"ridge.py": FUNCTIONS, "own.py": OWN, "factor.py": "FACTOR = 2\n", "only.py": "def loss(theta): pass\n"}
    texts |= {"broken.py": "\nimport nothing_of_this_name\n", "syntax.py": "x = = 1\n", "exits.py": "exit(3)\n"}
    texts |= {"listed.py": OWN + "data = [1]\n", "untold.py": OWN + "del theta\ndata = (np.ones(3),)\n"}
    texts |= {
        "table.csv": "a,b,passed\n1,2.5,no\n2,1,no\n3,2,yes\n4,0.5,yes\n2.5,2,no\n",
        "counts.csv": "a,n\n1,-2\n2,3\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf8")
    return tmp_path


def run(folder: Path, *arguments: str) -> CompletedProcess[str]:
    return run_command("check", *arguments, cwd=folder)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ridge.py"],
        ["ridge.py:loss,loss_gradient", "--param", "lam=3", "--data", "table.csv", "--target", "a", "--features", "b"],
        ["ridge.py:LogCosh", "--synthetic", "20x2", "--seed", "4"],
        ["ridge.py:made"],
        ["own.py:total"],
        ["squared", "--dtype", "float32"],
        ["huber:1.5"],
        ["logistic"],
        ["logistic", "--data", "table.csv", "--target", "passed"],
        ["poisson", "--seed", "2"],
    ],
)
def test_a_right_gradient_passes(folder: Path, arguments: list[str], require) -> None:
    require("torch")
    shown = run(folder, *arguments, "--backends", "torch")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert shown.stdout.startswith(f"{arguments[0]} on ")
    assert "\nPASS: the gradient agrees with torch within rounding.\n" in shown.stdout


def test_a_wrong_gradient_fails_and_the_mistake_is_named(folder: Path, require) -> None:
    for name in ("jax", "torch"):
        require(name)
    shown = run(folder, "ridge.py:loss,penalises_intercept")
    assert shown.returncode == 1
    title, verdict, *lines = shown.stdout.splitlines()
    assert title == "ridge.py:loss,penalises_intercept on women, 15 rows"
    assert f"{verdict} {lines[0]}" == (
        "FAIL: the gradient differs from jax and torch by more than rounding allows; look for a term too much."
    )
    assert "0.2 = 2 lam" in " ".join(lines)
    assert [line.split()[0] for line in lines[-2:]] == ["yours", "intercept"]
    again = "repeat it: gdbackends check ridge.py:loss,penalises_intercept --seed 0 --dtype float64"
    assert again in lines
    assert shown.stderr == "a file may print\n"
    assert "\x1b" not in shown.stdout


def test_json_is_one_document(folder: Path, require) -> None:
    require("torch")
    shown = run(folder, "ridge.py:loss,infinite", "--backends", "torch", "--json", "--seed", "5")
    document = json.loads(shown.stdout)
    assert (shown.returncode, document["schema"], document["target"]) == (1, 1, "ridge.py:loss,infinite")
    assert (document["verdict"], document["seed"], document["components"][0]["ratio"]) == ("fail", 5, None)


BAD = [
    (["none.py"], "none.py: cannot be read: no such file or directory"),
    (["none.py:f"], "none.py: cannot be read: no such file or directory"),
    (
        ["cubic"],
        "the loss must be one of squared, absolute, huber, quantile, logcosh, logistic, poisson, got 'cubic'; or "
        "give a file",
    ),
    (["ridge.py:f"], "ridge.py: no name 'f'; it defines loss, loss_gradient, penalises_intercept"),
    (["ridge.py:loss,f"], "ridge.py: no name 'f'; it defines loss"),
    (["factor.py"], "factor.py: no name 'loss'; it defines no function and no class"),
    (["ridge.py:number"], "ridge.py: number is neither a function nor an object with a loss"),
    (["ridge.py:NeedsWidth"], "ridge.py: NeedsWidth() fails: TypeError: NeedsWidth.__init__() missing 1 required"),
    (["only.py"], "no gradient of loss: none of loss_gradient, loss_grad, gradient, grad; give only.py:loss,GRADIENT"),
    (["broken.py"], "broken.py: cannot be run: ModuleNotFoundError: No module named 'nothing_of_this_name', line 2"),
    (["syntax.py"], "syntax.py: cannot be run: SyntaxError: invalid syntax (syntax.py, line 1)"),
    (["exits.py"], "exits.py: cannot be run: SystemExit: 3, line 1"),
    (["listed.py:total"], "listed.py: data must be a tuple of arguments, and params a dictionary by name"),
    (
        ["untold.py:total"],
        "data in the file do not begin with X (n, d), so the length of theta is unknown; define theta",
    ),
    (["ridge.py:loss,raises"], "the gradient raises ValueError: operands could not be broadcast"),
    (["squared", "--param", "lam"], "--param must be NAME=VALUE with a number, such as lam=0.1, got 'lam'"),
    (["squared", "--param", "=1"], "--param must be NAME=VALUE with a number, such as lam=0.1, got '=1'"),
    (["squared", "--backends", "numpy"], "--backends must be from jax and torch, got 'numpy', which has no autodiff"),
    (["squared", "--backends", "mxnet"], "backend must be one of numpy, jax, torch, or module:name, got 'mxnet'"),
    (["squared", "--dtype", "float16"], "dtype must be one of float64, float32, got 'float16'"),
    (["squared", "--seed", "-1"], "Invalid value for '--seed': -1 is not in the range x>=0"),
    (
        ["own.py:total", "--target", "y"],
        "the options of a table need a SOURCE",
    ),
    (["squared", "--data", "none.csv"], "none.csv: cannot be read: no such file or directory"),
    (["logistic", "--data", "women"], "the logistic loss needs a target of two labels, got 15 different values"),
    (["poisson", "--data", "counts.csv", "--target", "n"], "the Poisson loss needs counts of at least 0, got -2"),
    ([], "Missing argument 'TARGET'"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_use_is_one_line(folder: Path, arguments: list[str], text: str, require) -> None:
    require("torch")
    shown = run(folder, *arguments, *([] if "--backends" in arguments else ["--backends", "torch"]))
    assert (shown.returncode, shown.stdout) == (2, "")
    *before, last = shown.stderr.splitlines()
    assert before[:1] in ([], ["a file may print"])
    told = before[1:]  # a gradient that raises: the frames of the file, and no others
    assert bool(told) == ("ridge.py:loss,raises" in arguments)
    assert sum("File " in line for line in told) == bool(told)
    assert last.startswith("gdbackends: ")
    assert text in last


def test_hostile_text_does_no_harm(folder: Path, require) -> None:
    require("torch")
    (folder / "bad\x1b[31m.py").write_text(FUNCTIONS, encoding="utf8")
    (folder / "table.csv").write_text('[red]x,"\x1b[2Jz",y\n1,2,3\n4,5,7\n3,8,2\n', encoding="utf8")
    target = "bad\x1b[31m.py:loss,infinite"
    shown = run(folder, target, "--data", "table.csv", "--target", "y", "--backends", "torch")
    assert shown.returncode == 1, shown.stderr
    assert "\x1b" not in shown.stdout
    assert "[red]x" in shown.stdout


def test_the_example_of_the_readme_runs_as_printed(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf8")
    lines = [line[4:] for line in text.splitlines() if line.startswith((">>> ", "... "))]
    begin = lines.index("def ridge(theta, X, y, lam):")
    (tmp_path / "ridge.py").write_text("\n".join(["import numpy as np", *lines[begin : begin + 4]]), encoding="utf8")
    (command,) = (line for line in text.splitlines() if line.startswith("gdbackends check ridge.py:ridge,"))
    shown = run(tmp_path, *command.split()[2:])
    assert "theta has 3 numbers, one for each feature, as the gradient takes none for an intercept" in shown.stderr
    assert (shown.returncode, "a factor 1/2" in shown.stdout) == (1, True)


def test_the_length_of_theta_is_told_in_words() -> None:
    X = np.random.default_rng(0).normal(size=(5, 3))

    def loss(t, X, y):
        return ((X @ t - y) ** 2).mean()

    def gradient(t, X, y):
        return 2 * X.T @ (X @ t - y) / len(y)

    for size, ending in (
        (4, "theta has 4 numbers and data[0] 3 columns: give theta 3 numbers, or data[0] a column of ones for the in"),
        (2, "theta has 2 numbers and data[0] 3 columns: give theta 3 numbers, such as one more for the intercept, or"),
    ):
        with pytest.raises(InputError) as caught:
            check_gradient(loss, gradient, np.ones(size), X, np.ones(5))
        assert f"; {ending}" in str(caught.value)
