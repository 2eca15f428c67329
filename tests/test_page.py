"""The report page: what it says and leaves out, what it refuses, and in Chromium how it looks and acts."""

from __future__ import annotations

import copy
import csv
import json
import subprocess
import sys
import time
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path
from random import Random

import pytest
from commands import run_command as run
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from gdbackends import check_gradient
from gdbackends.benchmarking.case import WORKS as EVERY_WORK
from gdbackends.benchmarking.case import BackendConfig
from gdbackends.benchmarking.crossovers import series
from gdbackends.benchmarking.machines import MISSING, file_labels, machine_table, machines, result_files
from gdbackends.benchmarking.regressions import changes
from gdbackends.benchmarking.result_rows import records, result_rows
from gdbackends.benchmarking.results import Results, read_results
from gdbackends.benchmarking.table_cells import ordered
from gdbackends.errors import InputError
from gdbackends.measurement.formatting import duration
from gdbackends.pictures import document
from gdbackends.pictures.page import page
from gdbackends.pictures.page.gradient_page import gradient_page
from gdbackends.pictures.results import charts as result_charts
from gdbackends.pictures.results.encodings import log_encoding, look, variant
from gdbackends.pictures.results.gradient import components, votes
from gdbackends.pictures.results.table_rows import features, groups

QUICK = Path(__file__).parent / "data" / "quick.jsonl"
EVIL = "</script><script>alert(1)</script>"
FORMULAS = ("=1+1", "@SUM(A1)", "-cmd", "+x")
WORKS = {"loss": 0.45, "gradient": 0.9, "step": 1.0, "fit": 60.0}


def vary(works=("step",), dtypes=("float64",), tunings=("best",), limit=10**9, factor=1.0, **environment) -> list[dict]:
    """Return the records of the committed results, repeated with other works, dtypes and tunings, times in proportion.

    JAX is slower and PyTorch faster at the largest size, so that they change order.
    """
    known, wanted = [json.loads(line) for line in QUICK.read_text("utf8").splitlines()], set()
    found = [copy.deepcopy(r) for r in known if r["record"] in ("run", "bandwidth")]
    found[0]["environment"] |= environment
    found[0]["machine"] |= {"cpu": environment.get("cpu", found[0]["machine"]["cpu"])}
    for work, dtype, tuning in [(w, d, t) for w in works for d in dtypes for t in tunings]:
        for record in [r for r in known if r["record"] in ("launch", "case")]:
            case = record["case"] | {"work": work, "dtype": dtype, "tuning": tuning}
            key = json.dumps(case, sort_keys=True)
            if key not in wanted and len(wanted) >= limit:
                continue
            wanted.add(key)
            scale = WORKS[work] * factor * Random(key).uniform(0.9, 1.1) * (1.7 if tuning == "idiomatic" else 1)
            if case["rows"] == 100_000:
                scale *= {"jax": 2.6, "torch": 0.25}.get(case["backend"], 1)
            record = copy.deepcopy(record) | {"case": case}
            record |= {name: record[name] * scale for name in ("median_s", "low_s", "high_s") if name in record}
            if "batches_s" in record:
                record["batches_s"] = [second * scale for second in record["batches_s"]]
            found.append(record)
    return found


def failed(backend: str, status: str, reason: str, agreement: float | None = None, **case) -> dict:
    of = {"backend": backend, "device": "cpu", "threads": 0, "objective": "squared", "rows": 1000, "features": 10}
    of |= {"dtype": "float64", "seed": 0, "work": "step", "tuning": "best"} | case
    run = json.loads(QUICK.read_text("utf8").partition("\n")[0])["run"]
    return {"record": "case", "run": run, "case": of, "status": status, "reason": reason, "agreement": agreement}


