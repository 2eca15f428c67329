"""Functions from a Python file of the user."""

from __future__ import annotations

import sys

import pytest

from gdbackends.errors import InputError
from gdbackends.python_files import companion, instance, lookup, run_file, split_target


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.py:f", ("a.py", "f")),
        ("a.py", ("a.py", "loss")),
        ("/x y/a.py:f,g", ("/x y/a.py", "f,g")),
        ("C:/a.py:f", ("C:/a.py", "f")),
        ("huber:1", None),
        ("a.py:", None),
        ("squared", None),
        ("", None),
    ],
)
def test_a_target_is_a_file_and_a_name(text: str, found: tuple[str, str] | None) -> None:
    assert split_target(text) == found


def test_a_file_is_run_anew_with_its_folder_on_the_path(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "beside.py").write_text("value = 3\n")
    file = tmp_path / "mine.py"
    file.write_text("from beside import value\nclass Model:\n    pass\ndef f(): pass\ndef f_grad(): pass\n")
    module = run_file(str(file))
    assert lookup("mine.py", module, "value") == 3
    assert type(instance("mine.py", module, "Model")).__name__ == "Model"
    assert companion(module, "f", ("gradient", "grad")) is module.f_grad
    assert companion(module, "value", ("gradient",)) is None
    run_file(str(file))
    assert sys.path.count(str(tmp_path)) == 1
    file.write_text("value = 4\n")
    assert lookup("mine.py", run_file(str(file)), "value") == 4


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("1 / 0\n", "cannot be run: ZeroDivisionError: division by zero, line 1"),
        ("x = 1\nraise SystemExit\n", "cannot be run: SystemExit, line 2"),
        ("def broken(:\n", "cannot be run: SyntaxError"),
        (None, "cannot be read: no such file"),
    ],
)
def test_a_file_that_cannot_be_run_is_one_line(tmp_path, content: str | None, text: str) -> None:
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError) as error:
        run_file(str(file))
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_file_does_not_define_is_named(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Model:\n    def __init__(self, a): pass\n")
    module = run_file(str(file))
    with pytest.raises(InputError, match=r"mine.py: no name 'f'; it defines Model"):
        lookup("mine.py", module, "f")
    with pytest.raises(InputError, match=r"Model\(\) fails: TypeError.*; define an object of the class"):
        instance("mine.py", module, "Model")
