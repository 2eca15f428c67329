"""What was made of columns that are not plain numbers, so that the same is made of another table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gdbackends.errors import InputError


@dataclass(frozen=True)
class Preparation:
    """How the features of a table were made of its columns.

    Attributes:
        categories: the texts of each encoded column, sorted; each but the first has a feature that is 1 where the
            column holds it and 0 elsewhere.
        dates: the columns of dates, which became days since 1970-01-01.
        means: the numbers that replaced the missing values of features.
    """

    categories: Mapping[str, tuple[str, ...]]
    dates: tuple[str, ...]
    means: Mapping[str, float]

    def __bool__(self) -> bool:
        """Whether anything was done."""
        return bool(self.categories or self.dates or self.means)

    def columns(self, features: list[str]) -> list[str]:
        """Return the columns that these features are made of, in order and each once."""
        made = {encoded(column, text): column for column, texts in self.categories.items() for text in texts}
        return list(dict.fromkeys(made.get(name, name) for name in features))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        categories = {column: list(texts) for column, texts in self.categories.items()}
        return {"categories": categories, "dates": list(self.dates), "means": dict(self.means)}

    @classmethod
    def from_dict(cls, document: Any) -> Preparation:
        """Return the preparation from a document of `to_dict`, or nothing for None.

        Raises:
            InputError: the document is not one.
        """
        if document is None:
            return NOTHING
        try:
            return cls(
                {str(column): tuple(map(str, texts)) for column, texts in document["categories"].items()},
                tuple(map(str, document["dates"])),
                {str(column): float(mean) for column, mean in document["means"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"has a damaged preparation ({type(error).__name__}: {error}); save the fit again"
            ) from None


NOTHING = Preparation({}, (), {})


def encoded(column: str, text: str) -> str:
    """Return the name of the feature that is 1 where the column holds the text."""
    return f"{column}={text}"
