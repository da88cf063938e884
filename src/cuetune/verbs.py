"""The verbs on saved prompts, as Python functions: load, predict, evaluate, check. The command line calls these."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from cuetune.answers.prediction import Prediction
from cuetune.backbones.base import Backbone
from cuetune.backbones.generation import Writing
from cuetune.backbones.loading import load_backbone
from cuetune.backbones.preparation import preparation_of
from cuetune.data.chat_template import is_chat
from cuetune.data.check import Report, check_data
from cuetune.data.examples import examples_of, read_examples, understood
from cuetune.data.skip_report import Skipped
from cuetune.data.sources import source_of
from cuetune.data.task import Example, Row, Task
from cuetune.errors import CuetuneError
from cuetune.evaluation.evaluate import Evaluation, Source, evaluate_sources, own_name
from cuetune.library.record import RECORD
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.continual.learned import is_learned
from cuetune.modalities import Modality, of_data, of_kind, of_task
from cuetune.prompts.words import choose
from cuetune.tuning.data import rows_to_score


def load(folder: str | Path, task: Task | None = None) -> TunedPrompt:
    """A saved prompt, of cuetune or of PEFT (then `task` says what it is asked), or what was learned of a stream."""
    if is_learned(folder):
        if os.path.lexists(Path(folder) / RECORD):
            raise CuetuneError(
                f"{folder}: holds a saved prompt ({RECORD}) and a learned stream; move one of them away."
            )
        from cuetune.methods.continual.answering import load_learned

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
        options.setdefault("reads", of_kind(tuned.backbone.kind).name)
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

    task, modality = tuned.task, of_task(tuned.task)
    unlabelled = Skipped()
    source = source_of(data) if isinstance(data, str | Path) else data

    def examples() -> Iterator[Example]:
        rows = rows_to_answer(modality, source, encoding)
        first = next(rows, None)
        labelled = labels and first is not None and task.answers.labelled(first)
        rows = chain([] if first is None else [first], rows)
        ends = not isinstance(source, Iterator)
        for row, example in read_examples(rows, task, skipped, labelled=labelled, unlabelled=unlabelled, patient=ends):
            waiting.append((row, example))
            yield example

    unreadable = skipped if modality.name != "text" else None  # texts that cannot be read are left out above
    predictor = tuned.predictor(backbone, writing, unreadable)
    alone = best_only and task.answers.kind == "classification"
    for answered, prediction in predictor.answered(examples(), best_only=best_only):
        row, example = next((row, each) for row, each in iter(waiting.popleft, None) if each is answered)
        yield row, example, prediction.alone() if alone else prediction
    source_of(source).notes.extend(unlabelled.said("answered without a label to compare with"))


def evaluate(
    prompt: TunedPrompt | str | Path,
    data: Any,
    *,
    model: str | Backbone | None = None,
    shots: int = 8,
    demonstrations: Any = None,
    baselines: bool = True,
    writing: Writing | None = None,
    seed: int = 0,
    encoding: str = "utf-8",
    on_row: Any = None,
    skipped: Skipped | None = None,
    **options: Any,
) -> Evaluation:
    """Scores of a saved prompt on labelled data, beside the baselines of its modality on the same rows.

    For texts these are the same task said in words, for pictures, several labels and numbers a linear probe. Both need
    labelled examples and a saved prompt contains none: they come from `demonstrations`, or else (for words) from `data`
    itself, and those rows are then scored for no method. skipped: as in `predict`.
    """
    tuned = prompt if isinstance(prompt, TunedPrompt) else load(prompt)
    task = tuned.task
    modality = of_task(task)
    rows = rows_to_score(modality, source_of(data) if isinstance(data, str | Path) else data, encoding, task)
    backbone = backbone_for(tuned, model, str(prompt) if not isinstance(prompt, TunedPrompt) else "prompt", **options)
    preparation = preparation_of(modality.name, backbone)
    examples = modality.readable(examples_of(rows, task, skipped), task, skipped, preparation)
    if not examples:
        raise CuetuneError(f"{data}: no rows to evaluate.")
    sources: dict[str, Source] = {own_name(tuned.prompt): tuned.predictor(backbone, writing)}
    if baselines:
        shown, examples = _set_aside(examples, demonstrations, task, shots, seed, encoding)
        sources |= modality.baselines(backbone, task, shown, head=tuned.head, shots=shots, seed=seed, writing=writing)
    return evaluate_sources(task, sources, examples, on_row)


def rows_to_answer(modality: Modality, source: Any, encoding: str) -> Iterator[Row]:
    """Rows of a source; of texts that have splits those to test on, or else to validate on."""
    parts = modality.parts(source, encoding=encoding) if modality.name == "text" else {}
    for split in (each for each in ("test", "validation", "train") if each in parts):
        source_of(source).notes.append(f"answered is the split {split}")
        return parts[split]
    return modality.read(source, encoding=encoding, labelled=False)


def _set_aside(
    examples: list[Example], demonstrations: Any, task: Task, shots: int, seed: int, encoding: str
) -> tuple[Sequence[Example], list[Example]]:
    """Demonstrations, and the examples that are left to score."""
    if demonstrations is not None:
        return list(examples_of(of_task(task).read(demonstrations, encoding=encoding), task)), examples
    if task.modality != "text" or not task.answers.in_words or len(examples) <= 2 * shots:  # too few to give any away
        return [], examples
    shown = choose(examples, shots, seed=seed)
    taken = {id(example) for example in shown}
    return shown, [example for example in examples if id(example) not in taken]


def check(
    data: Any, task: Task | str | None = None, *, tokenizer: Any = None, encoding: str = "utf-8", **task_options: Any
) -> Report:
    """Look for what spoils a task before it is tuned: copies, conflicts, rare labels, empty and overlong rows.

    data: a source of labelled rows, or a dictionary part -> source ({"train": …, "test": …}). The task is inferred from
    the first part unless it is given. tokenizer: for lengths in tokens.
    """
    if isinstance(task, str):
        task, task_options["kind"] = None, task
    sources = data if isinstance(data, Mapping) else {"data": data}
    first = next(iter(sources.values()))
    modality = of_task(task) if task else of_data(first, task_options, encoding)
    sources = modality.parts(data, encoding=encoding) or sources
    rows = {
        part: list(source if isinstance(source, Iterator) else modality.read(source, encoding=encoding))
        for part, source in sources.items()
    }
    if is_chat(task_options.get("template")):
        task_options["tokenizer"] = tokenizer
    meant = task or modality.infer(next(iter(rows.values())), **task_options)
    parts = {part: understood(each, meant) for part, each in rows.items()}
    return check_data(parts, meant, tokenizer, lambda examples: modality.faults(examples, meant))
