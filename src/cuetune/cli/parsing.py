"""How the texts of options become lists, tables and settings."""

import csv
from typing import Any

from cuetune.errors import CuetuneError


def as_list(values: list[str] | None) -> list[str] | None:
    """Repeated options, or one with commas, as a list; repeated ones keep their outer spaces.

    In one option a name that holds a comma stands in quotation marks: '"Food, drink",Other'.
    """
    if not values:
        return None
    if len(values) == 1 and "," in values[0]:
        return [part.strip() for part in next(csv.reader([values[0]], skipinitialspace=True))]
    return list(values)


def as_mapping(values: list[str] | None, flag: str, example: str) -> dict[str, str] | None:
    """Repeated name=value pairs as a dictionary. Raises CuetuneError for one that is no pair."""
    if not values:
        return None
    pairs = [value.partition("=") for value in values]
    wrong = [name for name, equals, value in pairs if not (name and equals and value)]
    if wrong:
        raise CuetuneError(f"{flag} {wrong[0]!r}: write name=value, e.g. {flag} {example}.")
    return {name: value for name, _, value in pairs}


def as_lists(values: list[str] | None, flag: str, example: str) -> dict[str, list[str]] | None:
    """Repeated name=value,value as a dictionary of lists. Raises CuetuneError for one that is no pair."""
    lists: dict[str, list[str]] = {}
    for value in values or ():
        for name, cells in (as_mapping([value], flag, example) or {}).items():
            lists.setdefault(name, []).extend(cell.strip() for cell in cells.split(","))
    return lists or None


def as_numbers(text: str | None, flag: str) -> tuple[int, ...] | None:
    """Whole numbers from "64,1000". Raises CuetuneError for anything else."""
    if text is None:
        return None
    try:
        return tuple(int(part.replace("_", "")) for part in text.split(","))
    except ValueError as error:
        raise CuetuneError(f"{flag} {text!r}: write whole numbers separated by commas, e.g. 64,1000.") from error


def checked(settings: Any, values: dict[str, Any]) -> Any:
    """Settings from options; a value out of range is one line that names the option."""
    from pydantic import ValidationError

    try:
        return settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        raise CuetuneError(f"{flag} {first.get('input')!r}: {first['msg'].lower()}.") from error
