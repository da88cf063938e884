"""Numbers that stand for class names, as `datasets` keeps labels: names, and None for a label that is hidden."""

from collections.abc import Callable, Mapping
from typing import Any

# Column -> what turns its cells into names.
Named = Mapping[str, Callable[[Any], Any]]


def named_columns(features: Mapping[str, Any] | None) -> dict[str, Callable[[Any], Any]]:
    """The columns of a data set of `datasets` that hold numbers of classes, alone or in lists."""
    found = {}
    for column, kind in (features or {}).items():
        inner = getattr(kind, "feature", kind)  # of a list
        inner = inner[0] if isinstance(inner, list) and inner else inner
        if names := getattr(inner, "names", None):
            found[column] = _naming(list(names))
    return found


def with_names(values: Mapping[str, Any], named: Named) -> Mapping[str, Any]:
    """A row with names for the numbers in these columns."""
    return {**values, **{column: name(values[column]) for column, name in named.items() if column in values}}


def _naming(names: list[str]) -> Callable[[Any], Any]:
    def name(cell: Any) -> Any:
        if isinstance(cell, list | tuple):
            return [name(each) for each in cell]
        number = _number(cell)
        if number is None:
            return cell
        return names[number] if 0 <= number < len(names) else None  # -1: hidden, as in many test splits

    return name


def _number(cell: Any) -> int | None:
    """The number that a cell holds: as such, or as the text or the float that other readers made of it."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, str) and cell.lstrip("-").isdecimal():
        return int(cell)
    return cell if isinstance(cell, int) and not isinstance(cell, bool) else None
