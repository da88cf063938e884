"""`cuetune compare`: methods side by side on one's own data, with what each costs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from cuetune.cli import options as o
from cuetune.cli.expand import Group, option
from cuetune.support import console, signals

if TYPE_CHECKING:
    from cuetune.cost.prices import Prices

Folder = Annotated[Path, typer.Option("--to", help="Folder for runs, tables and plots.", rich_help_panel=o.OUTPUT)]


@dataclass(frozen=True)
class BudgetOptions(Group):
    """How long and how often every method runs."""

    panel: ClassVar[str] = "Training"

    seeds: int = option(3, "Number of seeds: samples of training rows and initialisations.")
    steps: int = option(100, "Maximum training steps per run.")
    batch_size: int = option(16, "Rows per step.")
    length: int = option(20, "Number of virtual tokens.")
    search: bool = option(True, "Search over learning rates for each method.")
    watts: float | None = option(None, "Power of this machine in watts. Default: measured where possible.")


@dataclass(frozen=True)
class CompareOptions(Group):
    """What is compared, and what it costs."""

    panel: ClassVar[str] = "Comparison"

    methods: list[str] | None = option(
        None, "Methods, comma-separated, or all. {contenders}. Default: the usual ones of the data."
    )
    sizes: tuple[int, ...] | None = option(
        None, "Numbers of training rows, comma-separated. Default: all rows, at most 1,000."
    )
    head_layer: int | None = option(None, "Layer whose input an image head reads. Default: the final states.")
    augment: str = option("none", "Random changes of training images: none, crop, flip or crop,flip.")
    price_per_hour: float | None = option(None, "US dollars per hour of this machine. Default: no prices.")
    prices: Path | None = option(None, "JSON or TOML file with GPUs and prices. Default: the built-in table.")

    def given(self) -> dict[str, Any]:
        """The values by their names in Python, the price table read."""
        return {**super().given(), "prices": price_table(self.prices)}


def compare(
    data: o.Data,
    to: Folder,
    comparison: CompareOptions,
    budget: BudgetOptions,
    task: o.TaskOptions,
    reading: o.ReadOptions,
    splits: o.SplitOptions,
    model: o.ModelOptions,
) -> None:
    """Compare prompts, LoRA, fine-tuning and a linear probe on the same rows: scores with intervals, and costs.

    `cuetune compare reviews.csv --to comparison`

    `cuetune compare reviews.csv --to comparison --methods soft,prefix,lora --sizes 64,1000 --seeds 3`

    An interrupted comparison resumes when the same command is given again.
    """
    from cuetune.comparison.compare import compare as compared
    from cuetune.comparison.report import terminal_table

    given = {**comparison.given(), **budget.given(), **splits.given(), **reading.given(), **task.given()}
    with resumable(to):
        made = compared(reading.source(data), to, log=console.note, **model.given(), **given)
    for size in made.sizes:
        console.show(terminal_table(made.rows, size))
    for note in made.notes:
        console.say(note)
    console.say("written to ", console.strong(to))


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """End an interrupted comparison with what a user should know."""
    try:
        yield
    except KeyboardInterrupt:
        console.note(f"stopped; finished runs are kept in {folder}. The same command goes on.")
        sys.exit(signals.exit_code())


def price_table(path: Path | None) -> "Prices | None":
    """The user's GPUs and prices."""
    if path is None:
        return None
    from cuetune.cost.prices import read_prices

    return read_prices(path)
