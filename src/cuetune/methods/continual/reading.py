"""A stream with its rows: every task read, told apart by labels or domains, and split into rows to learn and to test.

Texts and pictures alike. A task's labels are its own; what is asked of a row in the end is the stream's, all labels.
"""

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.evaluation.draws import draw
from cuetune.tasks.images import PICTURES
from cuetune.tasks.inference import infer_task
from cuetune.tasks.reading import read_rows
from cuetune.tasks.splits import fingerprint, split_examples
from cuetune.tasks.stream import Kind, Source, StreamSpec, read_stream_file
from cuetune.tasks.task import Example, Row, Task, default_words, format_value

HELD_OUT = 0.2


@dataclass(frozen=True)
class StreamTask:
    """One task of a stream. task: with its own labels. gone: learned already, and its data is not there any more."""

    name: str
    task: Task
    train: Sequence[Example]
    test: Sequence[Example]
    where: str
    gone: bool = False

    @property
    def fingerprint(self) -> str:
        """What tells its rows from others."""
        return fingerprint([*self.train, *self.test])


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they are learned.

    kind: whether tasks bring new "classes", or the same ones from other "domains", or "both". model, size: what the
    file names, None where it names none. pictures: what the rows are.
    """

    kind: Kind
    tasks: tuple[StreamTask, ...]
    pictures: bool
    model: str | None = None
    size: int | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label, in the order in which tasks bring them."""
        return tuple(dict.fromkeys(label for each in self.tasks for label in each.task.labels))

    def all_at_once(self) -> "Stream":
        """One task of all rows: the upper bound that a stream is held against."""
        train, test = ([each for task in self.tasks for each in getattr(task, part)] for part in ("train", "test"))
        words = dict(pair for each in self.tasks for pair in zip(each.task.labels, each.task.label_words, strict=True))
        task = replace(self.tasks[0].task, labels=tuple(words), label_words=tuple(words.values()), name="all")
        return replace(self, tasks=(StreamTask("all", task, train, test, self.tasks[0].where),))


def read_stream(
    stream: str | Path | Stream, *, seed: int = 0, class_order: int | None = None, finished: Collection[str] = ()
) -> Stream:
    """A stream with its rows.

    stream: a STREAM.yaml. seed: of the split into rows to learn and to test. class_order: else the file's. finished:
    tasks that are learned already, whose data need not be there any more.
    Raises CuetuneError naming the line, the row and what is wrong: a task without rows, labels that were seen before.
    """
    if isinstance(stream, Stream):
        return stream
    spec = read_stream_file(stream, finished)
    if class_order is not None:
        spec = replace(spec, class_order=class_order)
    if spec.divide or spec.domains:
        tasks, pictures = _dealt(spec, seed)
    else:
        tasks, pictures = _written(spec, seed)
    kind = _kind(spec, tasks)
    return Stream(kind, tuple(tasks), pictures, spec.model, spec.size)


def _dealt(spec: StreamSpec, seed: int) -> tuple[list[StreamTask], bool]:
    """Tasks that one source is dealt into: by groups of labels, by the values of a column, or a group in each value."""
    source = spec.sources[0]
    rows = _read(source.data, source.options)
    whole, groups = _understood(rows, source, spec), _groups(rows, spec)
    test = _read(source.test, source.options) if source.test else None
    train, held_out = _split(whole, rows, test, source, spec, seed)
    cells = {row.where: row for row in [*rows, *(test or ())]}
    tasks = []
    for name, labels, select in _parts(spec, whole, groups):
        own = _restricted(whole, name, labels or whole.labels)
        parts = [[each for each in part if _is_of(each, cells[each.where], own, select)] for part in (train, held_out)]
        present = {each.label for each in parts[0]}
        own = _restricted(own, name, [label for label in own.labels if label in present])
        tasks.append(_checked(StreamTask(name, own, parts[0], parts[1], f"{source.where}: task {name!r}")))
    return tasks, PICTURES.holds(rows)


def _parts(
    spec: StreamSpec, whole: Task, values: Sequence[str]
) -> Iterator[tuple[str, tuple[str, ...], dict[str, str]]]:
    """Name, labels (none: all) and what a column must hold, of every task."""
    labels = dealt_labels(whole.labels, spec) if spec.divide else [()] * len(values)
    for number, group in enumerate(labels):
        value = values[number % len(values)] if values else ""
        select = {str(spec.domains): value} if values else {}
        name = f"classes-{number + 1}" if group else value
        yield (f"{name}-{value}" if group and value else name), group, select


