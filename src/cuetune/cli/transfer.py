"""`cuetune transfer`: start a new task from the prompts of a library."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import typer

from cuetune.cli import options as o
from cuetune.cli.expand import Fields, Group, option


@dataclass(frozen=True)
class TransferOptions(Group):
    """Which prompts of the library are tried."""

    panel: ClassVar[str] = "Transfer"

    top: int = option(3, "Number of best-ranked prompts to tune from.", min=1)
    rank_by: str = option("loss", "Ranking of prompts: loss on the new rows, or similarity of task embeddings.")
    average: bool = option(True, "Also tune from the weighted mean of the best-ranked prompts.")


def transfer(
    data: o.Data,
    to: o.To,
    library: Annotated[
        str, typer.Option("--from", help="Library of prompts: a folder or an address.", rich_help_panel="Transfer")
    ],
    method: TransferOptions,
    task: o.TextTaskOptions,
    reading: o.ReadOptions,
    splits: o.SplitOptions,
    training: Annotated[Any, Fields("cuetune.tuning.settings:Settings", ("steps", "learning_rate", "seed"))],
    model: o.TextModelOptions,
    train_rows: o.TrainRows = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Rank the prompts of a library for a new task, tune from the best-ranked ones and from text, and keep the best.

    `cuetune transfer new-task.csv --from prompts/library --to prompts/new-task`

    `cuetune transfer reviews-movies --train-rows 16 --top 2 --rank-by similarity --from prompts/library
    --to prompts/movies`

    Every start has the same number of steps. The scores of all of them on test rows are printed and saved.
    """
    from cuetune.cli.report import report_transferred
    from cuetune.methods.transfer.transfer import transfer as transferred_to

    transferred = transferred_to(
        reading.source(data),
        library,
        to,
        train_rows=train_rows,
        settings=training,
        overwrite=overwrite,
        **method.given(),
        **splits.given(),
        **model.given(),
        **reading.given(),
        **task.given(),
    )
    report_transferred(transferred, to)
