"""`load` and `predict`: saved prompts, and their answers for new rows."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from cuetune.answers.prediction import Prediction
from cuetune.backbones.base import Backbone
from cuetune.backbones.generation import Writing
from cuetune.backbones.registry import load_backbone
from cuetune.data.examples import read_examples
from cuetune.data.readers.base import Reader
from cuetune.data.readers.registry import reader_of
from cuetune.data.row import Example, Row
from cuetune.data.skip_report import Skipped
from cuetune.data.sources import source_of
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.record import RECORD
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.continual.answering import load_learned
from cuetune.methods.continual.learned import is_learned
from cuetune.modality import modality_of_kind


def load(folder: str | Path, task: Task | None = None) -> TunedPrompt:
    """A saved prompt, of cuetune or of PEFT (then `task` says what it is asked), or what was learned of a stream."""
    if is_learned(folder):
        if os.path.lexists(Path(folder) / RECORD):
            raise CuetuneError(
                f"{folder}: holds a saved prompt ({RECORD}) and a learned stream; move one of them away."
            )
        return load_learned(folder)
    return TunedPrompt.load(folder, task=task)


def backbone_for(
    tuned: TunedPrompt,
    model: str | Backbone | None = None,
    where: str = "prompt",
    *,
    log: Callable[[str], Any] | None = None,
    **options: Any,
) -> Backbone:
    """The backbone a prompt was made for, or `model` when given; refused unless it is the same model.

    log: is told when it runs in another precision than the prompt was tuned in; by default a warning is logged.
    """
    if isinstance(model, Backbone):
        backbone = model
    else:
        options.setdefault("revision", tuned.backbone.revision)
        options.setdefault("reads", modality_of_kind(tuned.backbone.kind).name)
        backbone = load_backbone(model or tuned.model, **options)
    tuned.backbone.check(backbone.identity, where)
    if (note := tuned.other_precision(backbone)) is not None:
        (log or logging.getLogger("cuetune").warning)(f"{where}: {note}")
    return backbone


def predict(
    prompt: TunedPrompt | str | Path,
    data: Any,
    *,
    model: str | Backbone | None = None,
    writing: Writing | None = None,
    encoding: str = "utf-8",
    skipped: Skipped | None = None,
    best_only: bool = False,
    **options: Any,
) -> Iterator[Prediction]:
    """One `Prediction` for each row of `data`, in order, in memory that does not grow with their number.

    best_only: of a row's label only its own probability is wanted, `confidence`; cheaper where labels are many.
    skipped: counts rows that cannot be read, which then get none; without it the first is an error. Of several splits
    that `data` has, the one for tests is answered.
    """
    options |= {"writing": writing, "encoding": encoding, "skipped": skipped, "best_only": best_only}
    for _, _, prediction in predict_rows(prompt, data, model=model, **options):
        yield prediction


def predict_rows(
    prompt: TunedPrompt | str | Path,
    data: Any,
    *,
    model: str | Backbone | None = None,
    writing: Writing | None = None,
    encoding: str = "utf-8",
    labels: bool = False,
    skipped: Skipped | None = None,
    best_only: bool = False,
    **options: Any,
) -> Iterator[tuple[Row, Example, Prediction]]:
    """As `predict`, with each row and example beside its answer; labels=True reads and checks the label column too.

    A `Source` notes which of several splits is answered, and rows without a label.
    """
    tuned = prompt if isinstance(prompt, TunedPrompt) else load(prompt)
    backbone = backbone_for(tuned, model, str(prompt) if not isinstance(prompt, TunedPrompt) else "prompt", **options)
    waiting: deque[tuple[Row, Example]] = deque()

    task, reader = tuned.task, reader_of(tuned.task)
    unlabelled = Skipped()
    source = source_of(data) if isinstance(data, str | Path) else data

    def examples() -> Iterator[Example]:
        rows = rows_to_answer(reader, source, encoding)
        first = next(rows, None)
        labelled = labels and first is not None and task.answers.labelled(first)
        rows = chain([] if first is None else [first], rows)
        ends = not isinstance(source, Iterator)
        for row, example in read_examples(rows, task, skipped, labelled=labelled, unlabelled=unlabelled, patient=ends):
            waiting.append((row, example))
            yield example

    unreadable = skipped if task.modality != "text" else None  # texts that cannot be read are left out above
    predictor = tuned.predictor(backbone, writing, unreadable)
    alone = best_only and task.answers.kind == "classification"
    for answered, prediction in predictor.answered(examples(), best_only=best_only):
        row, example = next((row, each) for row, each in iter(waiting.popleft, None) if each is answered)
        yield row, example, prediction.alone() if alone else prediction
    source_of(source).notes.extend(unlabelled.said("answered without a label to compare with"))


def rows_to_answer(reader: Reader, source: Any, encoding: str) -> Iterator[Row]:
    """Rows of a source; of texts that have splits those to test on, or else to validate on."""
    parts = reader.parts(source, encoding=encoding) if reader.modality.name == "text" else {}
    for split in (each for each in ("test", "validation", "train") if each in parts):
        source_of(source).notes.append(f"answered is the split {split}")
        return parts[split]
    return reader.read(source, encoding=encoding, labelled=False)
