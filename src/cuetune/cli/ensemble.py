"""`cuetune ensemble`: several saved prompts combined by vote."""

from pathlib import Path
from typing import Annotated

import typer

from cuetune.cli import options as o
from cuetune.support import console


def ensemble(
    prompts: Annotated[list[Path], typer.Argument(help="Folders of saved prompts for one model and one task.")],
    to: o.To,
    vote: Annotated[
        str, typer.Option("--vote", help="Vote: majority (of labels) or mean (of probabilities).")
    ] = "majority",
    overwrite: o.Overwrite = False,
) -> None:
    """Combine several prompts by vote; each row is read once under all of them, on one copy of the model.

    `cuetune ensemble prompts/seed-0 prompts/seed-1 prompts/seed-2 --to prompts/voting`

    `cuetune ensemble prompts/* --vote mean --to prompts/voting`
    """
    from cuetune.methods.ensembling import ensemble as run

    run(prompts, to, vote=vote, overwrite=overwrite)
    console.say(f"{len(prompts)} prompts answer as one: ", console.strong(to))
    console.say(f"next: cuetune evaluate {console.quoted(to)} LABELLED_ROWS.csv")
