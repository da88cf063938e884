"""What users say about a split, by columns of their rows: which rows are held out, and which stay on one side."""

from collections.abc import Callable, Mapping, Sequence

from cuetune.errors import CuetuneError
from cuetune.tasks.task import Row, format_value

# column -> the value, or values, of the rows that are held out.
HoldOut = Mapping[str, str | Sequence[str]]


def hold_out_rows(rows: Sequence[Row], hold_out: HoldOut) -> tuple[list[Row], list[Row]]:
    """Rows to learn from, and rows that have one of the values in one of the columns, which are held out.

    Raises CuetuneError for a column that a row lacks, a value that no row has, and where nothing is left to learn from.
    """
    aside: set[int] = set()
    for column, values in hold_out.items():
        cells = [cell(row, column, _error, "hold-out") for row in rows]
        wanted = {values} if isinstance(values, str) else set(values)
        for value in sorted(wanted.difference(cells)):
            there = sorted(set(cells))
            more = ", …" if len(there) > 8 else ""
            raise _error("hold-out", f"no row has {value!r} in {column!r}; there are {', '.join(there[:8])}{more}.")
        aside.update(number for number, each in enumerate(cells) if each in wanted)
    if len(aside) == len(rows):
        raise _error("hold-out", "all rows are held out and none is left to learn from; name fewer values.")
    parts: tuple[list[Row], list[Row]] = ([], [])
    for number, row in enumerate(rows):
        parts[number in aside].append(row)
    return parts


def cells_together(rows: Sequence[Row], column: str) -> dict[str, str]:
    """Place of a row -> what stands in the column whose equal rows stay on one side of a split.

    Raises CuetuneError for a row without that column, and where all rows are equal in it.
    """
    cells = {row.where: cell(row, column, _error, "together") for row in rows}
    if len(set(cells.values())) < 2:
        raise _error("together", f"all rows have the same {column!r}, so none can be held out; name another column.")
    return cells


def cell(row: Row, column: str, error: Callable[[str, str], CuetuneError], key: str) -> str:
    """What stands in a row's column, as text. error: makes the error of a row without it from key and message."""
    if column not in row.values:
        raise error(key, f"{row.where} has no column {column!r}; it has {', '.join(map(repr, row.values))}.")
    return format_value(row.values[column])


def _error(option: str, message: str) -> CuetuneError:
    return CuetuneError(f"--{option}: {message}")
