"""Rows under a task: all that cannot be used are counted and the first are named, or they are left out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from cuetune.data.row import Example, Row
from cuetune.data.row_error import RowError
from cuetune.data.skip_report import Skipped
from cuetune.data.task import Task
from cuetune.errors import CuetuneError


def read_examples(
    rows: Iterable[Row],
    task: Task,
    skipped: Skipped | None = None,
    *,
    labelled: bool = True,
    unlabelled: Skipped | None = None,
    patient: bool = True,
) -> Iterator[tuple[Row, Example]]:
    """Rows with what they mean, in order. labelled: they are to have labels.

    skipped: counts the rows that cannot be used, which are left out. Without it the first of them ends the reading:
    CuetuneError says how many there are and what is wrong with the first of them, or at once if not `patient`, for rows
    that have no end. A column that no row has is told as such. unlabelled: counts rows without a label, which are then
    read without one.
    """
    faults, first, n_rows = Skipped(), None, 0
    for row in rows:
        n_rows += 1
        try:
            found = task.example(row, labelled=labelled)
        except RowError as fault:
            if fault.kind == "unlabelled" and skipped is None and unlabelled is not None:
                unlabelled.add(fault.short)
                found = task.example(row, labelled=False)
            elif skipped is None and not patient:
                raise
            else:
                first = first or fault
                (faults if skipped is None else skipped).add(fault.short)
                faults.lacking += fault.kind == "column"
                continue
        if first is None or skipped is not None:
            yield row, found
    if first is not None and faults.lacking == n_rows:
        raise first
    if first is not None and skipped is None:
        raise unusable(faults, task, first)


def examples_of(rows: Iterable[Row], task: Task, skipped: Skipped | None = None) -> Iterator[Example]:
    """The labelled examples of rows; see `read_examples`."""
    return (example for _, example in read_examples(rows, task, skipped))


def has_no_labels(rows: Sequence[Row], task: Task) -> bool:
    """Whether no row has a label, as in test splits whose labels are kept secret."""
    return not any(task.answers.answered(row) for row in rows)


def understood(rows: Iterable[Row], task: Task, *, labelled: bool = True) -> Iterator[Example | RowError]:
    """What each row means, or why it means nothing."""
    for row in rows:
        try:
            yield task.example(row, labelled=labelled)
        except RowError as fault:
            yield fault


def unusable(faults: Skipped, task: Task, first: RowError) -> CuetuneError:
    """The error that tells of all faults at once."""
    if faults.count == 1:
        return CuetuneError(f"{first} Mend the row, or leave it out with --skip-unreadable.")
    more = f"; and {faults.count - len(faults.reasons):,} more" if faults.count > len(faults.reasons) else ""
    known = f" Known labels: {task.known_labels}." if task.labels else ""
    return CuetuneError(
        f"{faults.count:,} rows cannot be used: {'; '.join(faults.reasons)}{more}.{known} Mend them, or leave them out "
        "with --skip-unreadable."
    )


def row_notes(rows: Iterable[Row]) -> list[str]:
    """What the readers of files have to say of rows, each once with its number of rows and the first of them."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for row in rows:
        if row.note:
            counts[row.note] += 1
            first.setdefault(row.note, row.where)
    return [f"{first[note]}{_beside(count)}: {note}" for note, count in counts.items()]


def _beside(count: int) -> str:
    return "" if count == 1 else f" and {count - 1:,} other rows"


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The columns that any of the rows has, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.values))
