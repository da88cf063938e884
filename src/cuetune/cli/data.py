"""`cuetune data`: labelled data to try things on."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Labelled data to try things on: list it, or pull it as CSV.", invoke_without_command=True)


@app.callback()
def data(context: typer.Context) -> None:
    """List the data sets; `cuetune data pull NAME` writes one as CSV."""
    if context.invoked_subcommand is None:
        data_list()


def data_list() -> None:
    """Print the data sets: rows by label, licence, what they are."""
    from rich.console import Console
    from rich.table import Table

    from cuetune.tasks.reviews import DATASETS, LICENCE

    console = Console(highlight=False)  # the shared console of the tables would load torch for a list
    table = Table()
    table.add_column("data", no_wrap=True)
    for heading in ("rows", "positive", "negative"):
        table.add_column(heading, justify="right")
    table.add_column("licence")
    table.add_column("what it is", overflow="fold")
    for name, each in DATASETS.items():
        counts = (f"{number:,}" for number in (each.rows, each.positive, each.negative))
        table.add_row(name, *counts, LICENCE, each.description)
    console.print(table)
    console.print("Human ratings; please cite Hutto & Gilbert (2014), VADER, ICWSM-14.")
    console.print("next: cuetune data pull reviews-amazon --to data")


@app.command("pull")
def data_pull(
    name: Annotated[str, typer.Argument(help="A data set, or all.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the CSV files.")] = Path("data"),
) -> None:
    """Write a data set as CSV with the columns text, label, score and id.

    `cuetune data pull reviews-amazon --to data`
    """
    from cuetune.cli.tables import console, downloading
    from cuetune.tasks.reviews import DATASETS, pull_data

    for each in DATASETS if name == "all" else [name]:
        with downloading(each) as progress:
            path = pull_data(each, to, progress)
        console.print(f"{each} is in {path}", highlight=False, soft_wrap=True)
    console.print(f"next: cuetune check {path}", highlight=False, soft_wrap=True)
