"""Labelled rows as a run takes them: read, understood as a task, and split."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.evaluation.draws import draw
from cuetune.tasks.inference import infer_task
from cuetune.tasks.reading import read_rows
from cuetune.tasks.splits import Splits, fingerprint, split_examples
from cuetune.tasks.task import Row, Task
from cuetune.tuning.settings import Settings


@dataclass(frozen=True)
class Data:
    """A task and its labelled examples, split."""

    task: Task
    splits: Splits
    source: str

    @property
    def fingerprint(self) -> str:
        return fingerprint([*self.splits.train, *self.splits.validation, *self.splits.test])


def prepare(data: Any, validation: Any, test: Any, task: Task | None, settings: Settings, **task_options: Any) -> Data:
    """Read, infer what is not said, and split. The task's labels come from the training data alone."""
    options = {key: value for key, value in task_options.items() if value is not None}
    encoding = options.pop("encoding", "utf-8")
    rows = list(read_rows(data, encoding=encoding))
    if task is None:
        task = infer_task(rows, **options)
    examples = [task.example(row) for row in rows]
    given = {
        name: [task.example(row) for row in _rows(source, encoding)]
        for name, source in (("validation", validation), ("test", test))
        if source is not None
    }
    splits = split_examples(
        examples,
        validation=0 if "validation" in given else 0.1,
        test=0 if "test" in given else 0.2,
        seed=settings.seed,
        stratify=not task.generates,
    )
    splits = Splits(splits.train, given.get("validation", splits.validation), given.get("test", splits.test))
    source = Path(data).name if isinstance(data, str | Path) else type(data).__name__
    return Data(task, splits, source)


def few_rows(data: Data, rows: int, drawn: int = 0, *, keep_validation: bool = False) -> Data:
    """The same task with few rows to learn from: every label once if there is room, then in the data's proportion.

    Raises CuetuneError when there are not so many.
    """
    splits = data.splits
    if rows > len(splits.train):
        raise CuetuneError(
            f"--rows {rows}: {data.source} has {len(splits.train)} rows to tune on; ask for at most so many."
        )
    return replace(
        data, splits=Splits(draw(splits.train, rows, drawn), splits.validation if keep_validation else [], splits.test)
    )


def _rows(source: Any, encoding: str) -> list[Row]:
    return list(read_rows(source, encoding=encoding))


def sizes(splits: Splits) -> str:
    return f"rows: {len(splits.train)} to tune on, {len(splits.validation)} to validate, {len(splits.test)} held out"
