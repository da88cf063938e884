"""`cuetune multitask`: one prompt that many tasks share, and new tasks that start from it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cuetune.cli import options as o

app = typer.Typer(
    help="One prompt that many tasks share, and new tasks that start from it (MPT, Wang et al. 2023).",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

To = Annotated[Path, typer.Option("--to", help="Folder for the result.")]
Restart = Annotated[bool, typer.Option("--restart", help="Start over instead of going on with a stopped run.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands at --to.")]
Steps = Annotated[int | None, typer.Option(help="Updates; else two passes over the data, 60 to 400.")]
LearningRate = Annotated[float | None, typer.Option(help="AdamW's, of P*; else it follows the embeddings' size.")]
Seed = Annotated[int, typer.Option(help="Decides splits, order of rows and random starts.")]


@app.command("train")
def train(
    tasks: Annotated[Path, typer.Argument(help="TASKS.yaml: the source tasks (docs/universal-prompts.md).")],
    to: To,
    length: Annotated[int, typer.Option(help="Virtual tokens.")] = 20,
    steps: Steps = None,
    teacher_steps: Annotated[int | None, typer.Option(help="Updates of each teacher; else as in `tune`.")] = None,
    batch_size: Annotated[int, typer.Option(help="Rows in one update, of several tasks.")] = 32,
    learning_rate: LearningRate = None,
    distil: Annotated[bool, typer.Option(help="Tune a teacher for each task first, and follow them.")] = True,
    weight: Annotated[float, typer.Option(help="Of the teachers' part in the loss (λ).")] = 0.9,
    teachers: Annotated[Path | None, typer.Option(help="Folder with a saved prompt TEACHERS/NAME per task.")] = None,
    mixing: Annotated[
        str, typer.Option(help="How likely each task is: proportional, uniform, capped or stratified.")
    ] = "proportional",
    stochastic: Annotated[bool, typer.Option(help="Draw which tasks each batch mixes; else all.")] = True,
    rank: Annotated[int, typer.Option(help="Of each task's own numbers; 0 for none.")] = 1,
    start: Annotated[Path | None, typer.Option(help="A universal prompt that these tasks start from.")] = None,
    seed: Seed = 0,
    restart: Restart = False,
    overwrite: Overwrite = False,
    model: Annotated[str | None, typer.Option("--model", help="Else what the file names, or the default.")] = None,
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
) -> None:
    """Train one prompt that several tasks share: teachers first, then the shared prompt, distilled from them.

    `cuetune multitask train examples/universal/sources.yaml --to prompts/universal`

    `cuetune multitask train TASKS.yaml --no-distil --mixing uniform --to prompts/plain`

    A run that was stopped goes on when the same command is given again; finished teachers stay.
    """
    from cuetune.cli.report import report_universal
    from cuetune.methods.multitask.training import Programme, train_multitask
    from cuetune.tuning.settings import Settings

    how = {"distil": distil, "weight": weight, "mixing": mixing, "stochastic": stochastic, "rank": rank}
    values = {"length": length, "steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    universal = train_multitask(
        tasks,
        to,
        model=model,
        settings=o.checked(Settings, values),
        programme=o.checked(Programme, {**how, "teacher_steps": teacher_steps}),
        teachers=teachers,
        start=start,
        restart=restart,
        overwrite=overwrite,
        model_options=o.model_options(revision, dtype, device, False),
    )
    report_universal(universal, to)


@app.command("adapt")
def adapt(
    universal: Annotated[Path, typer.Argument(help="Folder that `cuetune multitask train` wrote.")],
    data: Annotated[str, typer.Argument(help="Labelled rows of the new task: file, folder or name.")],
    to: To,
    train_rows: Annotated[int | None, typer.Option(help="Learn from so many rows (few-shot); else from all.")] = None,
    draws: Annotated[int, typer.Option(help="Draw those rows so many times; saved as TO/draw-0, …")] = 1,
    shared: Annotated[bool, typer.Option(help="Train P* too; else only the task's own few numbers.")] = True,
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
    steps: Steps = None,
    learning_rate: LearningRate = None,
    seed: Seed = 0,
    restart: Restart = False,
    overwrite: Overwrite = False,
    model: o.SavedModel = None,
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
) -> None:
    """Adapt a universal prompt to a new task; what is saved is a soft prompt that needs nothing else.

    `cuetune multitask adapt prompts/universal new-task.csv --to prompts/new-task`

    `cuetune multitask adapt prompts/universal reviews-movies --train-rows 16 --draws 5 --to prompts/movies`

    A run that was stopped goes on when the same command is given again; finished draws stay.
    """
    from cuetune.cli.report import report_draws
    from cuetune.methods.multitask.adapting import adapt as run
    from cuetune.tuning.settings import Settings

    values: dict[str, Any] = {"steps": steps, "learning_rate": learning_rate, "seed": seed}
    tuned = run(
        universal,
        data,
        to,
        train_rows=train_rows,
        draws=draws,
        shared=shared,
        model=model,
        settings=o.checked(Settings, values),
        model_options=o.model_options(revision, dtype, device, False),
        test=test,
        restart=restart,
        overwrite=overwrite,
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
    report_draws(tuned, to)
    o.end_if_stopped(*tuned)
