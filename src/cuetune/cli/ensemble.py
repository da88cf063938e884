"""`cuetune ensemble`: several saved prompts that answer as one, by vote."""

from pathlib import Path
from typing import Annotated

import typer

from cuetune.support import console


def ensemble(
    prompts: Annotated[list[Path], typer.Argument(help="Folders of saved prompts for one model and one task.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the ensemble.")],
    vote: Annotated[str, typer.Option(help="majority (of labels) or mean (of probabilities).")] = "majority",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the prompt that stands at --to.")] = False,
) -> None:
    """Let several prompts vote: each row is read once under all of them, on one copy of the model.

    `cuetune ensemble prompts/seed-0 prompts/seed-1 prompts/seed-2 --to prompts/voting`

    `cuetune ensemble prompts/* --vote mean --to prompts/voting`
    """
    from cuetune.methods.ensembling import ensemble as run

    run(prompts, to, vote=vote, overwrite=overwrite)
    console.say(f"{len(prompts)} prompts answer as one: ", console.strong(to))
    console.say(f"next: cuetune evaluate {console.quoted(to)} LABELLED_ROWS.csv")
