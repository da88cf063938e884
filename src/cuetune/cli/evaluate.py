"""`cuetune evaluate`: a saved prompt on labelled rows, beside the same task said in words."""

from pathlib import Path
from typing import Annotated

import typer

from cuetune.cli import options as o
from cuetune.support import console


def evaluate(
    prompt: Annotated[Path, typer.Argument(help="Folder of a saved prompt.")],
    data: Annotated[str, typer.Argument(help="Labelled rows the prompt has not seen.")],
    shots: Annotated[int, typer.Option(help="Demonstrations of the few-shot baseline.")] = 8,
    demonstrations: Annotated[
        str | None,
        typer.Option(help="Labelled rows for them (pictures: for a probe); else of DATA."),
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Also score zero-shot and few-shot prompts.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    seed: Annotated[int, typer.Option(help="Chooses the demonstrations.")] = 0,
    skip_unreadable: o.SkipUnreadable = False,
    no_splits: o.NoSplits = False,
    media_root: o.MediaRoot = None,
    allow_download: o.AllowDownload = False,
    encoding: o.Encoding = "utf-8",
    delimiter: o.Delimiter = None,
    quoting: o.Quoting = "standard",
    column_names: o.ColumnNames = None,
    model: o.SavedModel = None,
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
    trust_remote_code: o.TrustRemoteCode = False,
) -> None:
    """Accuracy, macro-F1, confusion matrix and calibration error with 95 % confidence intervals.

    Of several labels for a row micro-F1, macro-F1, subset accuracy and each label's own scores; of numbers Pearson's
    and Spearman's correlation, R², mean absolute and root mean square error.

    `cuetune evaluate prompts/reviews test.csv`

    `cuetune evaluate prompts/reviews test.csv --demonstrations train.csv --shots 4`
    """
    from cuetune.cli.report import report_notes, report_skipped
    from cuetune.cli.tables import confusion_table, label_table, scores_table
    from cuetune.modalities import of_task
    from cuetune.tasks.skipped import Skipped
    from cuetune.tuning.progress import Counter
    from cuetune.verbs import evaluate as run

    skipped = Skipped() if skip_unreadable else None
    source = o.source(data, no_splits, media_root, allow_download, (delimiter, quoting, column_names))
    with Counter("scoring") as counter:
        result = run(
            prompt,
            source,
            model=model,
            shots=shots,
            demonstrations=demonstrations and source.beside(demonstrations),
            baselines=baselines,
            seed=seed,
            encoding=encoding,
            on_row=lambda method: counter.advance(),
            skipped=skipped,
            log=console.note if json else console.say,
            **o.model_options(revision, dtype, device, trust_remote_code),
        )
    if json:
        console.show_json(result.to_dict())
        return
    report_skipped(skipped)
    report_notes(source)
    console.show(scores_table(result))
    first = next(iter(result.results.values()))
    if first.confusion is not None and len(result.task.labels) <= 20:
        console.show(confusion_table(result.task.labels, first.confusion))
    if first.per_label:
        console.show(label_table(first.per_label))
    if first.cut_rows:
        console.say(of_task(result.task).cut(first.cut_rows, result.task, first.limit))
    if first.unfinished:
        console.say(of_task(result.task).unfinished(first.unfinished, first.answer_limit))
