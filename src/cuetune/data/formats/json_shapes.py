"""Whole JSON documents that hold a table: the shapes that pandas and others write, as rows."""

from collections.abc import Mapping, Sequence
from typing import Any

Values = Mapping[str, Any]


def rows_in(document: Any) -> Sequence[Any] | None:
    """The rows that a document holds, None where it is no table; a row that is no object is left as it is.

    A list of objects; {"data": [objects], …}; pandas' "split" ({"columns": …, "data": …}), "columns"
    ({"text": {"0": …}, …}), "index" ({"0": {"text": …}, …}) and "list" ({"text": […], …}).
    """
    if isinstance(document, list):
        return document
    if not isinstance(document, Mapping):
        return None
    for shape in (_split, _named_list, _by_column, _by_row, _lists):
        rows = shape(document)
        if rows is not None:
            return rows
    return None


def _split(document: Values) -> Sequence[Values] | None:
    columns, data = document.get("columns"), document.get("data")
    if not isinstance(columns, list) or not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        return None
    return [dict(zip(map(str, columns), row, strict=False)) for row in data]


def _named_list(document: Values) -> Sequence[Any] | None:
    """The one list of objects beside whatever is said of it."""
    found = [each for each in document.values() if isinstance(each, list) and each and _all(each, Mapping)]
    others = [each for each in document.values() if isinstance(each, list) and each not in found]
    return found[0] if len(found) == 1 and not others else None


def _by_column(document: Values) -> Sequence[Values] | None:
    """Column -> number of the row -> cell."""
    if not _mappings(document) or not all(key.isdigit() for column in document.values() for key in column):
        return None
    numbers = dict.fromkeys(number for column in document.values() for number in column)
    return [{name: column.get(number) for name, column in document.items()} for number in numbers]


def _by_row(document: Values) -> Sequence[Values] | None:
    """Number or name of the row -> column -> cell, each row with the same columns."""
    if not _mappings(document) or len({tuple(row) for row in document.values()}) != 1:
        return None
    return list(document.values()) if len(document) > 1 or next(iter(document)).isdigit() else None


def _lists(document: Values) -> Sequence[Values] | None:
    """Column -> cells of all rows."""
    columns = list(document.values())
    if not columns or not _all(columns, list) or len({len(column) for column in columns}) != 1 or len(columns) < 2:
        return None
    return [dict(zip(document, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _mappings(document: Values) -> bool:
    return bool(document) and _all(document.values(), Mapping) and all(document.values())


def _all(values: Any, kind: type) -> bool:
    return all(isinstance(each, kind) for each in values)
