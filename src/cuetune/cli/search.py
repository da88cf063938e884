"""`cuetune search`: find words for a hard prompt, and say what they are worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cuetune.cli import options as o
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.library.tuned import TunedPrompt

METHODS = ("greedy", "pez", "ape", "opro")


def search(
    data: Annotated[str, typer.Argument(help="CSV, TSV, JSONL or Parquet file, a folder, or a name for `datasets`.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the prompt that is found.")],
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "greedy",
    method_options: Annotated[
        list[str] | None, typer.Option("--method-option", help="name=value of this search; repeatable: steps=100.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Saved hard prompt to begin from; else the instruction.")] = None,
    validation: Annotated[str | None, typer.Option(help="Rows to choose by; else a tenth of DATA.")] = None,
    test: Annotated[str | None, typer.Option(help="Rows to report scores on; else a fifth of DATA.")] = None,
    text: o.Text = None,
    label: o.Label = None,
    labels: o.Labels = None,
    label_words: o.LabelWords = None,
    template: o.Template = None,
    instruction: o.Instruction = None,
    columns: o.Columns = None,
    max_tokens: o.MaxTokens = None,
    generate: Annotated[bool, typer.Option("--generate", help="The answer is free text, not one of a set.")] = False,
    encoding: o.Encoding = "utf-8",
    delimiter: o.Delimiter = None,
    quoting: o.Quoting = "standard",
    column_names: o.ColumnNames = None,
    group_by: o.GroupBy = None,
    hold_out: o.HoldOut = None,
    skip_unreadable: o.SkipUnreadable = False,
    seed: Annotated[int, typer.Option(help="Decides splits, rows and candidates.")] = 0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over instead of going on with a stopped search.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the prompt that stands at --to.")] = False,
    model: o.Model = "smollm2-135m",
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
    trust_remote_code: o.TrustRemoteCode = False,
) -> None:
    """Search for the words of a hard prompt, score them beside the untouched prompt on held-out rows, and save them.

    `cuetune search reviews.csv --to prompts/words`

    `cuetune search reviews.csv --method pez --method-option length=8 --method-option steps=300 --to prompts/words`

    A search that was stopped goes on when the same command is given again. Ctrl-C keeps the best words so far.
    """
    from cuetune.methods.searching import search as run

    source = o.source(data, table=(delimiter, quoting, column_names))
    found = run(
        source,
        to,
        method=method,
        method_options=o.as_mapping(method_options, "--method-option", "steps=100"),
        start=start,
        validation=validation,
        test=test,
        seed=seed,
        restart=restart,
        overwrite=overwrite,
        model=model,
        model_options=o.model_options(revision, dtype, device, trust_remote_code),
        text=text,
        label=label,
        labels=o.as_list(labels),
        label_words=o.as_list(label_words),
        template=template,
        instruction=instruction,
        columns=o.as_mapping(columns),
        max_tokens=max_tokens,
        generate=generate,
        encoding=encoding,
        group_by=group_by,
        hold_out=o.as_hold_out(hold_out),
        skip_unreadable=skip_unreadable,
    )
    _report(found, data, to)
    o.end_if_stopped(found)


def _report(found: "TunedPrompt", data: str, folder: Path) -> None:
    """The words, both prompts side by side, cost, and what to do with it."""
    from cuetune.cli.report import recorded_scores
    from cuetune.cli.tables import cost_line

    record, words = found.record, found.record["search"]
    if record["stopped"] == "interrupted":
        console.say("stopped by you; the best words so far are saved.", style="yellow")
    if words["note"]:
        console.say(words["note"])
    console.say(f"untouched: {words['untouched']!r}")
    console.say(f"found:     {words['found']!r}")
    if "scores" in record:
        console.show(recorded_scores(record))
    console.say(cost_line(record["cost"]))
    if words["calls"]:
        console.say(f"{words['calls']:,} calls of the proposer")
    console.say("saved to ", console.strong(folder))
    place = console.quoted(folder)
    console.say(f"next: cuetune predict {place} NEW_ROWS.csv --to answers.csv")
    again = f"cuetune tune {console.quoted(data)} --start {place} --to {console.quoted(Path(f'{folder}-tuned'))}"
    console.say(f"      {again}")
