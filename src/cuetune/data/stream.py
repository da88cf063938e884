"""STREAM.yaml: tasks that arrive one after another, to be learned in that order. docs/streams.md shows three.

Either one source of data is dealt into tasks, by its labels (`divide`), by the values of a column (`domains`) or both,
or each task is written out under `tasks`. What stands above `tasks` holds for every task that does not say it itself.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from cuetune.data.suite import TaskEntry, _found
from cuetune.errors import CuetuneError
from cuetune.support.yaml_file import Lined, Place, read_lined

Kind = Literal["classes", "domains", "both"]

# A prompt is not told which task a row is of, so that all tasks are asked in the same words.
IN_COMMON = ("template", "instruction", "max_tokens")
OF_THE_WHOLE = ("group_by", "divide", "class_order", "domains", "values", "validation_fraction")
OF_A_TASK = ("test", "rows", "label", "labels", "text", "columns", "encoding", "image")


class StreamTaskKeys(TaskEntry):
    """The keys of one task. where: column -> value of the rows that are its own. image: the column of images."""

    data: str = ""
    labels: tuple[str, ...] | None = Field(None, min_length=1)
    where: dict[str, str] = Field(default_factory=dict)
    image: str | None = None

    @model_validator(mode="after")
    def _is_of_a_stream(self) -> "StreamTaskKeys":
        for key in (each for each in (*IN_COMMON, "label_words") if getattr(self, each) is not None):
            raise ValueError(f"`{key}` is the same for all tasks of a stream; write it above `tasks`.")
        _reject(self)
        return self


class StreamFile(TaskEntry):
    """The keys of STREAM.yaml.

    kind: what the tasks bring, inferred where it is not said.
    group_by: a column; rows that are equal there stay on one side of the split. divide: into so many tasks the labels
    are dealt, in the order that `class_order` draws (0: as they are sorted). domains: a column whose values are the
    tasks, in this order if `values` says it. tasks: or each on its own.
    validation_fraction: of a task's rows, to choose on which of its steps is kept; None: the last is.
    """

    name: str = "stream"
    data: str = ""
    model: str | None = None
    kind: Kind | None = None
    image: str | None = None
    group_by: str | None = None
    divide: int | None = Field(None, ge=1)
    class_order: int = Field(0, ge=0)
    domains: str | None = None
    values: tuple[str, ...] | None = Field(None, min_length=1)
    validation_fraction: float | None = Field(None, gt=0, le=0.5)
    tasks: tuple[StreamTaskKeys, ...] = ()

    @model_validator(mode="after")
    def _says_its_tasks(self) -> "StreamFile":
        dealt = self.divide or self.domains
        if bool(dealt) == bool(self.tasks):
            what = "both are here" if dealt else "there is neither"
            raise ValueError(f"tasks are dealt by `divide` or `domains`, or written under `tasks`; {what}.")
        if dealt and not self.data:
            raise ValueError("`divide` and `domains` deal one source of data into tasks; name it with `data`.")
        if self.values and not self.domains:
            raise ValueError("`values` gives the order of what stands in a column; name it with `domains`.")
        if self.label_words and not self.labels:
            raise ValueError("`label_words` are in the order of `labels`; write those above `tasks` too.")
        _reject(self)
        return self


def _reject(keys: TaskEntry) -> None:
    if keys.generate:
        raise ValueError("a stream's tasks have labels; free text cannot be learned this way yet. Remove `generate`.")
    if keys.validation:
        raise ValueError("rows to choose on are a share of each task's: say `validation_fraction: 0.1` above `tasks`.")


@dataclass(frozen=True)
class Source:
    """Where a task's rows come from: what `read_rows` takes, which rows, and how they are understood.

    gone: the data of a task that is learned already is not there any more. where: as errors about it begin.
    """

    name: str
    data: str
    test: str | None
    rows: int | None
    options: Mapping[str, Any]
    select: Mapping[str, str]
    where: str
    gone: bool = False


@dataclass(frozen=True)
class StreamSpec:
    """A stream as its file describes it; nothing of its data has been read.

    sources: one for each task, or the one that is dealt into tasks. common: options that hold for all. words: label ->
    the word that is scored for it, where that is not the label's name.
    """

    path: Path
    model: str | None
    kind: Kind | None
    sources: tuple[Source, ...]
    common: Mapping[str, Any]
    words: Mapping[str, str]
    group_by: str | None = None
    divide: int | None = None
    class_order: int = 0
    domains: str | None = None
    values: tuple[str, ...] | None = None
    validation_fraction: float | None = None
    lined: Lined = field(repr=False, default_factory=lambda: Lined(Path(), None, {(): 1}))

    def error(self, key: str, message: str) -> CuetuneError:
        """An error about a key of the file, named by its line."""
        return self.lined.error((key,), message)


def read_stream_file(path: str | Path, finished: Collection[str] = ()) -> StreamSpec:
    """Read STREAM.yaml. finished: names of tasks that are learned already, whose data need not be there any more.

    Raises CuetuneError naming the line of the first fault: keys, types, names, missing files.
    """
    lined = read_lined(path)
    file = lined.as_a(StreamFile)
    lined.distinct("tasks", [task.name for task in file.tasks])
    sources = [_source(lined, file, task, number, finished) for number, task in enumerate(file.tasks)]
    if not sources:
        sources = [_shared_source(lined, file)]
    common = {key: value for key in IN_COMMON if (value := getattr(file, key)) is not None}
    how = {key: getattr(file, key) for key in OF_THE_WHOLE}
    words = dict(zip(file.labels or (), file.label_words or (), strict=False))
    return StreamSpec(Path(path), file.model, file.kind, tuple(sources), common, words, lined=lined, **how)


def _source(lined: Lined, file: StreamFile, task: StreamTaskKeys, number: int, finished: Collection[str]) -> Source:
    """A task's own keys, and the file's where it does not say them."""
    place: Place = ("tasks", number)
    if not task.data and not file.data:
        raise lined.error(place, "no key 'data', neither here nor above `tasks`; add one.")
    said = {key: value for key in OF_A_TASK if (value := _either(task, file, key)) is not None}
    test, rows = said.pop("test", None), said.pop("rows", None)
    gone = False
    try:
        data = _found(task.data, lined, (*place, "data")) if task.data else _found(file.data, lined, ("data",))
        test = _found(test, lined, (*place, "test") if task.test else ("test",))
    except CuetuneError:
        if task.name not in finished:
            raise
        gone, data = True, task.data
    return Source(task.name, data or "", test, rows, said, task.where, lined.where(place), gone)


def _either(task: StreamTaskKeys, file: StreamFile, key: str) -> Any:
    own = getattr(task, key)
    return own if own is not None or (key == "test" and task.data) else getattr(file, key)


def _shared_source(lined: Lined, file: StreamFile) -> Source:
    said = {key: value for key in OF_A_TASK if (value := getattr(file, key)) is not None}
    test, rows = said.pop("test", None), said.pop("rows", None)
    data, test = _found(file.data, lined, ("data",)), _found(test, lined, ("test",))
    return Source("", data or "", test, rows, said, {}, lined.where(("data",)))
