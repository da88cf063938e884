"""`cuetune learn`: tasks that arrive one after another, learned without keeping their data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cuetune.cli import options as o
from cuetune.support import console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cuetune.methods.continual.learned import Learned

METHODS = (
    "coda, l2p, l2p++, dual, task-prompts; ft, ft++; nothing trained: simple-cil, ranpac. With -joint behind it (the "
    "upper bound) all tasks are learned as one. Several, separated by commas, are compared: TO gets a folder for each."
)


def learn(
    stream: Annotated[Path, typer.Argument(help="STREAM.yaml: the tasks and their order (docs/streams.md).")],
    to: Annotated[Path, typer.Option("--to", help="Folder for what is learned; a run that was stopped goes on there.")],
    method: Annotated[str, typer.Option(help=METHODS)] = "coda",
    next_task: Annotated[
        bool, typer.Option("--next-task", help="Learn the next task only; else all that are left.")
    ] = False,
    method_options: Annotated[
        list[str] | None,
        typer.Option("--method-option", help="name=value, of methods that have it; repeatable: components=20."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates for each task; else as in `tune`.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows in one update; else 16.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="AdamW's; else it follows the embeddings' size.")] = None,
    augment: o.Augment = "none",
    class_order: Annotated[
        int | None, typer.Option(help="Draws the order of labels that are dealt into tasks; 0: as they are sorted.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the split, the order of rows and random starts.")] = 0,
    skip_unreadable: o.SkipUnreadable = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over instead of going on with what is in TO.")
    ] = False,
    model: o.AnyModel = None,
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
) -> None:
    """Learn the tasks of a stream one after another; nothing of a task's rows is kept when it is learned.

    `cuetune learn examples/streams/reviews.yaml --to learned/reviews`

    `cuetune learn examples/streams/emoji.yaml --to learned/emoji --next-task`

    `cuetune learn examples/streams/stamps.yaml --method coda,simple-cil,ranpac --to learned/stamps`

    After each task the accuracy on all tasks so far is measured, on rows that were held out. A run that is stopped goes
    on when the same command is given again; tasks may be added at the end of the file, and the data of those that are
    learned may be deleted.
    """
    from cuetune.methods.continual.learning import learn as run
    from cuetune.methods.continual.learning import learn_many, options_by_method
    from cuetune.tuning.settings import Settings

    values: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    values = {name: value for name, value in values.items() if value is not None}
    values |= {"augment": augment} if augment != "none" else {}
    methods = list(dict.fromkeys(part.strip() for part in method.split(",") if part.strip())) or [method]
    given = options_by_method(methods, o.as_mapping(method_options, "--method-option", "components=20") or {})
    settings = {name: o.checked(Settings, {**values, **own}) if values or own else None for name, own in given.items()}
    how: dict[str, Any] = {
        "tasks": 1 if next_task else None,
        "model": model,
        "seed": seed,
        "class_order": class_order,
        "restart": restart,
        "skip_unreadable": skip_unreadable,
        "model_options": o.model_options(revision, dtype, device, False),
    }
    if len(methods) == 1:
        found = {methods[0]: run(stream, to, method=methods[0], settings=settings[methods[0]], **how)}
    else:
        found = learn_many(stream, to, methods, settings=settings, **how)
    _report(found, stream, to)


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
    from cuetune.evaluation.continual import NAMES
    from cuetune.evaluation.report import amount

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
    """The matrices as a picture, if there is what draws it; returns what to tell."""
    from cuetune.errors import CuetuneError
    from cuetune.evaluation.continual_plots import draw_matrices
    from cuetune.evaluation.figures import check_drawn

    names = next(iter(found.values())).names
    try:
        check_drawn(to / "accuracy.png")
        return f"plot: {draw_matrices(to / 'accuracy.png', {k: [v.matrix] for k, v in found.items()}, names)}"
    except CuetuneError as error:
        return f"no plot: {error}"
