"""Labels as places in one cell: [0, 1, 0, 1], or {"toxic": true, "threat": false}."""

from collections.abc import Mapping, Sequence
from typing import Any

from cuetune.data.labels.cells import is_yes_or_no, listed
from cuetune.errors import CuetuneError


def places_of_yes_and_no(cells: Sequence[Any]) -> tuple[str, ...]:
    """The places that say yes or no in every cell of a column; empty where cells are no such lists or objects.

    Lists of one length in which 0 or 1 comes twice are no sets of names. Raises CuetuneError for texts that spell such
    lists out, and for objects that hold something else.
    """
    if not cells:
        return ()
    if any(isinstance(cell, Mapping) for cell in cells):
        return _keys(cells)
    lists = [listed(cell) for cell in cells]
    widths = {len(each) for each in lists if each is not None}
    if None in lists or len(widths) != 1 or not all(name in ("0", "1") for each in lists for name in each or ()):
        return ()
    if all(len(set(each or ())) == len(each or ()) for each in lists):
        return ()
    if any(isinstance(cell, str) for cell in cells):
        raise CuetuneError(
            f"labels are texts such as {cells[0]!r}, a place of 0 or 1 for each label; write a column for each label "
            "and name them with --labels-from."
        )
    return tuple(map(str, range(widths.pop())))


def _keys(cells: Sequence[Any]) -> tuple[str, ...]:
    """The keys of objects that say yes or no for each of them."""
    keys = [str(key) for key in cells[0]] if isinstance(cells[0], Mapping) else []
    for cell in cells:
        whole = isinstance(cell, Mapping) and list(cell) and {*map(str, cell)} == {*keys}
        if not whole or not all(map(is_yes_or_no, cell.values())):
            raise CuetuneError(
                f"labels are objects such as {str(cell)[:60]}, and not all of them say yes or no for the same names; "
                "name a part with --label COLUMN.PART, or several of 0 and 1 with --labels-from."
            )
    return tuple(keys)


def place_names(column: str, places: Sequence[str]) -> tuple[str, ...]:
    """What labels at these places are called where nobody says: their keys; numbers stand behind the column's name."""
    return tuple(f"{column}.{place}" if place.isdecimal() else place for place in places)
