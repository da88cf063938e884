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
        list[str], typer.Argument(help="Labelled rows: files, folders or names; several are parts (train, test, …).")
    ],
    task: o.TaskOptions,
    reading: o.ReadOptions,
    model: o.ModelName,
    json: o.Json = False,
) -> None:
    """Check labelled data: duplicates across parts, conflicting and rare labels, empty and overlong rows.

    One row is shown as the model reads it. The exit code is 1 if an error was found.

    `cuetune check reviews.csv`

    `cuetune check train.csv test.csv --label topic`

    `cuetune check images/`
    """
    from cuetune.cli.report import report_skipped
    from cuetune.data.check import check_data
    from cuetune.data.examples import examples_of, has_no_labels, row_notes, understood
    from cuetune.data.sources import notes_of
    from cuetune.data.task_inference import describe, head_proposal
    from cuetune.tuning.data import reader_of_run

    asked = task.given()
    if "task" in asked:
        asked["kind"] = asked.pop("task")
    sources, encoding = [reading.source(each) for each in data], reading.encoding
    reader = reader_of_run(sources[0], model.model, asked, encoding)
    rows = _parts(reader, sources, encoding)
    first = next(iter(rows.values()))
    name = model.model or reader.modality.model
    known = reader.infer(first, **asked, **reader.chat_options(name, asked))
    outline = reader.outline(name)
    tokenizer = outline.tokenizer if outline is not None else reader.tokenizer(name)
    skipped = reading.skipped()
    secret = [part for part, each in rows.items() if each is not first and has_no_labels(each, known)]
    examples: dict[str, Any] = {
        part: understood(each, known, labelled=part not in secret)
        if skipped is None or part in secret
        else examples_of(each, known, skipped)
        for part, each in rows.items()
    }
    report = check_data(examples, known, tokenizer, lambda examples: reader.faults(examples, known), outline)
    if json:
        console.show_json({"task": known.to_dict(), **report.to_dict()})
    else:
        notes = [note for each in sources for note in notes_of(each)]
        notes += [note for each in rows.values() for note in row_notes(each)]
        notes += [f"{part}: no labels (they are hidden), so only its texts are checked" for part in secret]
        _print(report, [*describe(known), *head_proposal(known), *notes])
        report_skipped(skipped)
        _print_first(first, known, tokenizer, reader, name, report)
    if not report.ok:
        raise typer.Exit(1)


def _parts(reader: Any, sources: Sequence[Any], encoding: str) -> dict[str, list[Any]]:
    """Rows by part: the splits of one source that has some, else each source."""
    splits = reader.parts(sources[0], encoding=encoding) if len(sources) == 1 else {}
    return {name: list(rows) for name, rows in splits.items()} or {
        _part(name, number): list(reader.read(name, encoding=encoding)) for number, name in enumerate(sources)
    }


def _part(name: str, number: int) -> str:
    return Path(name).name if number == 0 else f"{Path(name).name} ({number + 1})"


def _print_first(rows: Sequence[Any], task: Any, tokenizer: Any, reader: Any, model: str, report: Any) -> None:
    """The first row that can be read, as the model sees it."""
    from cuetune.data.examples import examples_of
    from cuetune.data.skip_report import Skipped

    example = next(examples_of(rows, task, Skipped()), None)
    if example is None:
        return
    if tokenizer is not None:
        try:
            _print_example(tokenizer, task, example, report.max_answer)
        except CuetuneError as error:  # what cannot be read was found above, and is said once more where it stands
            console.say(str(error))
    elif report.ok:
        _print_lines(reader.seen(model, task, example))


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
    from cuetune.data.token_view import show_example

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
