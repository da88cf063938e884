"""Rows of data as they are read, and as examples of a task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cuetune.data.formats.cells import ABSENT, cell_at, is_missing
from cuetune.data.formats.column_names import looks_like_data
from cuetune.data.row_error import Kind, RowError


@dataclass(frozen=True)
class Row:
    """One raw row of data and where it stands, for error messages: `where` reads like "reviews.csv, row 17".

    note: what the reader of the file has to say of it, the same words for all rows of one kind.
    fault: why its cells cannot be told apart; `values` are then a guess, which no task uses.
    """

    where: str
    values: Mapping[str, Any]
    note: str = ""
    fault: str = ""


def clear_rows(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows whose cells can be told apart. Raises RowError where none can."""
    found = [row for row in rows if not row.fault]
    if rows and not found:
        raise unclear(rows[0])
    return found


def unclear(row: Row) -> RowError:
    """What is wrong with a row whose cells cannot be told apart."""
    return RowError("cells", f"{row.where}: {row.fault}", "put quotation marks around texts that hold the delimiter.")


@dataclass(frozen=True)
class Example:
    """One row under a task: template fields, and what is right, None when it is to be predicted.

    A text field is a `str`. Content that is no text is a `Path`, bytes, or what it becomes when it is decoded.
    label: the label or target text; of several labels a tuple of them in the task's order; a number is a float.
    """

    where: str
    fields: Mapping[str, Any]
    label: Any


def target_cell(row: Row, column: str) -> Any:
    """The cell of a column that says what is right. Raises RowError naming row and column where there is nothing."""
    return required_cell(row, column, "unlabelled", "label")


def required_cell(row: Row, column: str, kind: Kind, what: str) -> Any:
    """The value of a column. NaN, None and non-finite numbers are faults, never silently 'nan'."""
    value = cell_at(row.values, column)
    if value is ABSENT:
        found = ", ".join(map(repr, row.values)) or "none"
        headless = looks_like_data(list(row.values), [list(map(str, row.values.values()))])
        hint = " These look like data: for a table without a header row pass --column-names." if headless else ""
        raise RowError(
            "column",
            f"{row.where}: no column {column!r} (found: {found})",
            f"name the right one with --columns {column}=NAME.{hint}",
        )
    if is_missing(value):
        raise RowError(
            kind, f"{row.where}, column {column!r}: no {what}: an empty value (NaN)", "fill or remove the row."
        )
    return value
