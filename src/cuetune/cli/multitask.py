"""`cuetune multitask`: one prompt that many tasks share, and new tasks that start from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from cuetune.cli import options as o
from cuetune.cli.expand import Fields, Group, add_verb, option

app = typer.Typer(
    help="Train one prompt that many tasks share, and adapt it to new tasks (MPT, Wang et al. 2023).",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

SETTINGS, PROGRAMME = "cuetune.tuning.settings:Settings", "cuetune.methods.multitask.programme:Programme"
SHARED = Fields(SETTINGS, ("length", "steps", "batch_size", "learning_rate", "seed"), defaults={"batch_size": 32})
DISTILLATION = Fields(PROGRAMME, ("distil", "weight", "mixing", "stochastic", "rank", "teacher_steps"), "Distillation")


@dataclass(frozen=True)
class SourceOptions(Group):
    """What the shared prompt starts from."""

    panel: ClassVar[str] = "Distillation"

    teachers: Path | None = option(
        None, "Folder with one saved prompt per task, by the task's name. Default: teachers are tuned first."
    )
    start: Path | None = option(None, "Universal prompt to start from. Default: the instruction.")


@dataclass(frozen=True)
class AdaptOptions(Group):
    """How the universal prompt is adapted."""

    panel: ClassVar[str] = "Training"

    draws: int = option(1, "Number of samples of --train-rows rows; each is saved as TO/draw-N.")
    shared: bool = option(True, "Also train the shared prompt. Otherwise only the task's own factors are trained.")


def train(
    tasks: Annotated[Path, typer.Argument(help="TASKS.yaml: the source tasks (docs/universal-prompts.md).")],
    to: o.To,
    training: Annotated[Any, SHARED],
    programme: Annotated[Any, DISTILLATION],
    sources: SourceOptions,
    model: o.SuiteModelOptions,
    restart: o.Restart = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Train one prompt that several tasks share: one teacher per task first, then the shared prompt by distillation.

    `cuetune multitask train examples/universal/sources.yaml --to prompts/universal`

    `cuetune multitask train TASKS.yaml --no-distil --mixing uniform --to prompts/plain`

    An interrupted run resumes when the same command is given again; finished teachers are kept.
    """
    from cuetune.cli.report import report_universal
    from cuetune.methods.multitask.training import train_multitask

    universal = train_multitask(
        tasks,
        to,
        settings=training,
        programme=programme,
        restart=restart,
        overwrite=overwrite,
        **sources.given(),
        **model.given(),
    )
    report_universal(universal, to)


def adapt(
    universal: Annotated[Path, typer.Argument(help="Folder written by `cuetune multitask train`.")],
    data: o.Data,
    to: o.To,
    adapting: AdaptOptions,
    task: o.TextTaskOptions,
    reading: o.ReadOptions,
    splits: o.SplitOptions,
    training: Annotated[Any, Fields(SETTINGS, ("steps", "learning_rate", "seed"))],
    model: o.SavedModelOptions,
    train_rows: o.TrainRows = None,
    restart: o.Restart = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Adapt a universal prompt to a new task; the result is an ordinary soft prompt.

    `cuetune multitask adapt prompts/universal new-task.csv --to prompts/new-task`

    `cuetune multitask adapt prompts/universal reviews-movies --train-rows 16 --draws 5 --to prompts/movies`

    An interrupted run resumes when the same command is given again; finished draws are kept.
    """
    from cuetune.api.adapt import adapt as adapted_to
    from cuetune.cli.report import report_draws

    given = {**adapting.given(), **splits.given(), **model.given(), **reading.given(), **task.given()}
    tuned = adapted_to(
        universal,
        reading.source(data),
        to,
        train_rows=train_rows,
        settings=training,
        restart=restart,
        overwrite=overwrite,
        **given,
    )
    report_draws(tuned, to)
    o.end_if_stopped(*tuned)


add_verb(app, "train", train)
add_verb(app, "adapt", adapt)
