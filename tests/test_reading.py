"""Reading tables: what is accepted, that every way gives the same numbers, and each refusal in one line."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdbackends import Dataset, read
from gdbackends.errors import InputError, MissingPackageError
from gdbackends.reading import text

WAYS = ("polars", "numpy", "exact")


def take(way: str, patch: pytest.MonkeyPatch) -> None:
    """Read text by one way: polars, NumPy, or the exact path alone."""
    if way == "numpy":
        patch.setattr(text, "find_spec", lambda _: None)
    elif way == "exact":
        patch.setattr(text, "_fast", lambda *_: None)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    take(request.param, monkeypatch)
    return request.param


def write(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    return file.getvalue()


GOOD = {
    "comma": ("a,b,y\n1,2,3\n4,5,6\n", {}),
    "semicolon, no last end": ("a;b;y\n1;2;3\n4;5;6", {}),
    "tab, CRLF": ("a\tb\ty\r\n1\t2\t3\r\n4\t5\t6\r\n", {}),
    "carriage returns": ("a,b,y\r1,2,3\r4,5,6\r", {}),
    "single blanks": ("a b y\n1 2 3\n4 5 6\n", {}),
    "blanks": ("a b   y\n 1  2 3\n4\t5 6 \n", {}),
    "blanks and quotes": ('"a"  b y\n"1" 2 3\n4 5 "6"\n', {}),
    "quotes and blanks around": ('"a","b","y"\n"1","2",3\n 4 , 5,6\n\n', {}),
    "byte-order mark": ("\ufeffa,b,y\n1,2.0,3e0\n+4,5,6\n", {}),
    "empty lines": ("\n\na,b,y\n\n1,2,3\n4,5,6\n", {}),
    "delimiter": ("a|b|y\n1|2|3\n4|5|6\n", {"delimiter": "|"}),
    "delimiter in a quoted name": ('"a";"b";y\n1;2;3\n4;5;6\n', {}),
    "decimal comma": ("a;b;y\n1,0;2;3\n4;5e0;6,00\n", {"decimal": ","}),
    "decimal comma, tabs": ("a\tb\ty\n1,0\t2\t3\n4\t5e0\t6,00\n", {"decimal": ","}),
    "decimal comma, blanks": ("a b y\n1,0 2 3\n4 5 6,00\n", {"decimal": ","}),
    "other digits": ("a,b,y\n1,2,3\n\u0664,5,6\n", {}),
    "text left out": ("d,a,b,y\né,1,2,3\nz,4,5,6\n", {"features": ["a", "b"]}),
    "a quoted end of line": ('d,a,b,y\n"1\n2",1,2,3\nz,4,5,6\n', {"features": ["a", "b"]}),
}


@pytest.mark.parametrize("case", GOOD)
def test_text(case: str, way: str, tmp_path: Path) -> None:
    content, options = GOOD[case]
    for path in (write(tmp_path, content), write(tmp_path, gzip.compress(content.encode()), "table.tsv.gz")):
        data = read(path, **options)
        assert (data.names, data.target, data.name, data.labels) == (("a", "b"), "y", "table", None)
        assert data.X.tolist() == [[1, 2], [4, 5]]
        assert data.y.tolist() == [3, 6]


def test_headers(way: str, tmp_path: Path) -> None:
    def names(content: str, **options: Any) -> tuple[str, ...]:
        data = read(write(tmp_path, content), **options)
        return (*data.names, data.target)

    assert names("1,2,3\n4,5,6\n") == ("c1", "c2", "c3")
    assert names("1,2,3\n4,5,6\n", header=True, features=["2"]) == ("2", "3")
    assert names(",a,y\n0,1,2\n", features=["c1", "a"]) == ("c1", "a", "y")
    assert names("2019,a,y\n0,1,2\n", header=True) == ("2019", "a", "y")
    assert names('"height, ""in""",y\n1,2\n') == ('height, "in"', "y")
    assert read(write(tmp_path, "1,2,3\n4,5,6\n"), target="c1").y.tolist() == [1, 4]


def test_an_unnamed_column_is_no_feature_unless_asked_for(tmp_path: Path) -> None:
    """The names and numbers of rows, as R and pandas write them."""
    for rows in ('"1",5,6\n"2",7,9\n', '"17",5,6\n"4",7,9\n', '"Mazda RX4",5,6\n"Fiat 128",7,9\n'):
        for header in ('"","x","y"', '"Unnamed: 0","x","y"', '"x","y"'):
            data = read(write(tmp_path, f"{header}\n{rows}"))
            assert (data.names, data.X.tolist()) == (("x",), [[5], [7]])
            first = "Unnamed: 0" if "Unn" in header else "c1"
            assert data.notes == (
                f"The column of row names is left out; use it with features=['{first}', ...] (--features).",
            )
    path = write(tmp_path, '"","x","y"\n"1",5,6\n"2",7,9\n')
    assert read(path, features=["x"]).notes == ()
    assert read(path, features=["c1", "x"]).X.tolist() == [[1, 5], [2, 7]]
    refused("column 2 has no name; choose the features with", write(tmp_path, "a,,y\n1,2,3\n"))
    frame = pd.DataFrame({"x": [5.0, 7.5], "y": [6.0, 9.0]}, index=[8, 3])
    frame.to_csv(tmp_path / "t.csv")
    frame.to_parquet(tmp_path / "t.parquet")
    for source in (tmp_path / "t.csv", tmp_path / "t.parquet", pd.read_csv(tmp_path / "t.csv")):
        assert (read(source).names, read(source).target, len(read(source).notes)) == (("x",), "y", 1)


