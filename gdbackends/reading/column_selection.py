"""Select the target and the features by name, and report names and columns that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from gdbackends.errors import InputError, InputTypeError


def choose_columns(
    names: Sequence[str], target: str | None, features: Sequence[str] | None, unnamed: Sequence[str] = ()
) -> tuple[list[str], str]:
    """Return the names of the features and of the target.

    The default target is the last column, and the default features are all other columns. `unnamed` are the columns
    without a name in the header, which often hold row numbers: they are used only if `features` lists them.
    """
    if not names:
        raise InputError("has no columns; a target and at least one feature are needed")
    target = names[-1] if target is None else target
    chosen = [name for name in names if name != target] if features is None else list(features)
    check_names(names, [target, *chosen])
    if target in chosen:
        raise InputError(f"the target {target!r} is among the features; leave it out")
    repeated = _first_repeated(chosen)
    if repeated is not None:
        raise InputError(f"the feature {repeated!r} is named twice; name it once")
    without_name = [name for name in chosen if name in unnamed] if features is None else []
    if without_name:
        others = [name for name in chosen if name not in unnamed]
        raise InputError(
            f"column {names.index(without_name[0]) + 1} has no name and may hold row numbers; choose the features with "
            f"features={others[:5]} (--features {','.join(others[:5])}), and add {without_name[0]!r} to use that column"
        )
    if not chosen:
        raise InputError(f"a target and at least one feature are needed, got only the target {target!r}")
    return chosen, target


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


def not_numeric(name: str, example: str, numeric: Sequence[str], target: str) -> InputError:
    """Return the error for a column without numbers, with an example of its values and other columns to choose."""
    others = [other for other in numeric if other != target]
    if name == target:
        another = f"choose another with target={others[-1]!r} (--target {others[-1]}), or " if others else ""
        advice = f"{another}encode two labels as 0 and 1 with labels=True (--objective logistic)"
    elif not others:
        advice = "no other column holds numbers"
    else:
        more = ["..."] if len(others) > 5 else []
        listed, typed = ", ".join([*map(repr, others[:5]), *more]), ",".join([*others[:5], *more])
        advice = f"choose others with features=[{listed}] (--features {typed})"
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
