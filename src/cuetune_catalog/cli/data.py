"""`cuetune data`: labelled data to try things on."""

from pathlib import Path
from typing import Annotated

import typer

from cuetune.support import console

app = typer.Typer(help="Labelled data to try things on: list it, or pull it as CSV.", invoke_without_command=True)


@app.callback()
def data(context: typer.Context) -> None:
    """List the data sets; `cuetune data pull NAME` writes one as CSV."""
    if context.invoked_subcommand is None:
        data_list()


def data_list() -> None:
    """Print the data sets: rows, licence, rows by label or what is to be written, and what they are."""
    from cuetune_catalog.datasets.registry import DATASETS

    table = console.table()
    table.add_column("data", no_wrap=True)
    table.add_column("rows", justify="right")
    for heading in ("licence", "task", "what it is"):
        table.add_column(heading, overflow="fold")
    for name, each in DATASETS.items():
        table.add_row(name, f"{each.rows:,}", each.licence, each.task, each.title)
    console.show(table)
    console.say("A name stands for its file wherever data is read: cuetune check spam-mails")
    console.say("Whom to cite, and what to know of each: docs/data.md")
    console.say("next: cuetune data pull reviews-amazon --to data")


@app.command("pull")
def data_pull(
    name: Annotated[str, typer.Argument(help="A data set, or all.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the CSV files.")] = Path("data"),
) -> None:
    """Write a data set as CSV.

    `cuetune data pull reviews-amazon --to data`
    """
    from cuetune.cli.tables import downloading
    from cuetune_catalog.datasets.registry import DATASETS, pull_data

    for each in DATASETS if name == "all" else [name]:
        with downloading(each) as progress:
            path = pull_data(each, to, progress)
        console.say(f"{each} is in {path}")
        console.say(f"  {DATASETS[each].licence}; cite: {DATASETS[each].citation}")
    console.say(f"next: cuetune check {console.quoted(path)}")
