"""`cuetune transfer`: start a new task from prompts that are there already."""

from pathlib import Path
from typing import Annotated

import typer

from cuetune.cli import options as o


def transfer(
    data: Annotated[str, typer.Argument(help="Labelled rows of the new task: file, folder or name.")],
    library: Annotated[str, typer.Option("--from", help="Library of prompts: a folder or an address.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the best prompt.")],
    top: Annotated[int, typer.Option(help="How many of the most promising prompts are tried.", min=1)] = 3,
    rank_by: Annotated[
        str, typer.Option(help="loss (their loss on the new rows) or similarity (of task embeddings).")
    ] = "loss",
    average: Annotated[bool, typer.Option(help="Also start from the mean of the most promising.")] = True,
    train_rows: Annotated[int | None, typer.Option(help="Learn from so many rows (few-shot); else from all.")] = None,
    test: Annotated[str | None, typer.Option(help="Labelled rows to score; else a fifth of the data.")] = None,
    text: o.Text = None,
    label: o.Label = None,
    labels: o.Labels = None,
    label_words: o.LabelWords = None,
    template: o.Template = None,
    instruction: o.Instruction = None,
    columns: o.Columns = None,
    max_tokens: o.MaxTokens = None,
    encoding: o.Encoding = "utf-8",
    steps: Annotated[int | None, typer.Option(help="Updates of each start; else as in `tune`.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="AdamW's; else it follows the embeddings' size.")] = None,
    seed: Annotated[int, typer.Option(help="Decides splits, order of rows and random starts.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the prompt that stands at --to.")] = False,
    model: o.Model = "smollm2-135m",
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
) -> None:
    """Propose prompts of a library for a new task, tune from the most promising, and keep the best.

    `cuetune transfer new-task.csv --from prompts/library --to prompts/new-task`

    `cuetune transfer reviews-movies --train-rows 16 --top 2 --rank-by similarity --from prompts/library --to
    prompts/movies`

    Every prompt is first tried as it is on the rows to learn from. That, and how alike the tasks are, is what can be
    predicted; what came of it is measured on held-out rows, beside a start from words with the same budget.
    """
    from cuetune.cli.report import report_transferred
    from cuetune.methods.transfer.transfer import transfer as run
    from cuetune.tuning.settings import Settings

    transferred = run(
        data,
        library,
        to,
        top=top,
        rank_by=rank_by,
        average=average,
        train_rows=train_rows,
        test=test,
        model=model,
        settings=o.checked(Settings, {"steps": steps, "learning_rate": learning_rate, "seed": seed}),
        overwrite=overwrite,
        model_options=o.model_options(revision, dtype, device, False),
        text=text,
        label=label,
        labels=o.as_list(labels),
        label_words=o.as_list(label_words),
        template=template,
        instruction=instruction,
        columns=o.as_mapping(columns),
        max_tokens=max_tokens,
        encoding=encoding,
    )
    report_transferred(transferred, to)
