"""TASKS.yaml: several tasks in one file, each with its data, wording and labels. docs/universal-prompts.md shows one.

The same keys describe a task in every such file: another kind of file lists `TaskEntry`s, or a subclass with keys of
its own, in a `Keys` model, reads them with `read_lined(path).as_a(...)`, and turns each into a `TaskSpec`.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from cuetune.data.formats.registry import READERS, suffix_of
from cuetune.data.task import FIELD
from cuetune.support import plugins
from cuetune.support.yaml_file import Keys, Lined, Place, read_lined

LONGEST_NAME = 2048  # characters of a source

NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class TaskSpec:
    """One task as a file describes it; nothing of its data has been read.

    data, validation, test: what `read_rows` takes, paths as seen from where the program runs. rows: how many to use at
    most, drawn by label. options: what else was said of the task, as `tuning.data.prepare` takes it, the name too.
    where: "TASKS.yaml, line 12: task 'spam'", as errors about it begin.
    """

    name: str
    data: str
    validation: str | None
    test: str | None
    rows: int | None
    options: Mapping[str, Any]
    where: str
    line: int


@dataclass(frozen=True)
class Suite:
    """Tasks in the order of their file. model: what `load_backbone` takes, None where the file names none."""

    model: str | None
    tasks: tuple[TaskSpec, ...]

    def __getitem__(self, name: str) -> TaskSpec:
        return next(task for task in self.tasks if task.name == name)


class TaskEntry(Keys):
    """The keys of one task. Only `name` and `data` must be said; the rest is inferred as in `cuetune tune`."""

    name: str
    data: str
    validation: str | None = None
    test: str | None = None
    rows: int | None = Field(None, ge=1)
    text: str | None = None
    label: str | None = None
    labels: tuple[str, ...] | None = Field(None, min_length=2)
    label_words: tuple[str, ...] | None = Field(None, min_length=2)
    template: str | None = None
    instruction: str | None = None
    columns: dict[str, str] | None = None
    max_tokens: int | None = Field(None, ge=1)
    generate: bool | None = None
    encoding: str | None = None

    @field_validator("name")
    @classmethod
    def _fits_a_folder(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a folder; use letters, digits, '-', '_' and '.'.")
        return name

    @field_validator("template")
    @classmethod
    def _names_a_column(cls, template: str | None) -> str | None:
        if template is not None and not FIELD.search(template):
            raise ValueError(f"{template!r} names no column; write one in braces, as in '{{text}}'.")
        return template

    @field_validator("labels", "label_words")
    @classmethod
    def _each_once(cls, words: tuple[str, ...] | None) -> tuple[str, ...] | None:
        twice = [word for number, word in enumerate(words or ()) if word in (words or ())[:number]]
        if twice:
            raise ValueError(f"{twice[0]!r} stands in the list twice; each label needs its own.")
        return words

    @model_validator(mode="after")
    def _agrees(self) -> "TaskEntry":
        if self.labels and self.label_words and len(self.labels) != len(self.label_words):
            raise ValueError(f"{len(self.labels)} labels but {len(self.label_words)} label words; give one for each.")
        if self.generate and (self.labels or self.label_words):
            raise ValueError("`generate` is for free text, which has no labels; remove one or the other.")
        return self

    def spec(self, lined: Lined, place: Place) -> TaskSpec:
        """The task with its data found. Raises CuetuneError naming the line of data that is not there."""
        sources = ("data", "validation", "test")
        options = self.model_dump(include=set(TaskEntry.model_fields) - {*sources, "rows"}, exclude_none=True)
        data, validation, test = (_found(getattr(self, each), lined, (*place, each)) for each in sources)
        assert data is not None  # a required key
        return TaskSpec(self.name, data, validation, test, self.rows, options, lined.where(place), lined.line(place))


class SuiteFile(Keys):
    """The keys of TASKS.yaml."""

    model: str | None = None
    tasks: tuple[TaskEntry, ...] = Field(min_length=1)


def read_suite(path: str | Path) -> Suite:
    """Read TASKS.yaml. Raises CuetuneError naming the line of the first fault: keys, types, names, missing files."""
    lined = read_lined(path)
    file = lined.as_a(SuiteFile)
    return Suite(file.model, specs(lined, "tasks", file.tasks))


def specs(lined: Lined, key: str, entries: Sequence[TaskEntry]) -> tuple[TaskSpec, ...]:
    """The tasks under one key of a file. Raises CuetuneError when a name stands there twice or data is missing."""
    lined.distinct(key, [entry.name for entry in entries])
    return tuple(entry.spec(lined, (key, number)) for number, entry in enumerate(entries))


def _found(source: str | None, lined: Lined, place: Place) -> str | None:
    """A source as seen from here: what lies beside the file comes first, then names of data sets, known or of a hub."""
    if source is None:
        return None
    folder = lined.path.parent
    bare, at, split = source.partition("@")
    if not bare:
        raise lined.error(place, f"{place[-1]}: found {source!r}, expected a file, a folder or a name.")
    if len(source) > LONGEST_NAME or "\0" in source or any(len(part.encode()) > 255 for part in source.split("/")):
        raise lined.error(place, f"{place[-1]}: {source[:40]!r}… is too long for a file or a name.")
    for name, rest in ((source, ""), (bare, at + split)):
        if (folder / name).exists():
            return str(folder / name) + rest
    is_file = suffix_of(Path(source)) in READERS or source.startswith((".", "/"))
    if is_file and not plugins.is_dataset(source):
        raise lined.error(place, f"{place[-1]}: no file or folder {str(folder / source)!r}.{_close(folder / source)}")
    return source


def _close(path: Path) -> str:
    """A name that is nearly the one that is missing, if there is one."""
    beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, beside, n=1)
    return f" Did you mean {close[0]!r}?" if close else " Paths are as seen from the file that names them."
