"""`cuetune predict`: answers for a file of any size, or for sentences given on the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cuetune.cli import options as o
from cuetune.errors import CuetuneError
from cuetune.support import console
from cuetune.support.named_paths import possible

MANY_LABELS = 20  # words of more labels are scored as far as the answer needs it, unless all are asked for


def predict(
    prompt: Annotated[Path, typer.Argument(help="Folder of a saved prompt.")],
    data: Annotated[
        str | None, typer.Argument(help="Rows to answer: CSV, TSV, JSONL, Parquet, folder or name.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="File for the answers: .csv, .tsv or .jsonl.")] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="A text, or the path of a picture or clip, to answer; repeatable."),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Longest written answer in tokens. Default: that of the data the prompt was tuned on, at least 64.",
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 writes greedily; above samples.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest tokens of this total probability.")] = 1.0,
    stop: Annotated[list[str] | None, typer.Option(help="A text that ends a written answer; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="For sampling.")] = 0,
    probabilities: Annotated[
        str | None,
        typer.Option(
            help="all: a column for each label's; best: the predicted label's alone, which is faster with label words. "
            f"Default: all, or best for label words of more than {MANY_LABELS} labels.",
        ),
    ] = None,
    ignore_labels: Annotated[bool, typer.Option("--ignore-labels", help="Do not read a label column.")] = False,
    skip_unreadable: o.SkipUnreadable = False,
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
    """Answer rows with a saved prompt: the label and the labels' probabilities, or a number, in the rows' order.

    `cuetune predict prompts/reviews new.csv --to answers.csv`

    `cuetune predict prompts/reviews --input "Broke after two days." --input "Best kettle I ever had."`

    The file appears whole or not at all; memory does not grow with the number of rows. Where the rows carry the label
    column, the accuracy is printed too.
    """
    from cuetune.backbones.generation import Writing
    from cuetune.cli.report import report_notes, report_skipped
    from cuetune.tasks.skipped import Skipped
    from cuetune.verbs import load, predict_rows

    if (data is None) == (not inputs):
        raise CuetuneError("give a file of rows, or texts with --input, and not both.")
    if data is not None and to is None:
        raise CuetuneError("say where the answers go: --to answers.csv (or .tsv, .jsonl).")
    if (
        to is not None
        and data is not None
        and possible(to).exists()
        and Path(possible(data)).exists()
        and to.samefile(data)
    ):
        raise CuetuneError(f"{to}: holds the rows that are to be answered; choose another --to.")
    tuned = load(prompt)
    best_only = only_best(tuned, probabilities, to)
    skipped = Skipped() if skip_unreadable else None
    source: Any = spoken(tuned.task, inputs or [], allow_download)
    if data is not None:
        source = o.source(data, False, media_root, allow_download, (delimiter, quoting, column_names))
    answers = predict_rows(
        tuned,
        source,
        model=model,
        encoding=encoding,
        labels=data is not None and not ignore_labels,
        skipped=skipped,
        best_only=best_only,
        writing=Writing(max_new_tokens, temperature, top_p, tuple(stop or ()), seed),
        log=console.say,
        **o.model_options(revision, dtype, device, trust_remote_code),
    )
    if to is None:
        show_answers(tuned.task, answers)
    else:
        _write(tuned.task, answers, to)
    report_skipped(skipped)
    report_notes(source)


def only_best(tuned: Any, probabilities: str | None, to: Path | None) -> bool:
    """Whether the probability of the predicted label is enough, as it is on the screen."""
    task = tuned.task
    if probabilities not in (None, "all", "best"):
        raise CuetuneError(f"--probabilities {probabilities}: choose all or best.")
    if probabilities == "all":
        return False
    many = task.modality == "text" and getattr(tuned, "head", None) is None and len(task.labels) > MANY_LABELS
    if to is not None and probabilities is None and many and task.answers.kind == "classification":
        console.say(
            f"{len(task.labels)} labels: the answers' own probabilities are written; --probabilities all writes a "
            "column for each label, which takes longer."
        )
    return to is None or probabilities == "best" or many


def spoken(task: Any, texts: list[str], allow_download: bool = False) -> list[dict[str, str]]:
    """Sentences from the command line as rows; the task must read a single column.

    allow_download: an http(s) address of a file may be fetched.
    """
    from cuetune.tasks.locating import ADDRESS, Address

    if len(task.fields) != 1:
        raise CuetuneError(
            f"this prompt reads {len(task.fields)} columns ({', '.join(task.fields)}); give it a file of rows."
        )
    column = task.columns.get(task.fields[0], task.fields[0])
    fetched = allow_download and task.modality != "text"
    return [{column: Address(text) if fetched and ADDRESS.match(text) else text} for text in texts]


def show_answers(task: Any, answers: Iterator[Any]) -> None:
    from cuetune.tasks.task import said

    table = console.table(task.modality, "answer", *(["probability"] if task.labels else []))
    for _, example, answer in answers:
        table.add_row(" | ".join(map(said, example.fields.values())), *task.answers.shown(answer))
    console.show(table)


def _write(task: Any, answers: Iterator[Any], to: Path) -> None:
    from cuetune.cli.writing import answer_writer
    from cuetune.modalities import of_task
    from cuetune.tuning.progress import counted

    counts = {"rows": 0, "cut": 0, "limit": 0, "unfinished": 0, "longest": 0, "labelled": 0}
    right = 0.0
    with answer_writer(to, task) as write:
        for row, example, answer in counted(answers, "predicting"):
            write(row, answer)
            counts["rows"] += 1
            counts["cut"] += answer.cut > 0
            counts["limit"] = max(counts["limit"], answer.limit)
            counts["unfinished"] += answer.unfinished > 0
            counts["longest"] = max(counts["longest"], answer.unfinished)
            if example.label is not None:
                counts["labelled"] += 1
                right += task.answers.agrees(answer, example.label)
    if not counts["rows"]:
        console.say("no rows to answer.", style="yellow")
    console.say(f"{counts['rows']:,} answers in ", console.strong(to))
    if (column := write.names.get("predicted", "predicted")) != "predicted":
        console.say(f"the rows have columns that are called as the answers': the answers' label is in {column!r}")
    if counts["cut"]:
        console.say(of_task(task).cut(counts["cut"], task, counts["limit"]))
    if counts["unfinished"]:
        line = of_task(task).unfinished(counts["unfinished"], counts["longest"])
        console.say(f"{line} Set another length with --max-new-tokens.")
    if counts["labelled"]:
        from cuetune.evaluation.metrics import figure

        agreement = figure(right / counts["labelled"])
        console.say(f"{task.answers.agreement} on the {counts['labelled']:,} rows with a label: {agreement}")