def written(path: Path, found: list[dict]) -> Results:
    path.write_text("".join(json.dumps(record) + "\n" for record in found), "utf8")
    return read_results(str(path))


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Results:
    """Every work and tuning, with failures whose names and reasons are not nice."""
    bad = [failed(f"m:{EVIL}", "disagrees", f"{EVIL} is wrong", 4e9)]
    bad += [failed(f"m:{k}", "crashed", reason) for k, reason in enumerate(FORMULAS)]
    found = vary(tuple(WORKS), tunings=("best", "idiomatic"))
    return written(tmp_path_factory.mktemp("full") / "full.jsonl", found + bad)


@pytest.fixture(scope="module")
def quick() -> Results:
    return read_results(str(QUICK))


@pytest.fixture(scope="module")
def full_page(full: Results, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page([full]), "utf8")
    return path


def test_the_page_says_what_the_package_finds(full: Results) -> None:
    text = page([full])
    found = result_rows(full)
    timed = [row for row in found if row.timing]
    assert f"{len(timed)} cases were timed" in text
    assert f"{len(found) - len(timed)} cases were not: 1 disagrees, 4 crashed" in text
    assert '<div class="verdict bad">' in text
    for each in series(found):
        for crossing in each.crossovers:
            first, then = (BackendConfig(p.backend).label for p in (crossing.small, crossing.large))
            tuning = "" if each.tuning == "best" else ", idiomatic"
            assert f"{features(each.spec.features)}{tuning}: {first}, then {then}" in text
    for heading in ("Gradient over loss", "Best over idiomatic", "When the first call pays off", "Peak memory"):
        assert heading in text
    for row in found:
        assert row.timing or row.status in text


def test_what_a_file_does_not_hold_is_left_out(quick: Results) -> None:
    text = page([quick])
    assert '<div class="verdict good">' in text
    for heading in ("Gradient over loss", "idiomatic</h3>", "Without a time", "Changes</h2>", 'id="pick"'):
        assert heading not in text
    assert "Peak memory" in text and "Fraction of the bandwidth" in text


def test_files_stand_side_by_side_and_their_changes_are_said(tmp_path: Path) -> None:
    old = written(tmp_path / "old.jsonl", vary(tunings=("best", "idiomatic")))
    new = written(tmp_path / "new.jsonl", vary(factor=3.0, jax="0.99"))
    other = written(tmp_path / "other.jsonl", vary(cpu="Another"))
    text = page([old, new, other])
    assert "jax 0.10.2 -&gt; 0.99" in text
    assert "cpu AMD EPYC -&gt; Another" in text
    slower = sum(change.word == "slower" for change in changes(old, new))
    assert slower > 10
    assert f"{slower} slower" in text
    for name in ("old.jsonl", "new.jsonl", "other.jsonl"):
        assert f'<th scope="col">{name}</th>' in text
    assert file_labels(["a/x.jsonl", "b/x.jsonl"]) == ["a/x.jsonl", "b/x.jsonl"]
    assert file_labels(["x.jsonl", "x.jsonl"]) == ["x.jsonl", "x.jsonl (2)"]
    assert "old.jsonl (2)" in page([old, old])


def test_machines_have_their_columns_and_are_no_change_of_version(tmp_path: Path) -> None:
    old = written(tmp_path / "old.jsonl", vary())
    other = written(tmp_path / "other.jsonl", vary(limit=30, cpu="Another"))
    bad = [failed("m:x", "crashed", "it died")]
    new = written(tmp_path / "new.jsonl", [*vary(factor=3.0, jax="0.99"), *bad])
    files = result_files([old, other, new])
    assert [(each.name, [file.name for file in each.files]) for each in machines(files)] == [
        ("AMD EPYC, 2 cores", ["old.jsonl", "new.jsonl"]),
        ("Another, 2 cores", ["other.jsonl"]),
    ]
    table = machine_table(files)
    assert [column.versions for column in table.columns] == ["jax 0.10.2", "jax 0.99", "jax 0.10.2"]
    texts = [cell.text for _, cells in table.lines for cell in cells]
    assert len(table.lines) == 37 and texts.count("crashed") == 1
    assert sum(cells[2].text == MISSING for _, cells in table.lines) == 7
    text = page([old, other, new])
    assert "From old.jsonl to new.jsonl" in text and "From old.jsonl to other.jsonl" not in text
    assert "other.jsonl was measured on another machine than old.jsonl (cpu AMD EPYC -&gt; Another)" in text