def test_a_column_that_counts_the_rows_is_left_out_and_said(way: str, tmp_path: Path) -> None:
    for first in (0, 1):
        table = {"id": [first, first + 1, first + 2], "x": [5.5, 6, 9], "y": [1, 3, 2]}
        pl.DataFrame(table).write_csv(tmp_path / "t.csv")
        pl.DataFrame(table).write_parquet(tmp_path / "t.parquet")
        sources = tmp_path / "t.csv", tmp_path / "t.parquet", pd.DataFrame(table), pl.DataFrame(table)
        for source in sources:
            data = read(source)
            assert (data.names, data.X.tolist()) == (("x",), [[5.5], [6], [9]])
            assert data.notes == (
                "'id' only counts the rows and is left out; use it with features=['id', ...] (--features).",
            )
            assert read(source, features=["id", "x"]).names == ("id", "x")
            assert read(source, drop=["id"]).notes == ()
    for name in ("index", "Index", "ID", "PassengerId", "customer_id", "customerID", "row", "no."):
        data = read(write(tmp_path, f"x,{name},y\n5,0,2\n6,1,2\n9,2,4\n"), features=None)
        assert data.names == ("x",), name
    kept = {
        "the only feature": "id,y\n1,5\n2,7\n3,8\n",
        "other steps": "id,z,y\n2,5,1\n4,7,2\n6,8,4\n",
        "another start": "id,z,y\n2019,5,1\n2020,7,2\n2021,8,4\n",
        "a design": "x,x2,y\n0,0,1\n1,1,2\n2,4,4\n",
        "days": "day,z,y\n1,5,1\n2,7,2\n3,8,4\n",
        "without a header": "1,5,1\n2,7,2\n3,8,4\n",
        "not at the end": "id,z,y\n1,5,1\n2,7,2\n3,8,3\n5,8,4\n",
    }
    for content in kept.values():
        data = read(write(tmp_path, content))
        assert (len(data.names), data.notes) == (content.split("\n")[0].count(","), ())


def test_columns_left_out_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "name,a,b,y,z\nx,1,2,3,u\nz,4,5,6,v\n")
    data = read(path, drop=["name", "z"])
    assert (data.names, data.target, data.X.tolist()) == (("a", "b"), "y", [[1, 2], [4, 5]])
    refused("no column 'nome'; did you mean 'name'?", path, drop=["nome"])
    refused("'a' is dropped, and is the target or among the features; choose one", path, drop=["a"], features=["a"])
    refused("drop must be a list of names, got 'a'", path, drop="a")


