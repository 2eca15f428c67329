"""`gdbackends bench`, `diff` and `export` as a user meets them: killed, interrupted, on a full disk, badly asked."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from commands import run_command as run

from gdbackends.benchmarking.published import publish
from gdbackends.benchmarking.results import read_results
from gdbackends.cli import bench_command, diff_command, export_command, show_command
from gdbackends.cli.result_table import fitted
from gdbackends.errors import InputError

pytestmark = pytest.mark.usefixtures("few_turns")
COMMAND = [sys.executable, "-m", "gdbackends"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
ENVIRONMENT.pop("COLUMNS", None)  # the table has all columns unless stdout is a terminal or this is set
QUICK = Path(__file__).parent / "data" / "quick.jsonl"
LIGHT = ["--backends", "fakes:Light", "--rows", "10,20", "--features", "1,2", "--work", "step"]
LIGHT += ["--launches", "4", "--most", "4"]


@pytest.fixture(autouse=True)
def all_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory, few_turns: None) -> Path:
    path = tmp_path_factory.mktemp("results") / "r.jsonl"
    shown = run("bench", *LIGHT, "--backends", "numpy,fakes:Light", "--out", str(path))
    assert shown.returncode == 0, shown.stderr
    return path


def children(path: Path) -> list[int]:
    """Return the processes that were started for the results in this file's folder, by their open files' folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"measurement/subprocess_worker.py" in command and (entry / "cwd").readlink() == path:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_run_from_plan_to_table(results: Path) -> None:
    plan = run("bench", *LIGHT, "--dry-run")
    assert plan.returncode == 0
    assert "4 cases, 4 to 4 launches each, 30 s in all" in plan.stdout
    held = read_results(str(results))
    assert sum(map(len, held.launches.values())) == 32
    assert len(held.ends) == 8
    (made_with,) = held.runs.values()
    assert {"gdbackends", "commit", "environment", "machine", "plan", "at"} <= set(made_with)
    again = run("bench", *LIGHT, "--backends", "numpy,fakes:Light", "--out", str(results), "--resume")
    assert again.returncode == 0
    for text in ("first call", "x NumPy", "Light", "import: ", "agrees"):
        assert text in again.stdout
    assert "…" not in again.stdout
    assert again.stderr == ""


def test_a_backend_that_computes_something_else_gets_no_time_and_exit_code_1(tmp_path: Path) -> None:
    shown = run("bench", *LIGHT, "--backends", "fakes:Wrong,fakes:Light", "--out", "r.jsonl", cwd=tmp_path)
    assert shown.returncode == 1
    lines = [line.split() for line in shown.stdout.splitlines() if line.startswith("step ")]
    wrong = [line for line in lines if "fakes:Wrong" in line]
    assert len(wrong) == 4
    assert all(line[4] == "disagrees" or "disagrees" in line for line in wrong)
    assert not any("us" in line or "±" in line for line in wrong)
    assert "differs from the exact value by" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--suite", "huge"], "--suite must be quick or full, got 'huge'"),
        (["--rows", "1.5"], "--rows must be whole numbers"),
        (["--rows", "-3"], "--rows must be whole numbers"),
        (["--rows", "1e400"], "--rows must be whole numbers"),
        (["--work", "dance"], "work must be one of loss, gradient, value_and_gradient, hvp"),
        (["--dtype", "int8"], "dtype must be one of"),
        (["--objective", "cubic"], "the loss must be one of"),
        (["--backends", "julia"], "backend must be one of"),
        (["--backends", "nowhere:F"], "must be module:name of an importable module"),
        (["--threads", "1,4096"], "--threads must be at most "),
        (["--launches", "0"], "--launches must be at least 1"),
        (["--timeout", "0"], "--timeout must be a positive number"),
        (["--time-budget", "nan"], "--budget must be a positive number"),
        (["--backends", "numpy", "--device", "gpu"], "these options select no cases"),
        (["--most", "0"], "--most must be at least 5"),
        (["--timeout", "1e300"], "--timeout must be a positive number"),
        (["--out", "/nowhere/r.jsonl"], "/nowhere/r.jsonl: cannot be written: no such file or directory"),
        (["--out", "."], ".: cannot be written: is a directory"),
    ],
)
def test_bad_use_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], text: str) -> None:
    shown = run("bench", *arguments, cwd=tmp_path)
    assert shown.returncode == 2
    assert text in shown.stderr
    assert len(shown.stderr.splitlines()) == 1
    assert shown.stdout == ""


