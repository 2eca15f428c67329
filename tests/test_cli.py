"""The command line as a user meets it: what is printed where, the exit codes, and real processes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from math import inf
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from commands import run_command as run
from sklearn.linear_model import LinearRegression as SkLinearRegression

from gdbackends import __version__
from gdbackends.cli import compare_command
from gdbackends.cli.console import format_number, printable
from gdbackends.comparison import BackendResult, comparing
from gdbackends.measurement.environment import affinity
from gdbackends.measurement.formatting import duration
from gdbackends.pictures.lesson import frameworks

COMMAND = [sys.executable, "-m", "gdbackends"]
TABLE = "a,b,y\n1,2,3\n4,5,7\n7,9,11\n2,2,2\n"


CAPTURED = {"capture_output": True, "text": True, "timeout": 120, "check": False}


def start(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, where a test is about one."""
    return subprocess.run([*COMMAND, *arguments], **CAPTURED, **options)


@pytest.fixture
def table_csv(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf8")
    return path


def test_version_and_help() -> None:
    assert start("--version").stdout == f"gdbackends, version {__version__}\n"
    for arguments in (["--help"], []):
        shown = run(*arguments)
        assert shown.returncode == 0
        assert "compare" in shown.stdout
        assert "fit" in shown.stdout
    assert "--batch-size" in run("compare", "--help").stdout


def test_compare_shows_the_three_side_by_side(require) -> None:
    for name in ("jax", "torch"):
        require(name)
    shown = start("compare", "--backends", "numpy,jax,torch")
    assert shown.returncode == 0, shown.stderr
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["numpy", "jax", "torch", "exact"] in lines
    assert ["height", *["3.45"] * 4] in lines
    assert ["intercept", *["-87.5167"] * 4] in lines
    assert shown.stdout.count("agrees") == 6
    assert "numpy, jax and torch agree" in shown.stdout
    assert "learning rate 0.5 (best 0.5, stable up to 1)" in shown.stdout
    assert "PyTorch" in shown.stdout
    assert max(len(line.rstrip()) for line in shown.stdout.splitlines()) <= 80
    assert "\x1b" not in shown.stdout
    assert shown.stderr == ""
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf8")
    documented = [line.split() for line in readme.splitlines()]
    for label in ("device", "height", "intercept", "loss", "steps", "stopped"):
        assert next(line for line in lines if line[:1] == [label]) in documented


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (3.6e-6, 4.225e-6, "3.9 us ± 8%"),
        (3.89e-6, 3.91e-6, "3.9 us ± 0.3%"),
        (0.0, inf, "3.9 us ± ?"),
        (1e-6, 9e-6, "3.9 us ± ?"),
        (None, None, "3.9 us ± ?"),
    ],
)
def test_a_step_is_shown_with_its_interval(low: float | None, high: float | None, shown: str) -> None:
    row = BackendResult("numpy", "cpu", "ok", step_s=3.9e-6, step_low_s=low, step_high_s=high)
    assert compare_command._step(row) == shown
    assert compare_command._step(BackendResult("numpy", "cpu", "failed")) == "-"


def test_compare_says_that_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(affinity())
    for load, said in ((cores + 5.9, True), (cores + 1.0, False)):
        monkeypatch.setattr(comparing, "load", lambda load=load: load)
        shown = CliRunner().invoke(compare_command.command, ["--backends", "numpy", "--steps", "5"])
        assert re.search(r"^a step +[\d.]+ [mun]?s ± ([\d.]+%|\?)", shown.stdout, re.MULTILINE), shown.stdout
        assert (f"the machine is busy: the load is {load:.1f} on " in shown.stdout) == said


