"""Categories, dates and missing values become numbers in named steps, which a saved fit makes again."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from commands import run_command

from gdbackends import read
from gdbackends.errors import InputError
from gdbackends.preparation import NOTHING, Preparation

CSV = "city,age,joined,y\nParis,30,2024-01-01,1\nAmsterdam,,2024-01-03,2\nBerlin,50,2024-02-01T12:00,3\nParis,40,,4\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(CSV, encoding="utf8")
    return path


def command(*arguments: str | Path) -> CompletedProcess[str]:
    return run_command(*map(str, arguments))


def test_texts_become_columns(table: Path) -> None:
    data = read(table, encode=True, features=["city"])
    assert data.names == ("city=Berlin", "city=Paris")
    assert data.X.tolist() == [[0, 1], [0, 0], [1, 0], [0, 1]]
    assert data.notes == ("city: 1 in city=Berlin, city=Paris; Amsterdam is 0 in each.",)
    assert data.preparation == Preparation({"city": ("Amsterdam", "Berlin", "Paris")}, (), {})
    expected = pd.get_dummies(pd.read_csv(table)["city"], drop_first=True, dtype=float)
    assert np.array_equal(data.X, expected)


def test_dates_become_days(table: Path) -> None:
    data = read(table, dates=True, missing="drop", features=["joined"])
    assert data.X.ravel().tolist() == [19723, 19725, 19754.5]
    assert data.notes == ("joined: days since 1970-01-01.", "1 of 4 rows left out, with missing values.")
    for frame in (pd.DataFrame, pl.DataFrame):
        times = frame({"t": [datetime(1970, 1, 2, 6), datetime(2000, 3, 1)], "y": [1, 2]})
        assert read(times, dates=True).X.ravel().tolist() == [1.25, 11017]
    assert read(pl.DataFrame({"t": [date(1969, 12, 31)], "y": [1]}), dates=True).X.tolist() == [[-1]]


def test_missing_values(table: Path) -> None:
    assert read(table, missing="drop", features=["age"]).y.tolist() == [1, 3, 4]
    data = read(table, missing="mean", features=["age"])
    assert data.X.ravel().tolist() == [30, 40, 50, 40]
    assert data.notes == ("age: the mean 40 in place of 1 missing values.",)
    table.write_text("a,y\n1,2\n?,3\n5,NA\n", encoding="utf8")
    assert read(table, missing="drop").X.tolist() == [[1]]
    data = read(table, missing="mean")
    assert (data.X.ravel().tolist(), data.y.tolist()) == ([1, 1], [2, 3])
    frame = pd.DataFrame({"a": [1.0, None, 5.0], "y": [2.0, 3.0, None]})
    assert read(frame, missing="mean").X.ravel().tolist() == [1, 1]
    assert read(frame, missing="drop").X.ravel().tolist() == [1]


def test_all_steps_on_a_frame_and_on_its_file_are_the_same(table: Path, tmp_path: Path) -> None:
    frame = pl.read_csv(table, try_parse_dates=False)
    frame.write_parquet(tmp_path / "t.parquet")
    steps: dict[str, Any] = {"encode": True, "dates": True, "missing": "mean"}
    wanted = read(table, **steps)
    assert wanted.names == ("city=Berlin", "city=Paris", "age", "joined")
    for source in (frame, frame.to_pandas(), tmp_path / "t.parquet"):
        data = read(source, **steps)
        assert (data.names, data.notes, data.preparation) == (wanted.names, wanted.notes, wanted.preparation)
        assert np.array_equal(data.X, wanted.X)
    assert Preparation.from_dict(json.loads(json.dumps(wanted.preparation.to_dict()))) == wanted.preparation


def test_steps_change_nothing_where_all_are_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pl.DataFrame(rng.normal(size=(50, 3)), ["a", "b", "y"]).write_csv(tmp_path / "t.csv")
    plain = read(tmp_path / "t.csv")
    data = read(tmp_path / "t.csv", encode=True, dates=True, missing="drop")
    assert data.X.tobytes() == plain.X.tobytes()
    assert (data.preparation, data.notes) == (NOTHING, ())


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a text, hint": ("c,y\nu,1\nv,2\n", {}, "use encode=True (--encode) for 0/1 columns of its texts"),
    "a date, hint": ("d,y\n2024-01-01,1\n", {"encode": False}, "use dates=True (--dates) for days"),
    "missing, hint": ("a,y\n1,1\n,2\n", {}, "as missing='drop' or 'mean' does (--missing drop)"),
    "too many texts": (
        "c,y\n" + "".join(f"u{k},{k}\n" for k in range(101)),
        {"encode": True},
        "column 'c' holds 101 distinct texts, and at most 100 are encoded; leave it out with drop=['c'] (--drop c)",
    ),
    "every row": ("a,b,y\n1,,1\n,2,2\n", {"missing": "drop"}, "every row has a missing value, 2 in all"),
    "no mean": ("a,b,y\n1,,1\n3,,2\n", {"missing": "mean"}, "column 'b' has no values, so no mean"),
    "infinite": ("a,y\n1,1\ninf,2\n", {"missing": "drop"}, "1 missing or non-finite values, the first in row 1"),
    "name taken": ("c,c=v,y\nu,1,2\nv,2,2\n", {"encode": True}, "two columns are called 'c=v'; rename one"),
    "wrong step": (
        "a,y\n1,2\n",
        {"missing": "zero"},
        "missing must be 'drop' or 'mean', or None to refuse",
    ),
    "wrong type": ("a,y\n1,2\n", {"encode": ["a"]}, "encode must be True or False, got ['a']"),
    "no date": ("d,y\n2024-13-01,1\n", {"dates": True}, "column 'd' holds no numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str, tmp_path: Path) -> None:
    content, options, message = REFUSED[case]
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf8")
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)


def test_a_saved_fit_prepares_the_next_table_alike(table: Path, tmp_path: Path) -> None:
    saved, steps = tmp_path / "fit.json", ("--encode", "--dates", "--missing", "mean")
    shown = command("fit", table, *steps, "--l2", "0.1", "--save", saved, "--predict", tmp_path / "here.csv")
    assert shown.returncode == 0, shown.stderr
    assert "city: 1 in city=Berlin, city=Paris; Amsterdam is 0 in each." in shown.stderr
    assert "age: the mean 40 in place of 1 missing values." in shown.stderr
    shown = command("predict", saved, table)
    assert shown.stdout == (tmp_path / "here.csv").read_text()
    header, first, *_ = CSV.splitlines()
    one = tmp_path / "one.csv"
    one.write_text(f"{header}\n{first}\n", encoding="utf8")  # a table in which most texts do not occur
    alone, among = (float(text.splitlines()[1]) for text in (command("predict", saved, one).stdout, shown.stdout))
    assert alone == pytest.approx(among, rel=1e-12)  # BLAS may add in another order
    one.write_text(f"{header}\nRome,30,2024-01-01,1\n", encoding="utf8")
    shown = command("predict", saved, one)
    assert (shown.returncode, shown.stderr.count("\n")) == (2, 1)
    assert "column 'city': 'Rome' was not seen in the fit, which knows 'Amsterdam', 'Berlin', 'Paris'" in shown.stderr
    saved.write_text(json.dumps(json.loads(saved.read_text()) | {"preparation": {"dates": 3}}), encoding="utf8")
    shown = command("predict", saved, table)
    assert (shown.returncode, shown.stderr.count("\n")) == (2, 1)
    assert "has a damaged preparation" in shown.stderr


def test_compare_tells_the_steps(table: Path) -> None:
    shown = command("compare", table, "--encode", "--missing", "drop", "--drop", "joined", "--backends", "numpy")
    assert "1 of 4 rows left out, with missing values." in shown.stderr
    assert "city=Paris" in shown.stdout