NUMBERS = {
    "True and False": ("a,y\nTrue,3\nFalse,4\n", {}),
    "TRUE and FALSE, quoted": ('a,y\n"TRUE",3\n"FALSE",4\n', {}),
    "no header": ("true,3\nfalse,4\n", {}),
    "booleans by tabs": ("a\ty\ntrue\t3\nfalse\t4\n", {}),
    "comment lines": ("# made by hand\n# twice\na,y\n1,3\n# a remark, and more\n0,4\n", {}),
    "percent comments": ("% x\n1 3\n0 4\n", {}),
    "names by savetxt": ("# a y\n1.0e+00 3.0e+00\n0.0e+00 4.0e+00\n", {}),
    "names by savetxt, commas": ("# a,y\n1.0e+00,3.0e+00\n0.0e+00,4.0e+00\n", {}),
    "names in the last comment": ("# made by hand\n#\n#a y\n1 3\n0 4\n", {}),
    "separator of Excel": ("sep=;\na;y\n1;3\n0;4\n", {}),
    "separator of Excel, CRLF": ("sep=|\r\na|y\r\n1|3\r\n0|4\r\n", {}),
    "delimiter at each end": ("a,y,\n1,3,\n0,4,\n", {}),
    "delimiter at each end of rows": ("a,y\n1,3,\n0,4,\n", {}),
    "delimiter at the end of the header": ("a,y,\n1,3\n0,4\n", {}),
    "delimiter at each end, no header": ("1;3;\n0;4;\n", {}),
    "semicolons at the end": ("a;y;\n1,0;3;\n0;4,0;\n", {"decimal": ","}),
    "quoted names and blanks": ('"my a" "the y"\n1 3\n0 4\n', {}),
    "row names of R": ('"a" "y"\n"Mazda RX4" 1 3\n"Fiat 128" 0 4\n', {}),
    "latin 1": ("a,prix \xe0 payer\n1,3\n0,4\n".encode("latin-1"), {"encoding": "latin-1"}),
    "UTF-16": ("a,y\r\n1,3\r\n0,4\r\n".encode("utf-16"), {"encoding": "utf-16"}),
    "Windows": ("a;\u20ac\n1;3\n0;4\n".encode("cp1252"), {"encoding": "cp1252"}),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_tables_as_programs_write_them(case: str, way: str, tmp_path: Path) -> None:
    content, options = NUMBERS[case]
    data = read(write(tmp_path, content), **options)
    assert (data.X.tolist(), data.y.tolist()) == ([[1], [0]], [3, 4])
    if "names" in case and "quoted" not in case:
        assert (data.names, data.target) == (("a",), "y")


def test_a_number_sign_is_a_name_or_a_cell(way: str, tmp_path: Path) -> None:
    assert read(write(tmp_path, "#,name,y\n4,2,3\n7,5,6\n")).names == ("#", "name")
    assert read(write(tmp_path, "# name y\n4 2 3\n7 5 6\n")).names == ("#", "name")
    assert read(write(tmp_path, "#chrom\tpos\n4\t2\n7\t5\n")).names == ("chrom",)
    data = read(write(tmp_path, "t,x,y\n#1,2,3\n#2,5,6\n"), drop=["t"])
    assert data.X.tolist() == [[2], [5]]
    data = read(write(tmp_path, "x,y\n1,2\n# 5,6\n3,4\n"))
    assert (data.X.tolist(), data.notes) == ([[1], [3]], ("Comment lines between the rows, which are left out: 1.",))


THOUSANDS = {
    "commas, quoted": ('a,y\n"1,200",3\n"-1,234,567.5",4\n12,5\n', ","),
    "points": ("a;y\n1.200;3\n-1.234.567,5;4\n12;5\n", "."),
    "blanks": ("a;y\n1 200;3\n-1\u202f234\u00a0567.5;4\n12;5\n", " "),
    "apostrophes": ("a;y\n1'200;3\n-1'234'567.5;4\n12;5\n", "'"),
    "as in India": ('a,y\n"1,200",3\n"-12,34,567.5",4\n12,5\n', ","),
}


@pytest.mark.parametrize("case", THOUSANDS)
def test_thousands(case: str, tmp_path: Path) -> None:
    content, mark = THOUSANDS[case]
    path = write(tmp_path, content)
    decimal = "," if mark == "." else "."
    data = read(path, thousands=mark, decimal=decimal)
    assert data.X.ravel().tolist() == [1200, -1234567.5, 12]
    if mark != ".":
        said = refused(f"if {mark!r} marks thousands, use thousands={mark!r} (--thousands ", path, decimal=decimal)
        assert "decimal point" not in said
    wrong = write(tmp_path, content.replace("200", "20", 1))
    refused("line 2, column 'a': ", wrong, thousands=mark, decimal=decimal)
    refused("thousands and decimal must differ", path, thousands=".")
    refused("thousands must be", path, thousands="x")


def test_objects_that_are_numbers(tmp_path: Path) -> None:
    objects = pd.DataFrame({"a": pd.Series([1, 2.5, Decimal("0.1")], dtype=object), "y": [1, 2, 3]})
    assert read(objects).X.ravel().tolist() == [1, 2.5, 0.1]
    objects["a"] = pd.Series([True, None, 3], dtype=object)
    assert read(objects, missing="drop").X.ravel().tolist() == [1, 3]
    objects["a"] = pd.Series([1, "2", 3], dtype=object)
    refused("column 'a' holds no numbers", objects)


NO_TABLES = {
    "<!DOCTYPE html>\n<html><table></table>": "HTML or XML; save the table as CSV",
    "\n<html>\n": "HTML or XML",
    "<?xml version='1.0'?>": "HTML or XML",
    "| a | y |\n|---|---|\n| 1 | 2 |\n": "a Markdown table; save it as CSV",
    '{"a": [1, 2]}': "JSON; save the table as CSV",
    '[{"a": 1}]': "JSON",
    "[[1, 2], [3, 4]]": "JSON",
    "\ufeff<html>": "HTML or XML",
    "%PDF-1.7\n": "PDF",
    "SQLite format 3\0": "an SQLite database",
}


@pytest.mark.parametrize("content", NO_TABLES)
def test_what_is_no_table_is_named(content: str, tmp_path: Path) -> None:
    refused(f"is not text but looks like {NO_TABLES[content]}", write(tmp_path, content))


@pytest.mark.parametrize("name", ["t.xlsx", "t.xls", "t.ods"])
def test_a_workbook_is_named(name: str, tmp_path: Path) -> None:
    refused(f"the extension '.{name[2:]}' is that of a workbook; save the sheet as CSV", write(tmp_path, b"PK", name))
    refused("a workbook; save the sheet as CSV", write(tmp_path, b"\xd0\xcf\x11\xe0" + b"\0" * 600, "t.csv"))


def test_a_small_file_that_becomes_huge_is_refused_early(tmp_path: Path) -> None:
    bombs = {
        "zeros.csv.gz": (gzip.compress(b"0" * (1 << 26)), "is longer than 16,777,216 bytes"),
        "ends.csv.gz": (gzip.compress(b"1,2\n" + b"\n" * (1 << 26)), "inflates to more than 200 times its size"),
        "blank.csv.gz": (gzip.compress(b"\n" * (1 << 26)), "is empty; at least one row of numbers is needed"),
        "rows.csv.gz": (gzip.compress(b"1,2\n" * (1 << 24)), "inflates to more than 200 times its size; if you trust"),
        "t.npz": (npz(t=np.zeros((1 << 22, 2))), "to 67,108,992 bytes, more than 200 times its size; if you trust it"),
        "line.csv": (b"1," * (1 << 24), "line 1 is longer than 16,777,216 bytes, which no table of rows is"),
        "cells.csv": (b"1," * (1 << 21), "line 1 has 2,097,153 cells, and a text table may have 1,000,000"),
        "second.csv": (b"1,2\n" + b"1," * (1 << 24), "line 2 is longer than 16,777,216 bytes"),
    }
    for name, (content, message) in bombs.items():
        path = write(tmp_path, content, name)
        code = f"from gdbackends.cli import main; import sys; sys.argv = ['', 'fit', {str(path)!r}]; main()"
        limited = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, (700_000_000, 700_000_000)); {code}"
        shown = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, timeout=30, check=False)
        assert (shown.returncode, shown.stderr.count("\n")) == (2, 1)
        assert message in shown.stderr