def test_json_is_one_document_and_nothing_else(table_csv: Path) -> None:
    shown = run("compare", str(table_csv), "--backends", "numpy", "--json", "--features", "a")
    document = json.loads(shown.stdout)
    assert (document["schema"], document["verdict"]) == (1, "agree")
    assert document["dataset"] == {"name": "table", "rows": 4, "features": ["a"], "target": "y"}
    assert shown.stderr == "predicting 'y', the last column; choose another with --target\n"
    fitted = json.loads(run("fit", str(table_csv), "--target", "a", "--json", "--dtype", "float32").stdout)
    assert fitted["dtype"] == "float32"
    assert set(fitted["coefficients"]) == {"b", "y"}


def test_fit_shows_one_backend(table_csv: Path, require) -> None:
    require("jax")
    shown = run("fit", str(table_csv), "--backend", "jax", "--target", "y", "--batch-size", "2", "--steps", "9")
    assert shown.returncode == 0
    assert shown.stdout.startswith("table: 4 rows, predicting y, jax on cpu\n")
    assert "The number of steps was reached." in shown.stdout


def test_divergence_exits_1_and_names_the_stable_rate() -> None:
    for arguments in (["fit"], ["compare", "--backends", "numpy"]):
        shown = run(*arguments, "--learning-rate", "1.5")
        assert shown.returncode == 1
        assert "the largest stable rate is 1" in " ".join(shown.stdout.split())
        assert json.loads(run(*arguments, "--learning-rate", "1.5", "--json").stdout)


def test_numpy_stays_on_the_cpu_and_a_missing_device_is_one_line(require) -> None:
    require("torch")
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    shown = run("compare", "--device", "cuda", "--backends", "numpy,torch")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == "gdbackends: device 'cuda' is not available for torch; it has cpu\n"
    alone = run("compare", "--device", "cuda", "--backends", "numpy")
    assert alone.returncode == 0
    assert "numpy stays on the CPU." in alone.stdout
    assert run("fit", "--device", "cuda").stderr == "numpy stays on the CPU\n"


BAD = [
    (
        ["fit", "--objective", "cubic"],
        "the loss must be one of squared, absolute, huber, quantile, logcosh, logistic, poisson",
    ),
    (["fit", "--objective", "huber:0"], "delta of the Huber loss must be a number above 0, got 0.0"),
    (["compare", "--objective", "logistic"], "the logistic loss needs a target of two labels, got 15 different values"),
    (["fit", "table.csv", "--objective", "poisson", "--batch-size", "2"], "does not support Poisson with batches"),
    (["fit", "--l2", "-1"], "l2 must be a finite number of at least 0, got -1.0"),
    (["predict"], "Missing argument 'FIT'"),
    (["predict", "table.csv", "table.csv"], "table.csv: is not JSON; save a fit with gdbackends fit --save FILE"),
    (["compare", "none.csv"], "none.csv: cannot be read: no such file or directory"),
    (["compare", "."], "cannot be read: is a directory"),
    (["fit", "table.csv", "--target", "Y"], "no column 'Y'; did you mean 'y'?"),
    (["fit", "table.csv", "--features", "a,y"], "the target 'y' is among the features"),
    (["fit", "table.csv", "--features", "a,,b"], "--features must be names separated by commas"),
    (["fit", "table.csv", "--features", ""], "--features must be names separated by commas, got ''"),
    (
        ["fit", "--target", "y"],
        "the options of a table need a SOURCE; name a file",
    ),
    (["fit", "--no-header"], "the options of a table need a SOURCE; name a file"),
    (
        ["fit", "women", "--delimiter", ";"],
        "women: delimiter, decimal, thousands, header and encoding",
    ),
    (["fit", "table.csv", "--delimiter", "::"], "delimiter must be one character"),
    (["fit", "table.csv", "--delimiter", ",", "--decimal", ","], "delimiter and decimal must differ, got ',' for both"),
    (["fit", "table.csv", "--synthetic", "10x2"], "--synthetic makes its own table; leave out SOURCE"),
    (["fit", "--synthetic", "10x2", "--target", "y"], "--synthetic makes its own table; leave out SOURCE"),
    (["fit", "--synthetic", "10"], "--synthetic must be rows x features, such as 10000x20, got '10'"),
    (["fit", "--synthetic", "0x2"], "rows must be at least 1, got 0"),
    (["compare", "--synthetic", "10000000x1000000"], "needs 264 TB of memory, and this machine has"),
    (["fit", "/dev/zero"], "/dev/zero: cannot be read: is a device, not a regular file"),
    (["fit", "--learning-rate", "0"], "learning_rate must be positive and finite"),
    (["fit", "--learning-rate", "-1"], "learning_rate must be positive and finite"),
    (["fit", "--learning-rate", "nan"], "learning_rate must be positive and finite"),
    (["fit", "--learning-rate", "fast"], "--learning-rate must be a number or auto, got 'fast'"),
    (["fit", "--batch-size", "0"], "batch_size must be from 1 to the number of rows, 15"),
    (["fit", "--batch-size", "16"], "batch_size must be from 1 to the number of rows, 15"),
    (["fit", "--steps", "0"], "steps must be at least 1"),
    (["fit", "--steps", "many"], "Invalid value for '--steps'"),
    (["fit", "--tolerance", "-1"], "tolerance must be a finite number of at least 0"),
    (["fit", "--seed", "-1"], "seed must be at least 0"),
    (["fit", "--backend", ""], "backend must be one of numpy, jax, torch, or module:name, got ''"),
    (["fit", "--backend", "tensorflow"], "backend must be one of numpy, jax, torch, or module:name, got 'tensorflow'"),
    (["compare", "--backends", ""], "--backends must be names separated by commas"),
    (["compare", "--backends", "numpy,tf"], "backend must be one of numpy, jax, torch, or module:name, got 'tf'"),
    (["compare", "--dtype", "float16"], "dtype must be one of float64, float32, got 'float16'"),
    (["fit", "--device", "tpu", "--backend", "torch"], "device 'tpu' is not available for torch; it has cpu"),
    (["fit", "--bogus"], "No such option"),
    (["plot"], "No such command 'plot'"),
    (["fit", "a.csv", "b.csv"], "unexpected extra argument"),
]


