"""Names of the columns of a table, each of them once, whatever its header holds."""

import re
from collections import Counter
from collections.abc import Sequence

NUMBERED = re.compile(r"column \d+")
# Columns that hold the number of a row, as tables get them from pandas; nobody means them.
INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__|index")
MANY_WORDS = 4  # a name has fewer


def column_names(header: Sequence[str]) -> list[str]:
    """Names as they are; a column without one is "column 3", and those of the same name are "note (column 3)", ….

    So no column is lost, and none of several is meant by a name that all of them have.
    """
    names = [name.strip() for name in header]
    counts = Counter(names)
    return [_name(name, number, counts[name]) for number, name in enumerate(names, start=1)]


def _name(name: str, number: int, times: int) -> str:
    if not name:
        return f"column {number}"
    return name if times == 1 else f"{name} (column {number})"


def is_nameless(name: str) -> bool:
    """Whether the header had no name for a column."""
    return NUMBERED.fullmatch(name) is not None


def may_be_meant(name: str) -> bool:
    """Whether a column can be the one that somebody means without naming it: not a nameless one, not an index."""
    return not is_nameless(name) and INDEX.fullmatch(name) is None


def looks_like_data(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a header seems to be the first row of a file without one: its cells recur, or are sentences or numbers.

    rows: cells of some of the rows below it.
    """
    recur = any(name == cell for cells in rows for name, cell in zip(names, cells, strict=False))
    return recur or any(len(name.split()) >= MANY_WORDS or _is_number(name) for name in names)


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
