"""What is right for a row, as data says it: several names in one cell, columns of 0 and 1, a number."""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from cuetune.data.formats.cells import ABSENT, cell_at, format_value, is_missing
from cuetune.data.row import Row, target_cell
from cuetune.data.row_error import Kind, RowError

DELIMITERS = ("|", ";", ",")
YES = {"1", "1.0", "true", "t", "yes", "y"}  # 1.0: what pandas makes of 1 beside an empty cell
NO = {"0", "0.0", "false", "f", "no", "n"}
NUMERAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,(?:\d+)")
THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+")


def listed(value: Any) -> list[str] | None:
    """The names of a cell that holds a list, or the text of one; None for any other cell.

    Lists are of JSON, Parquet or numpy; texts as `pandas` and spreadsheets write them: "['a', 'b']", '["a"]'.
    """
    if isinstance(value, str):
        value = _literal(value)
    elif hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1:
        value = value.tolist()
    if not isinstance(value, list | tuple | set | frozenset):
        return None
    items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
    return [format_value(item).strip() for item in items]


def _literal(text: str) -> Any:
    """A list that a text spells out; None for any other text. Nothing is run."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return found if isinstance(found, list) and all(isinstance(each, str | int | float) for each in found) else None
    return None


def divided(text: str, delimiter: str) -> list[str]:
    """The names of a cell, without outer spaces; an empty cell has none."""
    parts = text.split(delimiter) if delimiter else [text]
    return [part.strip() for part in parts if part.strip()]


def names_in(row: Row, column: str, delimiter: str, labels: Sequence[str] = ()) -> list[str]:
    """The labels that stand in a row's cell. A list, or names with a delimiter; an empty cell of a table has none.

    Where no delimiter is known, one is taken that divides the cell into known labels. Raises CuetuneError for a row
    without the column, for a list with empty places, and for null where other rows have lists.
    """
    where, value = f"{row.where}, column {column!r}", cell_at(row.values, column)
    if value is ABSENT:
        return [str(target_cell(row, column))]  # raises for a column that is not there
    if is_missing(value):
        if delimiter:
            return []
        raise RowError("unlabelled", f"{where}: no list of labels (null)", "write [] where a row has no label.")
    names = listed(value)
    if names is not None:
        if not all(names):
            raise RowError("unknown", f"{where}: a list with an empty label", "remove it.")
        return names
    text = format_value(value)
    if delimiter or text.strip() in labels:
        return [text.strip()] if text.strip() in labels else divided(text, delimiter)
    for each in DELIMITERS:
        if each in text and set(divided(text, each)) <= set(labels):
            return divided(text, each)
    return divided(text, "")


def joined(names: Sequence[str], labels: Sequence[str], delimiter: str = "") -> str:
    """Names in one cell, as `names_in` reads them; a list in JSON where every delimiter is part of a label."""
    free = [each for each in (delimiter, *DELIMITERS) if each and not any(each in label for label in labels)]
    if not free:
        return json.dumps(list(names), ensure_ascii=False)
    return (free[0] if free[0] == "|" else free[0] + " ").join(names)


def yes_or_no(row: Row, column: str) -> bool:
    """Whether a column of 0 and 1 says yes. Raises CuetuneError for anything else."""
    text = format_value(target_cell(row, column)).strip().lower()
    if text in YES or text in NO:
        return text in YES
    hidden: Kind = "unlabelled" if text in ("", "-1") else "unknown"  # -1: a label that is kept secret
    short = f"{row.where}, column {column!r}: {text!r} says neither yes nor no"
    raise RowError(hidden, short, "expected 0 or 1 for each label.")


def is_yes_or_no(value: Any) -> bool:
    """Whether a cell may stand in a column of 0 and 1."""
    return not is_missing(value) and format_value(value).strip().lower() in YES | NO


def number_in(row: Row, column: str) -> float:
    """The number of a cell. Raises CuetuneError for a cell that holds none."""
    value = target_cell(row, column)
    found = number(value)
    if found is None:
        short = f"{row.where}, column {column!r}: {str(value)[:40]!r} is no number"
        raise RowError("unlabelled" if not str(value).strip() else "unknown", short, "fill or remove the row.")
    return found


def number(value: Any) -> float | None:
    """A finite number, or what a text like "3.5", "-2e-3" or "3,5" says; None for anything else.

    "1,234" is none: it may be either of two numbers.
    """
    if isinstance(value, str):
        text = value.strip()
        if DECIMAL_COMMA.fullmatch(text) and not THOUSANDS.fullmatch(text):
            text = text.replace(",", ".")
        if not NUMERAL.fullmatch(text):
            return None
        value = text
    elif isinstance(value, bool) or not hasattr(value, "__float__"):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) < float("inf") else None
