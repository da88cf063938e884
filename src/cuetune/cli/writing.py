"""Writing answers: the row's own columns, then `predicted` and one probability per label; the file appears whole.

No column of the rows is lost: one that only a later row has gets its place in the table too, and where the rows have a
column `predicted` (or `p(label)`) already, the answers' columns are called `predicted_2` and so on.
"""

import csv
import json
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from cuetune.answers.prediction import Prediction
from cuetune.data.row import Row
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.support.files import atomic_file


class Answers(ABC):
    """Called with each row and its answer, it writes them. names: of the answers' columns, by their usual ones."""

    def __init__(self, stream: IO[str], task: Task) -> None:
        self.stream, self.task = stream, task
        self.columns: dict[str, None] = {}  # of the rows so far, in the order in which they came up
        self.names: dict[str, str] = {}

    def __call__(self, row: Row, answer: Prediction) -> None:
        added = answer_columns(self.task, answer)
        self.columns |= dict.fromkeys(row.values)
        if not self.names or set(self.names.values()) & set(row.values):
            self.names = free_names(added, self.columns)
        self.write(row.values, added)

    @abstractmethod
    def write(self, values: Mapping[str, Any], added: Mapping[str, Any]) -> None:
        """Write one row."""

    @abstractmethod
    def finish(self, folder: Path) -> None:
        """Bring the file into the form that all rows together ask for. folder: has room for another copy of it."""

    def _rewrite(self, folder: Path, lines: Iterable[str]) -> None:
        """Replace the content by these lines, which may be made from the content."""
        with tempfile.TemporaryFile("w+", dir=folder, newline="", encoding="utf-8") as new:
            new.writelines(lines)
            new.seek(0)
            self.stream.seek(0)
            self.stream.truncate()
            shutil.copyfileobj(new, self.stream)


@contextmanager
def answer_writer(path: Path, task: Task) -> Iterator[Answers]:
    """A function that writes one answer; .csv, .tsv and .jsonl by the path's ending."""
    makers: dict[str, Callable[[IO[str], Task], Answers]] = {
        ".csv": partial(_Table, ","),
        ".tsv": partial(_Table, "\t"),
        ".jsonl": _JsonLines,
        ".ndjson": _JsonLines,
    }
    if path.suffix.lower() not in makers:
        raise CuetuneError(f"{path}: answers are written as {', '.join(makers)}; choose one of these endings.")
    with atomic_file(path, "w+", newline="") as stream:
        answers = makers[path.suffix.lower()](stream, task)
        yield answers
        answers.finish(path.parent)


def answer_columns(task: Task, answer: Prediction) -> dict[str, Any]:
    """The columns an answer adds to its row."""
    return task.answers.columns(answer)


def free_names(columns: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """The columns' own names where none is taken, else all with `_2` behind them, or the first number that is free."""
    usual, number = list(columns), 1
    names = {name: name for name in usual}
    while not set(names.values()).isdisjoint(taken):
        number += 1
        names = {name: f"{name}_{number}" for name in usual}
    return names


class _Table(Answers):
    """CSV or TSV. Rows are written as they come; a column that comes up later stands behind those there are.

    So the order and the header are put right in the end, where they are not yet.
    """

    def __init__(self, delimiter: str, stream: IO[str], task: Task) -> None:
        super().__init__(stream, task)
        self.writer = csv.writer(stream, delimiter=delimiter)
        self.delimiter = delimiter
        self.places: dict[tuple[bool, str], int] = {}  # (of the answer, usual name) -> place in a written row
        self.header: list[str] = []

    def write(self, values: Mapping[str, Any], added: Mapping[str, Any]) -> None:
        for key in [*((False, name) for name in values), *((True, name) for name in added)]:
            self.places.setdefault(key, len(self.places))
        if not self.header:
            self.header = self._header()
            self.writer.writerow(self.header)
        cells = {(False, name): value for name, value in values.items()}
        cells |= {(True, name): self.task.answers.cell(value) for name, value in added.items()}
        self.writer.writerow([_cell(cells.get(key, "")) for key in self.places])

    def _header(self) -> list[str]:
        return [*self.columns, *self.names.values()]

    def finish(self, folder: Path) -> None:
        if self._header() != self.header:
            limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
            try:
                self._rewrite(folder, self._ordered())
            finally:
                csv.field_size_limit(limit)

    def _ordered(self) -> Iterator[str]:
        order = [self.places[False, name] for name in self.columns] + [self.places[True, name] for name in self.names]
        self.stream.seek(0)
        rows = csv.reader(self.stream, delimiter=self.delimiter)
        next(rows)
        writer: Any = csv.writer(_Lines(), delimiter=self.delimiter)  # its `writerow` returns what `write` does
        yield writer.writerow(self._header())
        for row in rows:
            yield writer.writerow([row[place] if place < len(row) else "" for place in order])


class _Lines:
    """A file for `csv.writer` whose `write` gives the line back."""

    def write(self, line: str) -> str:
        return line


def _cell(value: Any) -> Any:
    """A cell of a table; what has parts is written as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value


class _JsonLines(Answers):
    """JSON lines. Where the answers' columns had to be renamed on the way, the lines before that are put right."""

    def __init__(self, stream: IO[str], task: Task) -> None:
        super().__init__(stream, task)
        self.called: list[tuple[int, dict[str, str]]] = []  # (from which row, the names)
        self.count = 0

    def write(self, values: Mapping[str, Any], added: Mapping[str, Any]) -> None:
        if not self.called or self.called[-1][1] != self.names:
            self.called.append((self.count, self.names))
        self.count += 1
        cells = {**values, **{self.names[name]: value for name, value in added.items()}}
        self.stream.write(json.dumps(cells, ensure_ascii=False, default=str) + "\n")

    def finish(self, folder: Path) -> None:
        if len(self.called) > 1:
            self._rewrite(folder, self._renamed())

    def _renamed(self) -> Iterator[str]:
        self.stream.seek(0)
        called = [*self.called, (self.count, self.names)]
        for (first, names), (end, _) in zip(called, called[1:], strict=False):
            new = {old: self.names[usual] for usual, old in names.items()}
            for _ in range(first, end):
                values = json.loads(self.stream.readline())
                renamed = {new.get(name, name): value for name, value in values.items()}
                yield json.dumps(renamed, ensure_ascii=False) + "\n"
