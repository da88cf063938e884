"""What is to be corrected: labelled rows that the prompt answers wrongly, checked before anything is learned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cuetune.answers import refuse
from cuetune.answers.prediction import Prediction
from cuetune.data.reading import read_rows
from cuetune.data.row import Example
from cuetune.data.splits import text_key
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt


@dataclass(frozen=True)
class Corrections:
    """The mistakes, and the rows beside them that are answered right already and must stay so."""

    mistakes: list[Example]
    right: list[Example]


def check_correctable(tuned: TunedPrompt, where: str) -> None:
    """Raise CuetuneError for a prompt that takes no corrections."""
    refuse(tuned.task, f"{where}: fix")
    if tuned.task.generates:
        raise CuetuneError(f"{where}: writes free text; only answers with labels can be corrected.")
    if tuned.head is not None:
        raise CuetuneError(f"{where}: its answers are read by a trained head; only label words can be corrected.")
    if tuned.origin != "cuetune":
        raise CuetuneError(f"{where}: made by PEFT, which does not record the task; save it with cuetune first.")


def read_corrections(data: Any, task: Task, encoding: str = "utf-8") -> list[Example]:
    """Labelled rows, copies once. Raises CuetuneError naming the row, and never its words.

    For no rows, a missing column, a label that the task does not have, or one text with two labels.
    """
    first: dict[str, Example] = {}
    for row in read_rows(data, encoding=encoding):
        example = task.example(row)
        seen = first.setdefault(text_key(example), example)
        if seen.label != example.label:
            raise CuetuneError(
                f"{example.where}: corrects to {example.label!r} what {seen.where} corrects to {seen.label!r}; decide "
                "which is right and remove the other."
            )
    if not first:
        raise CuetuneError("no corrections; give rows with a text and the label that is right.")
    return list(first.values())


def sorted_out(examples: Sequence[Example], answers: Sequence[Prediction]) -> Corrections:
    """Which rows are mistakes. Raises CuetuneError where none is."""
    wrong = [answer.label != example.label for example, answer in zip(examples, answers, strict=True)]
    if not any(wrong):
        raise CuetuneError(
            f"all {len(examples)} corrections are answered right already; there is nothing to fix, and the prompt "
            "stays as it is."
        )
    parts: dict[bool, list[Example]] = {True: [], False: []}
    for example, is_wrong in zip(examples, wrong, strict=True):
        parts[is_wrong].append(example)
    return Corrections(parts[True], parts[False])


def without(examples: Sequence[Example], corrections: Sequence[Example]) -> list[Example]:
    """Those of the examples whose text is not among the corrections. Raises CuetuneError where none is left."""
    known = {text_key(example) for example in corrections}
    left = [example for example in examples if text_key(example) not in known]
    if not left:
        raise CuetuneError("every held-out row is among the corrections; give rows that are not, to score on.")
    return left
