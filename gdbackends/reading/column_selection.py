"""Choosing the target and the features among named columns, and what is said when a name or a column will not do."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from gdbackends.errors import InputError, InputTypeError


def choose(
    names: Sequence[str], target: str | None, features: Sequence[str] | None, unnamed: Sequence[str] = ()
) -> tuple[list[str], str]:
    """Return the features' names and the target's: by default the last column from all others.

    Columns that the header leaves unnamed, as row numbers often are, must be asked for.
    """
    if not names:
        raise InputError("has no columns; a target and at least one feature are needed")
    target = names[-1] if target is None else target
    chosen = [name for name in names if name != target] if features is None else list(features)
    check_known(names, [target, *chosen])
    if target in chosen:
        raise InputError(f"the target {target!r} is among the features; leave it out")
    repeated = _repeated(chosen)
    if repeated is not None:
        raise InputError(f"the feature {repeated!r} is named twice; name it once")
    nameless = [name for name in chosen if name in unnamed] if features is None else []
    if nameless:
        others = [name for name in chosen if name not in unnamed]
        raise InputError(
            f"column {names.index(nameless[0]) + 1} has no name, as row numbers have none; choose the features with "
            f"features={others[:5]} (--features {','.join(others[:5])}), it being {nameless[0]!r}"
        )
    if not chosen:
        raise InputError(f"a target and at least one feature are needed, got {', '.join(map(repr, names))} alone")
    return chosen, target


def check_known(names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse two columns of one name, and a name that no column has."""
    repeated, known = _repeated(names), set(names)
    if repeated is not None:
        raise InputError(f"two columns are called {repeated!r}; rename one")
    for name in wanted:
        if not isinstance(name, str):
            raise InputTypeError(f"a column is chosen by its name, got {name!r}")
        if name not in known:
            raise _unknown(names, name)


def _repeated(names: Sequence[str]) -> str | None:
    """Return a name that comes twice."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)


def _unknown(names: Sequence[str], name: str) -> InputError:
    """Return the refusal of a name that no column has."""
    folded = {known.casefold(): known for known in names}
    near = [folded[close] for close in get_close_matches(name.casefold(), folded, 1)]
    advice = f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(map(repr, names[:10]))}"
    return InputError(f"no column {name!r}; {advice}")


def no_numbers(name: str, seen: str, numeric: Sequence[str], target: str) -> InputError:
    """Return the refusal of a column without numbers: what was seen in it, and which columns would do."""
    others = [other for other in numeric if other != target]
    if name == target:
        another = f"choose another with target={others[-1]!r} (--target {others[-1]}), or " if others else ""
        advice = f"{another}take two labels as 0 and 1 with labels=True (--objective logistic)"
    elif not others:
        advice = "no other column holds numbers"
    else:
        more = len(others) > 5
        listed = ", ".join([*map(repr, others[:5]), *(["..."] if more else [])])
        typed = ",".join([*others[:5], *(["..."] if more else [])])
        advice = f"choose others with features=[{listed}] (--features {typed})"
    return InputError(f"column {name!r} holds no numbers ({seen}); {advice}")


def label_codes(texts: Sequence[str], target: str) -> tuple[str, str]:
    """Return the two labels of a target in order; `texts` are its distinct values."""
    if len(texts) != 2:
        shown = ", ".join(repr(text[:40]) for text in sorted(texts)[:3])
        raise InputError(
            f"labels=True needs exactly two distinct texts in the target {target!r}, got "
            f"{f'only {shown}' if len(texts) == 1 else f'more: {shown}'}; choose another target"
        )
    no, yes = sorted(texts)
    return no, yes
