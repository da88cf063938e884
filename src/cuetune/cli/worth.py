"""`cuetune worth`: how many labelled rows a prompt saves against another method."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cuetune.cli import options as o
from cuetune.cli.compare import BudgetOptions, Folder, resumable
from cuetune.cli.expand import Group, option
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.comparison.worth import Worth


@dataclass(frozen=True)
class WorthOptions(Group):
    """Which methods, at which sizes."""

    panel: ClassVar[str] = "Comparison"

    method: str = option("soft", "Method to evaluate.")
    against: str = option("linear-probe", "Baseline method.")
    sizes: tuple[int, ...] = option((10, 20, 50, 100, 200, 500), "Numbers of training rows, comma-separated.")


@dataclass(frozen=True)
class CurveOptions(BudgetOptions):
    """A learning curve needs one seed more than a comparison."""

    seeds: int = option(4, "Number of seeds: samples of training rows and initialisations.")


def worth(
    data: o.Data,
    to: Folder,
    comparison: WorthOptions,
    budget: CurveOptions,
    task: o.TextTaskOptions,
    reading: o.ReadOptions,
    splits: o.SplitOptions,
    model: o.TextModelOptions,
) -> None:
    """Draw the learning curves of two methods, and state the data advantage of the first in labelled rows.

    `cuetune worth reviews.csv --to worth`

    `cuetune worth reviews.csv --method late --against fine-tuning --sizes 20,100,500 --to worth`

    An interrupted comparison resumes when the same command is given again.
    """
    from cuetune.comparison.worth import worth as worth_of

    given = {**comparison.given(), **budget.given(), **splits.given(), **reading.given(), **task.given()}
    with resumable(to):
        made = worth_of(reading.source(data), to, log=console.note, **model.given(), **given)
    console.show(_table(made, comparison.method, comparison.against))
    console.say(console.strong(made.advantage.sentence))
    console.say("written to ", console.strong(to))


def _table(made: "Worth", method: str, against: str) -> "console.Table":
    from cuetune.comparison.report import score

    table = console.table(title="accuracy by training rows, 95 % confidence intervals over seeds")
    rows = {(row["method"], row["size"]): score(row["accuracy"]) for row in made.compared.rows}
    for name in ("rows", method, against):
        table.add_column(name, justify="right")
    for size in made.sizes:
        table.add_row(f"{size:,}", rows[method, size], rows[against, size])
    return table
