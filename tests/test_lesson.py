"""The lesson: its closed form is the fit, its sliders compute it, its page is sound, bad tables are one line."""

from __future__ import annotations

import re
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from commands import run_command

from gdbackends import Dataset, fit
from gdbackends.datasets import synthetic, women
from gdbackends.errors import InputError
from gdbackends.objectives import LinearRegression
from gdbackends.pictures.document import bundle
from gdbackends.pictures.lesson import Lesson, lesson
from gdbackends.pictures.lesson import frameworks as lesson_frameworks
from gdbackends.pictures.lesson.frameworks import frameworks
from gdbackends.pictures.lesson.lesson_data import SHOWN, WAYS, ScaledView, subject
from gdbackends.pictures.lesson.rate import start_of
from gdbackends.pictures.lesson.vega import nice, short, slider

EVIL = "</script><script>alert(1)</script>"
DATA = (women(), synthetic(50, 1, seed=3), synthetic(7, 2, condition=9.0))
SECTIONS = ("1. A line and its cost", "2. Why squared", "3. The cost is a parabola", "4. The derivative") + (
    "5. The learning rate",
    "6. The long thin valley",
    "7. The loss",
    "8. Batch",
    "9. The same with",
    "10. The prediction",
)


def run(*arguments: str, cwd: Path) -> CompletedProcess[str]:
    return run_command("lesson", *arguments, cwd=cwd)


def by_fit(view: ScaledView, y: np.ndarray, rate: float, steps: int, start: np.ndarray | None = None) -> np.ndarray:
    """Return the path (steps + 1, 2) of a fit in the coordinates of a view."""
    fitted = fit(
        *(view.plain, y),
        backend="numpy",
        learning_rate=rate,
        steps=steps,
        standardize=False,
        tolerance=0,
        theta0=view.start if start is None else start,
        record_path=True,
    )
    return fitted.path


def close(found, wanted) -> None:
    found, wanted = np.asarray(found, float), np.asarray(wanted, float)
    assert np.abs(found - wanted).max() <= 1e-10 * np.abs(wanted).max()


@pytest.mark.parametrize("data", DATA, ids=lambda d: d.name)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.93, 1.03])
def test_the_closed_form_is_the_fit(data, way, share) -> None:
    about = subject(data)
    view = about.views[way]
    rate = share * view.ends.largest_stable_rate
    path = by_fit(view, about.y, rate, 60)
    steps = [0, 1, 2, 7, 30, 60]
    closed = [view.cost.after(view.start, rate, step) for step in steps]
    close(closed, path[steps])
    losses = [LinearRegression().loss(path[step], view.plain, about.y) for step in steps]
    close([view.cost.cost(theta) for theta in closed], losses)


def test_the_standardised_view_is_what_fit_descends() -> None:
    about = subject(women())
    view = about.views["standardised"]
    fitted = fit(about.x[:, None], about.y, backend="numpy", learning_rate=0.1, steps=20, tolerance=0)
    close(view.scaling.to_data_units(view.cost.after(view.start, 0.1, 20)), fitted.theta)


def test_the_feature_of_the_best_line_is_shown_unless_one_is_named() -> None:
    X = np.column_stack([[5.0, 5, 5, 5], [1.0, 2, 1, 2], [1.0, 2, 3, 4]])
    data = Dataset(X, [2.0, 4.1, 5.9, 8.0], names=("same", "poor", "good"))
    assert subject(data).feature == "good"
    chosen = subject(data, "poor")
    assert (chosen.feature, chosen.others) == ("poor", ("same", "good"))
    with pytest.raises(InputError, match="there is no feature 'bad'; there are same, poor, good"):
        subject(data, "bad")
    with pytest.raises(InputError, match="'same' has one value in all rows"):
        subject(data, "same")


@pytest.mark.parametrize("X", [[[3.0]], [[3.0], [3.0], [3.0]]], ids=["one row", "a constant"])
def test_a_table_through_which_no_line_can_be_drawn_is_refused(X) -> None:
    with pytest.raises(InputError, match="two rows that differ in a feature"):
        subject(Dataset(X, np.arange(len(X), dtype=float)))


def test_more_rows_than_can_be_seen_are_sampled_and_all_are_counted() -> None:
    data = synthetic(20_000, 1)
    about = subject(data)
    assert about.shown.size == SHOWN == len(set(about.shown.tolist()))
    assert "300 of 20,000 rows" in about.sampled
    close(
        about.views["as it is"].cost.least,
        LinearRegression().loss(about.views["as it is"].cost.minimum, data.X, data.y),
    )
    assert subject(women()).sampled == ""


