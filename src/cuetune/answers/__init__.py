"""The kinds of answers, registered in one place: one label, several labels, a number, or text.

To add one: a subclass of `Answers` in a file here, and its name in `KINDS`. Nothing else asks of which kind a task is.
"""

from typing import TYPE_CHECKING

from cuetune.answers.base import Answers
from cuetune.answers.classification import OneLabel
from cuetune.answers.generation import WrittenText
from cuetune.answers.multi_label import SeveralLabels
from cuetune.answers.regression import Number
from cuetune.errors import CuetuneError

if TYPE_CHECKING:
    from cuetune.data.task import Task

KINDS: dict[str, type[Answers]] = {each.kind: each for each in (OneLabel, SeveralLabels, Number, WrittenText)}

__all__ = ["KINDS", "Answers", "answers_of", "check_kind", "refuse"]


def answers_of(task: "Task") -> Answers:
    """What is answered under this task. A task that does not say its kind has labels, or writes text."""
    check_kind(task.kind or None)
    return KINDS[task.kind or (OneLabel.kind if task.labels else WrittenText.kind)](task)


def check_kind(kind: str | None) -> None:
    """Raise CuetuneError for a kind that is not known; None is not said."""
    if kind is not None and kind not in KINDS:
        raise CuetuneError(f"unknown kind of task {kind!r}; choose one of {', '.join(KINDS)}.")


def refuse(task: "Task", what: str, *kinds: str) -> None:
    """Raise CuetuneError where a task is of one of these kinds; by default of those that only a head or words answer.

    what: the method or verb that cannot take it, as the beginning of a sentence.
    """
    kind = task.answers.kind
    if kind in (kinds or (SeveralLabels.kind, Number.kind)):
        raise CuetuneError(f"{what} cannot take a {kind} task; tune, predict, evaluate, check, compare and show can.")
