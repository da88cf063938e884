"""Of which kind a task is, told from its rows: one label, several labels, a number or text; and where that stands.

What is clear is taken, and said with the option that says otherwise. Clear are lists of labels, columns of 0 and 1
where no column is called a label, cells in which the same names come alone and together behind a delimiter, and numbers
that are not whole and take many values. Whole numbers may be ratings or classes, and stay labels.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cuetune.answers import check_kind
from cuetune.data.formats.cells import ABSENT, cell_at, format_value, is_missing
from cuetune.data.labels.cells import DELIMITERS, divided, is_yes_or_no, listed, number
from cuetune.data.labels.names import given_labels, in_order
from cuetune.data.labels.positions import place_names, places_of_yes_and_no
from cuetune.data.row import Row
from cuetune.errors import CuetuneError

MANY_NUMBERS = 8  # different numbers, some of them not whole: no set of labels
MOST_NAMES = 200  # in cells with a delimiter that nobody named
LONGEST_NAME = 60  # characters
NUMBER_NAMES = ("score", "rating", "value", "stars", "target", "y")
COLUMN_OF_LABELS = "labels"  # what rows with a column for each label are asked for


@dataclass(frozen=True)
class Asked:
    """What rows are asked for. kind: empty where it follows from the labels. labels: empty where not known."""

    column: str
    kind: str = ""
    labels: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()
    delimiter: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a `Task` beside column and labels."""
        return {"kind": self.kind, "label_columns": self.label_columns, "label_delimiter": self.delimiter}


def infer_asked(
    rows: Sequence[Row],
    find: Callable[[str | None], str],
    *,
    label: str | None = None,
    labels: Sequence[str] | None = None,
    kind: str | None = None,
    labels_from: Sequence[str] | None = None,
    label_delimiter: str | None = None,
    text: str | None = None,
) -> Asked:
    """What these rows are asked for. find: the label column, given its name or None. kind: None where it is not said.

    labels_from: columns of 0 and 1. label_delimiter: what stands between labels. text: the column of texts, if known.
    Raises CuetuneError where what is said does not go together, or does not fit the rows.
    """
    check_kind(kind)
    _check_options(kind, labels, labels_from, label_delimiter)
    if labels_from:
        return _one_hot(rows, tuple(labels_from), labels)
    try:
        column = find(label if label is not None or kind != "regression" else _number_column(rows))
    except CuetuneError:
        if label is None and kind in (None, "multi-label") and (columns := _columns_of_yes_and_no(rows, text)):
            return _one_hot(rows, columns, labels)
        numbers = _number_column(rows) if label is None and kind is None else None
        if numbers is None or not _many_numbers(_cells(rows, numbers)):
            raise
        column = numbers
    if kind in ("classification", "generation"):
        return Asked(column)
    cells = _cells(rows, column)
    if kind in (None, "multi-label") and (places := places_of_yes_and_no(cells)):
        return _one_hot(rows, tuple(f"{column}.{place}" for place in places), labels or place_names(column, places))
    if kind == "regression" or (kind is None and not labels and not label_delimiter and _many_numbers(cells)):
        return Asked(column, "regression")
    if kind == "multi-label" or label_delimiter or _are_lists(cells):
        return _several(column, cells, label_delimiter or "", labels)
    delimiter = _clear_delimiter(cells, labels)
    return _several(column, cells, delimiter, labels) if delimiter else Asked(column)


def _check_options(
    kind: str | None, labels: Sequence[str] | None, columns: Sequence[str] | None, delimiter: str | None
) -> None:
    for option, given in (("--labels-from", columns), ("--label-delimiter", delimiter)):
        if given and kind not in (None, "multi-label"):
            raise CuetuneError(f"{option} is for several labels, and --task says {kind}; leave one of them.")
    if kind == "regression" and labels:
        raise CuetuneError("--labels names labels, and --task says regression; leave one of them.")
    if columns and delimiter:
        raise CuetuneError("--labels-from names a column for each label, so nothing is delimited; leave one of them.")


