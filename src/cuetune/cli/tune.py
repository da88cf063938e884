"""`cuetune tune`: from a file with labelled rows to a saved prompt."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from cuetune.cli import options as o
from cuetune.cli.expand import Fields, Group, option

SETTINGS = "cuetune.tuning.settings:Settings"


@dataclass(frozen=True)
class PromptOptions(Group):
    """Which prompt, and what it starts from."""

    panel: ClassVar[str] = "Prompt"

    prompt: str | None = option(
        None,
        "Kind of prompt. {prompts}. Default: {usual_prompts}; frame for convolutional networks.",
    )
    start: str | None = option(
        None, "Saved prompt to start from or to calibrate; for multitask, a universal prompt. Default: none."
    )
    shots: int = option(8, "Demonstrations in text prompts and in the few-shot baseline.")


@dataclass(frozen=True)
class RunOptions(Group):
    """What is scored and written."""

    panel: ClassVar[str] = o.OUTPUT

    baselines: bool = option(
        True, "Also score zero-shot and few-shot prompts (text) or a linear probe (image, audio, video)."
    )
    tensorboard: bool = option(False, "Write TensorBoard scalars to the run folder.")
    restart: bool = option(False, "Start over instead of resuming an interrupted run.")
    overwrite: bool = option(False, "Replace the prompt that is in --to already.")


def tune(
    data: o.Data,
    to: o.To,
    task: o.TaskOptions,
    reading: o.ReadOptions,
    splits: o.SplitOptions,
    prompt: PromptOptions,
    training: Annotated[Any, Fields(SETTINGS)],
    model: o.ModelOptions,
    run: RunOptions,
    train_rows: o.TrainRows = None,
) -> None:
    """Tune a prompt on labelled rows, compare it with baselines on test rows, and save it.

    `cuetune tune reviews.csv --to prompts/reviews`

    `cuetune tune train.jsonl --test test.jsonl --text body --label topic --to prompts/topics`

    `cuetune tune reviews.csv --prompt prefix --length 10 --to prompts/reviews-prefix`

    `cuetune tune pairs.csv --text english --label french --generate --to prompts/french`

    `cuetune tune comments.csv --labels-from toxic,insult,threat --to prompts/comments`

    `cuetune tune reviews.csv --label score --task regression --to prompts/scores`

    `cuetune tune images/ --prompt vpt --length 10 --to prompts/images`

    `cuetune tune --config examples/spam-mails/config.toml`

    An interrupted run resumes from its checkpoint when the same command is given again. Ctrl-C saves the best step so
    far.
    """
    from cuetune.api.tune import tune as tuned_on
    from cuetune.cli.report import report_tuned

    tuned = tuned_on(
        reading.source(data),
        to,
        settings=training,
        train_rows=train_rows,
        **splits.given(),
        **prompt.given(),
        **run.given(),
        **model.given(),
        **reading.given(),
        **task.given(),
    )
    report_tuned(tuned, to, model.model)
    o.end_if_stopped(tuned)
