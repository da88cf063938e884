"""The tasks that a universal prompt is trained on: read from their file, split, and each with the same options."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cuetune.answers import refuse
from cuetune.data.sampling import draw
from cuetune.data.splits import Splits
from cuetune.data.suite import Suite, TaskSpec, read_suite
from cuetune.errors import CuetuneError
from cuetune.modality import TEXT
from cuetune.prompts.words import instructed
from cuetune.tuning.data import Data, prepare
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings


@dataclass(frozen=True)
class Source:
    """One task with its rows."""

    name: str
    data: Data

    @property
    def asked(self) -> Data:
        """The same with the instruction at the beginning of every row: what tells tasks apart to a shared prompt."""
        return replace(self.data, task=instructed(self.data.task))

    @property
    def task_data(self) -> TaskData:
        """As the loop takes it."""
        return TaskData(self.asked.task, self.data.splits.train, self.data.splits.validation)


def read_sources(tasks: str | Path | Suite | Mapping[str, Any], settings: Settings) -> tuple[str | None, list[Source]]:
    """The model that a TASKS.yaml names, if any, and its tasks; or those of a mapping name -> data or options.

    In a mapping a task is data as `tune` takes it, or a dictionary of it and of task options:
    {"spam": {"data": "mails.csv", "template": …}}. Raises CuetuneError naming the line, the row and what is wrong.
    """
    if isinstance(tasks, Mapping):
        return None, [_from_mapping(name, given, settings) for name, given in tasks.items()]
    suite = tasks if isinstance(tasks, Suite) else read_suite(tasks)
    return suite.model, [from_spec(spec, settings) for spec in suite.tasks]


def from_spec(spec: TaskSpec, settings: Settings) -> Source:
    """One task of a file, with at most as many rows as it says, labels in the data's own proportion."""
    try:
        data = prepare(spec.data, spec.validation, spec.test, None, settings, model=TEXT.model, **spec.options)
        refuse(data.task, "multitask")
    except CuetuneError as error:
        raise CuetuneError(f"{spec.where}: {error}") from error
    return Source(spec.name, data if spec.rows is None else at_most(data, spec.rows, settings.seed))


def at_most(data: Data, rows: int, seed: int) -> Data:
    """The same task with at most `rows` rows in all, every part in its share."""
    splits = data.splits
    total = len(splits.train) + len(splits.validation) + len(splits.test)
    if rows >= total:
        return data
    parts = (splits.train, splits.validation, splits.test)
    fewer = [draw(part, max(1, round(len(part) * rows / total)), seed) if part else [] for part in parts]
    return replace(data, splits=Splits(*fewer))


def _from_mapping(name: str, given: Any, settings: Settings) -> Source:
    options = dict(given) if isinstance(given, Mapping) and "data" in given else {"data": given}
    rows, task = options.pop("rows", None), options.pop("task", None)
    data, validation, test = (options.pop(part, None) for part in ("data", "validation", "test"))
    named: dict[str, Any] = {} if task else {"name": name}
    try:
        prepared = prepare(data, validation, test, task, settings, model=TEXT.model, **named, **options)
        refuse(prepared.task, "multitask")
    except CuetuneError as error:
        raise CuetuneError(f"task {name!r}: {error}") from error
    return Source(name, prepared if rows is None else at_most(prepared, rows, settings.seed))
