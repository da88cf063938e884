"""`cuetune evaluate`: a saved prompt on labelled rows, compared with baselines."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from cuetune.cli import options as o
from cuetune.cli.expand import Group, option
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class BaselineOptions(Group):
    """What the prompt is compared with."""

    panel: ClassVar[str] = "Baselines"

    baselines: bool = option(
        True, "Also score zero-shot and few-shot prompts (text) or a linear probe (image, audio, video)."
    )
    shots: int = option(8, "Demonstrations of the few-shot baseline.")
    demonstrations: str | None = option(
        None, "Labelled rows for the few-shot baseline or the linear probe. Default, for text: rows of DATA."
    )
    seed: int = option(0, "Random seed of the choice of demonstrations.")


def evaluate(
    prompt: o.SavedPrompt,
    data: Annotated[str, typer.Argument(help="Labelled rows that the prompt was not tuned on.")],
    reading: o.ReadOptions,
    baselines: BaselineOptions,
    model: o.SavedModelOptions,
    json: o.Json = False,
) -> None:
    """Score a saved prompt on labelled rows, with 95 % confidence intervals.

    One label per row: accuracy, macro-F1, confusion matrix and calibration error. Several labels: micro-F1, macro-F1,
    subset accuracy and scores per label. Numbers: Pearson and Spearman correlation, R², mean absolute and root mean
    square error.

    `cuetune evaluate prompts/reviews test.csv`

    `cuetune evaluate prompts/reviews test.csv --demonstrations train.csv --shots 4`
    """
    from cuetune.api.evaluate import evaluate as evaluated
    from cuetune.cli.report import report_notes, report_skipped
    from cuetune.tuning.progress import Counter

    skipped, source, given = reading.skipped(), reading.source(data), baselines.given()
    if baselines.demonstrations is not None:
        given["demonstrations"] = source.beside(baselines.demonstrations)
    with Counter("scoring") as counter:
        result = evaluated(
            prompt,
            source,
            model=model.model,
            encoding=reading.encoding,
            on_row=lambda method: counter.advance(),
            skipped=skipped,
            log=console.note if json else console.say,
            **given,
            **model.loading(),
        )
    if json:
        console.show_json(result.to_dict())
        return
    report_skipped(skipped)
    report_notes(source)
    _report(result)


def _report(result: "Evaluation") -> None:
    """Scores, the confusion matrix or scores per label, and what was cut."""
    from cuetune.cli.tables import confusion_table, label_table, scores_table
    from cuetune.data.readers.registry import reader_of

    console.show(scores_table(result))
    first = next(iter(result.results.values()))
    if first.confusion is not None and len(result.task.labels) <= 20:
        console.show(confusion_table(result.task.labels, first.confusion))
    if first.per_label:
        console.show(label_table(first.per_label))
    if first.cut_rows:
        console.say(reader_of(result.task).cut(first.cut_rows, result.task, first.limit))
    if first.unfinished:
        console.say(reader_of(result.task).unfinished(first.unfinished, first.answer_limit))