def cut(found: list[dict], backend: str, rows: int, status: str = "", planned: bool = False) -> list[dict]:
    """Return records of which a backend failed at a size, or was planned and not reached, or was never planned."""
    kept: dict[str, dict] = {}
    for number, record in enumerate(found):
        case = record.get("case", {})
        if (case.get("backend"), case.get("rows")) != (backend, rows):
            kept[f"{number}"] = record
        elif status:
            kept[f"{case}"] = failed(status=status, reason="as planned", **case)
        elif planned:
            kept[f"{case}"] = {"record": "planned", "run": record["run"], "case": case}
    return list(kept.values())


def test_no_winner_is_named_where_a_rival_has_no_time(tmp_path: Path) -> None:
    for planned in (False, True):
        read = written(tmp_path / "r.jsonl", cut(vary(), "jax", 1000, planned=planned))
        text = page([read])
        assert "no winner named at 3." in text
        assert text.count("none named <span") == 3 and "no time: JAX" in text
        assert "at 1,000 rows no winner is named: JAX has no time there" in text
        assert ("3 of 36 cases were not reached: " in text) == planned
        assert 'id="failures"' not in text
        table = machine_table(result_files([read, read]))
        at_size = [cells for texts, cells in table.lines if texts[1] == "1,000"]
        assert len(at_size) == 6 + 3 * planned
        assert {cell.note for cells in at_size for cell in cells} == {""}
        assert ("not reached" in {cell.text for cells in at_size for cell in cells}) == planned
        assert any(cell.note == "fastest" for _, cells in table.lines for cell in cells)


def test_a_rival_that_failed_is_given_beside_the_winner(tmp_path: Path) -> None:
    text = page([written(tmp_path / "r.jsonl", cut(vary(), "jax", 1000, "out of memory"))])
    assert "Failed and not compared: JAX (out of memory) at 3." in text
    assert text.count("; JAX: out of memory</span>") == 3
    assert "no winner named" not in text and "none named" not in text


