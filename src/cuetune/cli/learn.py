"""`cuetune learn`: tasks that arrive one after another, learned without keeping their data."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from cuetune.cli import options as o
from cuetune.cli.expand import Fields, Group, option
from cuetune.support import console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cuetune.methods.continual.learned import Learned

TRAINING = Fields(
    "cuetune.tuning.settings:Settings",
    ("steps", "batch_size", "learning_rate", "augment"),
    defaults={"batch_size": None},
)


@dataclass(frozen=True)
class StreamOptions(Group):
    """How a stream is learned."""

    panel: ClassVar[str] = "Method"

    method: str = option(
        "coda",
        "Method: {learners}. Several, comma-separated, are compared, each in its own folder in --to. METHOD-joint "
        "trains on all tasks at once (the upper bound).",
    )
    method_options: dict[str, str] | None = option(
        None,
        "Option of the methods that have it (docs/streams.md), as name=value. Repeatable.",
        flag="--method-option",
        example="components=20",
    )
    class_order: int | None = option(
        None, "Random seed of the order of labels in tasks; 0 sorts them. Default: that of STREAM.yaml."
    )
    seed: int = option(0, "Random seed of splits, row order and initialisation.")

    @property
    def methods(self) -> list[str]:
        """The methods' names, each once."""
        return list(dict.fromkeys(part.strip() for part in self.method.split(",") if part.strip())) or [self.method]


def learn(
    stream: Annotated[Path, typer.Argument(help="STREAM.yaml: the tasks and their order (docs/streams.md).")],
    to: Annotated[
        Path, typer.Option("--to", help="Folder for the learned state and its runs.", rich_help_panel=o.OUTPUT)
    ],
    method: StreamOptions,
    training: Annotated[Any, TRAINING],
    reading: o.ReadOptions,
    model: o.ModelOptions,
    next_task: Annotated[
        bool,
        typer.Option("--next-task", help="Learn one task only. Default: all that are left.", rich_help_panel="Method"),
    ] = False,
    restart: o.Restart = False,
) -> None:
    """Learn the tasks of a stream one after another; no row of a task is kept once it is learned.

    `cuetune learn examples/streams/reviews.yaml --to learned/reviews`

    `cuetune learn examples/streams/emoji.yaml --to learned/emoji --next-task`

    `cuetune learn examples/streams/stamps.yaml --method coda,simple-cil,ranpac --to learned/stamps`

    After each task, the accuracy on the test rows of all tasks so far is measured. An interrupted run resumes when the
    same command is given again. You can add tasks to the end of STREAM.yaml, and delete the data of learned tasks.
    """
    from cuetune.methods.continual.learning import learn as learned_by
    from cuetune.methods.continual.learning import learn_many

    how: dict[str, Any] = {
        "tasks": 1 if next_task else None,
        "seed": method.seed,
        "class_order": method.class_order,
        "settings": training if training.model_fields_set else None,
        "method_options": method.method_options,
        "restart": restart,
        "files": reading.source(""),
        **model.given(),
        **reading.given(),
    }
    names = method.methods
    if len(names) == 1:
        learned = {names[0]: learned_by(stream, to, method=names[0], **how)}
    else:
        learned = learn_many(stream, to, names, **how)
    _report(learned, stream, to)


def _report(found: "Mapping[str, Learned]", stream: Path, to: Path) -> None:
    """Matrices, what methods come to and took, where all of it is, what to do next."""
    for name, learned in found.items():
        console.say(f"{name}: accuracy on held-out rows")
        console.show(_matrix(learned))
    console.show(_summary(found))
    plot = _draw(found, to)
    console.say("saved to ", console.strong(to), "; no row of any task is in it")
    console.say(plot)
    first = next(iter(found))
    place = to if len(found) == 1 else to / first
    console.say(f"next: cuetune predict {console.quoted(place)} NEW_ROWS.csv --to answers.csv")
    console.say(f"      or add a task to {stream} and give the same command again")


def _matrix(learned: "Learned") -> Any:
    """R as a table: after each task down, asked about across."""
    table = console.table("after learning")
    for task in learned.names:
        table.add_column(task, justify="right")
    for task, row in zip(learned.names, learned.accuracies, strict=True):
        if any(each is not None for each in row):
            table.add_row(task, *("–" if each is None else f"{each:.3f}" for each in row))
    return table


def _summary(found: "Mapping[str, Learned]") -> Any:
    """One line for each method."""
    from cuetune.comparison.report import amount
    from cuetune.metrics.continual import NAMES

    table = console.table("method", "A_N", "mean A_t", "forgotten", "one step", "seconds", "trained", "kept")
    table.caption = (
        "A_N: mean over tasks in the end; forgotten: best so far - final; one step: mean loss by a task more"
    )
    table.caption_justify = "left"
    for name, learned in found.items():
        scores, cost = learned.scores, learned.cost
        cells = ["" if scores[each] != scores[each] else f"{scores[each]:.3f}" for each in NAMES]
        table.add_row(name, *cells, f"{cost['seconds']:.0f}", f"{cost['trained']:,.0f}", amount(cost["stored_bytes"]))
    return table


def _draw(found: "Mapping[str, Learned]", to: Path) -> str:
    """The matrices as an image, where matplotlib is installed; returns a line that says where."""
    from cuetune.errors import CuetuneError
    from cuetune.methods.continual.plots import draw_matrices
    from cuetune.support.figures import check_drawn

    names = next(iter(found.values())).names
    try:
        check_drawn(to / "accuracy.png")
        return f"plot: {draw_matrices(to / 'accuracy.png', {k: [v.matrix] for k, v in found.items()}, names)}"
    except CuetuneError as error:
        return f"no plot: {error}"
