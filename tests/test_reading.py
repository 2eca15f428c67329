"""Reading CSV: what is accepted, and each refusal in one line with the place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbackends import read
from gdbackends.errors import InputError


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "a,b,y\n1,2,3\n4,5,6\n",
        "a;b;y\n1;2;3\n4;5;6",
        "a\tb\ty\r\n1\t2\t3\r\n4\t5\t6\r\n",
        '"a","b","y"\n"1","2",3\n 4 , 5,6\n\n',
        "\ufeffa,b,y\n1,2.0,3e0\n+4,5,6\n",
        "\n\na,b,y\n\n1,2,3\n4,5,6\n",
    ],
)
def test_dialects(text: str, tmp_path: Path) -> None:
    data = read(write(tmp_path, text))
    assert (data.names, data.target, data.name) == (("a", "b"), "y", "table")
    assert data.X.tolist() == [[1, 2], [4, 5]]
    assert data.y.tolist() == [3, 6]


def test_without_a_header(tmp_path: Path) -> None:
    data = read(write(tmp_path, "1,2,3\n4,5,6\n"), target="c1")
    assert (data.names, data.target) == (("c2", "c3"), "c1")
    assert data.y.tolist() == [1, 4]


def test_a_quoted_name_may_hold_anything(tmp_path: Path) -> None:
    data = read(write(tmp_path, '"height, ""in""",y\n1,2\n'))
    assert data.names == ('height, "in"',)


def test_columns_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "name,a,b,y\nx,1,2,3\nz,4,5,6\n")
    data = read(path, target="a", features=["y", "b"])
    assert data.X.tolist() == [[3, 2], [6, 5]]
    assert data.y.tolist() == [1, 4]


BAD = {
    "empty": ("", {}, "is empty"),
    "blank": ("\n \n", {}, "is empty"),
    "header only": ("a,y\n", {}, "has a header and no rows"),
    "not text": (b"\xff\xfe\x00a", {}, r"is not text in UTF-8 \(byte 0\)"),
    "zero byte": (b"a,y\n1,\x002\n", {}, "holds a zero byte"),
    "ragged": ("a,y\n1,2\n3\n", {}, "line 3 has 1 fields where the first has 2"),
    "too many": ("a,y\n1,2\n3,4,5\n", {}, "line 3 has 3 fields where the first has 2"),
    "word": ("a,y\n1,2\nred,4\n", {}, "line 3, column 'a': 'red' is not a number"),
    "underscore": ("a,y\n1,2\n1_000,4\n", {}, "'1_000' is not a number"),
    "missing": ("a,y\n1,2\n,4\nNA,nan\n", {}, "3 missing or non-finite values, the first in line 3, column 'a': ''"),
    "infinite": ("a,y\n1,2\ninf,4\n", {}, "1 missing or non-finite values, the first in line 3, column 'a': 'inf'"),
    "no such column": ("height,y\n1,2\n", {"target": "heigth"}, "no column 'heigth'; did you mean 'height'?"),
    "nothing near": ("a,y\n1,2\n", {"target": "price"}, "no column 'price'; the columns are 'a', 'y'"),
    "target a feature": ("a,y\n1,2\n", {"features": ["a", "y"]}, "the target 'y' is among the features"),
    "one column": ("y\n1\n2\n", {}, "a target and at least one feature are needed, got 'y' alone"),
    "no features": ("a,y\n1,2\n", {"features": []}, "at least one feature"),
    "feature twice": ("a,y\n1,2\n", {"features": ["a", "a"]}, "the feature 'a' is named twice"),
    "target a number": ("a,y\n1,2\n", {"target": 0}, "target must be a name, got 0"),
    "features text": ("a,y\n1,2\n", {"features": "a"}, "features must be a list of names, got 'a'"),
    "features numbers": ("a,y\n1,2\n", {"features": [0]}, "a column is chosen by its name, got 0"),
    "twice": ("a,a,y\n1,2,3\n", {}, "two columns are called 'a'"),
    "open quote": ('a,y\n1,"2\n', {}, "is not a CSV table"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case: str, tmp_path: Path) -> None:
    text, arguments, message = BAD[case]
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        read(path, **arguments)
    if not case.startswith(("target a number", "features text")):
        assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: no such file or directory"):
        read(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read: is a directory"):
        read(tmp_path)
    with pytest.raises(InputError, match="cannot be read: embedded null byte"):
        read("a\0b.csv")


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=8))
def test_every_finite_number_comes_back(rows, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = "\n".join([",".join(map(repr, row)) for row in rows])
    data = read(write(tmp_path_factory.mktemp("csv"), text))
    assert np.array_equal(np.c_[data.X, data.y], np.array(rows))


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(junk: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        read(write(tmp_path_factory.mktemp("csv"), junk))
    except InputError as error:
        assert "\n" not in str(error)
