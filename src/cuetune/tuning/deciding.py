"""What decides between answers once a prompt is tuned: thresholds of several labels, chosen on the validation rows."""

from collections.abc import Callable, Sequence
from typing import Any

from cuetune.data.row import Example
from cuetune.data.task import Task


def decided(task: Task, predictor: Callable[[], Any], validation: Sequence[Example]) -> Task:
    """The task as it is kept with a prompt. predictor: makes what answers rows; called only where there is a choice."""
    if task.answers.decides and validation:
        predictions = list(predictor().predict(validation))
        return task.answers.decided(predictions, [example.label for example in validation])
    return task
