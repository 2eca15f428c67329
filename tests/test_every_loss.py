"""Every bundled loss works everywhere: fit, compare, check, derive, bench, the command line; and so does a new one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from array_api_compat import array_namespace

from gdbackends import Dataset, check_gradient, compare, fit
from gdbackends.backends import names
from gdbackends.benchmarking.bench import Plan, begin, bench
from gdbackends.benchmarking.case import BackendConfig, Case, ProblemSpec
from gdbackends.benchmarking.result_rows import result_rows
from gdbackends.benchmarking.results import ResultsFile
from gdbackends.cli.entry import run
from gdbackends.derivation import derive
from gdbackends.objectives import Array, LinearModel, format_loss, loss_names, parse_loss, row_losses
from gdbackends.objectives.row_losses import Formula, RowLoss

BUNDLED = loss_names()


def table(loss: RowLoss) -> tuple[np.ndarray, np.ndarray]:
    """Return 30 rows and 2 features, with a target that suits the loss."""
    generator = np.random.default_rng(5)
    X = generator.normal(size=(30, 2))
    y = X @ [1.0, -0.5] + 0.3 + generator.normal(size=30)
    return X, {"real": y, "count": np.floor(np.exp(y)), "label": np.where(y > 0, 1.0, 0.0)}[loss.target]


@pytest.fixture(scope="module")
def fair() -> Iterator[str]:
    """The fair loss, defined here alone, as a user would define it."""

    @dataclass(frozen=True)
    class Fair(RowLoss):
        """phi = |r| - log(1 + |r|), phi' = r / (1 + |r|)."""

        name = "fair"
        lipschitz = 1.0
        statistic = 0.5
        operations = 16
        formula = Formula("r", ("r - log(1 + r)", "-r - log(1 - r)"), ("r >= 0", "r < 0"), ("0",))

        def value(self, z: Array, y: Array) -> Array:
            xp = array_namespace(z)
            size = xp.abs(z - y)
            return size - xp.log1p(size)

        def derivative(self, z: Array, y: Array) -> Array:
            r = z - y
            return r / (1 + array_namespace(r).abs(r))

    yield "fair"
    del row_losses._LOSSES["fair"]


@pytest.fixture(params=[*BUNDLED, "fair"])
def loss(request: pytest.FixtureRequest, fair: str) -> RowLoss:
    for name in names():
        request.getfixturevalue("require")(name)
    return parse_loss(request.param)


def test_the_text_form_is_read_back(loss: RowLoss) -> None:
    assert parse_loss(format_loss(loss)) == loss


def test_it_is_fitted_compared_and_checked(loss: RowLoss) -> None:
    X, y = table(loss)
    objective = LinearModel(row_loss=loss, l2=0.1)
    comparison = compare(Dataset(X, y), backends=names(), objective=objective, steps=100)
    assert comparison.verdict == "agree", str(comparison)
    by_itself = fit(X, y, backend="numpy", objective=objective, steps=100)
    for row in comparison.rows:
        assert row.fit.losses[-1] < row.fit.losses[0]
        np.testing.assert_allclose(row.fit.theta, by_itself.theta, rtol=1e-9)
    report = check_gradient(objective.loss, objective.gradient, np.array([0.3, -0.2, 0.1]), X, y)
    assert report.verdict == "pass", str(report)


def test_its_derivation_has_the_derivative(loss: RowLoss) -> None:
    lines = str(derive(format_loss(loss)))
    assert "J = (1/n) sum" in lines
    assert "dJ/dm" in lines


def test_the_commands_take_its_name(loss: RowLoss, tmp_path, capsys, monkeypatch) -> None:
    def command_line(arguments: list[str]) -> int:
        monkeypatch.setattr("sys.argv", ["gdbackends", *arguments])
        with pytest.raises(SystemExit) as end:
            run()
        return end.value.code or 0

    X, y = table(loss)
    path = tmp_path / "table.csv"
    labels = loss.target == "label"
    rows = [[*x, "yes" if target else "no"] if labels else [*x, target] for x, target in zip(X, y, strict=True)]
    path.write_text("a,b,y\n" + "".join(",".join(map(str, row)) + "\n" for row in rows), encoding="utf8")
    arguments = ["fit", str(path), "--objective", format_loss(loss), "--steps", "20", "--json"]
    assert command_line(arguments) == 0, capsys.readouterr()
    assert json.loads(capsys.readouterr().out)["objective"] == format_loss(loss)
    for command in ("check", "derive"):
        assert command_line([command, format_loss(loss)]) == 0, capsys.readouterr()


def test_every_bundled_loss_is_timed(tmp_path, require) -> None:
    for name in names():
        require(name)
    timed = [(loss, backend) for k, loss in enumerate(BUNDLED) for backend in ("numpy", ("jax", "torch")[k % 2])]
    cases = [Case(BackendConfig(backend), ProblemSpec(loss, 40, 2), "gradient") for loss, backend in timed]
    plan = Plan(launches=1, most=1, turns=4)
    with ResultsFile(str(tmp_path / "results.jsonl")) as file:
        bench(cases, file, plan, begin(file, plan, cases))
        rows = result_rows(file.results)
    assert [(row.status, row.reason) for row in rows if row.status != "ok"] == []
    assert {row.case for row in rows} == set(cases)
    assert all(row.agreement <= 1 for row in rows)