def test_a_file_is_not_overwritten(results: Path) -> None:
    before = results.read_bytes()
    shown = run("bench", *LIGHT, "--out", str(results))
    assert (shown.returncode, results.read_bytes()) == (2, before)
    assert "already contains results; use --resume to continue" in shown.stderr


def test_killed_at_random_it_resumes_and_has_each_launch_once(tmp_path: Path) -> None:
    path, moments, kills = tmp_path / "r.jsonl", random.Random(5), 0
    command = [*COMMAND, "bench", *LIGHT, "--out", str(path)]
    while kills < 6:
        resume = ["--resume"] if path.exists() else []
        process = subprocess.Popen(
            [*command, *resume], env=ENVIRONMENT, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(moments.uniform(0.2, 1.6))
            path.unlink()  # it was faster, so that nothing is left to resume
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        assert b"Traceback" not in process.stderr.read()
        process.stderr.close()
        process.wait()
        if path.exists():
            read_results(str(path))
    assert run(*command[3:], "--resume", cwd=tmp_path).returncode == 0
    held = [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]
    launches = [(json.dumps(r["case"]), r["launch"]) for r in held if r["record"] == "launch"]
    ends = [json.dumps(r["case"]) for r in held if r["record"] == "case"]
    assert len(launches) == len(set(launches)) == 16
    assert len(ends) == len(set(ends)) == 4
    deadline = time.monotonic() + 5
    while children(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert children(tmp_path) == []


def test_control_c_ends_the_children_and_leaves_the_file_whole(tmp_path: Path) -> None:
    command = [*COMMAND, "bench", "--backends", "fakes:Hanging", "--rows", "10", "--work", "step", "--out", "r.jsonl"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=ENVIRONMENT, cwd=tmp_path, start_new_session=True, **pipes)
    deadline = time.monotonic() + 30
    while not children(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children(tmp_path)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stderr.read() == b"gdbackends: interrupted; the same command with --resume continues r.jsonl\n"
    assert b"3 of 3 cases were not reached" in process.stdout.read()
    for pipe in (process.stdout, process.stderr):
        pipe.close()
    assert children(tmp_path) == []
    assert len(read_results(str(tmp_path / "r.jsonl")).runs) == 1


def test_a_full_disk_is_one_line_and_what_is_there_can_be_resumed(tmp_path: Path) -> None:
    limited = ["bash", "-c", 'ulimit -f 4; exec "$@"', "--", *COMMAND, "bench", *LIGHT, "--out", "r.jsonl"]
    shown = subprocess.run(limited, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert shown.stderr == "gdbackends: r.jsonl: cannot be written: file too large; use --resume to continue\n"
    held = read_results(str(tmp_path / "r.jsonl"))
    assert 1 <= sum(map(len, held.launches.values())) < 8
    assert (tmp_path / "r.jsonl").read_bytes().endswith(b"\n")
    assert run("bench", *LIGHT, "--out", "r.jsonl", "--resume", cwd=tmp_path).returncode == 0


def test_a_budget_that_is_spent_is_said(tmp_path: Path) -> None:
    shown = run("bench", *LIGHT, "--time-budget", "1e-6", "--out", "r.jsonl", cwd=tmp_path)
    assert shown.returncode == 3
    assert shown.stdout.count("not reached") == 5  # a row for each case, and one line
    assert "4 of 4 cases were not reached: the same bench command with --resume continues" in shown.stdout
    assert run("bench", *LIGHT, "--out", "r.jsonl", "--resume", cwd=tmp_path).returncode == 0


def record(status: str, case: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a launch, or of the end of a case that failed."""
    named = {"run": "r", "case": case}
    if status != "launch":
        return {"record": "case", **named, "status": status, "reason": "as planned", "agreement": None}
    figures = dict.fromkeys(("import_s", "hidden_s", "transfer_s", "first_call_s", "load", "passes", "agreement"), 0.5)
    counts = {"launch": 0, "calls": 1, "threads_seen": 1, "peak_bytes": 1, "device_peak_bytes": None, "cache_bytes": 1}
    others = {"device_name": "cpu", "affinity": [0], "batches_s": [1e-5]}
    return {"record": "launch", **named, **figures, **counts, **others}


@pytest.mark.parametrize(
    ("statuses", "code"),
    [(["launch", "launch"], 0), (["launch"], 3), ([], 3), (["crashed"], 1), (["out of memory"], 3)],
)
@pytest.mark.parametrize("interrupted", [False, True])
def test_the_exit_code_and_the_table_of_what_there_is(
    tmp_path: Path, monkeypatch, statuses: list[str], code: int, interrupted: bool
) -> None:
    def bench_sides(cases, sides, *_) -> None:
        (side,) = sides
        for case, status in zip(cases, statuses, strict=False):
            side.file.write(record(status, case.to_dict()))
        if interrupted:
            raise KeyboardInterrupt

    monkeypatch.setattr(bench_command, "bench_sides", bench_sides)
    monkeypatch.delenv("COLUMNS", raising=False)
    asked = [
        "--backends",
        "numpy",
        "--work",
        "step",
        "--rows",
        "10,20",
        "--features",
        "1",
        "--out",
        str(tmp_path / "r.jsonl"),
    ]
    done = CliRunner().invoke(bench_command.command, asked)
    assert done.exit_code == (130 if interrupted else code)
    assert len([line for line in done.stdout.splitlines() if line.startswith("step  ")]) == 2
    assert ("of 2 cases was not reached" in done.stdout) == (len(statuses) == 1)
    told = f"gdbackends: interrupted; the same command with --resume continues {tmp_path / 'r.jsonl'}\n"
    assert done.stderr == (told if interrupted else "")


def shown_at(columns: str, *arguments: str, terminal: bool = False) -> str:
    """Return what `show` prints with this variable COLUMNS, without colours."""
    environment = {"COLUMNS": columns, "FORCE_COLOR": "1" if terminal else None, "TERM": "xterm"}
    done = CliRunner(env=environment).invoke(show_command.command, [str(QUICK), *arguments])
    assert done.exit_code == 0
    return re.sub(r"\x1b\[[\d;]*m", "", done.stdout)


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
def test_the_table_fits_the_terminal(columns: int) -> None:
    lines = shown_at(f"{columns}", terminal=True).splitlines()
    assert max(map(len, lines)) <= columns
    assert shown_at(f"{columns}").splitlines()[:37] == lines[:37]
    titles = re.split(r" {2,}", lines[0].strip())
    assert titles[:4] == ["work", "rows", "features", "backend"]
    assert {"a call", "x NumPy"} <= set(titles)
    assert len([line for line in lines if line.startswith("step  ")]) == 36
    rest = set(re.split(r" {2,}", shown_at("", "--wide").splitlines()[0].strip())) - set(titles)
    hidden = [line for line in lines if line.startswith("--wide also shows ")]
    assert (hidden == []) == (not rest)
    assert all(title in hidden[0] for title in rest)
    assert ("plan" in titles, "first call" in titles) == (False, columns > 80)


def test_all_columns_are_shown_where_stdout_is_no_terminal_or_it_is_asked_for() -> None:
    assert shown_at("80", "--wide").splitlines()[:37] == shown_at("").splitlines()[:37]
    assert "transfer  first call" in shown_at("")


def test_long_names_are_no_reason_to_wrap() -> None:
    columns = {
        "work": ["value_and_gradient"] * 2,
        "rows": ["1,000,000", "1,000"],
        "features": ["1,000", "10"],
        "": ["docs/a_long_name/own_loss.py:logcosh float32"] * 2,
        "backend": ["PyTorch on cuda:0 with 12 threads, idiomatic", "NumPy"],
        "a call": ["12.3 ms x/÷ 1.61 *", "not reached"],
        "x NumPy": ["0.81 (0.55 to 1.2)", "-"],
    }
    common, shown = fitted(columns, 80)
    assert list(common.values()) == ["value_and_gradient", "docs/a_long_name/own_loss.py:logcosh float32"]
    assert list(shown) == ["rows", "features", "backend", "a call"]
    assert sum(max(map(len, [title, *texts])) + 2 for title, texts in shown.items()) - 2 <= 80
    assert shown["a call"] == columns["a call"]
    columns |= {"work": ["value_and_gradient", "step"], "": [*columns[""][:1], "squared"]}
    common, shown = fitted(columns, 80)
    assert common == {}
    assert shown[""][0].startswith("…") and shown[""][0].endswith(" float32"[-5:])
    assert sum(max(map(len, [title, *texts])) + 2 for title, texts in shown.items()) - 2 <= 80
    assert fitted(columns, 400) == ({}, columns)


def test_show_prints_files_and_published_documents_or_says_what_is_wrong(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    document = tmp_path / "r.json"
    document.write_text(publish(read_results(str(QUICK)).records()), encoding="utf8")
    own, public = (CliRunner().invoke(show_command.command, [str(path)]).stdout for path in (QUICK, document))
    assert own.replace(str(QUICK), str(document)) == public
    for text in ("JAX, 2.3 to 11 times faster than the next", "its first call pays off after", "import: ", "GB/s"):
        assert text in own
    both = CliRunner().invoke(show_command.command, [str(QUICK), str(document)]).stdout
    assert both == f"{own}\n{public}"
    for path, text in ((tmp_path / "none", "does not exist"), ("/dev/null", "/dev/null contains no cases")):
        refused = run("show", str(path))
        assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
        assert text in refused.stderr


def test_cases_not_reached_are_rows_of_every_export(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in QUICK.read_text(encoding="utf8").splitlines()]
    cases = [dict(case) for case in dict.fromkeys(tuple(r["case"].items()) for r in lines if "case" in r)]
    planned = [{"record": "planned", "run": lines[0]["run"], "case": case} for case in cases]
    kept = [r for r in lines[1:] if r.get("case", {}).get("rows") != 1000]
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in [lines[0], *planned, *kept]), encoding="utf8")
    line = "9 of 36 cases were not reached"
    for form in ("csv", "json", "md"):
        done = CliRunner().invoke(export_command.command, [str(path), "--to", form])
        assert line in (done.stdout if form == "md" else done.stderr)
        assert (done.stdout.count("not reached,") if form == "csv" else done.stdout.count("not reached")) >= 9
        if form == "json":
            assert [row["status"] for row in json.loads(done.stdout)].count("not reached") == 9
    shown = CliRunner().invoke(show_command.command, [str(path)]).stdout
    assert shown.count("not reached") == 10
    assert shown.count(line) == 1


def test_diff_says_what_noise_may_hide_and_pools_the_cases(results: Path, tmp_path: Path) -> None:
    held = [json.loads(line) for line in results.read_text(encoding="utf8").splitlines()]
    for name, factor in (("old", 1.0), ("new", 1.1)):
        noise = np.random.default_rng(len(name) + int(10 * factor))
        for record in held:
            if record["record"] == "launch":
                record["fastest_s"] = 1e-5 * factor * float(np.exp(noise.normal(scale=0.3)))
        text = "".join(json.dumps(record) + "\n" for record in held)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf8")
    files = [str(tmp_path / "old.jsonl"), str(tmp_path / "new.jsonl")]
    shown, strict = run("diff", *files), run("diff", *files, "--strict")
    assert (shown.returncode, strict.returncode) == (0, 3)
    assert "8 compared, 0 regressions" in shown.stdout
    assert re.search(r"nothing can be told: the noise may hide a slowdown of up to [\d,]+%; give more", shown.stdout)
    together = re.search(r"all cases together: new / old (\S+) \((\S+) to (\S+)\)", shown.stdout)
    value, low, high = map(float, together.groups())
    assert low < 1.1 < high
    assert low < value < high
    same = run("diff", str(results), str(results), "--strict")
    assert "all cases together: new / old 1 (1 to 1)" in same.stdout


def test_diff_of_a_file_with_itself_and_with_a_slower_one(results: Path, tmp_path: Path) -> None:
    same = run("diff", str(results), str(results))
    assert (same.returncode, "8 compared, 0 regressions" in same.stdout) == (0, True)
    held = [json.loads(line) for line in results.read_text(encoding="utf8").splitlines()]
    for name, step in (("old", 1e-5), ("new", 2e-5)):
        for record in held:
            if record["record"] == "launch":
                slower = step if record["case"]["rows"] == 20 else 1e-5
                record["fastest_s"] = slower * (1 + 1e-6 * record["launch"])
        text = "".join(json.dumps(record) + "\n" for record in held)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf8")
    worse = run("diff", str(tmp_path / "old.jsonl"), str(tmp_path / "new.jsonl"), "--fail-above", "50%")
    assert worse.returncode == 1
    assert "8 compared, 4 regressions" in worse.stdout
    assert "slower" in worse.stdout
    moved = tmp_path / "moved.jsonl"
    moved.write_text(results.read_text(encoding="utf8").replace('"cpu": "', '"cpu": "other '), encoding="utf8")
    other = run("diff", str(results), str(moved))
    assert (other.returncode, "incomparable" in other.stdout, "8 cases: cpu" in other.stdout) == (1, True, True)
    for arguments, text in (
        ([str(results), "nowhere"], "nowhere: does not exist; create it with gdbackends bench --out nowhere"),
        ([str(results), __file__], "is not a file of results"),
        ([str(results), str(results), "--fail-above", "much"], "--fail-above must be a fraction such as 10%"),
        ([str(results), str(results), "--fail-above", "10"], "--fail-above must be a fraction such as 10%"),
    ):
        shown = run("diff", *arguments)
        assert (shown.returncode, text in shown.stderr, len(shown.stderr.splitlines())) == (2, True, 1)


def test_export(results: Path, tmp_path: Path) -> None:
    table = list(csv.DictReader(io.StringIO(run("export", str(results)).stdout)))
    assert len(table) == 8
    assert all(row["status"] == "ok" and float(row["median_s"]) > 0 for row in table)
    document = json.loads(run("export", str(results), "--to", "json").stdout)
    assert [row["backend"] for row in document] == [row["backend"] for row in table]
    shown = run("export", str(results), "--to", "md", "--out", str(tmp_path / "t.md"))
    assert (shown.returncode, shown.stdout) == (0, "")
    lines = (tmp_path / "t.md").read_text(encoding="utf8").splitlines()
    assert lines[0] == "| work | rows x features | dtype | NumPy | fakes:Light |"
    assert len([line for line in lines if line.startswith("| step")]) == 4
    assert run("export", str(results), "--to", "xml").returncode == 2
    empty = run("export", "/dev/null")
    assert (empty.returncode, "/dev/null contains no cases" in empty.stderr, empty.stdout) == (2, True, "")
    assert run("export", str(results), "--out", str(results)).returncode == 2


ODD = [None, -1, 0, 1, 2**70, 1e308, float("nan"), float("inf"), True, "", "x", "\x1b[31mred", [], [1], {}, {"a": []}]


def odd_records(lines: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the records with one field, also of a dictionary in a field, replaced or left out."""
    for k, record in enumerate(lines):
        for name, value in record.items():
            changed = [{**record, name: odd} for odd in ODD] + [{n: v for n, v in record.items() if n != name}]
            if isinstance(value, dict):
                changed += [{**record, name: {**value, inner: odd}} for inner in value for odd in ODD]
            for each in changed:
                yield [*lines[:k], each, *lines[k + 1 :]]


def test_a_file_edited_by_hand_is_read_or_refused_in_one_line(results: Path, tmp_path: Path) -> None:
    held = [json.loads(line) for line in results.read_text(encoding="utf8").splitlines()]
    first = {kind: next(r for r in held if r["record"] == kind) for kind in ("run", "launch", "case")}
    first["bandwidth"] = {
        "record": "bandwidth",
        "run": first["run"]["run"],
        "launch": 0,
        "threads": 0,
        "bytes_per_s": 1e10,
    }
    case = first["launch"]["case"]
    lines = [first["run"], first["bandwidth"], first["launch"], {**first["case"], "case": case}]
    path, tried = tmp_path / "odd.jsonl", 0
    good = tmp_path / "good.jsonl"
    good.write_text("".join(json.dumps(record) + "\n" for record in lines), encoding="utf8")
    for records in odd_records(lines):
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf8")
        for command, arguments in ((export_command, ["--to", "md"]), (diff_command, [str(good)])):
            outcome = CliRunner().invoke(command.command, [str(path), *arguments])
            tried += 1
            assert outcome.exception is None or isinstance(outcome.exception, (InputError, SystemExit)), records
            assert "\x1b" not in outcome.output, records
            if isinstance(outcome.exception, InputError):
                assert "\n" not in str(outcome.exception)
    assert tried > 1500


def test_another_version_is_timed_in_turn(tmp_path: Path) -> None:
    """The other version is this one, so that nothing may be called slower by a factor of three."""
    asked = ["--against", str(Path(__file__).parents[1]), "--fail-above", "200%", "--most", "5", "--out", "r.jsonl"]
    command = [*COMMAND, "bench", *LIGHT[:2], "--rows", "20", "--features", "2", "--work", "gradient", *asked]
    shown = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "1 compared, 0 regressions" in shown.stdout
    new, old = (read_results(str(tmp_path / name)) for name in ("r.jsonl", "r.against.jsonl"))
    assert list(new.runs) == list(old.runs)
    assert all(run["paired"] for results in (new, old) for run in results.runs.values())
    ((case, launches),) = new.launches.items()
    assert launches.keys() == old.of(case).keys()
    assert len(launches) >= 5


@pytest.mark.parametrize("text", ["no-such-revision", "/nowhere"])
def test_another_version_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    shown = run("bench", *LIGHT, "--against", text, cwd=tmp_path)
    assert (shown.returncode, len(shown.stderr.splitlines())) == (2, 1)
    assert f"{text!r} is neither a folder with a checkout nor a revision" in shown.stderr
    assert list(tmp_path.iterdir()) == []
