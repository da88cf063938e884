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
    from rich.table import Table

    from cuetune.backbones.bundled import CATALOGUE, folder_of, is_cached
    from cuetune.backbones.loading import DEFAULT
    from cuetune.cli.tables import console

    table = Table("model", "parameters", "licence", "download", "cached", "what it is")
    for name, model in CATALOGUE.items():
        cached = str(folder_of(name)) if is_cached(name) else "no"
        title = f"{name} (default)" if name == DEFAULT else name
        table.add_row(
            title,
            f"{model.parameters / 1e6:.1f} M",
            model.licence,
            f"{model.size / 2**20:.0f} MiB",
            cached,
            model.description,
        )
    console.print(table)
    console.print("Hub ids and local folders of causal language models work by name too.", highlight=False)
    missing = [name for name in CATALOGUE if not is_cached(name)]
    if missing:
        console.print(f"next: cuetune models pull {missing[0]}", highlight=False)


@app.command("pull")
def models_pull(name: Annotated[str, typer.Argument(help="A bundled model, e.g. smollm2-135m.")]) -> None:
    """Fetch a bundled model, check it, and convert it once; afterwards it loads offline.

    `cuetune models pull smollm2-135m`
    """
    from cuetune.backbones.bundled import pull
    from cuetune.cli.tables import console, downloading

    with downloading(name) as progress:
        folder = pull(name, progress)
    console.print(f"{name} is ready in {folder}", highlight=False)
    console.print("next: cuetune tune YOUR_ROWS.csv --to prompts/first", highlight=False)
