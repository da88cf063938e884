"""`cuetune check`: look at the data before tuning on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cuetune.cli import options as o
from cuetune.errors import CuetuneError
from cuetune.support import console

STYLES = {"prompt": "magenta", "template": "blue", "text": "default", "answer": "bold green"}
SHOWN = 20  # labels at most
SEVERITIES = {"error": "red", "warning": "yellow", "note": ""}


def check(
    data: Annotated[
        list[str], typer.Argument(help="Files with labelled rows; several are several parts (train, test, …).")
    ],
    text: o.Text = None,
    image: o.Image = None,
    audio: o.Audio = None,
    video: o.Video = None,
    label: o.Label = None,
    labels: o.Labels = None,
    kind: o.TaskKind = None,
    labels_from: o.LabelsFrom = None,
    label_delimiter: o.LabelDelimiter = None,
    label_words: o.LabelWords = None,
    template: o.Template = None,
    instruction: o.Instruction = None,
    columns: o.Columns = None,
    max_tokens: o.MaxTokens = None,
    generate: Annotated[bool, typer.Option("--generate", help="The answer is free text, not one of a set.")] = False,
    skip_unreadable: o.SkipUnreadable = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    encoding: o.Encoding = "utf-8",
    no_splits: o.NoSplits = False,
    media_root: o.MediaRoot = None,
    allow_download: o.AllowDownload = False,
    delimiter: o.Delimiter = None,
    quoting: o.Quoting = "standard",
    column_names: o.ColumnNames = None,
    model: o.AnyModel = None,
) -> None:
    """Find copies across parts, conflicting and rare labels, empty and overlong texts; show one example as tokens.

    `cuetune check reviews.csv`

    `cuetune check train.csv test.csv --label topic`

    `cuetune check pictures/`

    Ends with exit code 1 when something is found that would make results wrong.
    """
    from cuetune.cli.report import report_skipped
    from cuetune.tasks.checking import check_data
    from cuetune.tasks.examples import examples_of, has_no_labels, row_notes, understood
    from cuetune.tasks.inference import describe, head_proposal
    from cuetune.tasks.skipped import Skipped
    from cuetune.tasks.sources import notes_of
    from cuetune.tuning.data import modality_for

    given: dict[str, Any] = {
        "text": text,
        "image": image,
        "audio": audio,
        "video": video,
        "label": label,
        "labels": o.as_list(labels),
        "kind": kind,
        "labels_from": o.as_list(labels_from),
        "label_delimiter": label_delimiter,
        "label_words": o.as_list(label_words),
        "template": template,
        "instruction": instruction,
        "columns": o.as_mapping(columns),
        "max_tokens": max_tokens,
        "generate": generate or None,
    }
    said = {key: value for key, value in given.items() if value is not None}
    table = (delimiter, quoting, column_names)
    sources = [o.source(each, no_splits, media_root, allow_download, table) for each in data]
    modality = modality_for(sources[0], model, said, encoding)
    splits = modality.parts(sources[0], encoding=encoding) if len(sources) == 1 else {}
    rows = {name: list(found) for name, found in splits.items()} or {
        _part(name, number): list(modality.read(name, encoding=encoding)) for number, name in enumerate(sources)
    }
    first = next(iter(rows.values()))
    model = model or modality.model
    task = modality.infer(first, **said, **modality.chat_options(model, said))
    outline = modality.outline(model)
    tokenizer = outline.tokenizer if outline is not None else modality.tokenizer(model)
    skipped = Skipped() if skip_unreadable else None
    secret = [part for part, each in rows.items() if each is not first and has_no_labels(each, task)]
    examples: dict[str, Any] = {
        part: understood(each, task, labelled=part not in secret)
        if skipped is None or part in secret
        else examples_of(each, task, skipped)
        for part, each in rows.items()
    }
    report = check_data(examples, task, tokenizer, lambda examples: modality.faults(examples, task), outline)
    if json:
        console.show_json({"task": task.to_dict(), **report.to_dict()})
    else:
        notes = [note for each in sources for note in notes_of(each)]
        notes += [note for each in rows.values() for note in row_notes(each)]
        notes += [f"{part}: no labels (they are hidden), so only its texts are checked" for part in secret]
        _print(report, [*describe(task), *head_proposal(task), *notes])
        report_skipped(skipped)
        _print_first(first, task, tokenizer, modality, model, report)
    if not report.ok:
        raise typer.Exit(1)


def _part(name: str, number: int) -> str:
    return Path(name).name if number == 0 else f"{Path(name).name} ({number + 1})"


def _print_first(rows: Sequence[Any], task: Any, tokenizer: Any, modality: Any, model: str, report: Any) -> None:
    """The first row that can be read, as the model sees it."""
    from cuetune.tasks.examples import examples_of
    from cuetune.tasks.skipped import Skipped

    example = next(examples_of(rows, task, Skipped()), None)
    if example is None:
        return
    if tokenizer is not None:
        try:
            _print_example(tokenizer, task, example, report.max_answer)
        except CuetuneError as error:  # what cannot be read was found above, and is said once more where it stands
            console.say(str(error))
    elif report.ok:
        _print_lines(modality.seen(model, task, example))


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        console.say(line)


def _print(report: Any, lines: list[str]) -> None:
    _print_lines(lines)
    console.say("rows: " + ", ".join(f"{count:,} in {part}" for part, count in report.rows.items()))
    if report.labels:
        shown = [f"{label} {count:,}" for label, count in list(report.labels.items())[:SHOWN]]
        more = f", … {len(report.labels):,} labels in all" if len(report.labels) > SHOWN else ""
        console.say(f"labels: {', '.join(shown)}{more}")
    if report.longest is not None:
        console.say(f"longest text: {report.longest:,} tokens")
    if not report.findings:
        console.say("nothing found that would spoil a task.", style="green")
        return
    table = console.table("", "found", "rows", "where first", "what to do")
    for each in report.findings:
        severity = console.styled(each.severity, SEVERITIES[each.severity])
        table.add_row(severity, each.what, f"{each.count:,}", "\n".join(each.examples), each.advice)
    console.show(table)


def _print_example(tokenizer: Any, task: Any, example: Any, max_answer: int | None = None) -> None:
    """The first row as tokens, coloured by role; without colour the brackets still tell tokens apart.

    max_answer: of a written answer only so many tokens are learned.
    """
    from cuetune.tasks.showing import show_example

    shown = show_example(
        tokenizer, task, example, task.instruction + "\n\n" if task.instruction and not task.chat else ""
    )
    console.say()
    console.say(f"{example.where} as the model reads it, one [token] after another:")
    role, parts = "", []
    for token, its in shown.tokens:
        if its != role:
            parts.append(console.styled(f"\n{its:>9} " if role else f"{its:>9} ", "dim"))
            role = its
        parts.append(console.styled(f"[{token}]".replace("\n", "⏎"), STYLES[its]))
    console.show(console.joined(*parts))
    for number, tokens in enumerate(shown.answers[:SHOWN]):
        scored = console.styled("".join(f"[{token}]" for token in tokens[:max_answer]), STYLES["answer"])
        name = f" ({task.labels[number]})" if task.labels else " (target)"
        console.show(console.joined(console.styled("   scored ", "dim"), scored, console.styled(name, "dim")))
    if task.generates and max_answer is not None and len(shown.answers[0]) >= max_answer:
        console.say(f"the answer is cut behind {max_answer:,} tokens, and its end is not learned.")
    if shown.cut:
        console.say(f"{shown.cut:,} tokens were cut out of the middle of this text.")