def test_columns_by_name(way: str, tmp_path: Path) -> None:
    path = write(tmp_path, "name,a,b,y\nx,1,2,3\nz,4,5,6\n")
    data = read(path, target="a", features=["y", "b"])
    assert data.X.tolist() == [[3, 2], [6, 5]]
    assert data.y.tolist() == [1, 4]


def test_labels(way: str, tmp_path: Path) -> None:
    path = write(tmp_path, "a,y\n1,yes\n2, no\n3,yes\n")
    data = read(path, labels=True)
    assert (data.y.tolist(), data.labels) == ([1, 0, 1], ("no", "yes"))
    assert read(write(tmp_path, "a,y\n1,0\n2,1\n"), labels=True).labels is None
    for frame in (pd.DataFrame, pl.DataFrame, pa.table):
        data = read(frame({"a": [1, 2], "y": ["no", "maybe"]}), labels=True)
        assert (data.y.tolist(), data.labels) == ([1, 0], ("maybe", "no"))
    structured = np.array([(1, "no"), (2, "yes")], [("a", "i4"), ("y", "U3")])
    assert read(io.BytesIO(npy(structured)), labels=True).labels == ("no", "yes")


BAD_TEXT: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "empty": ("", {}, "is empty; at least one row of numbers is needed"),
    "blank": ("\n \n", {}, "is empty"),
    "header only": ("a,y\n", {}, "has a header but no rows"),
    "UTF-16": ("a,y\n1,2\n".encode("utf-16"), {}, "looks like UTF-16; save it as UTF-8"),
    "UTF-16, big end": (
        "\ufeffa,y".encode("utf-16-be"),
        {},
        "looks like UTF-16; save it as UTF-8",
    ),
    "latin 1": (b"a,y\n1,2\n\xe9,2\n", {}, "is not UTF-8 text (line 3, byte 0xe9); save it as UTF-8"),
    "latin 1 elsewhere": (b"d,a,y\n1,1,2\n\xe9,1,2\n", {"features": ["a"]}, "is not UTF-8 text (line 3"),
    "zero byte": (b"a,y\n1,\x002\n", {}, "is not text: line 2 contains a zero byte"),
    "gzip": (gzip.compress(b"a,y\n1,2\n"), {}, "is not text but looks like gzip; rename it to end in .gz"),
    "NPY": (npy(np.eye(2)), {}, "is not text but looks like NPY; rename it to end in .npy"),
    "NPZ": (npz(a=np.eye(2)), {}, "is not text but looks like a ZIP archive"),
    "Parquet": (parquet(a=[1], y=[2]), {}, "is not text but looks like Parquet"),
    "ragged": ("a,y\n1,2\n3\n", {}, "line 3 has 1 cell, but the first row has 2; correct that line"),
    "too many": ("a,y\n1,2\n3,4,5\n", {}, "but the first row has 2; correct that line, or remove the row names"),
    "both": ("a,b,d\n1,2,x\n1,2,x,4\n1,2\n", {"target": "b", "features": ["a"]}, "line 3 has 4 cells"),
    "last cell": ("a,y\n1,2,\n1,2,3\n", {}, "line 3 has 3 cells, but the first row has 2"),
    "comment": ("a,y\n#1,2\n3,4\n", {}, "line 2, column 'a': '#1' is not a number; correct it or leave the column out"),
    "word": ("a,y\n1,2\nred,4\n", {}, "line 3, column 'a': 'red' is not a number"),
    "underscore": ("a,y\n1,2\n1_000,4\n", {}, "'1_000' is not a number"),
    "hexadecimal": ("a,y\n1,2\n0x10,4\n", {}, "'0x10' is not a number"),
    "true": ("a,y\n1,2\ntrue,4\n", {}, "'true' is not a number"),
    "separator byte": ("a,y\n1,2\n\x1f3,4\n", {}, "is not a number"),
    "missing": ("a,y\n1,2\n,4\nNA,nan\n", {}, "3 missing or non-finite values, the first in line 3, column 'a': ''"),
    "infinite": ("a,y\n1,2\ninf,4\n", {}, "1 missing or non-finite values, the first in line 3, column 'a': 'inf'"),
    "only missing": ("a,y\n,2\n,4\n", {}, "2 missing or non-finite values, the first in line 2, column 'a': ''"),
    "too large": ("a,y\n1,2\n1e999,4\n", {}, "line 3, column 'a': '1e999' exceeds the range of float64, 1.8e308"),
    "date": (
        "date,a,b,y\n2024-01-01,1,2,3\n",
        {},
        "column 'date' holds no numbers "
        "(line 2: '2024-01-01'); use dates=True (--dates) for days, or choose others with features=['a', 'b'] "
        "(--features a,b)",
    ),
    "text of many": (
        "t,c2,c3,c4,c5,c6,c7,c8\nx,2,3,4,5,6,7,8\n",
        {},
        "features=['c2', 'c3', 'c4', 'c5', 'c6', ...] (--features c2,c3,c4,c5,c6,...)",
    ),
    "text target": ("a,b,y\n1,2,yes\n2,3,no\n", {}, "column 'y' holds no numbers (line 2: 'yes'); choose another with"),
    "text alone": ("t,y\nx,1\n", {}, "column 't' holds no numbers (line 2: 'x'); use encode=True (--encode)"),
    "three labels": ("a,y\n1,r\n1,s\n1,t\n", {"labels": True}, "needs exactly two distinct texts in the target 'y'"),
    "one label": ("a,y\n1,r\n1,r\n", {"labels": True}, "in the target 'y', got 'r'; choose"),
    "label missing": ("a,y\n1,r\n1,\n1,s\n", {"labels": True}, "1 missing or non-finite values, the first in line 3"),
    "labels and numbers": ("a,y\n1,r\n1,2\n1,s\n", {"labels": True}, "line 2, column 'y': 'r' is not a number"),
    "decimal comma": ("a;y\n1,5;2\n", {}, "line 2, column 'a': '1,5' is not a number; if that is a decimal comma, use"),
    "decimal comma in line 1": ("1,5;2,5;3,5\n", {}, "use delimiter=';', decimal=',' (--delimiter ';' --decimal ,)"),
    "decimal comma, given": (
        "1,5;2\n",
        {"delimiter": ";"},
        "if that is a decimal comma, use decimal=',' (--decimal ,)",
    ),
    "decimal comma quoted": ('a,y\n"1,5",2\n', {}, "as commas separate the cells; write it with a decimal point"),
    "a point": (
        "a;y\n1,5;2.5\n",
        {"decimal": ","},
        "line 2, column 'y': '2.5' has a decimal point, but the decimal mark is ','",
    ),
    "both commas": (
        "a,y\n1,2\n",
        {"delimiter": ",", "decimal": ","},
        "delimiter and decimal must differ, got ',' for both",
    ),
    "typo in line 1": (
        "1,2x,3\n4,5,6\n",
        {},
        "line 1 may or may not be a header: '1' is a number and '2x' is not; use",
    ),
    "years among names": ("name,2019,2020\n1,2,3\n", {}, "use header=True (--header) or header=False (--no-header)"),
    "no header": ("1,2x\n4,5\n", {"header": False}, "line 1, column 'c2': '2x' is not a number"),
    "header of numbers only": ("1,2\n", {"header": True}, "has a header but no rows"),
    "no such column": ("height,y\n1,2\n", {"target": "heigth"}, "no column 'heigth'; did you mean 'height'?"),
    "nothing near": ("a,y\n1,2\n", {"target": "price"}, "no column 'price'; the columns are 'a', 'y'"),
    "target a feature": ("a,y\n1,2\n", {"features": ["a", "y"]}, "the target 'y' is among the features"),
    "one column": ("y\n1\n2\n", {}, "a target and at least one feature are needed, got only the target 'y'"),
    "no features": ("a,y\n1,2\n", {"features": []}, "at least one feature"),
    "feature twice": ("a,y\n1,2\n", {"features": ["a", "a"]}, "the feature 'a' is named twice"),
    "features numbers": ("a,y\n1,2\n", {"features": [0]}, "a column must be given by its name, got 0"),
    "twice": ("a,a,y\n1,2,3\n", {}, "two columns are called 'a'; rename one"),
    "no name twice": ("c2,,y\n1,2,3\n", {}, "two columns are called 'c2'"),
    "open quote": (
        'a,y\n1,2\n1,"2\n3,4\n',
        {},
        "is not a CSV table: an open quote in the row from line 3",
    ),
    "open quote in line 3": ('\n\n"a,y\n1,2\n', {}, "an open quote in the row from line 3; close it"),
    "odd quote": ('a,y\n1,"2"3\n', {}, "is not a CSV table: ',' expected after '\"' (line 2); check its quotes"),
    "huge cell": ('a,y\n1,"' + "2" * 200_000, {}, "line 2 has a cell of more than 131,072 characters"),
}
BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "target a number": ({"target": 0}, "target must be a name, got 0"),
    "features text": ({"features": "a"}, "features must be a list of names, got 'a'"),
    "header a word": ({"header": "no"}, "header must be True or False, got 'no'"),
    "decimal": ({"decimal": "·"}, "decimal must be '.' or ',', got '·'"),
    "long delimiter": (
        {"delimiter": "::"},
        "delimiter must be one character, such as ',', ';', '\\t' or ' ' (blanks), got",
    ),
    "empty delimiter": ({"delimiter": ""}, "delimiter must be one character"),
    "digit delimiter": ({"delimiter": "1"}, "delimiter must be one character"),
    "number delimiter": ({"delimiter": 1}, "delimiter must be one character"),
}
TEN = np.arange(10.0).reshape(5, 2)
HUGE = npy(TEN).replace(b"(5, 2), }" + b" " * 14, b"(500000000000, 2), }   ")
BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "no magic": ("t.npy", b"a,y\n1,2\n", "is not a readable NPY file: the magic string is not correct"),
    "empty NPY": ("t.npy", b"", "is not a readable NPY file: EOF"),
    "NPY cut in its header": ("t.npy", npy(TEN)[:50], "is not a readable NPY file: EOF"),
    "NPY cut": ("t.npy", npy(TEN)[:-9], "is truncated: its header announces 80 bytes of data, got 71"),
    "NPY of another size": ("t.npy", HUGE, "is truncated: its header announces 8,000,000,000,000 bytes"),
    "NPY of objects": (
        "t.npy",
        npy(np.array([[object]]), allow_pickle=True),
        "contains Python objects (a pickle), which",
    ),
    "pickle": ("t.npy", pickle.dumps([1, 2]), "contains Python objects (a pickle), which are never loaded; save it as"),
    "NPY of one dimension": ("t.npy", npy(np.ones(3)), "an array must have shape (rows, columns), with the target"),
    "NPY of three": (
        "t.npy",
        npy(np.ones((2, 2, 2))),
        "an array must have shape (rows, columns), with the target last, got",
    ),
    "NPY of complex": ("t.npy", npy(TEN + 0j), "column 'c2' holds no numbers (row 0 (from 0): '(1+0j)')"),
    "NPY of text": ("t.npy", npy(TEN.astype(str)), "column 'c2' holds no numbers (row 0 (from 0): '1.0')"),
    "NPY with NaN": ("t.npy", npy(np.where(TEN == 7, np.nan, TEN)), "the first in row 3 (from 0), column 'c2'"),
    "NPY without rows": ("t.npy", npy(TEN[:0]), "X must have at least one row and one feature, got shape (0, 1)"),
    "NPY without values": ("t.npy", npy(np.zeros(0, [("a", "U3"), ("y", "f8")])), "'a' holds no numbers (no values at"),
    "nested fields": ("t.npy", npy(np.zeros(2, [("a", "f8", 2), ("y", "f8")])), "fields of a structured array must be"),
    "empty NPZ": ("t.npz", b"", "cannot be read: File is not a zip file"),
    "NPZ cut": ("t.npz", npz(X=TEN, y=TEN[:, 0])[:-30], "cannot be read: File is not a zip file"),
    "NPZ of others": (
        "t.npz",
        npz(a=TEN, b=TEN),
        "must contain X and y (and optionally names), or one array, got 'a', 'b'; save",
    ),
    "NPZ of X and more": ("t.npz", npz(X=TEN, y=TEN[0], z=TEN), "or one array, got 'X', 'y', 'z'"),
    "NPZ of objects": ("t.npz", npz(X=np.array([[object]]), y=TEN[:1, 0]), "contains Python objects (a pickle), which"),
    "NPZ shapes": ("t.npz", npz(X=TEN, y=TEN[:2, 0]), "X must have shape (rows, features) and y (rows,), got (5, 2)"),
    "NPZ names": ("t.npz", npz(X=TEN, y=TEN[:, 0], names=["a"]), "names must be 2 strings, one per feature, got <U1"),
    "empty Parquet": ("t.parquet", b"", "is not a complete Parquet file, which begins and ends with PAR1"),
    "Parquet cut": ("t.pq", parquet(a=[1], y=[2])[:-9], "is not a complete Parquet file"),
    "Parquet mended": ("t.pq", parquet(a=[1], y=[2])[:-90] + b"PAR1", "cannot be read: "),
    "Parquet with null": ("t.pq", parquet(a=[1, None], y=[2, 3]), "the first in row 1 (from 0), column 'a'"),
    "Parquet of text": ("t.pq", parquet(a=["x"], y=[2]), "column 'a' holds no numbers (row 0 (from 0): 'x')"),
    "empty gzip": ("t.csv.gz", b"", "is empty; at least one row of numbers is needed"),
    "no gzip": ("t.csv.gz", b"a,y\n1,2\n", "is a damaged gzip file (not a gzipped file (b'a,')); compress it again"),
    "gzip cut": ("t.csv.gz", gzip.compress(b"a,y\n1,2\n")[:-9], "is a damaged gzip file (compressed file ended"),
    "NPY in gzip": ("t.csv.gz", gzip.compress(npy(TEN)), "is not text but looks like NPY"),
    "gzip of NPY": ("t.npy.gz", gzip.compress(npy(TEN)), "the extension '.npy.gz' is not supported; supported are"),
    "spreadsheet": ("t.xlsx", b"PK\x03\x04", "the extension '.xlsx' is that of a workbook; save the sheet as CSV"),
    "rubbish": ("t.csv", bytes(range(128, 256)), "is not UTF-8 text (line 1, byte 0x80)"),
}


