"""Rows of which no two have the same text."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

Cells = TypeVar("Cells", bound=tuple[str, ...])


def first_of_each(rows: Iterable[Cells]) -> Iterator[Cells]:
    """Rows whose first column is new, letters' case and spaces aside, so that no split has one text on both sides."""
    seen: set[str] = set()
    for row in rows:
        key = " ".join(row[0].lower().split())
        if key not in seen:
            seen.add(key)
            yield row
