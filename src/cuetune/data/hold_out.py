"""What users say about a split, by columns of their rows: which rows are held out, and which stay on one side."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cuetune.data.row import Row
from cuetune.data.task import format_value
from cuetune.errors import CuetuneError

# column -> the value, or values, of the rows that are held out.
HoldOut = Mapping[str, Any]
HELD_OUT, GROUP_BY = "--hold-out", "--group-by"


def hold_out_rows(rows: Sequence[Row], hold_out: HoldOut) -> tuple[list[Row], list[Row]]:
    """Rows to learn from, and rows that have one of the values in one of the columns, which are held out.

    Raises CuetuneError for a column that a row lacks, a value that no row has, and where nothing is left to learn from.
    """
    aside: set[int] = set()
    for column, wanted in listed(hold_out).items():
        cells = [cell(row, column, _error, HELD_OUT) for row in rows]
        for value in sorted(set(wanted).difference(cells)):
            there = sorted(set(cells))
            more = ", …" if len(there) > 8 else ""
            raise CuetuneError(
                f"{HELD_OUT}: no row has {value!r} in {column!r}; there are {', '.join(there[:8])}{more}."
            )
        aside.update(number for number, each in enumerate(cells) if each in wanted)
    if len(aside) == len(rows):
        raise CuetuneError(f"{HELD_OUT}: all rows are held out and none is left to learn from; name fewer values.")
    parts: tuple[list[Row], list[Row]] = ([], [])
    for number, row in enumerate(rows):
        parts[number in aside].append(row)
    return parts


def listed(hold_out: HoldOut) -> dict[str, list[str]]:
    """Column -> the values, as the texts that they are in rows."""
    return {
        column: [format_value(each) for each in (values if isinstance(values, list | tuple | set) else [values])]
        for column, values in hold_out.items()
    }


def cells_together(rows: Sequence[Row], column: str) -> dict[str, str]:
    """Place of a row -> what stands in the column whose equal rows stay on one side of a split.

    Raises CuetuneError for a row without that column, and where all rows are equal in it.
    """
    cells = {row.where: cell(row, column, _error, GROUP_BY) for row in rows}
    if len(set(cells.values())) < 2:
        raise CuetuneError(
            f"{GROUP_BY}: all rows have the same {column!r}, so none can be held out; name another column."
        )
    return cells


def cell(row: Row, column: str, error: Callable[[str, str], CuetuneError], key: str) -> str:
    """What stands in a row's column, as text. key: who asks for it. error: makes the error of a row without it."""
    if column not in row.values:
        raise error(key, f"{key}: {row.where} has no column {column!r}; it has {', '.join(map(repr, row.values))}.")
    return format_value(row.values[column])


def _error(_: str, message: str) -> CuetuneError:
    return CuetuneError(message)
