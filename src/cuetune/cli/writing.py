"""Writing answers: the row's own columns, then `predicted` and one probability per label; the file appears whole."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.files import atomic_file
from cuetune.prediction import Prediction
from cuetune.tasks.task import Row, Task

Write = Callable[[Row, Prediction], None]


@contextmanager
def answer_writer(path: Path, task: Task) -> Iterator[Write]:
    """A function that writes one answer; .csv, .tsv and .jsonl by the path's ending."""
    makers = {".csv": _table(","), ".tsv": _table("\t"), ".jsonl": _json_lines, ".ndjson": _json_lines}
    if path.suffix.lower() not in makers:
        raise CuetuneError(f"{path}: answers are written as {', '.join(makers)}; choose one of these endings.")
    with atomic_file(path, newline="") as stream:
        yield makers[path.suffix.lower()](stream, task)


def answer_columns(task: Task, answer: Prediction) -> dict[str, Any]:
    """The columns an answer adds to its row."""
    added: dict[str, Any] = {"predicted": answer.label}
    for label, probability in zip(task.labels, answer.probabilities, strict=True) if answer.probabilities else ():
        added[f"p({label})"] = round(probability, 6)
    return added


def _table(delimiter: str) -> Callable[[Any, Task], Write]:
    def make(stream: Any, task: Task) -> Write:
        writer = csv.writer(stream, delimiter=delimiter)
        header: list[str] = []

        def write(row: Row, answer: Prediction) -> None:
            added = answer_columns(task, answer)
            if not header:
                header.extend([*(name for name in row.values if name not in added), *added])
                writer.writerow(header)
            cells = {**row.values, **added}
            writer.writerow([cells.get(name, "") for name in header])

        return write

    return make


def _json_lines(stream: Any, task: Task) -> Write:
    def write(row: Row, answer: Prediction) -> None:
        cells = {**row.values, **answer_columns(task, answer)}
        stream.write(json.dumps(cells, ensure_ascii=False, default=str) + "\n")

    return write
