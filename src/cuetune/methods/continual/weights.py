"""What pools are held against: the whole model tuned task after task, and all tasks learned at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.methods.adaptation import ModelWeights, fine_tuning
from cuetune.methods.continual.tuned import TunedLearner
from cuetune.tuning.runs import TaskData


class FineTuning(TunedLearner):
    """FT: all weights of a copy of the model and the head; all labels so far compete, which unlearns earlier ones."""

    name = "ft"
    described = "all weights of the model, all labels so far competing"
    masked = False
    prompt: ModelWeights

    def begin(self) -> ModelWeights:
        self._own, weights = fine_tuning(self.backbone)
        return weights

    @property
    def runs_on(self) -> Any:
        return self._own

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        weights = {f"weights.{number}": value for number, value in enumerate(self.prompt.masters)}
        return {**weights, **self.head.tensors()}, {}

    def _restore(self, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> None:
        for number, master in enumerate(self.prompt.masters):
            master.data.copy_(tensors[f"weights.{number}"])
        self.head.restore(tensors, self.labels)


class MaskedFineTuning(FineTuning):
    """FT++: the same, but only the labels of the task compete in its loss."""

    name = "ft++"
    described = "all weights of the model, only the task's labels competing"
    masked = True


def joint_data(tasks: Sequence[TaskData]) -> TaskData:
    """All tasks as one, for the upper bound: what a method learns when nothing has to be remembered.

    Raises CuetuneError for no tasks, or tasks whose rows are not read alike.
    """
    if not tasks:
        raise CuetuneError("no tasks to learn at once.")
    first = tasks[0].task
    for each in tasks:
        if (each.task.template, each.task.columns) != (first.template, first.columns):
            raise CuetuneError(f"tasks {first.name!r} and {each.task.name!r} read their rows differently.")
    words: dict[str, str] = {}
    for each in tasks:
        words |= dict(zip(each.task.labels, each.task.label_words, strict=True))
    task = replace(first, name="all at once", labels=tuple(words), label_words=tuple(words.values()))
    train, validation = ([example for each in tasks for example in part(each)] for part in (_train, _validation))
    return TaskData(task, train, validation)


def _train(data: TaskData) -> Any:
    return data.train


def _validation(data: TaskData) -> Any:
    return data.validation