def refused(message: str, source: Any, **options: Any) -> str:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_text(case: str, way: str, tmp_path: Path) -> None:
    content, options, message = BAD_TEXT[case]
    path = write(tmp_path, content)
    said = refused(message, path, **options)
    assert said.startswith(f"{path}: ") or case == "both commas"


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments(case: str, tmp_path: Path) -> None:
    options, message = BAD_ARGUMENTS[case]
    refused(message, write(tmp_path, "a,y\n1,2\n"), **options)


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(case: str, tmp_path: Path) -> None:
    name, content, message = BAD_FILES[case]
    path = write(tmp_path, content, name)
    assert refused(message, path).startswith(f"{path}: ")


def test_the_bad_inputs_are_many() -> None:
    assert len(BAD_TEXT) + len(BAD_ARGUMENTS) + len(BAD_FILES) >= 60


def test_the_refusal_is_the_same_from_the_command_line(tmp_path: Path) -> None:
    date, cut = BAD_TEXT["date"], BAD_FILES["NPY cut"]
    comma = BAD_TEXT["decimal comma in line 1"]
    for name, content, message in (("t.csv", *date[::2]), cut, ("t.csv", *comma[::2])):
        said = refused(message, write(tmp_path, content, name))
        shown = command("fit", str(tmp_path / name))
        assert (shown.returncode, shown.stdout, shown.stderr) == (2, b"", f"gdbackends: {said}\n".encode())


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    full = [sys.executable, "-m", "gdbackends", *arguments]
    return subprocess.run(full, capture_output=True, timeout=60, check=False, **options)


