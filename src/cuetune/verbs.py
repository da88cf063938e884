"""The verbs on saved prompts, as Python functions: load, predict, evaluate, check. The command line calls these."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cuetune.backbones.generation import Writing
from cuetune.backbones.loading import load_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.evaluation.evaluate import Evaluation, evaluate_sources, in_words, own_name
from cuetune.library.tuned import TunedPrompt
from cuetune.prediction import Prediction
from cuetune.prompts.words import choose
from cuetune.tasks.checking import Report, check_data
from cuetune.tasks.inference import infer_task
from cuetune.tasks.reading import read_rows
from cuetune.tasks.task import Example, Row, Task


def load(folder: str | Path, task: Task | None = None) -> TunedPrompt:
    """A saved prompt, of cuetune or of PEFT (then `task` says what it is asked)."""
    return TunedPrompt.load(folder, task=task)


def backbone_for(
    tuned: TunedPrompt, model: str | TextBackbone | None = None, where: str = "prompt", **options: Any
) -> TextBackbone:
    """The backbone a prompt was made for, or `model` when given; refused unless it is the same model."""
    if isinstance(model, TextBackbone):
        backbone = model
    else:
        options.setdefault("revision", tuned.backbone.revision)
        backbone = load_backbone(model or tuned.backbone.name, **options)
    tuned.backbone.check(backbone.identity, where)
    return backbone


def predict(
    prompt: TunedPrompt | str | Path,
    data: Any,
    *,
    model: str | TextBackbone | None = None,
    writing: Writing | None = None,
    encoding: str = "utf-8",
    **options: Any,
) -> Iterator[Prediction]:
    """One `Prediction` for each row of `data`, in order, in memory that does not grow with their number."""
    for _, _, prediction in predict_rows(prompt, data, model=model, writing=writing, encoding=encoding, **options):
        yield prediction


def predict_rows(
    prompt: TunedPrompt | str | Path,
    data: Any,
    *,
    model: str | TextBackbone | None = None,
    writing: Writing | None = None,
    encoding: str = "utf-8",
    labels: bool = False,
    **options: Any,
) -> Iterator[tuple[Row, Example, Prediction]]:
    """As `predict`, with each row and example beside its answer; labels=True reads and checks the label column too."""
    tuned = prompt if isinstance(prompt, TunedPrompt) else load(prompt)
    backbone = backbone_for(tuned, model, str(prompt) if not isinstance(prompt, TunedPrompt) else "prompt", **options)
    waiting: deque[tuple[Row, Example]] = deque()

    def examples() -> Iterator[Example]:
        for row in read_rows(data, encoding=encoding):
            example = tuned.task.example(row, labelled=labels and tuned.task.label_column in row.values)
            waiting.append((row, example))
            yield example

    for prediction in tuned.predictor(backbone, writing).predict(examples()):
        yield *waiting.popleft(), prediction


def evaluate(
    prompt: TunedPrompt | str | Path,
    data: Any,
    *,
    model: str | TextBackbone | None = None,
    shots: int = 8,
    demonstrations: Any = None,
    baselines: bool = True,
    writing: Writing | None = None,
    seed: int = 0,
    encoding: str = "utf-8",
    on_row: Any = None,
    **options: Any,
) -> Evaluation:
    """Scores of a saved prompt on labelled data, beside the same task said in words on the same rows.

    The few-shot prompt needs labelled examples and a saved prompt contains none: they come from `demonstrations`, or
    else from `data` itself, and those rows are then scored for no method.
    """
    tuned = prompt if isinstance(prompt, TunedPrompt) else load(prompt)
    task = tuned.task
    examples = [task.example(row) for row in read_rows(data, encoding=encoding)]
    if not examples:
        raise CuetuneError(f"{data}: no rows to evaluate.")
    backbone = backbone_for(tuned, model, str(prompt) if not isinstance(prompt, TunedPrompt) else "prompt", **options)
    sources = {own_name(tuned.prompt): tuned.predictor(backbone, writing)}
    if baselines:
        shown, examples = _set_aside(examples, demonstrations, task, shots, seed, encoding)
        sources |= in_words(backbone, task, shown, shots, seed, writing)
    return evaluate_sources(task, sources, examples, on_row)


def _set_aside(
    examples: list[Example], demonstrations: Any, task: Task, shots: int, seed: int, encoding: str
) -> tuple[Sequence[Example], list[Example]]:
    """Demonstrations, and the examples that are left to score."""
    if demonstrations is not None:
        return [task.example(row) for row in read_rows(demonstrations, encoding=encoding)], examples
    if len(examples) <= 2 * shots:  # too few rows to give any away
        return [], examples
    shown = choose(examples, shots, seed=seed)
    taken = {id(example) for example in shown}
    return shown, [example for example in examples if id(example) not in taken]


def check(
    data: Any, task: Task | None = None, *, tokenizer: Any = None, encoding: str = "utf-8", **task_options: Any
) -> Report:
    """Look for what spoils a task before it is tuned: copies, conflicts, rare labels, empty and overlong rows.

    data: a source of labelled rows, or a dictionary part -> source ({"train": …, "test": …}). The task is inferred from
    the first part unless it is given. tokenizer: for lengths in tokens.
    """
    sources = data if isinstance(data, Mapping) else {"data": data}
    rows = {part: list(read_rows(source, encoding=encoding)) for part, source in sources.items()}
    meant = task or infer_task(next(iter(rows.values())), **task_options)
    return check_data({part: map(meant.example, each) for part, each in rows.items()}, meant, tokenizer)
