"""Select the target and the features by name, and report names and columns that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from difflib import get_close_matches

from gdbackends.errors import InputError, InputTypeError

_ISO_DATE = re.compile(r"\s*\d{4}-\d{2}-\d{2}")


def choose_columns(
    names: Sequence[str],
    target: str | None,
    features: Sequence[str] | None,
    drop: Sequence[str] = (),
    unnamed: Sequence[str] = (),
) -> tuple[list[str], str]:
    """Return the names of the features and of the target.

    The default target is the last column that is not dropped, and the default features are all others. `unnamed` are
    the columns without a name: those that hold the names or numbers of the rows are used only if `features` lists them.
    """
    if not names:
        raise InputError("has no columns; a target and at least one feature are needed")
    row_names = [] if features is not None else row_name_columns(names, unnamed)
    left = [name for name in names if name not in (*drop, *row_names)]
    target = (left or names)[-1] if target is None else target
    chosen = [name for name in left if name != target] if features is None else list(features)
    check_names(names, [target, *chosen, *drop])
    for name in drop:
        if name == target or name in chosen:
            raise InputError(f"{name!r} is dropped, and is the target or among the features; choose one")
    if target in chosen:
        raise InputError(f"the target {target!r} is among the features; leave it out")
    repeated = _first_repeated(chosen)
    if repeated is not None:
        raise InputError(f"the feature {repeated!r} is named twice; name it once")
    without_name = [name for name in chosen if name in unnamed] if features is None else []
    if without_name:
        others = [name for name in chosen if name not in unnamed]
        raise InputError(
            f"column {names.index(without_name[0]) + 1} has no name; choose the features with "
            f"features={others[:5]} (--features {','.join(others[:5])}), and add {without_name[0]!r} to use that column"
        )
    if not chosen:
        raise InputError(f"a target and at least one feature are needed, got only the target {target!r}")
    return chosen, target


def row_name_columns(names: Sequence[str], unnamed: Sequence[str]) -> list[str]:
    """Return the columns without a name that hold the names of the rows: the first, and an index of pandas."""
    return [name for j, name in enumerate(names) if name in unnamed and (j == 0 or name.startswith("__index_level_"))]


def check_names(names: Sequence[str], requested: Sequence[str]) -> None:
    """Raise InputError if two columns have the same name, or if no column has a requested name."""
    repeated, known = _first_repeated(names), set(names)
    if repeated is not None:
        raise InputError(f"two columns are called {repeated!r}; rename one")
    for name in requested:
        if not isinstance(name, str):
            raise InputTypeError(f"a column must be given by its name, got {name!r}")
        if name not in known:
            by_lower_case = {column.casefold(): column for column in names}
            similar = [by_lower_case[key] for key in get_close_matches(name.casefold(), by_lower_case, 1)]
            listed = ", ".join(map(repr, names[:10]))
            advice = f"did you mean {similar[0]!r}?" if similar else f"the columns are {listed}"
            raise InputError(f"no column {name!r}; {advice}")


def _first_repeated(names: Sequence[str]) -> str | None:
    earlier: set[str] = set()
    return next((name for name in names if name in earlier or earlier.add(name)), None)


def not_numeric(name: str, example: str, numeric: Sequence[str], target: str, value: object = None) -> InputError:
    """Return the error for a column without numbers, with an example of its values and what to do.

    `value` is that example itself, if there is one.
    """
    others = [other for other in numeric if other != target]
    if name == target:
        another = f"choose another with target={others[-1]!r} (--target {others[-1]}), or " if others else ""
        advice = f"{another}encode two labels as 0 and 1 with labels=True (--objective logistic)"
    else:
        more = ["..."] if len(others) > 5 else []
        listed, typed = ", ".join([*map(repr, others[:5]), *more]), ",".join([*others[:5], *more])
        advice = f"choose others with features=[{listed}] (--features {typed})" if others else "no other column does"
        if isinstance(value, (date, str)):
            is_date = isinstance(value, date) or _ISO_DATE.match(value)
            step = "dates=True (--dates) for days" if is_date else "encode=True (--encode) for 0/1 columns of its texts"
            advice = f"use {step}, or {advice}" if others else f"use {step}"
    return InputError(f"column {name!r} holds no numbers ({example}); {advice}")


def label_pair(texts: Sequence[str], target: str) -> tuple[str, str]:
    """Return the two texts, in sorted order, that stand for 0 and 1; raise InputError unless there are two."""
    if len(texts) != 2:
        examples = ", ".join(repr(text[:40]) for text in sorted(texts)[:3])
        raise InputError(
            f"labels=True needs exactly two distinct texts in the target {target!r}, got {examples or 'none'}; "
            f"choose another target"
        )
    zero, one = sorted(texts)
    return zero, one