def test_a_damaged_parquet_file_is_one_line_too(tmp_path: Path) -> None:
    seed = bytearray(parquet(a=[1.0, 2.0] * 50, y=[1.0, 2.5] * 50))
    seed[62] ^= 0xFF  # on which polars 2.1 panics, and says so on stderr
    shown = command("fit", str(write(tmp_path, bytes(seed), "t.pq")))
    assert (shown.returncode, shown.stdout, shown.stderr.count(b"\n")) == (2, b"", 1)
    assert shown.stderr.startswith(f"gdbackends: {tmp_path}/t.pq: ".encode())


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "loaded",)

    array = np.array([[Payload(), 1.0]], object)
    for name, content in (
        ("t.npy", npy(array, allow_pickle=True)),
        ("t.npz", npz(X=array, y=[1.0])),
        ("u.npy", pickle.dumps(array)),
    ):
        refused("contains Python objects (a pickle), which are never loaded", write(tmp_path, content, name))
    assert not (tmp_path / "loaded").exists()


def test_files_that_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("cannot be read: no such file or directory", tmp_path / "none.csv")
    refused("cannot be read: is a directory; give the path of a file", tmp_path)
    refused("cannot be read: embedded null byte", "a\0b.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    refused("is a named pipe, not a regular file; pipe it into standard input and give -", tmp_path / "pipe.csv")
    for device in ("/dev/zero", "/dev/full"):
        refused("is a device, not a regular file", device)
    path = write(tmp_path, "a,y\n1,2\n")

    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:  # permission bits do not bind root
        patch.setattr(Path, "open", denied)
        refused("cannot be read: permission denied", path)
    with monkeypatch.context() as patch:
        patch.setattr(text, "_fast", lambda *_: np.empty(1 << 50))
        refused("does not fit in memory", path)


@pytest.mark.parametrize("source", [5, None, np.eye(2), [[1, 2]]])
def test_sources_that_are_none(source: Any) -> None:
    refused("source must be a path, '-', 'women', 'diabetes', a binary file or a data frame, got", source)


def test_streams(tmp_path: Path) -> None:
    table = np.c_[np.arange(3.0), np.ones(3), [5, 6, 8]]
    contents = [b"1,2,3\n4,5,6\n", gzip.compress(b"1,2,3\n4,5,6\n"), npy(table), npz(X=table[:, :2], y=table[:, 2])]
    for content in [*contents, parquet(a=[1, 2], b=[3, 4], y=[1, 1])]:
        data = read(io.BytesIO(content))
        assert data.X.shape[1] == 2
        path = write(tmp_path, content)
        with path.open("rb") as stream:
            shown = command("fit", "-", "--json", stdin=stream)
        assert b'"name": "stdin"' in shown.stdout, shown.stderr
    refused("stream: must be open in binary mode, got str; open it with 'rb'", io.StringIO("1,2"))


def test_bundled_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (read("women").name, read("women", target="height").names) == ("women", ("weight",))
    data = read("diabetes")
    assert (data.X.shape, data.target, data.names[:3]) == ((442, 10), "progression", ("age", "sex", "bmi"))
    assert data.X[0, 0] == 59
    refused(
        "women: delimiter, decimal, thousands, header and encoding apply to CSV only; leave them out",
        "women",
        header=True,
    )
    write(tmp_path, "1,2\n3,4\n", "women")
    monkeypatch.chdir(tmp_path)
    assert read("./women").names == ("c1",)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingPackageError) as caught:
        read("diabetes")
    line = "'diabetes' needs the package scikit-learn, which is not installed; run: pip install 'gdbackends[sklearn]'"
    assert str(caught.value) == line