def _one_hot(rows: Sequence[Row], columns: tuple[str, ...], labels: Sequence[str] | None) -> Asked:
    """A column of 0 and 1 for each label; labels: what they are called, if not as the columns are."""
    for column in columns:
        if cell_at(rows[0].values, column) is ABSENT:
            found = ", ".join(map(repr, rows[0].values))
            raise CuetuneError(f"--labels-from: no column {column!r}; the data has {found}.")
    return Asked(COLUMN_OF_LABELS, "multi-label", tuple(labels or columns), columns)


def _columns_of_yes_and_no(rows: Sequence[Row], text: str | None) -> tuple[str, ...]:
    """Two or more columns of 0 and 1; empty where there are fewer."""
    first = rows[0].values
    found = [column for column in first if column != text and is_yes_or_no(first[column])]
    clear = [each for each in found if all(each in row.values and is_yes_or_no(row.values[each]) for row in rows)]
    return tuple(clear) if len(clear) > 1 else ()


def _number_column(rows: Sequence[Row]) -> str | None:
    """A column that is called as numbers usually are; None leaves it to the usual names of labels."""
    lowered = {column.lower(): column for column in rows[0].values}
    return next((lowered[name] for name in NUMBER_NAMES if name in lowered), None)


def _many_numbers(cells: Sequence[Any]) -> bool:
    """Whether cells are numbers with many values, some of them not whole."""
    found = set()
    for cell in cells:
        value = number(cell)
        if value is None:
            return False
        found.add(value)
    return len(found) >= MANY_NUMBERS and any(not value.is_integer() for value in found)


def _cells(rows: Sequence[Row], column: str) -> list[Any]:
    """What stands in a column, empty places left out."""
    cells = (cell_at(row.values, column) for row in rows)
    return [cell for cell in cells if cell is not ABSENT and not is_missing(cell)]


def _are_lists(cells: Sequence[Any]) -> bool:
    """Whether cells are lists of labels, of JSON, Parquet or numpy, or all of them texts that spell lists out."""
    if any(not isinstance(cell, str) and listed(cell) is not None for cell in cells):
        return True
    return bool(cells) and all(isinstance(cell, str) and listed(cell) is not None for cell in cells)


def _several(column: str, cells: Sequence[Any], delimiter: str, labels: Sequence[str] | None) -> Asked:
    """Several labels in a cell. Raises CuetuneError where there are not two labels in all."""
    as_lists = [listed(cell) for cell in cells]
    if not delimiter and not any(as_lists):
        texts = [format_value(cell) for cell in cells]
        delimiter = next((each for each in DELIMITERS if any(each in text for text in texts)), "")
    counts: Counter[str] = Counter()
    for cell, names in zip(cells, as_lists, strict=True):
        counts.update(set(names if names is not None else divided(format_value(cell), delimiter)))
    named = tuple(labels) if labels else in_order(list(counts))
    if not named:
        raise CuetuneError(f"column {column!r}: no row has a label; name another column with --label.")
    return Asked(column, "multi-label", named, (), delimiter)


def _clear_delimiter(cells: Sequence[Any], labels: Sequence[str] | None) -> str:
    """What divides cells into names without a doubt: "a, b" beside "a" and "b"; empty where that is not clear."""
    texts = {format_value(cell).strip() for cell in cells}
    return next((each for each in DELIMITERS if _divides(texts, each, labels)), "")


def _divides(texts: set[str], delimiter: str, labels: Sequence[str] | None) -> bool:
    """Whether different cells (texts) are made of fewer names, most of which also stand alone.

    Names that never stand alone, or always in the same number, are parts of a label: "Food, drink", "sports, UK".
    """
    compound = [divided(text, delimiter) for text in texts if delimiter in text]
    if not compound:
        return False
    names = {name for each in compound for name in each}
    if labels:
        known = set(given_labels(labels, sorted(texts)))  # a label with commas may have been cut at them
        return names <= known and not texts <= known
    alone = {text for text in texts if text and delimiter not in text}
    every = names | alone
    plain = all(len(name) <= LONGEST_NAME and number(name) is None for name in every)
    fits = len(every) < len(texts) - ("" in texts) and len(every) <= MOST_NAMES
    return plain and fits and 2 * len(names & alone) >= len(names)
