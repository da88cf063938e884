"""A stream with its rows: every task read, told apart by labels or domains, and split into rows to learn and to test.

Texts and images alike. A task's labels are its own; what is asked of a row in the end is the stream's, all labels.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cuetune.answers import refuse
from cuetune.data.hold_out import cell
from cuetune.data.readers.registry import reader_for
from cuetune.data.row import Example, Row
from cuetune.data.skip_report import Skipped
from cuetune.data.sources import Source as Files
from cuetune.data.stream import Kind, Source, StreamSpec, read_stream_file
from cuetune.data.task import Task, default_words, format_value
from cuetune.errors import CuetuneError
from cuetune.methods.continual.sides import Sides
from cuetune.tuning.runs import TaskData


@dataclass(frozen=True)
class StreamTask:
    """One task of a stream.

    task: with its own labels. validation: rows to choose on which step of the task is kept. gone: learned already, and
    its data is not there any more.
    """

    name: str
    task: Task
    train: Sequence[Example]
    test: Sequence[Example]
    where: str
    gone: bool = False
    validation: Sequence[Example] = ()

    @property
    def data(self) -> TaskData:
        """As learners take it."""
        return TaskData(self.task, self.train, self.validation)


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they are learned.

    kind: whether tasks bring new "classes", or the same ones from other "domains", or "both". modality: what the rows
    are. model: what the file names, None where it names none.
    """

    kind: Kind
    tasks: tuple[StreamTask, ...]
    modality: str
    model: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label, in the order in which tasks bring them."""
        return tuple(dict.fromkeys(label for each in self.tasks for label in each.task.labels))


def read_stream(
    stream: str | Path | Stream,
    *,
    seed: int = 0,
    class_order: int | None = None,
    finished: Collection[str] = (),
    skipped: Skipped | None = None,
    files: Files | None = None,
    encoding: str = "utf-8",
) -> Stream:
    """A stream with its rows.

    stream: a STREAM.yaml. seed: of the split into rows to learn and to test. class_order: else the file's. finished:
    tasks that are learned already, whose data need not be there any more. skipped: counts rows that cannot be used,
    which are left out. files: data is read as this source is (folders, paths, tables). encoding: where the file has
    none. Raises CuetuneError naming the line, the row and what is wrong: a task without rows, labels that were seen
    before.
    """
    if isinstance(stream, Stream):
        return stream
    spec = read_stream_file(stream, finished)
    if class_order is not None:
        spec = replace(spec, class_order=class_order)
    reader = _Reader(spec, seed, skipped, files, encoding)
    tasks = [reader.task(source) for source in reader.sources()]
    return Stream(_kind(spec, tasks), tuple(tasks), tasks[-1].task.modality, spec.model)


class _Reader:
    """Reads the sources of one file, each of its data once."""

    def __init__(
        self,
        spec: StreamSpec,
        seed: int,
        skipped: Skipped | None = None,
        files: Files | None = None,
        encoding: str = "utf-8",
    ) -> None:
        self.spec, self.encoding = spec, encoding
        self.files = Files("") if files is None else files
        self._known: dict[str, list[Row]] = {}
        self.sides = Sides(spec, seed, skipped)
        self._first: Task | None = None

    def sources(self) -> Sequence[Source]:
        """One for each task: as the file lists them, or dealt by groups of labels, values of a column, or both."""
        spec, source = self.spec, self.spec.sources[0]
        if not (spec.divide or spec.domains):
            return spec.sources
        rows = self.rows(source.data, source)
        values = self._values(rows)
        labels: Sequence[str] = self._understood(rows, source).labels if spec.divide else ()
        if "labels" not in source.options:
            labels = sorted(labels)  # as texts, so that streams that are learned in part are dealt as they were
        groups = dealt_labels(spec, labels) if spec.divide else [()] * len(values)
        dealt = []
        for number, group in enumerate(groups):
            value = values[number % len(values)] if values else ""
            name = "-".join(filter(None, (f"classes-{number + 1}" if group else "", value)))
            select = {str(spec.domains): value} if values else {}
            options = {**source.options, **({"labels": group} if group else {})}
            where = f"{source.where}: task {name!r}"
            dealt.append(replace(source, name=name, options=options, select=select, where=where))
        return dealt

    def task(self, source: Source) -> StreamTask:
        """One task with its rows. All are asked as the first is, so that no row says which task it is of."""
        if source.gone:
            return StreamTask(source.name, self._gone(source), (), (), source.where, gone=True)
        try:
            whole = self.rows(source.data, source)
            rows = _selected(whole, source)
            task = self._understood(rows, source)
            test = _selected(self.rows(source.test, source), source) if source.test else None
            train, validation, held_out = self.sides.of(task, source, whole, rows, test)
            if "labels" not in source.options:  # of the rows that are learned from; a rare label may be tested only
                task = _with_labels(replace(task, labels=_seen(task, train), label_words=()), self.spec.words)
                held_out, validation = (
                    [each for each in part if each.label in task.labels] for part in (held_out, validation)
                )
        except CuetuneError as error:
            told = str(error).startswith(str(self.spec.path))
            raise error if told else CuetuneError(f"{source.where}: {error}") from None
        if self._first is None:
            self._first = task
        elif self._first.fields == task.fields:
            task = replace(task, template=self._first.template, instruction=self._first.instruction)
        return _checked(StreamTask(source.name, task, train, held_out, source.where, validation=validation))

    def rows(self, data: str, source: Source) -> list[Row]:
        """The rows of some data, texts or images; the last data that was read is kept."""
        encoding = source.options.get("encoding", self.encoding)
        key = f"{data} {encoding} {source.options.get('image')}"
        if key not in self._known:
            found = self.files.beside(data)
            self._known = {key: list(reader_for(found, source.options, encoding).read(found, encoding=encoding))}
        return self._known[key]

    def _values(self, rows: Sequence[Row]) -> list[str]:
        """The values of the column of domains, in the file's order. Raises CuetuneError for one that no row has."""
        spec = self.spec
        if not spec.domains:
            return []
        found = sorted({cell(row, spec.domains, spec.error, "domains") for row in rows})
        for value in (each for each in spec.values or () if each not in found):
            there = ", ".join(found[:8])
            raise spec.error("values", f"values: no row has {value!r} in {spec.domains!r}; there are {there}.")
        return list(spec.values or found)

    def _understood(self, rows: Sequence[Row], source: Source) -> Task:
        """The task that rows are of; what the file does not say is inferred from them."""
        said = {**self.spec.common, **{key: value for key, value in source.options.items() if key != "encoding"}}
        reader = reader_for(self.files.beside(source.data), said, source.options.get("encoding", self.encoding))
        task = reader.infer(rows, name=source.name or "stream", **said)
        refuse(task, f"{source.where}: a stream")
        return _with_labels(task, self.spec.words)

    def _gone(self, source: Source) -> Task:
        """What is known of a task whose data is gone: its labels, if the file says them."""
        labels = tuple(source.options.get("labels", ()))
        return _with_labels(Task(labels=labels, name=source.name), self.spec.words)


