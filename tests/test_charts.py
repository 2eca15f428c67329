"""Charts of a Fit, a Comparison and a GradientReport: what they hold, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from gdbackends import check_gradient, compare, fit
from gdbackends.datasets import women
from gdbackends.errors import InputError
from gdbackends.pictures import charts
from gdbackends.pictures.palette import LIGHT, SHAPES


def rows(chart) -> list[dict]:
    """Return all rows of a chart's data."""
    spec = chart.to_dict()
    return [row for each in spec.get("layer", [spec]) for row in each["data"]["values"]]


@pytest.fixture(scope="module")
def fitted():
    data = women()
    return fit(data.X, data.y, backend="numpy", learning_rate=0.05, steps=20, tolerance=0, record_path=True)


@pytest.fixture(scope="module")
def comparison():
    return compare(women())


def test_the_loss_of_a_fit_is_drawn_step_by_step(fitted) -> None:
    chart = charts.loss(fitted)
    assert [row["loss"] for row in rows(chart)] == fitted.losses.tolist()
    assert chart.to_dict()["encoding"]["y"]["scale"]["type"] == "log"
    exact = replace(fitted, losses=np.array([1.0, 0.0]))
    assert "type" not in charts.loss(exact).to_dict()["encoding"]["y"]["scale"]


def test_backends_have_their_own_colours_whatever_their_order(fitted) -> None:
    for names in (("torch", "numpy"), ("jax", "torch", "numpy")):
        encoding = charts.loss(dict.fromkeys(names, fitted)).to_dict()["encoding"]
        assert encoding["color"]["scale"] == {"domain": list(names), "range": [LIGHT[name] for name in names]}
    named = charts.loss({"a": fitted, "b": fitted}).to_dict()["encoding"]["color"]["scale"]["range"]
    assert not set(named) & {LIGHT[name] for name in SHAPES}


def test_the_path_is_that_of_the_fit(fitted) -> None:
    shown = rows(charts.path(fitted, ["height"]))
    assert [row["value"] for row in shown if row["parameter"] == "height"] == fitted.path[:, 0].tolist()
    assert [row["value"] for row in shown if row["parameter"] == "intercept"] == fitted.path[:, 1].tolist()


def test_a_comparison_is_drawn_against_what_rounding_allows_and_in_seconds(comparison) -> None:
    shown = rows(charts.agreement(comparison))
    for row in comparison.rows:
        own = {each["kind"]: each["ratio"] for each in shown if each.get("backend") == row.backend}
        assert own == {"gradient": max(row.gradient_ratio, 1e-3), "trajectory": max(row.trajectory_ratio, 1e-3)}
    assert {"ratio": 1.0} in shown
    for row in comparison.rows:
        own = {
            each["kind"]: each["seconds"] for each in rows(charts.times(comparison)) if each["backend"] == row.backend
        }
        assert own == {"first call": row.first_call_s, "a step": row.step_s}


def test_a_backend_that_did_not_agree_has_no_time_and_nan_is_far_off(comparison) -> None:
    first, *others = comparison.rows
    wrong = replace(first, status="disagrees", gradient_ratio=nan, trajectory_ratio=inf, first_call_s=None, step_s=None)
    changed = replace(comparison, rows=(wrong, *others))
    own = [row["ratio"] for row in rows(charts.agreement(changed)) if row.get("backend") == first.backend]
    assert len(own) == 2 and min(own) > 1
    assert first.backend not in {row["backend"] for row in rows(charts.times(changed))}


def test_a_gradient_report_shows_its_components() -> None:
    X, y = np.arange(15.0).reshape(5, 3) % 4, np.array([1.0, 0.0, 2.0, 3.0, 3.0])

    def loss(theta, X, y):
        r = X @ theta - y
        return r @ r / y.shape[0]

    def wrong(theta, X, y):
        return X.T @ (X @ theta - y) / len(y) * np.array([2, 2, 2.001])

    report = check_gradient(loss, wrong, [0.5, -1.0, 2.0], X, y)
    shown = {row["kind"]: row["ratio"] for row in rows(charts.gradient(report)) if "kind" in row}
    assert shown == {
        component.name: max(component.ratio, min(1e-3, *shown.values())) for component in report.components
    }
    assert shown["theta[2]"] > 1e6


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_every_chart_is_saved_without_a_browser(fitted, comparison, tmp_path, kind) -> None:
    made = (charts.loss(fitted), charts.path(fitted), charts.agreement(comparison), charts.times(comparison))
    for k, chart in enumerate(made):
        chart.save(tmp_path / f"{k}.{kind}")
        assert (tmp_path / f"{k}.{kind}").stat().st_size > 1000


def test_what_cannot_be_drawn_is_said_in_one_line(fitted) -> None:
    for call, text in (
        (lambda: charts.loss({}), "from 1 to 5 fits, got 0"),
        (lambda: charts.loss({str(k): fitted for k in range(6)}), "from 1 to 5 fits, got 6"),
        (lambda: charts.loss({"a": replace(fitted, losses=np.zeros(0))}), "fits that made a step"),
        (lambda: charts.path(replace(fitted, path=None)), "record_path=True"),
        (lambda: charts.path(fitted, ["a", "b"]), "names must be 1, one per feature, got 2"),
        (lambda: charts.path(replace(fitted, theta=np.zeros(8))), "up to 4 features, got 7"),
    ):
        with pytest.raises(InputError, match=text):
            call()