def test_npy_and_npz(tmp_path: Path) -> None:
    data = read(write(tmp_path, npy(np.asfortranarray(TEN)), "t.npy"))
    assert (data.names, data.target, data.y.tolist()) == (("c1",), "c2", [1, 3, 5, 7, 9])
    structured = np.array([(True, 3), (False, 4)], [("a", "?"), ("é", "u2")])  # a name beyond latin 1 is format 3
    structured.dtype.names = ("a", "\u4e2d")
    with pytest.warns(UserWarning, match="format 3"):
        content = npy(structured)
    data = read(write(tmp_path, content, "t.npy"))
    assert (data.names, data.target, data.X.tolist()) == (("a",), "\u4e2d", [[1], [0]])
    data = read(write(tmp_path, npz(X=TEN, y=TEN[:, 0], names=["p", "q"]), "t.npz"))
    assert (data.names, data.target, data.X.tolist()) == (("p", "q"), "y", TEN.tolist())
    assert read(write(tmp_path, npz(table=TEN), "t.npz")).names == ("c1",)


def test_parquet_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, parquet(a=[1, 2], b=[True, False], y=[0.5, 2]), "t.parquet")
    assert read(path).X.tolist() == [[1, 1], [2, 0]]
    monkeypatch.setitem(sys.modules, "polars", None)
    said = refused("run: pip install 'gdbackends[data]'", path)
    assert "Parquet needs the package polars, which is not installed" in said


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_frames(frame: Any) -> None:
    table = frame({"d": ["x", "y"], "a": [1, 2], "b": [True, False], "n": [1.5, None]})
    data = read(table, target="a", features=["b"])
    assert (data.names, data.X.tolist(), data.y.tolist()) == (("b",), [[1], [0]], [1, 2])
    refused("column 'd' holds no numbers (row 0 (from 0): 'x'); use encode=True (--encode) for 0/1", table)
    said = refused("1 missing or non-finite values, the first in row 1 (from 0)", table, features=["a", "b"])
    assert "column 'n'" in said
    refused("X must have at least one row", table[:0] if frame is not pa.table else table.slice(0, 0), features=["a"])
    refused("has no columns", frame({}))