@pytest.fixture
def numpy_alone(monkeypatch) -> None:
    """Ask NumPy alone for its gradient, which takes less time."""
    monkeypatch.setattr(lesson_frameworks, "installed", lambda: ("numpy",))


@pytest.mark.parametrize("y", [[1.0, 3.0, 5.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]], ids=["exact", "level", "zero"])
def test_tables_of_which_nothing_is_left_to_learn(y, numpy_alone) -> None:
    made = lesson(Dataset([[0.0], [1.0], [2.0]], y))
    shown = made.html().replace(bundle(), "")
    assert not re.findall(r"\bnan\b|\binf\b|Infinity", shown, re.IGNORECASE)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_of_the_data_change_no_picture_but_its_numbers(scale, numpy_alone) -> None:
    data = women()
    made = lesson(Dataset(data.X * scale, data.y / scale, data.names, "weight"))
    close(made.fit.coef[0], 3.45 / scale**2)


@pytest.mark.parametrize(
    ("x", "thin", "words"),
    [
        ([1e9, 1e9 + 1, 1e9 + 2], True, "rounding hides"),
        ([60.0, 61.0, 64.0], True, "long thin valley"),
        ([-1.0, 0.0, 1.5], False, "no thin valley"),
    ],
)
def test_what_is_said_of_the_valley_is_so(x, thin, words, numpy_alone) -> None:
    made = lesson(Dataset(np.array(x)[:, None], [1.0, 3.0, 4.0]))
    assert made.subject.views["as it is"].thin is thin
    assert words in made.html()


@pytest.mark.parametrize(
    ("low", "high", "start"),
    [(-3.0, 3.0, 1.5), (0.013, 0.9, 0.2), (-1e7, 3e7, 0.0), (1e-9, 5e-9, 2e-9), (99.5, 99.7, 99.6)],
)
def test_a_slider_has_round_positions_and_stands_on_one(low, high, start) -> None:
    made = slider("k", "k", low, high, start, 50)
    positions = made.positions
    assert made.start in positions
    assert 25 <= len(positions) <= 130
    assert positions[0] <= low + 1e-12 * abs(low) and positions[-1] >= high * (1 - 1e-12)
    assert all(len(f"{abs(p):g}".replace(".", "").strip("0").split("e")[0]) <= 6 for p in positions)
    assert nice(0.3) == 0.2 and nice(7e3) == 5e3 and nice(1.0) == 1.0


def test_numbers_have_no_more_digits_than_four() -> None:
    assert [short(v) for v in (3.45, 2.0155555, 123456.7, 1e-9, -87.51666)] == [
        "3.45",
        "2.016",
        "123,457",
        "1e-09",
        "-87.52",
    ]


def test_frameworks_agree_within_rounding_and_are_judged_by_it(monkeypatch) -> None:
    about = subject(women())
    found = frameworks(about)
    assert [each.name for each in found.results] == ["numpy", "jax", "torch"]
    assert found.agree and found.exact and not found.notes
    assert max(np.abs(each.difference).max() for each in found.results) <= found.allowed.max()
    assert {each.digits[0][0] for each in found.results} == {found.results[0].digits[0][0]}
    gradients = [each.gradient for each in found.results]

    def lying(function, name, *arguments):
        gradient = gradients[("numpy", "jax", "torch").index(name)]
        if name == "torch":
            raise lesson_frameworks.Crashed("it ended")
        return gradient * (1 + 1e-9 * (name == "jax")), found.results[0].fit

    monkeypatch.setattr(lesson_frameworks, "in_fresh_process", lying)
    wrong = frameworks(about)
    assert not wrong.agree
    assert wrong.notes == ("torch gave no answer: it ended.",)
    assert "DISAGREE" in lesson_frameworks_caption(wrong)


def lesson_frameworks_caption(found) -> str:
    from gdbackends.pictures.lesson.frameworks_figure import frameworks_figure

    return frameworks_figure(found).caption


@pytest.fixture(scope="module")
def made() -> Lesson:
    return lesson(women())


