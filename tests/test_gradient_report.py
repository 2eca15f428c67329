"""The text of a gradient report: digits, counts, places, and the call that repeats the check."""

from __future__ import annotations

import numpy as np
import pytest

from gdbackends import check_gradient
from gdbackends.gradcheck.report import digit, relative_difference

FEW = {"backends": ("torch",)}
X = np.array([[1.0, 0.5], [0.25, -1.0], [2.0, 1.5], [-0.5, 1.0]])
Y = np.array([1.0, 0.0, 2.0, -1.0])


@pytest.fixture(autouse=True)
def torch(require) -> None:
    require("torch")


def loss(theta, X, y, lam=0.0):
    return np.mean((X @ theta - y) ** 2) + lam * theta @ theta


def gradient(theta, X, y, lam=0.0):
    return 2 * X.T @ (X @ theta - y) / len(y) + 2 * lam * theta


def doubled(theta, X, y, lam=0.0):
    return 2 * gradient(theta, X, y, lam)


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (1.0, 2.0, "the 1st digit"),
        (1.0, 1.02, "the 2nd digit"),
        (-3.0, -3.002, "the 4th digit"),
        (1.0, 1 + 2e-3, "the 3rd digit"),
        (1.0, 1 + 5e-11, "the 11th digit"),
        (0.0, 3.0, "the 1st digit"),
        (-1.0, 1e-3, "their signs"),
        (np.nan, 1.0, "that one is not finite"),
    ],
)
def test_a_relative_difference_in_words(a: float, b: float, text: str) -> None:
    assert digit(relative_difference(a, b)) == text
    assert digit(relative_difference(b, a)) == text


@pytest.mark.parametrize("k", range(1, 9))
def test_the_digit_of_a_wrong_gradient(k: int) -> None:
    report = check_gradient(loss, lambda *a: (1 + 5 * 10.0**-k) * gradient(*a), [0.5, -1.0], X, Y, **FEW)
    line = next(line for line in str(report).splitlines() if line.startswith("torch and yours: "))
    ending = {1: "st", 2: "nd", 3: "rd"}.get(k, "th")
    assert line.startswith(f"torch and yours: differ in the {k}{ending} digit, ")


def test_how_many_components_agree_and_at_which_points() -> None:
    def one(theta, X, y):
        return gradient(theta, X, y) + np.array([0.0, theta[1] ** 6])

    def at_the_start(theta, X, y):
        return gradient(theta, X, y) + (theta[0] == 0.5)

    def beside(theta, X, y):
        return gradient(theta, X, y) + (theta[0] != 0.5)

    first, second, third = (
        check_gradient(loss, hand, [0.5, -1.0], X, Y, **FEW) for hand in (one, at_the_start, beside)
    )
    assert "only 1 of 2 components (theta[1]) differs; the other 1 agrees within rounding" in first.notes[0]
    assert first.sentence.endswith("; look at theta[1] first.")
    assert "it differs at the theta given and agrees at the 5 points near it" in second.notes
    assert "it agrees at the theta given and differs at 5 of the 5 points near it" in third.notes
    assert "all 2 components differ" in third.notes


CALLS = {
    "short": (lambda: ((loss, doubled, [0.5, -1.0], X, Y), {}), "X"),
    "options": (
        lambda: (
            (loss, doubled, np.array([0.5, -1.0]), X, Y),
            {"params": {"lam": 0.25}, "seed": 3, "bounds": [(0, 1), (None, 5)], "names": ["a", "b"], **FEW},
        ),
        "seed=3",
    ),
    "with data in args": (
        lambda: ((loss, doubled, (0.5, -1.0)), {"args": (X, Y), **FEW}),
        "), [[1.0, 0.5], ",
    ),
    "a mapping": (lambda: (({"torch": loss, "numpy": loss}, doubled, [0.5, -1.0], X, Y), FEW), "{'torch': loss"),
    "true": (lambda: ((both, True, {"w": np.array([0.5, -1.0])}, X.astype(int), Y), FEW), "both, True, {'w': [0.5"),
}


def both(theta, X, y):
    return loss(theta["w"], X, y), {"w": 3 * gradient(theta["w"], X, y)}


@pytest.mark.parametrize("name", CALLS)
def test_the_call_that_repeats_a_check_runs_and_has_the_same_result(name: str) -> None:
    positional, options = CALLS[name][0]()
    report = check_gradient(*positional, **options)
    assert report.verdict == "fail"
    assert CALLS[name][1] in report.again or name == "short"
    assert str(report).splitlines()[-1] == f"repeat it: {report.again}"
    again = eval(report.again, {**globals(), "check_gradient": check_gradient})
    assert again.sentence == report.sentence
    assert [c.ratio for c in again.components] == [c.ratio for c in report.components]


def test_a_call_that_no_line_repeats_is_left_out() -> None:
    class Model:
        def loss(self, theta, X, y):
            return loss(theta, X, y)

    def inner(theta, X, y):
        return doubled(theta, X, y)

    long = np.arange(2000.0).reshape(1000, 2) % 7
    reports = [
        check_gradient(loss, lambda *a: doubled(*a), [0.5, -1.0], X, Y, **FEW),
        check_gradient(loss, inner, [0.5, -1.0], X, Y, **FEW),
        check_gradient(Model().loss, doubled, [0.5, -1.0], X, Y, **FEW),
        check_gradient(loss, doubled, [0.5, -1.0], long, long[:, 0] % 3, **FEW),
        check_gradient(loss, doubled, [0.5, -1.0], X, Y, params={"lam": np.array(0.5)}, **FEW),
    ]
    for report in reports:
        assert (report.verdict, report.again) == ("fail", "")
        assert "repeat it" not in str(report)
        assert "lambda" not in str(report)