def dealt_labels(labels: Sequence[str], spec: StreamSpec) -> list[tuple[str, ...]]:
    """Labels in as many groups as the stream has tasks, of equal size or one more. Raises CuetuneError for too few."""
    assert spec.divide is not None
    if spec.divide > len(labels):
        raise spec.error("divide", f"divide: {spec.divide} tasks, but the data has {len(labels)} labels; say fewer.")
    drawn = list(labels)
    if spec.class_order:
        random.Random(spec.class_order).shuffle(drawn)
    ends = [len(drawn) * number // spec.divide for number in range(spec.divide + 1)]
    return [tuple(drawn[start:end]) for start, end in zip(ends[:-1], ends[1:], strict=True)]


def _groups(rows: Sequence[Row], spec: StreamSpec) -> list[str]:
    """The values of the column of domains, in the file's order. Raises CuetuneError for one that no row has."""
    if not spec.domains:
        return []
    found = sorted({_cell(row, spec.domains, spec.error, "domains") for row in rows})
    for value in (each for each in spec.values or () if each not in found):
        raise spec.error("values", f"values: no row has {value!r} in {spec.domains!r}; there are {', '.join(found)}.")
    return list(spec.values or found)


def _cell(row: Row, column: str, error: Callable[[str, str], CuetuneError], key: str) -> str:
    if column not in row.values:
        raise error(key, f"{key}: {row.where} has no column {column!r}; it has {', '.join(map(repr, row.values))}.")
    return format_value(row.values[column])


def _written(spec: StreamSpec, seed: int) -> tuple[list[StreamTask], bool]:
    """Tasks that the file lists. All are asked as the first is, so that no row says which task it is of."""
    tasks: list[StreamTask] = []
    pictures, first, known = False, None, {}
    for source in spec.sources:
        if source.gone:
            tasks.append(StreamTask(source.name, _gone(source, first), (), (), source.where, gone=True))
            continue
        try:
            key = (source.data, str(source.options))
            known = known if key in known else {key: _read(source.data, source.options)}
            rows = _selected(known[key], source)
            task = _understood(rows, source, spec)
            test = _selected(_read(source.test, source.options), source) if source.test else None
            parts = _split(task, rows, test, source, spec, seed)
        except CuetuneError as error:
            raise error if str(error).startswith(str(spec.path)) else CuetuneError(f"{source.where}: {error}") from None
        first = first or task
        asked = (
            replace(task, template=first.template, instruction=first.instruction)
            if first.fields == task.fields
            else task
        )
        tasks.append(_checked(StreamTask(source.name, asked, *parts, source.where)))
        pictures = PICTURES.holds(rows)
    return tasks, pictures


def _gone(source: Source, first: Task | None) -> Task:
    """What is known of a task whose data is gone: its labels, if the file says them."""
    labels = tuple(source.options.get("labels", ()))
    return Task(labels=labels, name=source.name) if first is None else _restricted(first, source.name, labels)


def _selected(rows: list[Row], source: Source) -> list[Row]:
    """The rows that are this task's, by what its columns must hold. Raises CuetuneError when there are none."""

    def error(_: str, message: str) -> CuetuneError:
        return CuetuneError(f"{source.where}: {message}")

    for column, value in source.select.items():
        found = {_cell(row, column, error, "where") for row in rows}
        rows = [row for row in rows if format_value(row.values[column]) == value]
        if not rows:
            there = ", ".join(sorted(found)[:8])
            raise error("where", f"an empty task: no row has {value!r} in {column!r}; there are {there}.")
    return rows


def _read(data: str, options: Mapping[str, Any]) -> list[Row]:
    """Rows of texts or of pictures, whichever stand there."""
    encoding = options.get("encoding", "utf-8")
    if not PICTURES.in_folder(Path(data)):
        rows = list(read_rows(data, encoding=encoding))
        if not PICTURES.holds(rows):
            return rows
    return list(PICTURES.read(data, encoding=encoding))


def _understood(rows: Sequence[Row], source: Source, spec: StreamSpec) -> Task:
    """The task that rows are of; what the file does not say is inferred from them."""
    said = {key: value for key, value in source.options.items() if key not in ("encoding", "image")}
    if PICTURES.holds(rows):
        said = {key: value for key, value in said.items() if key in ("label", "labels")}
        return PICTURES.infer(rows, column=source.options.get("image"), name=source.name or "stream", **said)
    words, common = spec.common.get("label_words"), {k: v for k, v in spec.common.items() if k != "label_words"}
    task = infer_task(rows, name=source.name or "stream", **common, **said)
    return replace(task, label_words=tuple(words)) if words and len(words) == len(task.labels) else task


def _restricted(task: Task, name: str, labels: Sequence[str]) -> Task:
    """The same asked of some of its labels."""
    words = dict(zip(task.labels, task.label_words, strict=True))
    chosen = [words.get(label) or default_words([label])[0] for label in labels]
    return replace(task, labels=tuple(labels), label_words=tuple(chosen), name=name)


def _split(
    task: Task, rows: Sequence[Row], test: Sequence[Row] | None, source: Source, spec: StreamSpec, seed: int
) -> tuple[list[Example], list[Example]]:
    """Examples to learn and to test on; rows of labels that are not the task's are other tasks' and left out."""
    train, held_out = (
        [task.example(row) for row in part if format_value(row.values.get(task.label_column)) in task.labels]
        for part in (rows, test or ())
    )
    if test is None:
        train, held_out = _set_aside(train, rows, spec, seed)
    if source.rows is None or source.rows >= len(train) + len(held_out):
        return train, held_out
    share = source.rows / (len(train) + len(held_out))
    return draw(train, max(1, round(len(train) * share)), seed), draw(
        held_out, max(1, round(len(held_out) * share)), seed
    )


def _set_aside(
    examples: Sequence[Example], rows: Sequence[Row], spec: StreamSpec, seed: int
) -> tuple[list[Example], list[Example]]:
    """A fifth of the examples to test on, label by label; copies, and what is to stay together, on one side."""
    kept = {each.where: each for each in examples}
    if spec.together:
        cells = {row.where: _cell(row, spec.together, spec.error, "together") for row in rows}
        examples = [replace(each, fields={"together": cells[each.where]}) for each in examples]
    splits = split_examples(examples, validation=0, test=HELD_OUT, seed=seed)
    return [kept[each.where] for each in splits.train], [kept[each.where] for each in splits.test]


def _is_of(example: Example, row: Row, task: Task, select: Mapping[str, str]) -> bool:
    return example.label in task.labels and all(format_value(row.values[key]) == value for key, value in select.items())


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