@pytest.fixture(scope="module")
def page(made, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lesson") / "lesson.html"
    path.write_text(made.html(), encoding="utf8")
    return path


def test_the_page_has_ten_sections_each_with_words_a_formula_and_a_picture(page) -> None:
    text = page.read_text("utf8")
    assert len(text.encode()) < 1_600_000
    parts = re.split(r'<h2 id="s\d+">', text)[1:]
    assert len(parts) == len(SECTIONS)
    for part, title in zip(parts, SECTIONS, strict=True):
        assert part.startswith(title)
        assert "<p>" in part and "<math" in part and "<figure" in part


def test_every_picture_has_a_slider_words_and_numbers(made) -> None:
    for figure in made.figures:
        assert len(figure.caption) > 80
        assert figure.table is not None and len(figure.table.rows) >= 3
        assert all(len(row) == len(figure.table.headings) for row in figure.table.rows)
        bound = [param for param in figure.panels[0].to_dict().get("params", []) if "bind" in param]
        assert bound or figure.name == "rates"  # three panels of a rate each; the slider over all is the next picture


def test_names_of_columns_are_text(tmp_path, numpy_alone) -> None:
    table = tmp_path / "evil.csv"
    rows = [[1, 2, 3.5], [2, 1, 4.1], [3, 5, 6.2], [4, 3, 7.9]]
    quoted = [f'"{EVIL}"', '"{{ 7*7 }}"', '"<img src=x onerror=alert(2)>"']
    table.write_text("\n".join(",".join(map(str, row)) for row in [quoted, *rows]), encoding="utf8")
    shown = run(str(table), "--feature", EVIL, "--out", "evil.html", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    text = (tmp_path / "evil.html").read_text("utf8").replace(bundle(), "")
    assert "<script>alert" not in text and "<img" not in text
    assert "{{ 7*7 }}" in text and "49" not in re.findall(r"<h1>.*</h1>", text)[0]


@pytest.mark.parametrize(
    ("text", "arguments", "error"),
    [
        ("x,y\n3,4\n", (), "two rows that differ"),
        ("x,y\n3,4\n3,5\n", (), "two rows that differ"),
        ("x,z,y\n3,1,4\n4,2,5\n", ("--feature", "w"), "there is no feature 'w'; there are x, z"),
        ("x,y\n1,2\n2,a\n", (), "'a'"),
        ("x,y\n1,2\n2,3\n", ("--out", "nowhere/page.html"), "--out nowhere/page.html"),
        ("x,y\n1,2\n2,3\n", ("--out", "table.csv"), "would overwrite an input"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path, text, arguments, error) -> None:
    (tmp_path / "table.csv").write_text(text, encoding="utf8")
    shown = run("table.csv", *arguments, cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert error in shown.stderr.splitlines()[-1] and "Traceback" not in shown.stderr
    assert not (tmp_path / "lesson.html").exists()


def test_charts_are_written_beside_the_page(tmp_path, numpy_alone) -> None:
    shown = run("--synthetic", "400x3", "--out", "a.html", "--charts", "charts", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "choose another feature with --feature" in shown.stderr and "300 of 400 rows" in shown.stderr
    names = {path.name for path in (tmp_path / "charts").iterdir()}
    assert {"line-1.svg", "line-1.png", "contours-3.svg", "prediction.png"} <= names
    assert "Choose another with" in (tmp_path / "a.html").read_text("utf8")


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_sound_at_every_width_and_in_both_schemes(browser, page, width, dark) -> None:
    browser.open(page, width, dark=dark)
    assert browser.console() == []
    assert browser.overflow() <= 0
    assert browser.faults() == []
    widths = browser.run("return [...document.querySelectorAll('.plot svg')].map((svg) => svg.clientWidth)")
    assert len(widths) >= 20 and min(widths) > 150 and max(widths) < width


@pytest.mark.browser
def test_the_slider_over_all_rates_shows_the_fit(browser, page, made) -> None:
    browser.open(page)
    view, start = made.subject.views["standardised"], start_of(made.subject)
    for rate, steps in ((0.15, 10), (0.4, 3), (0.93, 30), (1.05, 12)):
        browser.slide("rate", "a", rate)
        browser.slide("rate", "k", steps)
        path = by_fit(view, made.subject.y, rate, steps, start)
        costs = [LinearRegression().loss(theta, view.plain, made.subject.y) for theta in path]
        for panel in (0, 1):
            rows = {row["step"]: row for row in browser.rows("rate", panel, "step", "slope", "cost", "level")}
            assert sorted(rows) == list(range(steps + 1))
            close([[rows[k]["slope"], rows[k]["level"]] for k in range(steps + 1)], path)
            close([rows[k]["cost"] for k in range(steps + 1)], costs)


@pytest.mark.browser
@pytest.mark.parametrize(("panel", "way"), [(0, "as it is"), (1, "standardised")])
def test_the_path_over_the_contours_is_the_fit(browser, page, made, panel, way) -> None:
    browser.open(page)
    view = made.subject.views[way]
    for power in (1, 5):
        browser.slide("contours", "p", power)
        rate = 0.2 * view.ends.largest_stable_rate
        path = by_fit(view, made.subject.y, rate, 2**power - 1)
        rows = {int(row["step"]): row for row in browser.rows("contours", panel, "step", "first", "second")}
        shown = [(rows[k]["first"], rows[k]["second"]) for k in range(2**power)]
        close(shown, path)


@pytest.mark.browser
def test_the_lines_at_step_k_are_those_of_the_fits(browser, page, made) -> None:
    browser.open(page)
    browser.slide("contours", "p", 4)
    ends = browser.rows("contours", 2, "feature", "way", "line")
    for way in ("as it is", "standardised"):
        view = made.subject.views[way]
        theta = view.scaling.to_data_units(by_fit(view, made.subject.y, 0.2 * view.ends.largest_stable_rate, 15)[-1])
        drawn = [row for row in ends if row["way"] == way]
        assert len(drawn) >= 2
        close([row["line"] for row in drawn], [theta[0] * row["feature"] + theta[1] for row in drawn])


@pytest.mark.browser
def test_the_cost_beside_the_line_is_the_objective(browser, page, made) -> None:
    browser.open(page)
    X, y = made.subject.x[:, None], made.subject.y
    signal = "return document.getElementById('line').views[1].signal(arguments[0])"
    for m, b in ((2.0, 10), (3.45, -85)):
        browser.slide("line", "m", m)
        browser.slide("line", "b", b)
        m, b = (browser.run(signal, each) for each in "mb")
        cost = browser.rows("line", 1, "cost")
        close([cost[0]["cost"]], [LinearRegression().loss(np.array([m, b]), X, y)])
        squares = {row["feature"]: row["loss"] for row in browser.rows("line", 1, "feature", "target", "loss")}
        close([squares[v] for v in made.subject.x], (m * made.subject.x + b - y) ** 2)


@pytest.mark.browser
def test_your_own_rate_and_the_cost_against_the_rate_are_the_fits(browser, page, made) -> None:
    browser.open(page)
    about = made.subject
    view = about.views["standardised"]
    browser.slide("steps", "a", 0.3)
    own = {int(row["step"]): row["loss"] for row in browser.rows("steps", 0, "step", "loss", "first", "second")}
    path = by_fit(view, about.y, 0.3, 40)
    close([own[k] for k in range(41)], [LinearRegression().loss(theta, view.plain, about.y) for theta in path])
    browser.slide("limits", "k", 25)
    centred = about.views["centred"]
    browser.run("document.querySelectorAll('#limits input[type=radio]')[1].click()")
    browser.slide("limits", "k", 26)
    shown = {round(row["ratio"], 2): row["cost"] for row in browser.rows("limits", 0, "ratio", "cost")}
    for share in (0.1, 0.5, 0.95):
        theta = by_fit(centred, about.y, share * centred.ends.largest_stable_rate, 26)[-1]
        close([shown[share]], [LinearRegression().loss(theta, centred.plain, about.y)])


@pytest.mark.browser
def test_the_tangent_and_the_prediction_are_where_the_slider_stands(browser, page, made) -> None:
    browser.open(page)
    browser.slide("tangent", "m", 2.0)
    chosen = browser.rows("tangent", 0, "m", "cost", "derivative", "next")[0]
    view = made.subject.views["centred"]
    theta = np.array([chosen["m"], made.subject.y.mean()])
    value, gradient = LinearRegression().value_and_grad(theta, view.plain, made.subject.y)
    close([chosen["cost"], chosen["derivative"]], [value, gradient[0]])
    assert abs(chosen["m"] - 2.0) < 0.1
    browser.slide("prediction", "x", 70)
    row = browser.rows("prediction", 0, "feature", "predicted", "text")[0]
    close([row["predicted"]], made.fit.predict([[row["feature"]]]))
    assert row["text"] == "70 → 154"


@pytest.mark.browser
def test_sliders_move_by_the_keyboard_alone(browser, page) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    slider = browser.driver.find_element(By.CSS_SELECTOR, "#batches input[type=range]")
    before = float(slider.get_attribute("value"))
    slider.send_keys(Keys.ARROW_LEFT)
    assert float(slider.get_attribute("value")) == before - 1
    assert browser.run("return document.getElementById('batches').views[0].signal('s')") == before - 1
