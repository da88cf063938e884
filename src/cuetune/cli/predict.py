"""`cuetune predict`: predictions for a file of any size, or for inputs given on the command line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from cuetune.cli import options as o
from cuetune.cli.expand import Group, option
from cuetune.errors import CuetuneError
from cuetune.support import console
from cuetune.support.named_paths import possible

if TYPE_CHECKING:
    from cuetune.backbones.generation import Writing


MANY_LABELS = 20  # words of more labels are scored as far as the answer needs it, unless all are asked for


@dataclass(frozen=True)
class InputOptions(Group):
    """What is answered beside a file of rows."""

    panel: ClassVar[str] = o.DATA

    inputs: list[str] | None = option(
        None, "Text, or path of an image, audio or video file, to answer. Repeatable.", flag="--input"
    )
    ignore_labels: bool = option(False, "Do not read the label column, so that no accuracy is printed.")


@dataclass(frozen=True)
class WritingOptions(Group):
    """How generated text is decoded."""

    panel: ClassVar[str] = "Generation"

    max_new_tokens: int | None = option(
        None, "Maximum tokens per generated answer. Default: the longest of the tuning data, at least 64.", min=1
    )
    temperature: float = option(0.0, "Sampling temperature; 0 is greedy decoding.")
    top_p: float = option(1.0, "Nucleus sampling: total probability of the tokens to sample from, 0 to 1.")
    stop: list[str] | None = option(None, "Text that ends a generated answer. Repeatable. Default: none.")
    seed: int = option(0, "Random seed of sampling.")

    def writing(self) -> "Writing":
        """The same as `predict` takes it."""
        from cuetune.backbones.generation import Writing

        return Writing(self.max_new_tokens, self.temperature, self.top_p, tuple(self.stop or ()), self.seed)


def predict(
    prompt: o.SavedPrompt,
    inputs: InputOptions,
    reading: o.ReadOptions,
    writing: WritingOptions,
    model: o.SavedModelOptions,
    data: Annotated[
        str | None,
        typer.Argument(help="Rows: a CSV, TSV, JSONL, Parquet or Excel file, a folder, or a data set's name."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="File for the predictions: .csv, .tsv or .jsonl.", rich_help_panel=o.OUTPUT),
    ] = None,
    probabilities: Annotated[
        str | None,
        typer.Option(
            "--probabilities",
            help="Columns of probabilities: all labels, or best (the predicted label only, faster with label words). "
            f"Default: all; best for label words of more than {MANY_LABELS} labels.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = None,
) -> None:
    """Predict with a saved prompt: labels with probabilities, numbers or text, in the order of the rows.

    `cuetune predict prompts/reviews new.csv --to answers.csv`

    `cuetune predict prompts/reviews --input "Broke after two days." --input "Best kettle I ever had."`

    The file is written whole or not at all, in memory that does not depend on the number of rows. If the rows have a
    label column, the accuracy is printed.
    """
    from cuetune.api.predict import load, predict_rows
    from cuetune.cli.report import report_notes, report_skipped

    _check_places(data, inputs.inputs, to)
    tuned, skipped = load(prompt), reading.skipped()
    best_only = only_best(tuned, probabilities, to)
    source: Any = spoken(tuned.task, inputs.inputs or [], reading.allow_download)
    if data is not None:
        source = reading.source(data)
    answers = predict_rows(
        tuned,
        source,
        model=model.model,
        encoding=reading.encoding,
        labels=data is not None and not inputs.ignore_labels,
        skipped=skipped,
        best_only=best_only,
        writing=writing.writing(),
        log=console.say,
        **model.loading(),
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


def _check_places(data: str | None, inputs: list[str] | None, to: Path | None) -> None:
    """Raise CuetuneError unless there is one thing to answer and, for rows, a place for the answers."""
    if (data is None) == (not inputs):
        raise CuetuneError("give a file of rows, or texts with --input, and not both.")
    if data is None:
        return
    if to is None:
        raise CuetuneError("say where the answers go: --to answers.csv (or .tsv, .jsonl).")
    if possible(to).exists() and Path(possible(data)).exists() and to.samefile(data):
        raise CuetuneError(f"{to}: holds the rows that are to be answered; choose another --to.")


def spoken(task: Any, texts: list[str], allow_download: bool = False) -> list[dict[str, str]]:
    """Sentences from the command line as rows; the task must read a single column.

    allow_download: an http(s) address of a file may be fetched.
    """
    from cuetune.data.media.location import ADDRESS, Address

    if len(task.fields) != 1:
        raise CuetuneError(
            f"this prompt reads {len(task.fields)} columns ({', '.join(task.fields)}); give it a file of rows."
        )
    column = task.columns.get(task.fields[0], task.fields[0])
    fetched = allow_download and task.modality != "text"
    return [{column: Address(text) if fetched and ADDRESS.match(text) else text} for text in texts]


def show_answers(task: Any, answers: Iterator[Any]) -> None:
    from cuetune.data.task import said

    table = console.table(task.modality, "answer", *(["probability"] if task.labels else []))
    for _, example, answer in answers:
        table.add_row(" | ".join(map(said, example.fields.values())), *task.answers.shown(answer))
    console.show(table)


def _write(task: Any, answers: Iterator[Any], to: Path) -> None:
    from cuetune.cli.writing import answer_writer
    from cuetune.data.readers.registry import reader_of
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
        console.say(reader_of(task).cut(counts["cut"], task, counts["limit"]))
    if counts["unfinished"]:
        line = reader_of(task).unfinished(counts["unfinished"], counts["longest"])
        console.say(f"{line} Set another length with --max-new-tokens.")
    if counts["labelled"]:
        from cuetune.metrics.classification import figure

        agreement = figure(right / counts["labelled"])
        console.say(f"{task.answers.agreement} on the {counts['labelled']:,} rows with a label: {agreement}")
