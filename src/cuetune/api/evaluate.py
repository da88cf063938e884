"""`evaluate`: how a saved prompt does on labelled rows, beside its baselines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cuetune.api.predict import backbone_for, load
from cuetune.backbones.base import Backbone
from cuetune.backbones.generation import Writing
from cuetune.backbones.preparation import preparation_of
from cuetune.data.examples import examples_of
from cuetune.data.readers.registry import reader_of
from cuetune.data.row import Example
from cuetune.data.skip_report import Skipped
from cuetune.data.sources import source_of
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.evaluation.baselines import baselines_for
from cuetune.evaluation.evaluate import Evaluation, Source, evaluate_sources, own_name
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts.words import choose
from cuetune.tuning.data import rows_to_score


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

    For texts these are the same task said in words, for images, several labels and numbers a linear probe. Both need
    labelled examples and a saved prompt contains none: they come from `demonstrations`, or else (for words) from `data`
    itself, and those rows are then scored for no method. skipped: as in `predict`.
    """
    tuned = prompt if isinstance(prompt, TunedPrompt) else load(prompt)
    task = tuned.task
    reader = reader_of(task)
    rows = rows_to_score(reader, source_of(data) if isinstance(data, str | Path) else data, encoding, task)
    backbone = backbone_for(tuned, model, str(prompt) if not isinstance(prompt, TunedPrompt) else "prompt", **options)
    preparation = preparation_of(task.modality, backbone)
    examples = reader.readable(examples_of(rows, task, skipped), task, skipped, preparation)
    if not examples:
        raise CuetuneError(f"{data}: no rows to evaluate.")
    sources: dict[str, Source] = {own_name(tuned.prompt): tuned.predictor(backbone, writing)}
    if baselines:
        shown, examples = _set_aside(examples, demonstrations, task, shots, seed, encoding)
        sources |= baselines_for(backbone, task, shown, head=tuned.head, shots=shots, seed=seed, writing=writing)
    return evaluate_sources(task, sources, examples, on_row)


def _set_aside(
    examples: list[Example], demonstrations: Any, task: Task, shots: int, seed: int, encoding: str
) -> tuple[Sequence[Example], list[Example]]:
    """Demonstrations, and the examples that are left to score."""
    if demonstrations is not None:
        return list(examples_of(reader_of(task).read(demonstrations, encoding=encoding), task)), examples
    if task.modality != "text" or not task.answers.in_words or len(examples) <= 2 * shots:  # too few to give any away
        return [], examples
    shown = choose(examples, shots, seed=seed)
    taken = {id(example) for example in shown}
    return shown, [example for example in examples if id(example) not in taken]
