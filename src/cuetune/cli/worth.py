"""`cuetune worth`: how many labelled rows a prompt saves against another method."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cuetune.cli import compare as c
from cuetune.cli import options as o
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.evaluation.worth import Worth


def worth(
    data: Annotated[str, typer.Argument(help="CSV, TSV, JSONL or Parquet file, a folder, or a name for `datasets`.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for runs, tables and plots.")],
    method: Annotated[str, typer.Option(help="The method whose worth is asked for.")] = "soft",
    against: Annotated[str, typer.Option(help="The method it is held against.")] = "linear-probe",
    sizes: Annotated[str, typer.Option(help="Training rows, comma-separated.")] = "10,20,50,100,200,500",
    seeds: c.Seeds = 4,
    steps: c.Steps = 100,
    batch_size: c.BatchSize = 16,
    length: c.Length = 20,
    search: c.Search = True,
    validation: c.Validation = None,
    test: c.Test = None,
    watts: c.Watts = None,
    text: o.Text = None,
    label: o.Label = None,
    labels: o.Labels = None,
    label_words: o.LabelWords = None,
    template: o.Template = None,
    instruction: o.Instruction = None,
    columns: o.Columns = None,
    max_tokens: o.MaxTokens = None,
    encoding: o.Encoding = "utf-8",
    delimiter: o.Delimiter = None,
    quoting: o.Quoting = "standard",
    column_names: o.ColumnNames = None,
    group_by: o.GroupBy = None,
    hold_out: o.HoldOut = None,
    skip_unreadable: o.SkipUnreadable = False,
    model: o.Model = "smollm2-135m",
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
    trust_remote_code: o.TrustRemoteCode = False,
) -> None:
    """Learning curves of two methods, and what the first is worth against the second in labelled rows.

    `cuetune worth reviews.csv --to worth`

    `cuetune worth reviews.csv --method late --against fine-tuning --sizes 20,100,500 --to worth`

    What was stopped goes on when the same command is given again.
    """
    from cuetune.evaluation.worth import worth as run

    source = o.source(data, table=(delimiter, quoting, column_names))
    arguments: dict[str, Any] = {
        "method": method,
        "against": against,
        "sizes": c.numbers(sizes, "--sizes"),
        "seeds": seeds,
        "steps": steps,
        "batch_size": batch_size,
        "length": length,
        "search": search,
        "validation": validation,
        "test": test,
        "watts": watts,
        "model": model,
        "model_options": o.model_options(revision, dtype, device, trust_remote_code),
        "text": text,
        "label": label,
        "labels": o.as_list(labels),
        "label_words": o.as_list(label_words),
        "template": template,
        "instruction": instruction,
        "columns": o.as_mapping(columns),
        "max_tokens": max_tokens,
        "encoding": encoding,
        "group_by": group_by,
        "hold_out": o.as_hold_out(hold_out),
        "skip_unreadable": skip_unreadable,
    }
    try:
        made = run(source, to, log=console.note, **arguments)
    except KeyboardInterrupt:
        c.stopped(to)
    console.show(_table(made, method, against))
    console.say(console.strong(made.advantage.sentence))
    console.say("written to ", console.strong(to))


def _table(made: "Worth", method: str, against: str) -> "console.Table":
    from cuetune.evaluation.report import score

    table = console.table(title="accuracy by training rows, 95 % confidence intervals over seeds")
    rows = {(row["method"], row["size"]): score(row["accuracy"]) for row in made.compared.rows}
    for name in ("rows", method, against):
        table.add_column(name, justify="right")
    for size in made.sizes:
        table.add_row(f"{size:,}", rows[method, size], rows[against, size])
    return table