def dealt_labels(spec: StreamSpec, labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Labels in as many groups as the stream has tasks, of equal size or one more. Raises CuetuneError for too few."""
    assert spec.divide is not None
    if spec.divide > len(labels):
        raise spec.error("divide", f"divide: {spec.divide} tasks, but the data has {len(labels)} labels; say fewer.")
    drawn = list(labels)
    if spec.class_order:
        random.Random(spec.class_order).shuffle(drawn)
    ends = [len(drawn) * number // spec.divide for number in range(spec.divide + 1)]
    return [tuple(drawn[start:end]) for start, end in zip(ends[:-1], ends[1:], strict=True)]


def _selected(rows: list[Row], source: Source) -> list[Row]:
    """The rows that are this task's, by what its columns must hold. Raises CuetuneError when there are none."""

    def error(_: str, message: str) -> CuetuneError:
        return CuetuneError(f"{source.where}: {message}")

    for column, value in source.select.items():
        found = {cell(row, column, error, "where") for row in rows}
        rows = [row for row in rows if format_value(row.values[column]) == value]
        if not rows:
            there = ", ".join(sorted(found)[:8])
            raise error("where", f"an empty task: no row has {value!r} in {column!r}; there are {there}.")
    return rows


def _with_labels(task: Task, words: Mapping[str, str]) -> Task:
    """The same task, its labels said in these words where there are any."""
    return replace(task, label_words=tuple(words.get(label) or default_words([label])[0] for label in task.labels))


def _seen(task: Task, examples: Sequence[Example]) -> tuple[str, ...]:
    """The task's labels that some example has."""
    there = {example.label for example in examples}
    return tuple(label for label in task.labels if label in there)


def _checked(task: StreamTask) -> StreamTask:
    """The task, if there is something to learn and to measure. Raises CuetuneError naming its line if there is not."""
    counts = {label: sum(each.label == label for each in task.train) for label in task.task.labels}
    missing = [label for label, count in counts.items() if not count]
    if not task.train or missing:
        what = f"no row has the label {missing[0]!r}" if missing and task.train else "no rows to learn from"
        raise CuetuneError(f"{task.where}: an empty task: {what}; add rows, or remove it from the stream.")
    if not task.test:
        raise CuetuneError(
            f"{task.where}: {len(task.train)} rows to learn from and none to measure on; add rows, or name a `test`."
        )
    return task


def _kind(spec: StreamSpec, tasks: Sequence[StreamTask]) -> Kind:
    """What the tasks bring. Raises CuetuneError naming the line of a task that contradicts it."""
    kind: Kind | None = spec.kind
    if kind is None and (spec.divide or spec.domains):
        kind = "both" if spec.divide and spec.domains else "classes" if spec.divide else "domains"
    known = [task for task in tasks if task.task.labels]
    if kind is None:
        same = all(set(task.task.labels) == set(known[0].task.labels) for task in known)
        kind = "domains" if same and len(known) > 1 else "classes"
    seen: dict[str, str] = {}
    for task in known:
        again = [label for label in task.task.labels if label in seen]
        if kind == "classes" and again:
            raise CuetuneError(
                f"{task.where}: the label {again[0]!r} was seen before, in task {seen[again[0]]!r}; every task of "
                "this stream brings new ones. Remove it here, or say `kind: both` if labels may come again."
            )
        seen |= dict.fromkeys(task.task.labels, task.name)
    return kind