@pytest.mark.parametrize(
    ("arguments", "text"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_use_is_one_line_on_stderr(arguments: list[str], text: str, table_csv: Path) -> None:
    shown = run(*arguments, cwd=table_csv.parent)
    assert shown.returncode == 2
    assert shown.stdout == ""
    *before, last = shown.stderr.splitlines()
    assert before in ([], ["predicting 'y', the last column; choose another with --target"])
    assert last.startswith("gdbackends: ")
    assert text in last


def test_the_options_of_reading(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("1,5\t2\n2,5\t3\n3\t5\n", encoding="utf8")
    shown = run("fit", str(path), "--delimiter", "\\t", "--decimal", ",", "--no-header", "--target", "c2", "--json")
    assert json.loads(shown.stdout)["dataset"] == {"name": "table", "rows": 3, "features": ["c1"], "target": "c2"}
    shown = run("fit", "--synthetic", "100x3", "--json")
    assert json.loads(shown.stdout)["dataset"]["name"] == "synthetic 100x3"
    assert shown.stderr == ""
    assert run("fit", "women").stdout.startswith("women: 15 rows, predicting weight")


def test_a_missing_header_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("2019,2020\n1,2\n2,3\n4,4\n", encoding="utf8")
    assert run("fit", "t.csv", cwd=tmp_path).stderr.splitlines()[0] == (
        "the columns are called c1, c2, ...; if the first line of a CSV file is a header, use --header"
    )


LABELLED = "a,b,passed\n1,2.5,no\n2,1,no\n3,2,yes\n4,0.5,yes\n2.5,2,no\n"


def test_a_fit_is_saved_and_predicts_again(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(LABELLED, encoding="utf8")
    options = ["--objective", "logistic", "--l2", "0.01", "--save", "fit.json", "--predict", "out.csv"]
    shown = run("fit", "table.csv", *options, cwd=tmp_path)
    assert (shown.returncode, "labels: 0 is no, 1 is yes" in shown.stdout) == (0, True)
    assert "logistic loss" in shown.stdout
    document = json.loads((tmp_path / "fit.json").read_text())
    assert (document["schema"], document["objective"], document["labels"]) == (1, "logistic", ["no", "yes"])
    written = (tmp_path / "out.csv").read_text()
    assert [line.split(",")[1] for line in written.splitlines()] == ["label", "no", "no", "yes", "yes", "no"]
    assert run("predict", "fit.json", "table.csv", cwd=tmp_path).stdout == written
    (tmp_path / "new.csv").write_text("b;x;a\n2,5;7;1\n", encoding="utf8")  # other columns, another order and spelling
    again = run("predict", "fit.json", "new.csv", "--decimal", ",", "--out", "new.out", cwd=tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert (tmp_path / "new.out").read_text().splitlines()[1] == written.splitlines()[1]
    (tmp_path / "one.csv").write_text("height\n70\n", encoding="utf8")
    assert run("fit", "--save", "women.json", "--json", cwd=tmp_path).stdout == (tmp_path / "women.json").read_text()
    predicted = run("predict", "women.json", "one.csv", cwd=tmp_path).stdout
    assert float(predicted.splitlines()[1]) == pytest.approx(3.45 * 70 - 87.51666666666667, rel=1e-12)
    assert {p.name for p in tmp_path.glob(".*")} == set()


def test_what_is_written_never_harms(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(LABELLED.replace("no", "=1+1").replace("yes", "'x,y'"), encoding="utf8")
    (tmp_path / "link.csv").symlink_to("table.csv")
    same = run("fit", "table.csv", "--save", "same", "--predict", "./same", cwd=tmp_path)
    assert (
        same.stderr == "gdbackends: --save and --predict must be different files, got same for both; give two names\n"
    )
    with table.open() as stream:
        fed = start("fit", "-", "--save", "table.csv", cwd=tmp_path, stdin=stream)
    assert "would overwrite an input" in fed.stderr
    for option in ("--save", "--predict"):
        for name in ("table.csv", "link.csv"):
            shown = run("fit", "table.csv", option, name, cwd=tmp_path)
            assert (shown.returncode, shown.stdout) == (2, "")
            assert shown.stderr == f"gdbackends: {option} {name} would overwrite an input; give another name\n"
        for name in (".", "none/out"):
            assert (
                "is a folder or is in no existing folder" in run("fit", "table.csv", option, name, cwd=tmp_path).stderr
            )
    text = LABELLED.replace("no", "=1+1").replace("yes", '"x,y"')
    table.write_text(text, encoding="utf8")
    run("fit", "table.csv", "--objective", "logistic", "--l2", "1", "--predict", "out.csv", cwd=tmp_path)
    assert table.read_text() == text
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert {line.split(",", 1)[1] for line in lines[1:]} <= {"'=1+1", '"x,y"'}
    assert any("'=1+1" in line for line in lines)
    (tmp_path / "kept.json").write_text("old")
    script = f"ulimit -f 0; exec {sys.executable} -m gdbackends fit --save kept.json"
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (shown.returncode, (tmp_path / "kept.json").read_text()) == (2, "old")
    assert shown.stderr == "gdbackends: kept.json: cannot be written: file too large\n"
    assert {p.name for p in tmp_path.glob(".*")} == set()


def test_what_is_replaced_keeps_its_place_and_its_rights(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text("old")
    kept.chmod(0o600)
    (tmp_path / "link.json").symlink_to("kept.json")
    assert run("fit", "--save", "link.json", cwd=tmp_path).returncode == 0
    assert (tmp_path / "link.json").is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert json.loads(kept.read_text())["schema"] == 1
    (tmp_path / "nowhere.json").symlink_to("none/at/all.json")
    assert "cannot be written: no such file" in run("fit", "--save", "nowhere.json", cwd=tmp_path).stderr
    with (tmp_path / "out").open("w") as stream:
        command = [*COMMAND, "fit", "--predict", "/dev/stdout"]
        subprocess.run(command, stdout=stream, timeout=60, check=True)
    assert {"prediction", "women: 15 rows, predicting weight, numpy on cpu"} <= set(
        (tmp_path / "out").read_text().splitlines()
    )


@pytest.mark.parametrize(
    ("saved", "text"),
    [
        ("none", "cannot be read: no such file or directory; give a saved fit"),
        ("not json", "is not JSON; save a fit with gdbackends fit --save FILE"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a saved fit (TypeError"),
        ("{}", "is not a saved fit (KeyError: 'dtype')"),
        ('{"dtype": "float99", "objective": null, "labels": null, "coefficients": {}}', "is not a saved fit"),
        (None, "has coefficients that are not finite"),
    ],
)
def test_a_saved_fit_that_is_none(saved: str | None, text: str, tmp_path: Path) -> None:
    if saved is None:
        document = json.loads(run("fit", "--json").stdout)
        saved = json.dumps(document | {"intercept": float("inf")})
    if saved != "none":
        (tmp_path / "fit.json").write_text(saved)
    shown = run("predict", "fit.json", "women", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith(f"gdbackends: fit.json: {text}")
    assert len(shown.stderr.splitlines()) == 1


def test_losses_on_the_command_line(table_csv: Path) -> None:
    huber = run("compare", str(table_csv), "--objective", "huber:2", "--backends", "numpy", "--steps", "5")
    assert huber.returncode == 1  # nothing to hold it against
    assert "exact" not in huber.stdout.splitlines()[1]
    assert json.loads(run("fit", "--objective", "quantile:0.9", "--json").stdout)["objective"] == "quantile:0.9"


def test_hostile_names_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "bad\x1b[31m.csv"
    path.write_text('[red]x,"\x1b[2Jz","' + "w" * 10_000 + '",y\n1,2,3,4\n4,5,7,1\n3,8,2,9\n', encoding="utf8")
    shown = run("fit", str(path))
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout + shown.stderr
    assert "[red]x" in shown.stdout
    assert "\\x1b[2Jz" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) < 200
    path.write_text("a\x1b[2J,y\n1,2\nx\x1b,3\n", encoding="utf8")
    refused = run("fit", str(path))
    assert refused.returncode == 2
    assert "\x1b" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_closed_pipe_is_quiet() -> None:
    script = f"{sys.executable} -m gdbackends compare --backends numpy | head -1"
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert shown.stdout == "women: 15 rows, predicting weight\n"
    assert shown.stderr == ""


def test_a_closed_stderr_takes_nothing_away(table_csv: Path) -> None:
    for source in ("women", str(table_csv)):
        script = f"{sys.executable} -m gdbackends fit {source} 2>&-"
        shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert (shown.returncode, "numpy on cpu" in shown.stdout) == (0, True)


def test_a_full_disk_and_a_narrow_encoding(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("höhe,y\n1,2\n2,3\n4,4\n", encoding="utf8")
    shown = start("fit", str(path), env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (shown.returncode, "h\\xf6he" in shown.stdout) == (0, True)
    with Path("/dev/full").open("w") as full:
        command = [*COMMAND, "fit"]
        refused = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert refused.stderr == "gdbackends: cannot write: no space left on device\n"


READY = """
import signal
install = signal.signal
def installed(number, handler):
    install(number, handler)
    print("ready", flush=True)
signal.signal = installed
from gdbackends.cli import main
main()
"""


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 1.2])
def test_ctrl_c_exits_130_without_a_traceback(delay: float) -> None:
    """From the first handler on: while click and NumPy are imported, and while it descends."""
    arguments = ["fit", "--steps", "100000000", "--tolerance", "0", "--learning-rate", "1e-9"]
    command = [sys.executable, "-c", READY, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_progress_bar_on_a_terminal_only() -> None:
    parent, child = pty.openpty()
    arguments = ["fit", "--steps", "100000", "--tolerance", "0", "--learning-rate", "0.001"]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=child, text=True)
    os.close(child)
    shown = b""
    while True:
        try:
            shown += os.read(parent, 4096)
        except OSError:
            break
        if process.poll() is not None and not shown.endswith(b"%"):
            break
    process.communicate()
    assert process.returncode == 0
    os.close(parent)
    assert "steps" in shown.decode(errors="replace")
    assert "%" not in run("fit").stderr


def test_how_figures_are_shown() -> None:
    assert [duration(s) for s in (None, 2.5, 0.25, 3.14159e-5, 2e-8)] == ["-", "2.5 s", "250 ms", "31.4 us", "20 ns"]
    assert format_number(-87.51666666) == "-87.5167"
    assert printable("a\tb\u202e") == "a\\tb\\u202e"
    assert printable("x" * 50, 10) == "x" * 9 + "…"


@pytest.mark.parametrize("link", ["symbolic", "hard", "path"])
def test_one_file_by_two_names_is_refused_before_the_fit(link: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.json").write_text("old")
    other = {"symbolic": "link.json", "hard": "hard.json", "path": "folder/../a.json"}[link]
    if link == "symbolic":
        (tmp_path / other).symlink_to("a.json")
    elif link == "hard":
        (tmp_path / other).hardlink_to(tmp_path / "a.json")
    shown = run("fit", "--save", "a.json", "--predict", other, cwd=tmp_path)
    assert (shown.returncode, shown.stdout, (tmp_path / "a.json").read_text()) == (2, "", "old")
    assert "--save and --predict must be different files" in shown.stderr


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    """The name of the file that is written first cannot be predicted, and it must not exist."""
    script = """
import os, sys
from pathlib import Path
victim = Path("victim"); victim.write_text("kept")
Path(f".gdbackends-{os.getpid()}.part").symlink_to("victim")
from gdbackends.cli.output import write_atomically
write_atomically("out.json", "text")
print(victim.read_text(), Path("out.json").read_text(), oct(Path("out.json").stat().st_mode & 0o777))
"""
    shown = subprocess.run(["bash", "-c", f"umask 027; exec {sys.executable} -c '{script}'"], cwd=tmp_path, **CAPTURED)
    assert (shown.stdout, shown.stderr) == ("kept text 0o640\n", "")


def test_a_killed_writer_leaves_nothing(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from gdbackends.cli import output
real = os.fdopen
def fdopen(*arguments, **options):
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    return real(*arguments, **options)
os.fdopen = fdopen
output.write_atomically("out.json", "text")
"""
    (tmp_path / "write.py").write_text(script, encoding="utf8")
    command = [sys.executable, "write.py"]
    shown = subprocess.run([*command, "SIGTERM"], cwd=tmp_path, **CAPTURED)
    assert (shown.returncode, shown.stderr, list(tmp_path.glob(".*"))) == (143, "", [])
    subprocess.run([*command, "SIGKILL"], cwd=tmp_path, **CAPTURED)
    assert len(list(tmp_path.glob(".*.part"))) == 1
    (tmp_path / f".gdbackends-{os.getpid()}-x.part").write_text("of a process that runs")
    assert run("fit", "--save", "fit.json", cwd=tmp_path).returncode == 0
    assert [p.name for p in tmp_path.glob(".*")] == [f".gdbackends-{os.getpid()}-x.part"]


def test_a_result_that_cannot_be_saved_is_shown(tmp_path: Path) -> None:
    script = f"ulimit -f 0; exec {sys.executable} -m gdbackends fit --save new.json --json"
    shown = subprocess.run(["bash", "-c", f"{script} | cat"], cwd=tmp_path, **CAPTURED)
    assert json.loads(shown.stdout)["intercept"] == pytest.approx(-87.5167, abs=1e-4)
    assert shown.stderr == "gdbackends: new.json: cannot be written: file too large\n"


def test_charts_in_a_file_are_refused_before_the_lesson(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    shown = run("lesson", "--charts", "file", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (2, "gdbackends: --charts file is a file; give the name of a folder\n")
    assert not (tmp_path / "lesson.html").exists()


def test_a_lesson_on_one_feature_needs_no_other_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frameworks, "installed", lambda: ("numpy",))  # which takes less time
    (tmp_path / "t.csv").write_text("city,bmi,age,y\nu,1,,3\nv,2,5,5\nw,4,6,8\n", encoding="utf8")
    shown = run("lesson", "t.csv", "--feature", "bmi", cwd=tmp_path)
    assert (shown.returncode, "bmi" in (tmp_path / "lesson.html").read_text()) == (0, True), shown.stderr


@pytest.mark.parametrize("batch", [[], ["--batch-size", "2"], ["--objective", "absolute"]])
def test_very_many_steps_are_not_laid_out_in_advance(batch: list[str]) -> None:
    arguments = [sys.executable, "-c", READY, "fit", "--steps", "1000000000000", *batch]
    command = ["bash", "-c", 'ulimit -v 4000000; exec "$@"', "bash", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        shown = process.communicate(timeout=2)
    except subprocess.TimeoutExpired:  # it descends
        process.send_signal(signal.SIGINT)
        assert (process.communicate(timeout=20)[1].strip(), process.returncode) == ("", 130)
    else:
        assert (process.returncode, shown[1]) == (0, "")


def test_how_good_a_fit_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = X @ [3, 1] + rng.normal(size=200)
    np.savetxt(tmp_path / "t.csv", np.c_[X, y], delimiter=",", header="a,b,y", comments="")
    document = json.loads(run("fit", "t.csv", "--json", "--holdout", "0.25", cwd=tmp_path).stdout)
    held_out = np.sort(np.random.default_rng(0).permutation(200)[:50])
    rows = np.setdiff1d(np.arange(200), held_out)
    model = SkLinearRegression().fit(X[rows], y[rows])
    assert document["dataset"]["rows"] == 150
    for name, part in (("fitted_rows", rows), ("held_out_rows", held_out)):
        quality = document["quality"][name]
        assert quality["R2"] == pytest.approx(model.score(X[part], y[part]), rel=1e-9)
        assert quality["RMSE"] == pytest.approx(np.sqrt(np.mean((y[part] - model.predict(X[part])) ** 2)), rel=1e-9)
    assert "R2, held-out rows" in run("fit", "t.csv", "--holdout", "0.25", cwd=tmp_path).stdout
    for wrong in ("0", "1", "-1", "nan", "1e-9"):
        shown = run("fit", "t.csv", "--holdout", wrong, cwd=tmp_path)
        assert (shown.returncode, shown.stderr.count("\n")) == (2, 2)
        assert "--holdout must leave rows on both sides of 200, got" in shown.stderr
    (tmp_path / "l.csv").write_text("x,y\n" + "".join(f"{k},{'no' if k < 20 else 'yes'}\n" for k in range(40)))
    document = json.loads(run("fit", "l.csv", "--objective", "logistic", "--l2", ".01", "--json", cwd=tmp_path).stdout)
    assert document["quality"]["fitted_rows"] == {"accuracy": 1.0}
    run("fit", "t.csv", "--holdout", "0.25", "--predict", "p.csv", cwd=tmp_path)
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 201  # for every row, also those held out
    (tmp_path / "n.csv").write_text("x,y\n" + "".join(f"{k},{int(k > 2)}\n" for k in range(40)))
    for seed in range(3):  # held-out rows may all have one label
        options = ("--objective", "logistic", "--l2", ".001", "--holdout", "0.05", "--seed", str(seed), "--json")
        document = json.loads(run("fit", "n.csv", *options, cwd=tmp_path).stdout)
        assert document["quality"]["held_out_rows"]["accuracy"] >= 0.5


def test_many_coefficients_are_not_all_printed(tmp_path: Path) -> None:
    shown = run("fit", "--synthetic", "50x300")
    assert "200 more" in shown.stdout
    assert len(shown.stdout.splitlines()) < 130