def test_frames_that_are_not() -> None:
    refused("is a lazy frame, which holds no data yet; collect() it first", pl.LazyFrame({"a": [1]}))
    refused("cannot be read as a data frame: Expected unique column names", pd.DataFrame([[1, 2]], columns=["a", "a"]))
    refused("must be a data frame, got Int64Scalar", pa.scalar(1))


def test_an_integer_becomes_the_nearest_float64(way: str, tmp_path: Path) -> None:
    large = 2**53 + 1
    found = read(write(tmp_path, f"a,y\n{large},1\n")).X[0, 0]
    assert found == 2**53
    for frame in (pd.DataFrame, pl.DataFrame, pa.table):
        assert read(frame({"a": [large], "y": [1]})).X[0, 0] == found
        assert read(frame({"a": [large, None, 3], "y": [1, 2, 3]})[:1]).X[0, 0] == found
    assert Dataset([[large]], [1]).X[0, 0] == found


def test_a_large_file_is_read_in_pieces(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_CHUNK", 64)
    table = np.random.default_rng(0).normal(size=(100, 3))
    rows = [",".join(map(repr, row)) for row in table.tolist()]
    for header in ("", "a,b,y\n"):
        data = read(write(tmp_path, header + "\n".join(rows)))
        assert np.array_equal(np.c_[data.X, data.y], table)


finite = st.floats(allow_nan=False, allow_infinity=False)
tables = st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=8)
folder = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@folder
@given(rows=tables)
def test_every_finite_number_comes_back(rows: list[tuple[float, ...]], way: str, tmp_path: Path) -> None:
    table = np.array(rows)
    named = {"a": table[:, 0], "b": table[:, 1], "y": table[:, 2]}
    path = tmp_path / "table.csv"
    columns = {"features": ["a", "b"]}, {"features": ["c1", "c2"]}  # also if one of them counts the rows
    for save in (
        lambda: pd.DataFrame(named).to_csv(path, index=False),
        lambda: pl.DataFrame(named).write_csv(path),
        lambda: np.savetxt(path, table, "%.17g", ","),
        lambda: np.savetxt(path, table, "%.17g"),
        lambda: pd.DataFrame(named).to_csv(path, index=False, sep=";", decimal=","),
    ):
        save()
        data = read(path, decimal="," if ";" in path.read_text() else ".", **columns["a" not in path.read_text()[:1]])
        assert np.c_[data.X, data.y].tobytes() == table.tobytes()


@folder
@given(rows=tables)
def test_every_finite_number_comes_back_from_binary_files(rows: list[tuple[float, ...]], tmp_path: Path) -> None:
    table = np.array(rows)
    named = {"a": table[:, 0], "b": table[:, 1], "y": table[:, 2]}
    pd.DataFrame(named).to_parquet(tmp_path / "pandas.parquet")
    pl.DataFrame(named).write_parquet(tmp_path / "polars.pq")
    np.save(tmp_path / "t.npy", table)
    np.savez(tmp_path / "t.npz", X=table[:, :2], y=table[:, 2])
    for name in ("pandas.parquet", "polars.pq", "t.npy", "t.npz"):
        data = read(tmp_path / name, features=None if ".n" in name else ["a", "b"])
        assert np.c_[data.X, data.y].tobytes() == table.tobytes()


SEEDS = {
    "t.csv": b'a,"b",y\n1,2.5,-3e0\n4,,6\n"7",nan,1_0\n',
    "t.csv.gz": gzip.compress(b"a;y\n1,5;2\n", mtime=0),
    "t.npy": npy(TEN),
    "t.npz": npz(X=TEN, y=TEN[:, 0]),
}


def outcome(path: Path, **options: Any) -> tuple[Any, ...]:
    try:
        data = read(path, **options)
    except InputError as error:
        assert "\n" not in str(error)
        return (str(error),)
    return data.X.tobytes(), data.y.tobytes(), data.names, data.target


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    junk=st.binary(max_size=200) | st.text("0123456789.,;-+eEnaif_x\"'\r\n\t \x1f\u0664", max_size=60).map(str.encode)
)
def test_any_bytes_are_read_or_refused_alike(junk: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, junk)
    outcomes = []
    for each in WAYS:
        with pytest.MonkeyPatch.context() as patch:
            take(each, patch)
            outcomes.append(outcome(path))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("name", SEEDS)
@folder
@given(where=st.integers(0, 10_000), patch=st.binary(max_size=4), cut=st.integers(0, 4))
def test_any_mutation_is_read_or_refused(name: str, where: int, patch: bytes, cut: int, tmp_path: Path) -> None:
    seed = SEEDS[name]
    where %= len(seed)
    outcome(write(tmp_path, seed[:where] + patch + seed[where + cut :], name))


def test_a_parquet_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    seed = parquet(a=[1, None], b=[0.5, 2.0], c=["x", "y"])
    for end in range(len(seed)):
        refused("is not a complete Parquet file", write(tmp_path, seed[:end], "t.pq"))


def test_a_zip_archive_of_other_things_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "1,2")
    refused("is not a readable NPY file", path)
