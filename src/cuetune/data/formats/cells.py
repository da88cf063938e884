"""What stands in a cell: whether anything does, as text, and a part of an object by its name."""

from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = object()


def is_missing(value: Any) -> bool:
    """Whether nothing stands there: None, NaN, and what pandas and numpy write for it (NA, NaT)."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # an array
        return False


def cell_at(values: Mapping[str, Any], column: str) -> Any:
    """The cell of a column, or a part of an object or list in one ("translation.fr", "answers.text.0"); else ABSENT."""
    if column in values:
        return values[column]
    for place, character in enumerate(column):
        if character == "." and column[:place] in values:
            found = _part(values[column[:place]], column[place + 1 :])
            if found is not ABSENT:
                return found
    return ABSENT


def _part(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return cell_at(value, name)
    if getattr(value, "ndim", 0):
        value = value.tolist()  # numpy's
    if isinstance(value, list | tuple):
        number, _, rest = name.partition(".")
        if number.lstrip("-").isdecimal() and -len(value) <= int(number) < len(value):
            found = value[int(number)]
            return _part(found, rest) if rest else found
    return ABSENT


def text_parts(value: Any, name: str) -> Iterator[str]:
    """The names of the texts inside an object, as `cell_at` takes them."""
    for key, part in value.items() if isinstance(value, Mapping) else ():
        if isinstance(part, str):
            yield f"{name}.{key}"
        else:
            yield from text_parts(part, f"{name}.{key}")


def format_value(value: Any) -> str:
    """A cell as text; 1.0 reads as '1' so that integer labels survive readers that turn them into floats."""
    is_whole = getattr(value, "is_integer", None)  # of floats, numpy's too
    if not isinstance(value, bool | int) and is_whole is not None and is_whole():
        return str(int(value))
    return str(value)
