"""`cuetune models`: what is known, what is cached, and `pull`."""

from typing import Annotated

import typer

app = typer.Typer(help="Foundation models: list what is known, or pull a bundled one.", invoke_without_command=True)


@app.callback()
def models(context: typer.Context) -> None:
    """List the bundled models; `cuetune models pull NAME` fetches one.

    Any causal language model of the Hugging Face hub, or a local folder, also works by name wherever --model is taken.
    """
    if context.invoked_subcommand is None:
        models_list()


def models_list() -> None:
    """Print the bundled models: size, licence, whether and where each is cached."""
    from rich.console import Console
    from rich.table import Table

    from cuetune.backbones.bundled import CATALOGUE, folder_of, is_cached
    from cuetune.backbones.loading import DEFAULT

    console = Console(highlight=False)  # the shared console of the tables would load torch for a list
    table = Table()
    table.add_column("model", no_wrap=True)
    for heading in ("parameters", "licence", "download", "cached", "what it is"):
        table.add_column(heading, overflow="fold")
    for name, model in CATALOGUE.items():
        size, cached = f"{model.size / 2**20:.0f} MiB", "yes" if is_cached(name) else "no"
        table.add_row(name, f"{model.parameters / 1e6:.1f} M", model.licence, size, cached, model.description)
    console.print(table)
    console.print(f"The default is {DEFAULT}. Hub ids and local folders of causal language models work by name too.")
    for name in filter(is_cached, CATALOGUE):
        console.print(f"{name} is in {folder_of(name)}", soft_wrap=True)
    missing = [name for name in CATALOGUE if not is_cached(name)]
    console.print(f"next: cuetune models pull {missing[0]}" if missing else "next: cuetune demo")


@app.command("pull")
def models_pull(name: Annotated[str, typer.Argument(help="A bundled model, e.g. smollm2-135m.")]) -> None:
    """Fetch a bundled model, check it, and convert it once; afterwards it loads offline.

    `cuetune models pull smollm2-135m`
    """
    from cuetune.backbones.bundled import pull
    from cuetune.cli.tables import console, downloading

    with downloading(name) as progress:
        folder = pull(name, progress)
    console.print(f"{name} is ready in {folder}", highlight=False, soft_wrap=True)
    console.print("next: cuetune tune YOUR_ROWS.csv --to prompts/first", highlight=False)