def test_fewer_than_four_launches_are_drawn_without_a_conclusion(tmp_path: Path) -> None:
    few = [record for record in vary() if record.get("launch", 0) < 3]
    read = written(tmp_path / "r.jsonl", few)
    text = page([read, read])
    assert "no winner named at 12." in text
    assert "?: unknown, from fewer than 4 launches" in text
    assert "fewer than 4 launches</span>" in text
    for heading in ("When the first call pays off</h3>", "Crossovers</h3>"):
        assert heading not in text
    panel = result_charts.times(read).to_dict()["concat"][0]
    assert not [p for p in panel["data"]["values"] if "low" in p]
    result_charts.agreement_and_speed(read).save(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    for name in ("crossovers", "paid_for"):
        with pytest.raises(InputError):
            getattr(result_charts, name)(read)


def test_cases_of_any_objective_and_work_are_drawn_and_exported(tmp_path: Path) -> None:
    objectives = ("my_loss.py:logcosh", "gmm:25")
    found = [each for each in vary(("step",), limit=6) if "case" not in each]
    for record in (each for each in vary(("step",), limit=6) if "case" in each):
        for work, objective in product(EVERY_WORK, objectives):
            found.append(record | {"case": record["case"] | {"work": work, "objective": objective}})
    read = written(tmp_path / "r.jsonl", found)
    exported = {
        form: run("export", "r.jsonl", "--to", form, cwd=tmp_path) for form in ("csv", "md", "json", "published")
    }
    assert {form: done.stderr for form, done in exported.items()} == dict.fromkeys(exported, "")
    (tmp_path / "r.json").write_text(exported["published"].stdout, "utf8")
    assert result_rows(read) == result_rows(read_results(str(tmp_path / "r.json")))
    lines = [line.split(" | ")[0].strip("| ") for line in exported["md"].stdout.splitlines() if line.startswith("| ")]
    assert list(dict.fromkeys(lines[1:])) == list(EVERY_WORK)
    compared = run("diff", "r.jsonl", "r.json", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert list(dict.fromkeys(each.spec.objective for each in series(result_rows(read)))) == sorted(objectives)
    works = list(dict.fromkeys(group.work for group in groups(result_rows(read))))
    assert (works[:3], sorted(works)) == (["step", "fit", "loss"], sorted(EVERY_WORK))
    text = page([read, read_results(str(tmp_path / "r.json"))])
    assert all(f"{work}, {objective}, float64" in text for work in EVERY_WORK for objective in objectives)


def test_500_rows_are_a_page_in_time_and_size(tmp_path: Path) -> None:
    found = vary(tuple(WORKS), ("float64", "float32"), ("best", "idiomatic"), limit=500)
    written(tmp_path / "r.jsonl", found)
    started = time.perf_counter()
    shown = run("page", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "r.html"))
    taken = time.perf_counter() - started
    assert (shown.returncode, shown.stdout) == (0, ""), shown.stderr
    text = (tmp_path / "r.html").read_text("utf8")
    assert "500 cases were timed" in text
    assert len(text.encode()) < 1_600_000
    assert taken < 30  # 5 s on a machine at rest; the tests may share theirs


def test_names_from_files_are_text(full_page: Path) -> None:
    text = full_page.read_text("utf8")
    assert EVIL not in text
    assert "m:&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in text


@pytest.mark.parametrize(
    ("content", "arguments", "text"),
    [
        (None, [], "r.jsonl: does not exist; create it with gdbackends bench --out"),
        ("", [], "r.jsonl contains no cases; add some with gdbackends bench --out"),
        ("height,weight\n1,2\n", [], "r.jsonl: is not a file of results"),
        ("damaged", [], "line 2 is not JSON"),
        ("untimed", [], "r.jsonl: no row has a time"),
        ("good", ["--out", "nowhere/report.html"], "--out nowhere/report.html is a folder or is in no existing folder"),
        ("good", ["--out", "r.jsonl"], "--out r.jsonl would overwrite an input"),
        ("good", ["--out", "."], "--out . is a folder or is in no existing folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, content, arguments, text) -> None:
    run_line = json.dumps(vary(limit=0)[0]) + "\n"
    held = {
        "good": QUICK.read_text("utf8"),
        "damaged": run_line + "{damaged}\n",
        "untimed": run_line + json.dumps(failed("m:x", "crashed", "it died")) + "\n",
    }
    if content is not None:
        (tmp_path / "r.jsonl").write_text(held.get(content, content), "utf8")
    shown = run("page", "r.jsonl", *arguments, cwd=tmp_path)
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert len(shown.stderr.splitlines()) == 1
    assert text in shown.stderr
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("command", [["page", str(QUICK), "--out", "x.html"], ["check", "squared", "--page", "x.html"]])
def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, command: list[str]) -> None:
    code = (
        "import importlib.util, sys; real = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda name, *a: None if name == 'altair' else real(name, *a);"
        "from gdbackends.cli import main; main()"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (shown.returncode, shown.stdout) == (2, "")
    assert len(shown.stderr.splitlines()) == 1
    assert "pip install 'gdbackends[viz]'" in shown.stderr


CHARTS = (
    *("times", "first_calls", "paid_for", "crossovers", "agreement_and_speed", "memory", "bandwidth"),
    *("gradient_over_loss", "over_idiomatic"),
)


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_takes_results_or_rows_and_is_saved_without_a_browser(name: str, full: Results, tmp_path: Path) -> None:
    make = getattr(result_charts, name)
    chart = make(full)
    assert chart.to_dict() == make(result_rows(full)).to_dict()
    chart.save(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


def test_a_chart_of_what_is_not_there_says_so(quick: Results) -> None:
    for name in ("gradient_over_loss", "over_idiomatic", "crossovers"):
        with pytest.raises(InputError):
            getattr(result_charts, name)(quick)
    with pytest.raises(InputError, match="no row has a time"):
        result_charts.times([])


def test_times_in_a_chart_are_those_of_the_rows(quick: Results) -> None:
    wanted = {
        (row.case.spec.rows, row.case.config.label): row.timing.median
        for row in result_rows(quick)
        if row.case.spec.features == 10 and row.timing
    }
    panel = next(p for p in result_charts.times(quick).to_dict()["concat"] if p["title"] == "10 features")
    found = {(p["rows"], p["backend"]): p["value"] for p in panel["data"]["values"]}
    assert found == pytest.approx(wanted, rel=1e-3)


def test_a_look_is_the_same_for_a_backend_and_differs_between_them(full: Results) -> None:
    shown = look(result_rows(full))
    assert shown.names[:3] == ["NumPy", "JAX", "PyTorch"]
    assert len(set(shown.marks[:7])) == 7
    assert shown.variants == ("best", "idiomatic")
    assert {variant(row.case.config) for row in result_rows(full)} == set(shown.variants)


def test_a_logarithmic_axis_has_ticks_whatever_its_values() -> None:
    for values in ([1.0], [3e-6, 3.1e-6], [1e-9, 1e9], []):
        axis = log_encoding("value", values, "t", "")
        low, high = axis["scale"]["domain"]
        assert 1 <= len(axis["axis"]["values"]) <= 10
        assert all(low <= tick <= high for tick in axis["axis"]["values"])


def ridge(theta, X, y):
    r = X @ theta - y
    return r @ r / y.shape[0]


def report(right: bool, names=None):
    X, y = [[0.0, 1.0], [2.0, 3.0], [1.0, 1.0]], [1.0, 0.0, 2.0]
    import numpy as np

    factor = 2 if right else 1
    return check_gradient(
        ridge,
        lambda theta, X, y: factor * X.T @ (X @ theta - y) / len(y),
        [0.5, -1.0],
        np.array(X),
        np.array(y),
        names=names,
    )


def test_a_gradient_report_has_its_page_and_charts(tmp_path: Path) -> None:
    wrong = replace(report(False, names=(EVIL, "b")), again="gdbackends check ridge.py")
    text = gradient_page(wrong, f"{EVIL} on its own data")
    assert EVIL not in text
    for said in (
        wrong.sentence,
        "Consistent with <strong>factor</strong>",
        "Repeat the check",
        "of what rounding allows",
    ):
        assert said in text
    for component in wrong.components:
        assert f"{component.hand:.10g}" in text
    for make in (votes, components):
        make(wrong).save(tmp_path / "x.png")
        assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    assert "PASS" in gradient_page(report(True))


def test_check_writes_a_page_and_keeps_its_exit_code(tmp_path: Path) -> None:
    shown = run("check", "huber:1.5", "--page", "c.html", "--json", cwd=tmp_path)
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["verdict"] == "pass"
    assert "PASS" in (tmp_path / "c.html").read_text("utf8")
    missing = run("check", "huber:1.5", "--page", "nowhere/c.html", cwd=tmp_path)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "--page nowhere/c.html is a folder or is in no existing folder" in missing.stderr


def choose(browser, selector: str, value: object) -> None:
    browser.run(
        "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input', {bubbles: true}))",
        selector,
        value,
    )
    browser.wait()


def seen(browser) -> list[list[str]]:
    """Return the cells of the rows that are seen, in their order."""
    return browser.run(
        "return [...document.querySelectorAll('#table tbody tr')].filter((line) => !line.hidden)"
        ".map((line) => [...line.cells].map((cell) => cell.textContent))"
    )


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_everywhere_without_a_word_or_a_fault(browser, full_page: Path, width: int, dark: bool) -> None:
    browser.open(full_page, width, dark=dark)
    assert browser.overflow() == 0
    assert browser.faults() == []
    groups = browser.run("return document.getElementById('pick').options.length")
    assert groups == 4
    for group in range(groups):
        choose(browser, "#pick", group)
        drawn = browser.run(
            "return [...document.querySelectorAll('.choice:not(.away) .panel .plot')]"
            ".map((plot) => plot.querySelector('svg')?.clientWidth ?? 0)"
        )
        assert drawn and min(drawn) > 200
        assert browser.overflow() == 0
    assert browser.console() == []


@pytest.mark.browser
def test_the_table_is_filtered_sorted_and_saved_as_it_stands(browser, full: Results, full_page: Path, tmp_path) -> None:
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": False}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    browser.open(full_page)
    by_name = {
        tuple(record[n] for n in ordered(result_rows(full))[0].case.to_dict()): record for record in records(full)
    }
    own = [by_name[tuple(row.case.to_dict().values())] for row in ordered(result_rows(full))]
    by_line = dict(zip(map(tuple, seen(browser)), own, strict=True))
    assert len(by_line) == len(own)

    choose(browser, "#filter", "JAX 1000 gradient")
    few = [by_line[tuple(line)] for line in seen(browser)]
    wanted = [r for r in own if r["work"] == "gradient" and r["backend"] == "jax" and "1000" in f"{r['rows']}"]
    assert few == wanted
    assert browser.run("return document.getElementById('shown').textContent") == f"{len(few)} of {len(own)} rows"

    choose(browser, "#filter", "")
    heads = browser.driver.find_elements("css selector", "#table th button")
    for title, field in (("a call", "median_s"), ("rows", "rows"), ("agrees", "agreement"), ("backend", "")):
        head = next(each for each in heads if each.get_attribute("textContent") == title)
        for way in ("ascending", "descending"):
            head.send_keys(Keys.ENTER)
            assert head.find_element("xpath", "..").get_attribute("aria-sort") == way
            found = [by_line[tuple(line)] for line in seen(browser)]
            values = [as_saved(r)[field] if field else r["backend"] for r in found]
            known = [value for value in values if value != ""]
            assert values[: len(known)] == known  # what is not known is last, either way
            if field:
                assert known == sorted(known, reverse=way == "descending")
            else:
                assert len(list(groupby(values))) == len(set(values))
    assert len(browser.driver.find_elements("css selector", "#table th[aria-sort]")) == 1

    choose(browser, "#filter", "m:")
    found = [by_line[tuple(line)] for line in seen(browser)]
    assert saved(browser, tmp_path) == [as_saved(record) for record in found]
    choose(browser, "#filter", "")
    found = [by_line[tuple(line)] for line in seen(browser)]
    again = saved(browser, tmp_path)
    assert len(again) == len(own)
    assert again == [as_saved(record) for record in found]
    assert browser.console() == []


def saved(browser, folder: Path) -> list[dict[str, object]]:
    """Download the table, and read it back: numbers as numbers, of six digits."""
    browser.driver.find_element("id", "save").send_keys(Keys.ENTER)
    for _ in range(100):
        files = [path for path in folder.iterdir() if path.suffix == ".csv"]
        if files:
            break
        time.sleep(0.1)
    (path,) = files
    with path.open(encoding="utf8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    path.unlink()
    return [{name: cell(text) for name, text in line.items()} for line in lines]


def cell(text: str) -> object:
    try:
        return float(f"{float(text):.6g}")
    except ValueError:
        return text


def as_saved(record: dict[str, object]) -> dict[str, object]:
    """Return a record as a CSV holds it: text that a spreadsheet would run has an apostrophe."""

    def one(value: object) -> object:
        if isinstance(value, str):
            return cell(f"'{value}" if value[:1] in ("=", "+", "-", "@") else value)
        return "" if value is None else float(f"{value:.6g}")

    return {name: one(value) for name, value in record.items()}


@pytest.mark.browser
def test_the_table_is_copied_as_it_is_seen(browser, full_page: Path) -> None:
    browser.open(full_page)
    choose(browser, "#filter", "jax 1000 gradient")
    browser.driver.find_element("id", "copy").send_keys(Keys.ENTER)
    # the clipboard is read by pasting it, as a page from disk may not read it itself
    field = browser.driver.find_element("id", "filter")
    browser.run("const e = document.createElement('textarea'); e.id = 'pasted'; arguments[0].after(e)", field)
    browser.driver.find_element("id", "pasted").send_keys(Keys.CONTROL, "v")
    pasted = browser.run("return document.getElementById('pasted').value")
    lines = [line.split("\t") for line in pasted.split("\n")]
    assert "copied" in browser.run("return document.getElementById('shown').textContent")
    assert lines[1:] == seen(browser)


@pytest.mark.browser
def test_the_first_calls_of_a_size_and_number_of_calls(browser, quick: Results, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page([quick]), "utf8")
    browser.open(path)
    labels = browser.run("return [...document.querySelectorAll('#first-0 select')].map((e) => e.name)")
    assert labels == ["problem", "calls"]
    for problem, calls, size in ((0, 100, (100, 1)), (11, 100_000, (100_000, 100))):
        for name, value in (("problem", problem), ("calls", calls)):
            index = [0, 10, 100, 1000, 10_000, 100_000, 1_000_000].index(calls) if name == "calls" else value
            browser.run(
                "const e = document.querySelector(`#first-0 [name=${arguments[0]}]`); e.selectedIndex = arguments[1];"
                "e.dispatchEvent(new Event('change', {bubbles: true}))",
                *(name, index),
            )
        browser.driver.execute_async_script(
            "const done = arguments[0], { views } = document.getElementById('first-0');"
            "setTimeout(() => Promise.all(views.map((view) => view.runAsync())).then(() => done()), 50)"
        )
        texts = browser.run(
            "return [...document.querySelectorAll('#first-0 svg text')].map((text) => text.textContent)"
        )
        for row in result_rows(quick):
            if (row.case.spec.rows, row.case.spec.features) == size and row.timing and row.first_call_s:
                assert duration(row.first_call_s + calls * row.timing.median) in texts


@pytest.mark.browser
def test_what_is_said_under_the_pointer_is_text(browser, full_page: Path) -> None:
    browser.open(full_page)
    browser.run(
        "document.documentElement.style.scrollBehavior = 'auto'; document.getElementById('agreement').scrollIntoView()"
    )
    (cross,) = browser.driver.find_elements("css selector", "#agreement svg path[fill='var(--bad)']")
    ActionChains(browser.driver).move_to_element(cross).perform()
    said = browser.run("return document.querySelector('#vg-tooltip-element').innerHTML")
    assert "disagrees" in said and "m:&lt;/script&gt;" in said
    assert browser.run("return document.querySelectorAll('#vg-tooltip-element script').length") == 0
    assert browser.console() == []


@pytest.mark.browser
def test_a_gradient_page_opens_without_a_word_or_a_fault(browser, tmp_path: Path) -> None:
    path = tmp_path / "gradient.html"
    path.write_text(gradient_page(report(False, names=(EVIL, "b")), f"{EVIL} on its own data"), "utf8")
    for width, dark in ((360, True), (1440, False)):
        browser.open(path, width, dark=dark)
        assert browser.overflow() == 0
        assert browser.faults() == []
        assert browser.run("return document.querySelector('#components svg').textContent").count(EVIL) == 1
    assert browser.console() == []


def test_the_script_is_short() -> None:
    scripts = list(Path(document.__file__).parent.rglob("*.js"))
    assert len(scripts) == 4
    assert sum(len(script.read_text("utf8").splitlines()) for script in scripts) <= 150
